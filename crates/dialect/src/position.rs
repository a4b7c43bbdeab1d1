//! Positions in logs, in the words that all ways in have: an offset, `-10`, `earliest`, `latest` or `s@TIME`, where a time
//! is in milliseconds, `2026-01-31T12:00:00Z` or `-5m`.

use std::time::SystemTime;

use sluicegate_backend::command::Start;
use sluicegate_backend::number::{self, whole_number};
use sluicegate_backend::{LOG_END, LOG_START};
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

/// A position; None: it is none.
pub fn parse(text: &str, now: i64) -> Option<Start> {
    if let Some(time) = text.strip_prefix("s@") {
        return millis(time, now).map(Start::Timestamp);
    }
    match text {
        "earliest" | "beginning" => Some(Start::Timestamp(LOG_START)),
        "latest" | "end" => Some(Start::Timestamp(LOG_END)),
        _ => whole_number(text).map(Start::at),
    }
}

/// The text of a position.
pub fn text(start: Start) -> String {
    match start {
        Start::Timestamp(LOG_START) => "earliest".to_owned(),
        Start::Timestamp(LOG_END) => "latest".to_owned(),
        Start::Timestamp(millis) => format!("s@{millis}"),
        Start::Offset(offset) => offset.to_string(),
        Start::BeforeEnd(count) => format!("-{count}"),
    }
}

/// The milliseconds since 1970 of a time, with or without `s@`; None: it is none, or before 1970.
pub fn time(text: &str, now: i64) -> Option<i64> {
    millis(text.strip_prefix("s@").unwrap_or(text), now)
}

/// The kinds of positions.
pub const EXPECTED: &str = "a number from 0, earliest, latest, -N (N before the end) \
                            or s@TIME (milliseconds, 2026-01-31T12:00:00Z or -5m)";

/// The milliseconds since 1970 of a number of them, of a time of RFC 3339 or ISO 8601 with an offset, or of a time before `now` such as `-5m`. None:
/// it is no time, or before 1970.
fn millis(text: &str, now: i64) -> Option<i64> {
    let millis = whole_number(text).or_else(|| Some(now.saturating_sub(ago(text)?))).or_else(|| {
        let iso = |_| OffsetDateTime::parse(text, &Iso8601::PARSING);
        let time = OffsetDateTime::parse(text, &Rfc3339).or_else(iso).ok()?;
        i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
    });
    millis.filter(|millis| *millis >= 0)
}

/// The milliseconds of a whole number of seconds, minutes, hours or days, with a minus sign.
fn ago(text: &str) -> Option<i64> {
    let (unit, millis) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
    let number = text.strip_suffix(*unit).filter(|number| number.starts_with('-'))?;
    whole_number(number)?.checked_neg()?.checked_mul(*millis)
}

/// The time in milliseconds since 1970.
pub fn now() -> i64 {
    number::millis(SystemTime::now())
}

const UNITS: [(char, i64); 4] = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn position_is_an_offset_a_name_a_distance_or_a_time() {
        for (text, want) in [
            ("0", Start::Offset(0)),
            ("9223372036854775807", Start::Offset(i64::MAX)),
            ("earliest", Start::Timestamp(LOG_START)),
            ("beginning", Start::Timestamp(LOG_START)),
            ("latest", Start::Timestamp(LOG_END)),
            ("end", Start::Timestamp(LOG_END)),
            ("-1", Start::BeforeEnd(1)),
            ("-9223372036854775808", Start::BeforeEnd(i64::MAX)),
            ("s@1700000000000", Start::Timestamp(NOW)),
            ("s@2023-11-14T22:13:20Z", Start::Timestamp(NOW)),
            ("s@2023-11-14T23:13:20+01:00", Start::Timestamp(NOW)),
            ("s@2023-11-14T23:13:20+0100", Start::Timestamp(NOW)),
            ("s@-5m", Start::Timestamp(NOW - 300_000)),
            ("s@-0s", Start::Timestamp(NOW)),
            ("s@-2h", Start::Timestamp(NOW - 7_200_000)),
            ("s@-7d", Start::Timestamp(NOW - 604_800_000)),
        ] {
            assert_eq!(parse(text, NOW), Some(want), "{text}");
        }
        let others = "- +1 1.0 9223372036854775808 Earliest s@ s@-5 s@5m s@-m s@--5m s@-+5m s@-5é \
                      s@-20000d s@-9223372036854775807d s@1969-12-31T23:59:59Z -5m";
        for text in others.split(' ').chain([""]) {
            assert_eq!(parse(text, NOW), None, "{text}");
        }
    }
}
