//! The text of a table for a terminal.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use console::{Term, measure_text_width, truncate_str};

use super::live::{Live, Row};
use crate::args::Name;
use crate::stderr::printable;

/// Switches to a screen of its own, without a cursor.
pub(super) const BEGIN: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// Switches back.
pub(super) const END: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// The whole screen.
pub(super) fn draw(table: &Live, name: Name<'_>, said: Option<&str>, now: SystemTime) -> Vec<u8> {
    let (height, width) = Term::stdout().size();
    let (Name::Topic(name) | Name::Stream(name)) = name;
    let count = table.rows().count();
    let state = if table.is_complete() { "" } else { ", not complete yet" };
    let head = format!("{}: {count} keys{state}", printable(name));
    let room = usize::from(height).saturating_sub(3);
    let rows: Vec<[String; 3]> = table.rows().take(room).map(|row| cells(&row, now)).collect();
    let more = count.saturating_sub(rows.len());
    let foot = match (said, more) {
        (Some(said), _) => said.to_owned(),
        (None, 0) => String::new(),
        (None, more) => format!("… {more} more"),
    };
    let lines = std::iter::once(head).chain(aligned(&rows, usize::from(width))).chain([foot]);
    let mut text = "\x1b[H".to_owned();
    for line in lines {
        // Cannot fail: a `String` accepts all writes.
        let _ = write!(text, "{}\x1b[K\r\n", truncate_str(&line, usize::from(width), "…"));
    }
    text.push_str("\x1b[J");
    text.into_bytes()
}

fn cells(row: &Row<'_>, now: SystemTime) -> [String; 3] {
    let shown = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
    let key = row.decoded.key_json.as_ref().map_or(row.key, |json| json.0);
    [shown(key), shown(row.value), age(row.timestamp, now)]
}

/// Keys take a third of the width at most, ages what they need.
fn aligned(rows: &[[String; 3]], width: usize) -> impl Iterator<Item = String> {
    let longest = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| measure_text_width(cell)).max().unwrap_or(0)
    };
    let (keys, ages) = (longest(0).min(width / 3), longest(2));
    let values = width.saturating_sub(keys).saturating_sub(ages).saturating_sub(4);
    rows.iter().map(move |[key, value, age]| {
        format!("{}  {}  {age:>ages$}", fitted(key, keys), fitted(value, values))
    })
}

fn fitted(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, Some("…")).into_owned()
}

/// The time since a timestamp, in one unit.
fn age(timestamp: i64, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let written = u64::try_from(timestamp).unwrap_or_default() / 1000;
    match now.saturating_sub(written) {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5999 => format!("{} min", seconds / 60),
        seconds @ 6000..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rows_are_aligned_and_fit() {
        let row = |key: &str, value: &str, age: &str| [key.to_owned(), value.to_owned(), age.to_owned()];
        let rows = [row("a", "1", "5 s"), row(&"k".repeat(40), &"v".repeat(40), "10 min")];
        let lines: Vec<String> = aligned(&rows, 40).collect();
        assert_eq!(lines[0], format!("{:<13}  {:<17}  {:>6}", "a", "1", "5 s"));
        assert!(lines.iter().all(|line| measure_text_width(line) == 40), "{lines:?}");
        assert!(lines[1].contains("kkkk…") && lines[1].ends_with("10 min"), "{lines:?}");
    }

    #[test]
    fn age_has_one_unit() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (seconds, want) in
            [(0, "0 s"), (99, "99 s"), (100, "1 min"), (7200, "2 h"), (172_800, "2 d"), (-5, "0 s")]
        {
            assert_eq!(age((1_000_000 - seconds) * 1000, now), want);
        }
    }
}
