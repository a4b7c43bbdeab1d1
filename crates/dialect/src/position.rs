//! Times in positions, in the words that all ways in have: milliseconds, `2026-01-31T12:00:00Z` or `-5m`.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use sluicegate_backend::command::Start;
use sluicegate_backend::number::whole_number;
use sluicegate_backend::{LOG_END, LOG_START};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::session::members::Int64;

/// The milliseconds since 1970 of a number of them, of a time of RFC 3339, or of a time before `now` such as `-5m`. None:
/// it is no time, or before 1970.
pub fn millis(text: &str, now: i64) -> Option<i64> {
    let millis = whole_number(text).or_else(|| Some(now.saturating_sub(ago(text)?))).or_else(|| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
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
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

const UNITS: [(char, i64); 4] = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];

/// The member `from` of a subscription in JSON: a text, or an object with `offset`, which is the word for one, or
/// `timestamp`.
pub(crate) fn start<'de, D: Deserializer<'de>>(
    offset: &'static str,
    deserializer: D,
) -> Result<Start, D::Error> {
    deserializer.deserialize_any(From { offset })
}

struct From {
    offset: &'static str,
}

impl<'de> Visitor<'de> for From {
    type Value = Start;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        write!(f, "\"earliest\", \"latest\", \"s@TIME\" (milliseconds, 2026-01-31T12:00:00Z or -5m), ")?;
        write!(f, "{{\"{offset}\": 5}} or {{\"timestamp\": MILLISECONDS}}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Start, E> {
        let offset = i64::try_from(number).map_err(|_| E::custom(format_args!("from: expected {self}")))?;
        Ok(Start::Offset(offset))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Start, E> {
        let time = text.strip_prefix("s@").and_then(|time| millis(time, now()));
        let start = match (text, time) {
            ("earliest" | "beginning", _) => Some(Start::Timestamp(LOG_START)),
            ("latest" | "end", _) => Some(Start::Timestamp(LOG_END)),
            (_, Some(time)) => Some(Start::Timestamp(time)),
            (_, None) => whole_number(text).filter(|offset| *offset >= 0).map(Start::Offset),
        };
        start.ok_or_else(|| E::custom(format_args!("from: expected {self}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Start, A::Error> {
        let mut start = None;
        while let Some((name, Int64(number))) = members.next_entry::<String, Int64>()? {
            let found = match &*name {
                "timestamp" => Start::Timestamp(number),
                name if name == self.offset => Start::Offset(number),
                _ => return Err(A::Error::custom(format_args!("from: expected {self}"))),
            };
            if start.replace(found).is_some() {
                return Err(A::Error::custom(format_args!("from: expected {self}")));
            }
        }
        start.ok_or_else(|| A::Error::custom(format_args!("from: expected {self}")))
    }
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expecting(f)
    }
}
