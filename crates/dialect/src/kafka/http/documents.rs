//! Documents with records and places.

use serde::Serialize;
use sluicegate_backend::{CommandError, DeliveryReport, Fault, Written};
use sluicegate_protocol::KafkaMessage;

use super::super::SYSTEM;
use crate::http::failure::{Failure, is_default};
use crate::http::json;
use crate::json::format::{Format, Formatted, Payload};
use crate::json::record::{HeaderOf, headers, key, timestamp_type};

/// Appends a record.
pub(super) fn put_record(
    text: &mut Vec<u8>,
    topic: &str,
    partition: i32,
    message: &KafkaMessage,
    format: Format,
) {
    let KafkaMessage { offset, timestamp, value, not_decoded, .. } = message;
    let record = Record {
        topic,
        // As the REST proxies have it, keys are JSON as values are.
        key: key(message, format, Format::value),
        value: value.as_deref().map(|value| format.value(value)),
        partition,
        offset: *offset,
        timestamp: *timestamp,
        timestamp_type: timestamp_type(message),
        headers: headers(message, Payload::Base64),
        not_decoded,
    };
    // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
    let _ = serde_json::to_writer(text, &record);
}

/// The REST proxies' document of a write.
pub(super) fn results(
    reports: Vec<DeliveryReport>,
    [key_schema_id, value_schema_id]: [Option<u32>; 2],
) -> Vec<u8> {
    let offsets = reports.into_iter().map(Offset::of).collect();
    json(&Document { offsets, key_schema_id, value_schema_id })
}

/// The place of one record.
pub(super) fn acknowledged(topic: &str, Written { partition, offset, timestamp, .. }: Written) -> Vec<u8> {
    json(&Acknowledged { topic, partition, offset, timestamp })
}

/// The end of a partition, and of its open transaction.
pub(super) fn caught_up(place: &sluicegate_delivery::Place, blocked_until: Option<i64>) -> Vec<u8> {
    json(&CaughtUp {
        partition: place.partition,
        next_offset: place.offset,
        open_transaction: blocked_until.map(|end| OpenTransaction { end }),
    })
}

/// A record that is too large for the client.
pub(super) fn too_large(
    partition: i32,
    message: &KafkaMessage,
    format: Format,
    error: &CommandError,
) -> Vec<u8> {
    json(&TooLarge {
        offset: message.offset,
        key: message.key.as_deref().map(|key| format.key(key)),
        failure: Failure::new(error, SYSTEM, Some(partition)),
    })
}

#[derive(Serialize)]
struct TooLarge<'a> {
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Formatted<'a>>,
    #[serde(flatten)]
    failure: Failure<'a>,
}

#[derive(Serialize)]
struct Record<'a> {
    topic: &'a str,
    key: Option<Formatted<'a>>,
    value: Option<Formatted<'a>>,
    partition: i32,
    offset: i64,
    timestamp: i64,
    /// Only if it is not Kafka's default, CreateTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderOf<'a, Payload<'a>>>,
    /// Why a value or key with a schema is as it is stored.
    #[serde(skip_serializing_if = "str::is_empty")]
    not_decoded: &'a str,
}

#[derive(Serialize)]
struct Document {
    offsets: Vec<Offset>,
    key_schema_id: Option<u32>,
    value_schema_id: Option<u32>,
}

/// The result of one record: its offset or its error.
#[derive(Serialize, Default)]
struct Offset {
    partition: Option<i32>,
    offset: Option<i64>,
    error_code: Option<u32>,
    error: Option<String>,
    /// The record may have been written. Present only if true, because the REST proxies have no such member.
    #[serde(skip_serializing_if = "is_default")]
    unknown_outcome: bool,
}

impl Offset {
    fn of(report: DeliveryReport) -> Self {
        match report {
            Ok(Written { partition, offset, .. }) => {
                Self { partition: Some(partition), offset: Some(offset), ..Self::default() }
            }
            Err(error) => {
                let error_code = Some(if error.fault.is_retriable() { RETRIABLE } else { NOT_RETRIABLE });
                let unknown_outcome = matches!(error.fault, Fault::UnknownOutcome { .. });
                Self { error_code, error: Some(error.message), unknown_outcome, ..Self::default() }
            }
        }
    }
}

#[derive(Serialize)]
struct Acknowledged<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
}

#[derive(Serialize)]
struct CaughtUp {
    partition: i32,
    next_offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_transaction: Option<OpenTransaction>,
}

#[derive(Serialize)]
struct OpenTransaction {
    end: i64,
}

/// Error codes of a record, as documented for the Confluent REST Proxy's API.
const NOT_RETRIABLE: u32 = 1;
const RETRIABLE: u32 = 2;
