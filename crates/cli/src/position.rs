//! Parses positions in a log: the arguments of --from and --at.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use sluicegate_client::At;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The first offset of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    At(At),
    Offset(i64),
    /// This many offsets before the log end.
    BeforeEnd(i64),
}

impl Position {
    /// The query whose answer [`resolve`](Self::resolve) needs, besides the log end.
    pub(crate) fn query(self) -> Option<At> {
        match self {
            Self::Offset(_) | Self::At(At::Latest) => None,
            Self::At(at) => Some(at),
            Self::BeforeEnd(_) => Some(At::Earliest),
        }
    }

    /// Turns the position into an offset of a log that ends at `end`. `found` answers the query.
    pub(crate) fn resolve(self, found: Option<i64>, end: i64) -> i64 {
        match self {
            Self::Offset(offset) => offset,
            // If no message is that recent, the next one to be written is the first.
            Self::At(_) => found.unwrap_or(end),
            Self::BeforeEnd(count) => end.saturating_sub(count).max(found.unwrap_or(0)),
        }
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = named(text) {
            return Ok(Self::At(at));
        }
        if let Some(when) = text.strip_prefix("s@") {
            return millis(when, now()).map(|millis| Self::At(At::Millis(millis)));
        }
        match text.parse::<i64>() {
            Ok(offset @ 0..) => Ok(Self::Offset(offset)),
            Ok(before) => Ok(Self::BeforeEnd(before.saturating_neg())),
            Err(_) if ago(text).is_some() => Err(format!("a time needs s@ before it: s@{text}")),
            Err(_) => Err("expected an offset, -N, earliest, latest or s@TIME".into()),
        }
    }
}

/// Parses the value of `--at`: a name, a time, or Kafka's own -1 to -3.
pub(crate) fn at(text: &str) -> Result<At, String> {
    match text {
        "-1" => Ok(At::Latest),
        "-2" => Ok(At::Earliest),
        "-3" | "max-timestamp" => Ok(At::MaxTimestamp),
        _ => named(text).map_or_else(|| millis(text, now()).map(At::Millis), Ok),
    }
}

fn named(text: &str) -> Option<At> {
    match text {
        "earliest" | "beginning" => Some(At::Earliest),
        "latest" | "end" => Some(At::Latest),
        _ => None,
    }
}

/// Milliseconds since 1970, given as a number, an RFC 3339 time, or a time before `now`. Kafka gives negative numbers
/// other meanings.
fn millis(text: &str, now: i64) -> Result<i64, String> {
    let millis = match (text.parse::<i64>(), ago(text)) {
        (Ok(..0), _) => {
            return Err(format!("{text:?} is before 1970; for a time ago add a unit: {text}s, m, h or d"));
        }
        (Ok(millis), _) => millis,
        (Err(_), Some(ago)) => now.saturating_sub(ago),
        (Err(_), None) => {
            let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
                format!(
                    "{text:?} is neither milliseconds since 1970, a time like 2026-01-31T12:00:00Z, nor one \
                     ago like -5m"
                )
            })?;
            i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|why| why.to_string())?
        }
    };
    if millis < 0 { Err(format!("{text:?} is before 1970")) } else { Ok(millis) }
}

/// The milliseconds of a time ago: a whole number of seconds, minutes, hours or days, such as `-90s`.
fn ago(text: &str) -> Option<i64> {
    let text = text.strip_prefix('-')?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return None,
    };
    // `parse` takes a sign.
    let number = number.starts_with(|first: char| first.is_ascii_digit()).then_some(number)?;
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// This machine's time in milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_a_name_an_offset_a_distance_or_a_time() {
        for (text, want) in [
            ("earliest", Position::At(At::Earliest)),
            ("beginning", Position::At(At::Earliest)),
            ("latest", Position::At(At::Latest)),
            ("end", Position::At(At::Latest)),
            ("0", Position::Offset(0)),
            ("9223372036854775807", Position::Offset(i64::MAX)),
            ("-1", Position::BeforeEnd(1)),
            ("-9223372036854775808", Position::BeforeEnd(i64::MAX)),
            ("s@1700000000000", Position::At(At::Millis(1_700_000_000_000))),
            ("s@2023-11-14T22:13:20Z", Position::At(At::Millis(1_700_000_000_000))),
        ] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for text in ["", "-", "s@", "s@-5", "e@1", "first", "1.5", "9223372036854775808", "Earliest"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn time_ago_has_a_unit() {
        let now = 1_700_000_000_000;
        for (text, seconds) in [("-5s", 5), ("-0m", 0), ("-5m", 300), ("-2h", 7_200), ("-7d", 604_800)] {
            assert_eq!(millis(text, now), Ok(now - seconds * 1_000), "{text}");
        }
        for text in "5m,-m,-5,--5m,-+5m,-5 m,-5min,-5M,-1.5h,-5é,-20000d,-9223372036854775807d".split(',') {
            assert!(millis(text, now).is_err(), "{text:?}");
        }
        assert!(millis("-5", now).unwrap_err().ends_with("add a unit: -5s, m, h or d"));
        let before = super::now();
        let Ok(Position::At(At::Millis(hour_ago))) = "s@-1h".parse() else { panic!("not a time") };
        assert!((before..=super::now()).contains(&(hour_ago + 3_600_000)));
        assert_eq!("-5m".parse::<Position>(), Err("a time needs s@ before it: s@-5m".into()));
    }

    #[test]
    fn time_is_milliseconds_or_rfc_3339() {
        for (text, want) in [
            ("0", At::Millis(0)),
            ("-1", At::Latest),
            ("-2", At::Earliest),
            ("-3", At::MaxTimestamp),
            ("max-timestamp", At::MaxTimestamp),
            ("1970-01-01T00:00:00.9999Z", At::Millis(999)),
            ("1970-01-01T01:00:00+01:00", At::Millis(0)),
            ("2024-02-29T00:00:00Z", At::Millis(1_709_164_800_000)),
        ] {
            assert_eq!(at(text), Ok(want), "{text}");
        }
        for text in ["", "-4", "yesterday", "2023-02-29T00:00:00Z", "2024-02-29", "1969-12-31T23:59:59Z"] {
            assert!(at(text).is_err(), "{text:?}");
        }
    }
}
