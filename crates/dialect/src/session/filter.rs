//! Filters of records: `{"key": ["a", {"prefix": "user-"}]}`, `{"header": "type", "value": "new"}`,
//! `{"value": "/order/status", "is": "open"}`.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;
use serde_json::value::RawValue;
use sluicegate_backend::command::{RecordFilter, ValuePart};
use sluicegate_delivery::MAX_VALUES;
use sluicegate_protocol as wire;

use super::members::object;
use super::value::text;
use crate::json::format::Format;
use crate::json::list::List;

/// The filter in protobuf, with memory of its own: its values are parts of the whole command.
///
/// # Errors
/// A member is for a part of the value, and no part is given.
pub(crate) fn record_filter(filter: wire::RecordFilter) -> Result<RecordFilter, String> {
    let own = |values: Vec<Bytes>| values.iter().map(|value| Bytes::copy_from_slice(value)).collect();
    let wire::RecordFilter { header, equals, prefixes, pointer, above, below, missing } = filter;
    let value = match pointer {
        Some(pointer) => Some(ValuePart { pointer, above, below, is_missing: missing }),
        None if above.is_some() || below.is_some() || missing => {
            return Err("above, below and missing in a filter: expected pointer beside them".to_owned());
        }
        None => None,
    };
    Ok(RecordFilter { header, value, equals: own(equals), prefixes: own(prefixes) })
}

/// The filters of a command in protobuf.
pub(crate) fn record_filters(filters: Vec<wire::RecordFilter>) -> Result<Vec<RecordFilter>, String> {
    filters.into_iter().map(record_filter).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter<'a> {
    #[serde(borrow)]
    pub key: Option<&'a RawValue>,
    pub header: Option<String>,
    #[serde(borrow)]
    pub value: Option<&'a RawValue>,
    #[serde(borrow)]
    pub is: Option<&'a RawValue>,
    #[serde(borrow)]
    pub above: Option<&'a RawValue>,
    #[serde(borrow)]
    pub below: Option<&'a RawValue>,
    pub exists: Option<bool>,
}

/// The beginning of a key or value.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prefix<'a> {
    #[serde(borrow)]
    prefix: &'a RawValue,
}

impl Filter<'_> {
    /// The filter, whose strings have the form of keys in `format`. `key_name` is the name of its member `key` for
    /// clients.
    pub(crate) fn decode(self, key_name: &str, format: Format) -> Result<RecordFilter, String> {
        let Self { key, header, value, is, above, below, exists } = self;
        let has_conditions = is.is_some() || above.is_some() || below.is_some() || exists.is_some();
        if let (None, None, Some(pointer)) = (key, &header, value) {
            let part = ValuePart {
                pointer: serde_json::from_str(pointer.get())
                    .map_err(|_| "value: expected a JSON Pointer such as \"/order/status\"")?,
                above: above.map(|number| number.get().to_owned()),
                below: below.map(|number| number.get().to_owned()),
                is_missing: exists == Some(false),
            };
            return scalars(is, part);
        }
        let (header, wanted) = match (key, header, value) {
            _ if has_conditions => {
                return Err("is, above, below and exists: expected only value beside them".to_owned());
            }
            (Some(key), None, None) => (None, key),
            (None, Some(header), Some(value)) => (Some(header), value),
            (None, Some(header), None) => {
                return Ok(RecordFilter { header: Some(header), ..Default::default() });
            }
            _ => {
                let expected = format!("expected `{key_name}`, `value`, or `header` and perhaps `value`");
                return Err(expected);
            }
        };
        let mut filter = RecordFilter { header, ..Default::default() };
        for value in each(wanted)? {
            match object(value.get()) {
                Ok(Prefix { prefix }) => filter.prefixes.push(bytes(prefix, format)?),
                Err(_) => filter.equals.push(bytes(value, format)?),
            }
        }
        Ok(filter)
    }
}

/// The filter of a part of values, which is one of these scalars, if there are any.
fn scalars(is: Option<&RawValue>, part: ValuePart) -> Result<RecordFilter, String> {
    let mut filter = RecordFilter { value: Some(part), ..Default::default() };
    for value in is.map(each).transpose()?.unwrap_or_default() {
        match object(value.get()) {
            Ok(Prefix { prefix }) => {
                let prefix: String =
                    serde_json::from_str(prefix.get()).map_err(|_| "prefix: expected a string")?;
                filter.prefixes.push(prefix.into());
            }
            Err(_) => filter.equals.push(Bytes::copy_from_slice(value.get().as_bytes())),
        }
    }
    Ok(filter)
}

/// One value, or those of a list.
fn each(wanted: &RawValue) -> Result<Vec<&RawValue>, String> {
    let wanted = match wanted.get() {
        list if list.starts_with('[') => {
            serde_json::from_str::<List<&RawValue, MAX_VALUES>>(list).map_err(|error| error.to_string())?.0
        }
        _ => vec![wanted],
    };
    match wanted.is_empty() {
        true => Err("0 values: expected at least 1".to_owned()),
        false => Ok(wanted),
    }
}

/// The filters of a command in JSON, if they do not have too many values.
pub(crate) fn filters<'a>(
    filters: impl Iterator<Item = Filter<'a>>,
    key_name: &str,
    format: Format,
) -> Result<Vec<RecordFilter>, Error> {
    let filter = |(index, filter): (usize, Filter<'_>)| {
        let decoded = filter.decode(key_name, format);
        decoded.map_err(|error| Error::custom(format_args!("filters[{index}]: {error}")))
    };
    let filters = filters.enumerate().map(filter).collect::<Result<Vec<RecordFilter>, _>>()?;
    check_values(&filters).map_err(Error::custom)?;
    Ok(filters)
}

/// Checks the number of values.
///
/// # Errors
/// There are too many; says how many.
pub fn check_values(filters: &[RecordFilter]) -> Result<(), String> {
    let values = filters.iter().map(|filter| filter.equals.len().saturating_add(filter.prefixes.len()));
    match values.fold(0, usize::saturating_add) {
        ..=MAX_VALUES => Ok(()),
        count => Err(format!("{count} values in filters: expected at most {MAX_VALUES}")),
    }
}

fn bytes(json: &RawValue, format: Format) -> Result<Bytes, String> {
    text(Some(json), format).ok().flatten().ok_or_else(|| {
        let string = match format {
            Format::Json | Format::Text => "a string, {\"base64\": …}",
            Format::Base64 => "a base64 string",
        };
        format!("expected {string}, {{\"prefix\": …}} or a list of them")
    })
}
