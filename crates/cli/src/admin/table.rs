//! Sessions as a table for people.

use indicatif::BinaryBytes;
use serde::Deserialize;

use crate::stderr::printable;

/// A session, as far as the table shows it.
#[derive(Deserialize)]
pub(super) struct Session {
    pub(super) id: u64,
    issuer: Option<String>,
    subject: Option<String>,
    route: Option<String>,
    address: Option<String>,
    age_ms: u64,
    received_bytes: u64,
    sent_bytes: u64,
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
struct Subscription {
    topic: String,
    /// Records up to the log ends, if known.
    lag: Option<u64>,
    /// Records that rows and filters left out.
    #[serde(default)]
    hidden: u64,
}

/// A table that is printed in parts: columns only grow from part to part.
#[derive(Default)]
pub(super) struct Table {
    /// In characters, at most [`MAX_WIDTH`].
    widths: [usize; COLUMNS],
    has_header: bool,
}

impl Table {
    /// The next rows; before the first one, the header.
    pub(super) fn rows(&mut self, sessions: &[Session]) -> String {
        let mut rows: Vec<[String; COLUMNS]> = sessions.iter().map(cells).collect();
        if !self.has_header && !rows.is_empty() {
            self.has_header = true;
            rows.insert(0, HEADER.map(str::to_owned));
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().min(MAX_WIDTH).max(*width);
            }
        }
        rows.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String; COLUMNS]) -> String {
        let padded = row.iter().zip(self.widths).map(|(cell, width)| format!("{cell:width$}  "));
        let line: String = padded.collect();
        format!("{}\n", line.trim_end())
    }
}

fn cells(session: &Session) -> [String; COLUMNS] {
    let Session { id, route, address, age_ms, received_bytes, sent_bytes, .. } = session;
    let cells = [
        id.to_string(),
        identity(session),
        route.clone().unwrap_or_else(absent),
        address.clone().unwrap_or_else(absent),
        age(*age_ms),
        BinaryBytes(*received_bytes).to_string(),
        BinaryBytes(*sent_bytes).to_string(),
        subscriptions(session),
    ];
    cells.map(|cell| printable(&cell))
}

/// `SUBJECT (ISSUER)`
fn identity(session: &Session) -> String {
    let subject = session.subject.clone().unwrap_or_else(absent);
    match &session.issuer {
        Some(issuer) => format!("{subject} ({issuer})"),
        None => subject,
    }
}

/// `orders (lag 12, hidden 40), audit`
fn subscriptions(session: &Session) -> String {
    let subscription = |Subscription { topic, lag, hidden }: &Subscription| match (lag, hidden) {
        (Some(lag), 0) => format!("{topic} (lag {lag})"),
        (Some(lag), hidden) => format!("{topic} (lag {lag}, hidden {hidden})"),
        (None, 0) => topic.clone(),
        (None, hidden) => format!("{topic} (hidden {hidden})"),
    };
    let all: Vec<String> = session.subscriptions.iter().map(subscription).collect();
    if all.is_empty() { absent() } else { all.join(", ") }
}

/// The two largest units: `2d3h`, `5h7m`, `3m12s`, or `12s` alone.
fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    let [days, hours, minutes] = [seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60];
    match [days, hours, minutes] {
        [0, 0, 0] => format!("{seconds}s"),
        [0, 0, _] => format!("{minutes}m{}s", seconds % 60),
        [0, ..] => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

fn absent() -> String {
    "-".to_owned()
}

const COLUMNS: usize = 8;
const HEADER: [&str; COLUMNS] =
    ["ID", "IDENTITY", "ROUTE", "ADDRESS", "AGE", "RECEIVED", "SENT", "SUBSCRIPTIONS"];
/// Longer cells move the rest of their own row only.
const MAX_WIDTH: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(json: &str) -> Vec<Session> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rows_are_aligned_and_unknown_values_are_dashes() {
        let first = sessions(
            r#"[{"id":17,"kind":"session","cluster":"default","route":"/pubsub","issuer":"https://sso.example",
                 "subject":"alice","address":"192.0.2.1","opened_at":"2026-11-25T05:00:00Z","age_ms":192999,
                 "expires_in_ms":5678,"received_bytes":340,"sent_bytes":1234567,"commands":3,"denied":0,
                 "subscriptions":[{"topic":"orders","partitions":6,"lag":12,"hidden":40},{"topic":"audit","partitions":1}]},
                {"id":18,"age_ms":999,"received_bytes":0,"sent_bytes":2048,"subscriptions":[]}]"#,
        );
        let next = sessions(
            r#"[{"id":1234567,"issuer":"i","address":"2001:db8::1","age_ms":97200000,"received_bytes":1,
                 "sent_bytes":1,"subscriptions":[]}]"#,
        );
        let mut table = Table::default();
        assert_eq!(table.rows(&[]), "");
        assert_eq!(
            table.rows(&first),
            "ID  IDENTITY                     ROUTE    ADDRESS    AGE    RECEIVED  SENT      SUBSCRIPTIONS\n\
             17  alice (https://sso.example)  /pubsub  192.0.2.1  3m12s  340 B     1.18 MiB  orders (lag 12, hidden 40), audit\n\
             18  -                            -        -          0s     0 B       2.00 KiB  -\n"
        );
        assert_eq!(
            table.rows(&next),
            "1234567  - (i)                        -        2001:db8::1  1d3h   1 B       1 B       -\n"
        );
    }

    #[test]
    fn values_of_clients_cannot_control_the_terminal_or_widen_a_column() {
        let long = "x".repeat(300);
        let json = format!(
            r#"[{{"id":1,"subject":"a\u001b[2J\nb\u009b","route":"{long}","age_ms":18420000,"received_bytes":1,
                 "sent_bytes":1,"subscriptions":[{{"topic":"t\u0007","partitions":1,"lag":0}}]}},
                {{"id":2,"age_ms":0,"received_bytes":1,"sent_bytes":1,"subscriptions":[]}}]"#
        );
        let text = Table::default().rows(&sessions(&json));
        let [_, hostile, plain] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(hostile, format!("1   a [2J b   {long}  -        5h7m  1 B       1 B   t  (lag 0)"));
        assert_eq!(plain, format!("2   -         {:48}  -        0s    1 B       1 B   -", "-"));
    }
}
