//! Records in JSON documents.

use serde::Serialize;
use sluicegate_protocol::{Header, KafkaMessage, Schema, TimestampType};

use super::format::{Format, Formatted};
use crate::session::error::Error;

/// A record whose keys and values are in the form that the client chose.
#[derive(Serialize)]
pub struct Record<'a> {
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_type: Option<&'static str>,
    /// None: it did not fit either.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Option<Formatted<'a>>>,
    /// None: the error stands in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Option<Formatted<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderOf<'a, Formatted<'a>>>,
    /// The schema of a value or key that was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_schema: Option<SchemaOf<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_schema: Option<SchemaOf<'a>>,
    /// Why a value or key with a schema was not.
    #[serde(skip_serializing_if = "str::is_empty")]
    not_decoded: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

impl<'a> Record<'a> {
    /// The record of a partition in this format.
    pub fn new(partition: i32, message: &'a KafkaMessage, format: Format) -> Self {
        let KafkaMessage { offset, timestamp, value, error, value_schema, key_schema, not_decoded, .. } =
            message;
        let key = key(message, format, Format::key);
        let value = value.as_deref().map(|value| format.value(value));
        Self {
            partition,
            offset: *offset,
            timestamp: *timestamp,
            timestamp_type: timestamp_type(message),
            key: (key.is_some() || error.is_none()).then_some(key),
            value: error.is_none().then_some(value),
            headers: headers(message, |value| format.key(value)),
            value_schema: value_schema.as_deref().map(SchemaOf::new),
            key_schema: key_schema.as_deref().map(SchemaOf::new),
            not_decoded,
            error: error.as_deref().map(Error::of_result),
        }
    }
}

/// A schema of a registry.
#[derive(Serialize)]
struct SchemaOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    guid: &'a str,
    r#type: &'static str,
}

impl<'a> SchemaOf<'a> {
    fn new(schema: &'a Schema) -> Self {
        let id = (schema.id != 0).then_some(schema.id);
        Self { id, guid: &schema.guid, r#type: schema.r#type().name() }
    }
}

/// The key of a message: its JSON if it was decoded, and what `stored` makes of it otherwise.
pub fn key<'a>(
    message: &'a KafkaMessage,
    format: Format,
    stored: impl Fn(Format, &'a [u8]) -> Formatted<'a>,
) -> Option<Formatted<'a>> {
    match &message.key_schema {
        Some(_) => Some(format.value(&message.key_json)),
        None => message.key.as_deref().map(|key| stored(format, key)),
    }
}

/// A header, with its value in the document's form.
#[derive(Serialize)]
pub struct HeaderOf<'a, V> {
    key: &'a str,
    value: Option<V>,
}

/// The headers of a message.
pub fn headers<'a, V>(message: &'a KafkaMessage, value_of: impl Fn(&'a [u8]) -> V) -> Vec<HeaderOf<'a, V>> {
    let header = |Header { key, value }: &'a Header| HeaderOf { key, value: value.as_deref().map(&value_of) };
    message.headers.iter().map(header).collect()
}

/// The meaning of a message's timestamp, if it is not Kafka's default, CreateTime.
pub fn timestamp_type(message: &KafkaMessage) -> Option<&'static str> {
    match message.timestamp_type() {
        TimestampType::CreateTime => None,
        TimestampType::LogAppendTime => Some("LogAppendTime"),
    }
}
