//! Records in a body, in the REST proxies' form.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sluicegate_backend::command;

use crate::http::body::{BodyError, bytes, given, headers, number, object, wrong};
use crate::http::media_type::Format;
use crate::json::present;

/// The records of a body.
pub(super) fn batch(body: &str) -> Result<Option<&RawValue>, BodyError> {
    Ok(object::<Records>(body, "the body")?.records)
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
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Records<'a> {
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    // Clients of the REST proxies send these with any format. They mean nothing in JSON and base64.
    #[serde(rename = "key_schema")]
    _key_schema: Option<IgnoredAny>,
    #[serde(rename = "key_schema_id")]
    _key_schema_id: Option<IgnoredAny>,
    #[serde(rename = "value_schema")]
    _value_schema: Option<IgnoredAny>,
    #[serde(rename = "value_schema_id")]
    _value_schema_id: Option<IgnoredAny>,
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
}
