//! Parses the parts of a body with records: JSON whose keys and values, or data, are embedded JSON or base64 strings.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_backend::command::Header;
use sluicegate_delivery::cluster::MAX_HEADERS;

use super::media_type::Format;
use crate::json;
use crate::json::{KEY_AND_NAME, or_null};
use crate::session::value;

/// Why a body has no records: where, and what was expected.
#[derive(Debug)]
pub enum BodyError {
    /// It has more of something than it can.
    TooLarge(String),
    /// Its content is invalid.
    Unfit(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordHeader<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    // The key in version 3 of the Confluent REST Proxy.
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// The headers of a record, whose values are in base64.
pub fn headers(headers: &RawValue, place: &str) -> Result<Vec<Header>, BodyError> {
    let place = format!("{place}.headers");
    let items = list(headers, &place, MAX_HEADERS)?.into_iter().enumerate();
    let header = |(index, item): (usize, &RawValue)| {
        let place = format!("{place}[{index}]");
        let RecordHeader { key, name, value } = object(item.get(), &place)?;
        if key.is_some() && name.is_some() {
            return Err(wrong(&place, KEY_AND_NAME));
        }
        let key = key.or(name).and_then(|key| serde_json::from_str(key.get()).ok());
        let key = key.ok_or_else(|| wrong(&format!("{place}.key"), "expected a string"))?;
        let value = bytes(value, &format!("{place}.value"), Format::Binary)?;
        Ok(Header { key, value })
    };
    items.map(header).collect()
}

/// The bytes of a value that must be given; `None` for null.
pub fn given(value: Option<&RawValue>, place: &str, format: Format) -> Result<Option<Bytes>, BodyError> {
    bytes(or_null(value).map_err(|expected| wrong(place, expected))?, place, format)
}

/// The bytes of a key or value; `None` for null.
pub fn bytes(value: Option<&RawValue>, place: &str, format: Format) -> Result<Option<Bytes>, BodyError> {
    let Some(value) = value else { return Ok(None) };
    match format {
        Format::Json | Format::Schema(_) => Ok(Some(json::compacted(value.get()).into())),
        Format::Binary => {
            let text: Option<String> = serde_json::from_str(value.get()).ok();
            let bytes = text.and_then(|text| json::base64(&text));
            let bytes = bytes.ok_or_else(|| wrong(place, "expected a base64 string or null"))?;
            Ok(Some(bytes.into()))
        }
        Format::Text => {
            value::text(Some(value), format.of_values()).map_err(|expected| wrong(place, expected))
        }
    }
}

/// A whole number within these bounds.
pub fn number(value: &RawValue, place: &str, least: i64, most: i64) -> Result<i64, BodyError> {
    // Rust only parses JSON numbers without a fraction or exponent as integers.
    let number: Option<i64> = value.get().parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| wrong(place, &format!("expected a whole number from {least} to {most}")))
}

/// Parses valid JSON as an object with members of any value.
pub fn object<'a, T: Deserialize<'a>>(json: &'a str, place: &str) -> Result<T, BodyError> {
    if !json.starts_with('{') {
        return Err(wrong(place, "expected an object"));
    }
    serde_json::from_str(json).map_err(|error| {
        // The JSON is valid, and members can have any value. What remains are serde's errors for an unknown or
        // duplicate member, which can repeat a name of any length, and the parser's for a name with half a surrogate
        // pair.
        let text = error.to_string();
        match text.strip_prefix("unknown field `").and_then(|unknown| unknown.rsplit_once("`, expected ")) {
            Some((name, expected)) => wrong(place, &unknown_member(name, expected)),
            None if error.is_data() => wrong(place, "has a duplicate member"),
            None => wrong(place, "has a member name that is not Unicode"),
        }
    })
}

/// The error of an unknown member; `expected` is serde's list of names, with the place of the error.
fn unknown_member(name: &str, expected: &str) -> String {
    let name = escaped_name(name);
    let expected = expected.rsplit_once(" at line ").map_or(expected, |(expected, _)| expected);
    format!("unknown member {name}, expected {}", expected.replace('`', ""))
}

/// The name of something unknown for a message, escaped and shortened: clients can send any text of any length.
pub fn escaped_name(name: &str) -> String {
    name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

/// The elements of an array, at most `max`.
pub fn list<'a>(array: &'a RawValue, place: &str, max: usize) -> Result<Vec<&'a RawValue>, BodyError> {
    let list = json::list::bounded(&mut serde_json::Deserializer::from_str(array.get()), max);
    let (items, count) = list.map_err(|_| wrong(place, "expected an array"))?;
    if count > max {
        let detail = format!("{place}: expected at most {max} elements, got {count}");
        return Err(BodyError::TooLarge(detail));
    }
    Ok(items)
}

/// The error of a place in a body.
pub fn wrong(place: &str, expected: &str) -> BodyError {
    BodyError::Unfit(format!("{place}: {expected}"))
}

/// Characters of a name that a message repeats.
const MAX_SHOWN: usize = 100;
