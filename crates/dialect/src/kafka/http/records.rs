//! Records in a body, in the REST proxies' form.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sluicegate_backend::command::{self, SchemaChoice};

use crate::http::Batch;
use crate::http::body::{BodyError, bytes, given, headers, number, object, wrong};
use crate::http::media_type::Format;
use crate::json::present;

/// The records of a body.
pub(super) fn batch(body: &str, format: Format) -> Result<Batch<'_>, BodyError> {
    let Records { records, key_schema, key_schema_id, value_schema, value_schema_id } =
        object(body, "the body")?;
    let Format::Schema(kind) = format else {
        // Clients of the REST proxies send these with any format. They mean nothing in JSON and base64.
        return Ok(Batch { records, ..Batch::default() });
    };
    let choice = |name: &str, text: Option<&RawValue>, id: Option<&RawValue>| {
        let given = |member: Option<&'_ RawValue>| member.filter(|member| member.get() != "null").is_some();
        match (text, id) {
            (_, Some(id)) if given(Some(id)) => {
                let id = number(id, &format!("{name}_id"), 0, u32::MAX.into())?;
                Ok(u32::try_from(id).ok().map(SchemaChoice::Id))
            }
            (Some(text), _) if given(Some(text)) => {
                let text: Option<String> = serde_json::from_str(text.get()).ok();
                let text = text.ok_or_else(|| wrong(name, "expected a schema as a string"))?;
                Ok(Some(SchemaChoice::Text { kind, text: text.into(), registers: false }))
            }
            _ => Ok(None),
        }
    };
    Ok(Batch {
        records,
        key_schema: choice("key_schema", key_schema, key_schema_id)?,
        value_schema: choice("value_schema", value_schema, value_schema_id)?,
    })
}

/// A record of a body, for a topic or one of its partitions.
pub(super) fn record(
    item: &RawValue,
    place: &str,
    format: Format,
    topic: &str,
    partition: Option<i32>,
) -> Result<command::Record, BodyError> {
    let record: Record = object(item.get(), place)?;
    let own = record.partition.map(|own| number(own, &format!("{place}.partition"), -1, i32::MAX.into()));
    let own = own.transpose()?.and_then(|own| i32::try_from(own).ok());
    if let (Some(own), Some(partition)) = (own, partition)
        && own != partition
    {
        return Err(wrong(
            &format!("{place}.partition"),
            &format!("expected {partition} as in the path, got {own}"),
        ));
    }
    let timestamp =
        record.timestamp.map(|timestamp| number(timestamp, &format!("{place}.timestamp"), 1, i64::MAX));
    Ok(command::Record {
        topic: topic.to_owned(),
        partition: partition.or(own),
        key: bytes(record.key, &format!("{place}.key"), format)?,
        value: given(record.value, &format!("{place}.value"), format)?,
        headers: record.headers.map_or(Ok(Vec::new()), |list| headers(list, place))?,
        timestamp: timestamp.transpose()?,
        // Schemas of the body replace them.
        value_schema: matches!(format, Format::Json | Format::Schema(_)).then_some(SchemaChoice::Topic),
        key_schema: matches!(format, Format::Schema(_)).then_some(SchemaChoice::Topic),
        schema_type: match format {
            Format::Schema(kind) => Some(kind),
            Format::Json | Format::Binary | Format::Text => None,
        },
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Records<'a> {
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    key_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    key_schema_id: Option<&'a RawValue>,
    #[serde(borrow)]
    value_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    value_schema_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    partition: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    // Of records that were read: they can be written as they are.
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(rename = "timestamp_type")]
    _timestamp_type: Option<IgnoredAny>,
    #[serde(rename = "not_decoded")]
    _not_decoded: Option<IgnoredAny>,
}
