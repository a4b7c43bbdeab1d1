//! Dates and times: numbers in Avro, texts of RFC 3339 in JSON. Numbers beyond the years 0001 to 9999, or beyond a day, stay
//! numbers.

use ::time::{Date, Month};

use super::output::Output;
use crate::DecodeError;

/// A logical type of dates and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Date,
    /// Of a day.
    Time(Unit),
    /// Since 1970-01-01T00:00:00Z.
    Timestamp(Unit),
    /// Since 1970-01-01T00:00:00 in the reader's time zone.
    LocalTimestamp(Unit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => NANOS,
        }
    }

    /// Digits after the point.
    fn digits(self) -> usize {
        match self {
            Self::Millis => 3,
            Self::Micros => 6,
            Self::Nanos => 9,
        }
    }
}

impl Kind {
    /// The kind of a logical type, if it is for this type.
    pub(super) fn of(of: &str, logical: &str) -> Option<Self> {
        Some(match (of, logical) {
            ("int", "date") => Self::Date,
            ("int", "time-millis") => Self::Time(Unit::Millis),
            ("long", "time-micros") => Self::Time(Unit::Micros),
            ("long", "timestamp-millis") => Self::Timestamp(Unit::Millis),
            ("long", "timestamp-micros") => Self::Timestamp(Unit::Micros),
            ("long", "timestamp-nanos") => Self::Timestamp(Unit::Nanos),
            ("long", "local-timestamp-millis") => Self::LocalTimestamp(Unit::Millis),
            ("long", "local-timestamp-micros") => Self::LocalTimestamp(Unit::Micros),
            ("long", "local-timestamp-nanos") => Self::LocalTimestamp(Unit::Nanos),
            _ => return None,
        })
    }

    pub(super) fn is_int(self) -> bool {
        matches!(self, Self::Date | Self::Time(Unit::Millis))
    }

    /// Writes the text of a value as JSON. False: it is out of range, and nothing was written.
    pub(super) fn write(self, value: i64, output: &mut Output<'_>) -> Result<bool, DecodeError> {
        let unit = match self {
            Self::Date => {
                let Some(date) = date(value) else { return Ok(false) };
                output.raw(b"\"")?;
                write_date(date, output)?;
                output.raw(b"\"")?;
                return Ok(true);
            }
            Self::Time(unit) | Self::Timestamp(unit) | Self::LocalTimestamp(unit) => unit,
        };
        let (seconds, rest) = (value.div_euclid(unit.per_second()), value.rem_euclid(unit.per_second()));
        let (day, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        if let Self::Time(_) = self {
            if day != 0 {
                return Ok(false);
            }
            output.raw(b"\"")?;
        } else {
            let Some(date) = date(day) else { return Ok(false) };
            output.raw(b"\"")?;
            write_date(date, output)?;
            output.raw(b"T")?;
        }
        write_time(second, rest * (NANOS / unit.per_second()), output)?;
        output.raw(if matches!(self, Self::Timestamp(_)) { b"Z\"" } else { b"\"" })?;
        Ok(true)
    }

    /// The value of a text.
    pub(super) fn parse(self, text: &str) -> Option<i64> {
        let (days, nanos, rest, unit) = match self {
            Self::Date => {
                let (days, rest) = parse_date(text)?;
                return rest.is_empty().then_some(days);
            }
            Self::Time(unit) => {
                let (nanos, rest) = parse_time(text)?;
                (0, nanos, rest, unit)
            }
            Self::Timestamp(unit) | Self::LocalTimestamp(unit) => {
                let (days, rest) = parse_date(text)?;
                // RFC 3339, section 5.6: "T" and "Z" "may alternatively be lower case".
                let (nanos, rest) = parse_time(rest.strip_prefix(['T', 't', ' '])?)?;
                (days, nanos, rest, unit)
            }
        };
        let offset = match self {
            Self::Timestamp(_) => parse_offset(rest)?,
            _ => rest.is_empty().then_some(0)?,
        };
        let nanos_each = NANOS / unit.per_second();
        // More digits than the unit has are no rounding.
        let fraction = (nanos % nanos_each == 0).then_some(nanos / nanos_each)?;
        let seconds = i128::from(days * DAY - offset);
        i64::try_from(seconds * i128::from(unit.per_second()) + i128::from(fraction)).ok()
    }

    /// An example, for errors.
    pub(super) fn expected(self) -> String {
        let (what, example, unit) = match self {
            Self::Date => return "a date such as \"2026-01-31\"".to_owned(),
            Self::Time(unit) => ("time", "12:34:56.789", unit),
            Self::Timestamp(unit) => ("timestamp", "2026-01-31T12:34:56.789Z", unit),
            Self::LocalTimestamp(unit) => ("timestamp without time zone", "2026-01-31T12:34:56.789", unit),
        };
        let digits = unit.digits();
        format!("a {what} such as {example:?}, with at most {digits} digits after the point")
    }
}

/// The date of a day since 1970, of the years 0001 to 9999.
fn date(day: i64) -> Option<Date> {
    let julian = i32::try_from(day.checked_add(JULIAN_EPOCH)?).ok()?;
    Date::from_julian_day(julian).ok().filter(|date| date.year() > 0)
}

fn write_date(date: Date, output: &mut Output<'_>) -> Result<(), DecodeError> {
    let (year, month, day) = date.to_calendar_date();
    output.raw(&digits::<4>(year.into()))?;
    output.raw(b"-")?;
    output.raw(&digits::<2>(u8::from(month).into()))?;
    output.raw(b"-")?;
    output.raw(&digits::<2>(day.into()))
}

/// Three, six or nine digits behind the point, as few as the fraction needs.
fn write_time(second: i64, nanos: i64, output: &mut Output<'_>) -> Result<(), DecodeError> {
    output.raw(&digits::<2>(second / 3600))?;
    output.raw(b":")?;
    output.raw(&digits::<2>(second / 60 % 60))?;
    output.raw(b":")?;
    output.raw(&digits::<2>(second % 60))?;
    output.raw(b".")?;
    if nanos % 1_000_000 == 0 {
        output.raw(&digits::<3>(nanos / 1_000_000))
    } else if nanos % 1_000 == 0 {
        output.raw(&digits::<6>(nanos / 1_000))
    } else {
        output.raw(&digits::<9>(nanos))
    }
}

fn digits<const N: usize>(mut number: i64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// Days since 1970, and what follows.
fn parse_date(text: &str) -> Option<(i64, &str)> {
    let (year, rest) = parse_digits(text, 4)?;
    let (month, rest) = parse_digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = parse_digits(rest.strip_prefix('-')?, 2)?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    (year > 0).then(|| (i64::from(date.to_julian_day()) - JULIAN_EPOCH, rest))
}

/// Nanoseconds since midnight, and what follows.
fn parse_time(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = parse_digits(text, 2)?;
    let (minute, rest) = parse_digits(rest.strip_prefix(':')?, 2)?;
    let (second, mut rest) = parse_digits(rest.strip_prefix(':')?, 2)?;
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=9).contains(&len) {
            return None;
        }
        (nanos, rest) = parse_digits(fraction, len)?;
        nanos *= 10_i64.pow(9 - u32::try_from(len).ok()?);
    }
    let is_time = hour < 24 && minute < 60 && second < 60;
    is_time.then_some((((hour * 60 + minute) * 60 + second) * NANOS + nanos, rest))
}

/// Seconds before UTC.
fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = parse_digits(text.strip_prefix(['+', '-'])?, 2)?;
    let (minutes, rest) = parse_digits(rest.strip_prefix(':')?, 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60)
}

/// A number of exactly `len` digits, at most 9, and what follows.
fn parse_digits(text: &str, len: usize) -> Option<(i64, &str)> {
    let (digits, rest) = text.split_at_checked(len)?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
    Some((number?, rest))
}

const NANOS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// The Julian day of 1970-01-01.
const JULIAN_EPOCH: i64 = 2_440_588;
