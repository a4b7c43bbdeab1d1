//! Keys, values and headers of records to write.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command::Header;
use sluicegate_delivery::cluster::{MAX_COMMAND_HEADERS, MAX_HEADERS};
use sluicegate_protocol as wire;

use super::members::Object;
use crate::json::format::Format;
use crate::json::list::List;
use crate::json::{KEY_AND_NAME, base64, compacted, or_null};

/// A header in protobuf.
pub(crate) fn header(wire::Header { key, value }: wire::Header) -> Header {
    Header { key, value }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordHeader<'a> {
    key: Option<String>,
    name: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Checks the number of headers of all records, by the number of each.
pub(crate) fn check_headers(counts: impl Iterator<Item = usize>) -> Result<(), Error> {
    let headers = counts.fold(0, usize::saturating_add);
    if headers > MAX_COMMAND_HEADERS {
        let message = format!("{headers} headers in one command, expected at most {MAX_COMMAND_HEADERS}");
        return Err(Error::custom(message));
    }
    Ok(())
}

/// The headers of a record.
pub(crate) fn headers(
    headers: List<Object<RecordHeader<'_>>, MAX_HEADERS>,
    format: Format,
) -> Result<Vec<Header>, String> {
    let header = |(index, Object(header)): (usize, Object<RecordHeader<'_>>)| {
        let RecordHeader { key, name, value } = header;
        if key.is_some() && name.is_some() {
            return Err(format!("headers[{index}]: {KEY_AND_NAME}"));
        }
        let key = key.or(name).ok_or_else(|| format!("headers[{index}].key: missing, expected a string"))?;
        let value = text(value, format).map_err(|expected| format!("headers[{index}].value: {expected}"))?;
        Ok(Header { key, value })
    };
    headers.0.into_iter().enumerate().map(header).collect()
}

/// The bytes of a record's value, which must be given. None for null.
pub(crate) fn value(json: Option<&RawValue>, format: Format) -> Result<Option<Bytes>, &'static str> {
    let json = or_null(json)?;
    match format {
        Format::Json => Ok(json.map(|json| compacted(json.get()).into())),
        Format::Text | Format::Base64 => text(json, format),
    }
}

/// The bytes of a string, or of the object that stands for other bytes. None for null.
pub(crate) fn text(json: Option<&RawValue>, format: Format) -> Result<Option<Bytes>, &'static str> {
    let Some(json) = json else { return Ok(None) };
    let decoded = match (serde_json::from_str(json.get()), format) {
        (Ok(Text::Plain(text)), Format::Json | Format::Text) => return Ok(Some(text.into())),
        (Ok(Text::Plain(text) | Text::Other(Other { base64: text })), _) => base64(&text),
        (Err(_), _) => None,
    };
    decoded.map(|bytes| Some(bytes.into())).ok_or(match format {
        Format::Json | Format::Text => "expected a string, {\"base64\": …} or null",
        Format::Base64 => "expected a base64 string or null",
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
