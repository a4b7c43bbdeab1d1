//! The records of a produce command.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;

use super::int64::Int64;
use super::list::List;
use super::object::Object;
use crate::backend::command::{self, Header};
use crate::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS, MAX_RECORDS};
use crate::json::compacted;
use crate::json::format::Format;
use crate::json::member::{or_null, present};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Produce<'a> {
    #[serde(borrow)]
    records: List<Object<Record<'a>>, MAX_RECORDS>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    topic: String,
    partition: Option<i32>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: List<Object<RecordHeader<'a>>, MAX_HEADERS>,
    timestamp: Option<Int64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordHeader<'a> {
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Produce<'_> {
    /// The records.
    ///
    /// # Errors
    /// A key, a value or a header does not have the command's format, or there are too many headers.
    pub(super) fn decode(self) -> Result<Vec<command::Record>, Error> {
        let Self { records, format } = self;
        check_headers(records.0.iter().map(|Object(record)| record.headers.0.len()))?;
        let record = |(index, Object(record)): (usize, Object<Record<'_>>)| {
            record.decode(format).map_err(|error| Error::custom(format_args!("records[{index}].{error}")))
        };
        records.0.into_iter().enumerate().map(record).collect()
    }
}

impl Record<'_> {
    fn decode(self, format: Format) -> Result<command::Record, String> {
        let Self { topic, partition, key, value, headers, timestamp } = self;
        Ok(command::Record {
            topic,
            partition,
            key: text(key, format).map_err(|expected| format!("key: {expected}"))?,
            value: self::value(value, format).map_err(|expected| format!("value: {expected}"))?,
            headers: self::headers(headers, format)?,
            timestamp: timestamp.map(|Int64(timestamp)| timestamp),
        })
    }
}

/// Checks the number of headers of all records, by the number of each.
pub(super) fn check_headers(counts: impl Iterator<Item = usize>) -> Result<(), Error> {
    let headers = counts.fold(0, usize::saturating_add);
    if headers > MAX_COMMAND_HEADERS {
        let message = format!("{headers} headers in one command, expected at most {MAX_COMMAND_HEADERS}");
        return Err(Error::custom(message));
    }
    Ok(())
}

/// The headers of a record.
pub(super) fn headers(
    headers: List<Object<RecordHeader<'_>>, MAX_HEADERS>,
    format: Format,
) -> Result<Vec<Header>, String> {
    let header = |(index, Object(header)): (usize, Object<RecordHeader<'_>>)| {
        let RecordHeader { key, value } = header;
        let value = text(value, format).map_err(|expected| format!("headers[{index}].value: {expected}"))?;
        Ok(Header { key, value })
    };
    headers.0.into_iter().enumerate().map(header).collect()
}

/// The bytes of a record's value, which must be given. None for null.
pub(super) fn value(json: Option<&RawValue>, format: Format) -> Result<Option<Bytes>, &'static str> {
    let json = or_null(json)?;
    match format {
        Format::Json => Ok(json.map(|json| compacted(json.get()).into())),
        Format::Text | Format::Base64 => text(json, format),
    }
}

/// The bytes of a string, or of the object that stands for other bytes. None for null.
pub(super) fn text(json: Option<&RawValue>, format: Format) -> Result<Option<Bytes>, &'static str> {
    let Some(json) = json else { return Ok(None) };
    let decoded = match (serde_json::from_str(json.get()), format) {
        (Ok(Text::Plain(text)), Format::Json | Format::Text) => return Ok(Some(text.into())),
        (Ok(Text::Plain(base64) | Text::Other(Other { base64 })), _) => BASE64.decode(base64).ok(),
        (Err(_), _) => None,
    };
    decoded.map(|bytes| Some(bytes.into())).ok_or(match format {
        Format::Json | Format::Text => "expected a string, {\"base64\": …} or null",
        Format::Base64 => "expected a padded base64 string or null",
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Other(Other),
}

/// Bytes that are not text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    base64: String,
}
