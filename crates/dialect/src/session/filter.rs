//! Filters of records: `{"key": ["a", {"prefix": "user-"}]}`, `{"header": "type", "value": "new"}`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_backend::command::RecordFilter;
use sluicegate_delivery::MAX_VALUES;
use sluicegate_protocol as wire;

use super::members::object;
use super::value::text;
use crate::json::format::Format;
use crate::json::list::List;

/// The filter in protobuf, with memory of its own: its values are parts of the whole command.
pub(crate) fn record_filter(filter: wire::RecordFilter) -> RecordFilter {
    let own = |values: Vec<Bytes>| values.iter().map(|value| Bytes::copy_from_slice(value)).collect();
    let wire::RecordFilter { header, equals, prefixes } = filter;
    RecordFilter { header, equals: own(equals), prefixes: own(prefixes) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter<'a> {
    #[serde(borrow)]
    pub key: Option<&'a RawValue>,
    pub header: Option<String>,
    #[serde(borrow)]
    pub value: Option<&'a RawValue>,
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
        let (header, wanted) = match (self.key, self.header, self.value) {
            (Some(key), None, None) => (None, key),
            (None, Some(header), Some(value)) => (Some(header), value),
            (None, Some(header), None) => {
                return Ok(RecordFilter { header: Some(header), ..Default::default() });
            }
            _ => return Err(format!("expected `{key_name}`, or `header` and perhaps `value`")),
        };
        let wanted = match wanted.get() {
            list if list.starts_with('[') => {
                serde_json::from_str::<List<&RawValue, MAX_VALUES>>(list)
                    .map_err(|error| error.to_string())?
                    .0
            }
            _ => vec![wanted],
        };
        if wanted.is_empty() {
            return Err("0 values: expected at least 1".to_owned());
        }
        let mut filter = RecordFilter { header, ..Default::default() };
        for value in wanted {
            match object(value.get()) {
                Ok(Prefix { prefix }) => filter.prefixes.push(bytes(prefix, format)?),
                Err(_) => filter.equals.push(bytes(value, format)?),
            }
        }
        Ok(filter)
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
