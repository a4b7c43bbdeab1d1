//! Values in the JSON of commands: objects, 64-bit numbers, and positions.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};
use sluicegate_backend::command::Start;
use sluicegate_backend::number::whole_number;

use crate::position::{EXPECTED, now, parse, time};

/// Parses a value that is written as an object.
pub(crate) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(json).map(|Object(value)| value)
}

/// An optional member. Programs write null for members that they do not set.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A value that is written as an object: a derived parser also takes an array of its values.
#[derive(Debug)]
pub(crate) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData))
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// A number, or a string of decimal digits: a JavaScript number is exact up to 2^53 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Int64(pub i64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Digits)
    }
}

struct Digits;

impl Visitor<'_> for Digits {
    type Value = Int64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 64 bits, or a string with one")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Int64, E> {
        Ok(Int64(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Int64, E> {
        let whole = i64::try_from(number);
        whole.map(Int64).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Int64, E> {
        whole_number(text).map(Int64).ok_or_else(|| match parse(text, 0) {
            Some(_) => E::custom(format_args!(
                "{text:?} is not a number: `list_offset` or `list_sequences` finds the number, and `subscribe` takes \
                 it as `from`"
            )),
            None => E::invalid_value(Unexpected::Str(text), &self),
        })
    }
}

/// The member `from` of a subscription in JSON: a position as text or number, or an object with `offset`, which is the
/// word for one, or `timestamp`.
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
        write!(f, "{EXPECTED}, {{\"{offset}\": 5}} or {{\"timestamp\": MILLISECONDS}}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Start, E> {
        let offset = i64::try_from(number).map_err(|_| E::custom(format_args!("from: expected {self}")))?;
        Ok(Start::Offset(offset))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Start, E> {
        Ok(Start::at(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Start, E> {
        parse(text, now()).ok_or_else(|| E::custom(format_args!("from: expected {self}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Start, A::Error> {
        let mut start = None;
        while let Some((name, number)) = members.next_entry::<String, Option<Int64>>()? {
            let found = match (&*name, number) {
                ("timestamp", Some(Int64(number))) => Start::Timestamp(number),
                (name, Some(Int64(number))) if name == self.offset => Start::at(number),
                (name, None) if [self.offset, "timestamp"].contains(&name) => continue,
                _ => return Err(A::Error::custom(format_args!("from: expected {self}"))),
            };
            if start.replace(found).is_some() {
                return Err(A::Error::custom(format_args!("from: expected {self}")));
            }
        }
        start.ok_or_else(|| A::Error::custom(format_args!("from: expected {self}")))
    }
}

/// The member `timestamp` of a question for offsets: a number, also of an end of the log, its name, or a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(pub(crate) i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Times)
    }
}

struct Times;

impl Times {
    fn unless<E: Error>(time: Option<i64>) -> Result<Time, E> {
        time.map(Time).ok_or_else(|| E::custom(TIME))
    }
}

impl Visitor<'_> for Times {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TIME)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Time, E> {
        Ok(Time(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Time, E> {
        Self::unless(i64::try_from(number).ok())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
        let now = now();
        Self::unless(match parse(text, now) {
            Some(Start::Timestamp(time)) => Some(time),
            _ => whole_number(text).or_else(|| time(text, now)),
        })
    }
}

const TIME: &str = "timestamp: expected milliseconds since 1970, earliest, latest, or a time such as 2026-01-31T12:00:00Z \
                    or -5m";

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expecting(f)
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_backend::{LOG_END, LOG_START};

    use super::*;

    #[test]
    fn time_of_a_question_is_a_number_a_name_or_a_time() {
        for (json, want) in [
            ("5", 5),
            ("-3", -3),
            (r#""5""#, 5),
            (r#""-1""#, LOG_END),
            (r#""earliest""#, LOG_START),
            (r#""latest""#, LOG_END),
            (r#""2023-11-14T22:13:20Z""#, 1_700_000_000_000),
            (r#""s@1700000000000""#, 1_700_000_000_000),
        ] {
            assert_eq!(serde_json::from_str::<Time>(json).unwrap().0, want, "{json}");
        }
        for json in ["null", "1.5", "18446744073709551615", r#""yesterday""#, r#""1969-12-31T23:59:59Z""#] {
            let error = serde_json::from_str::<Time>(json).unwrap_err().to_string();
            assert!(error.contains("timestamp: "), "{json}: {error}");
        }
    }
}
