//! Records in JSON documents.

use serde::Serialize;
use sluicegate_protocol::{Header, KafkaMessage, TimestampType};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

impl<'a> Record<'a> {
    /// The record of a partition in this format.
    pub fn new(partition: i32, message: &'a KafkaMessage, format: Format) -> Self {
        let KafkaMessage { offset, timestamp, key, value, error, .. } = message;
        let key = key.as_deref().map(|key| format.key(key));
        let value = value.as_deref().map(|value| format.value(value));
        Self {
            partition,
            offset: *offset,
            timestamp: *timestamp,
            timestamp_type: timestamp_type(message),
            key: (key.is_some() || error.is_none()).then_some(key),
            value: error.is_none().then_some(value),
            headers: headers(message, |value| format.key(value)),
            error: error.as_deref().map(Error::of_result),
        }
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
