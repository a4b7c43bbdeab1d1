//! Parses positions in a log: the arguments of --from and --at.

use std::str::FromStr;

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
    /// What has to be known about a log to [resolve](Self::resolve) the position, besides its end.
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
            return millis(when).map(|millis| Self::At(At::Millis(millis)));
        }
        match text.parse::<i64>() {
            Ok(offset @ 0..) => Ok(Self::Offset(offset)),
            Ok(before) => Ok(Self::BeforeEnd(before.saturating_neg())),
            Err(_) => Err("expected an offset, -N, earliest, latest or s@TIME".into()),
        }
    }
}

/// What `--at` takes: a name, a time, or Kafka's own -1 to -3.
pub(crate) fn at(text: &str) -> Result<At, String> {
    match text {
        "-1" => Ok(At::Latest),
        "-2" => Ok(At::Earliest),
        "-3" | "max-timestamp" => Ok(At::MaxTimestamp),
        _ => named(text).map_or_else(|| millis(text).map(At::Millis), Ok),
    }
}

fn named(text: &str) -> Option<At> {
    match text {
        "earliest" | "beginning" => Some(At::Earliest),
        "latest" | "end" => Some(At::Latest),
        _ => None,
    }
}

/// Milliseconds since 1970, given as a number or an RFC 3339 time. Kafka gives negative numbers other meanings.
fn millis(text: &str) -> Result<i64, String> {
    let millis = match text.parse::<i64>() {
        Ok(millis) => millis,
        Err(_) => {
            let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
                format!("{text:?} is neither milliseconds since 1970 nor a time like 2026-01-31T12:00:00Z")
            })?;
            i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|why| why.to_string())?
        }
    };
    if millis < 0 { Err(format!("{text:?} is before 1970")) } else { Ok(millis) }
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
