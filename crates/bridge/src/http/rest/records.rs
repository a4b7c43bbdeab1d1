//! Records of a partition, or messages of a stream, as JSON.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use sluicegate_backend::command::ReadBounds;
use sluicegate_backend::{DecodeMessages as _, LOG_START, Log, System, WAITING_BYTES};
use sluicegate_delivery::grant::Grant;
use sluicegate_protocol::KafkaMessage;
use sluicegate_telemetry::metrics::RouteMetrics;

use super::super::media_type::Format;
use super::super::problem::Problem;
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::partition;
use super::path::Query;
use super::position::Position;
use super::positions::{Part, with_offsets};
use crate::json::format::{self, Formatted};
use crate::json::message::Message;
use crate::json::payload::Payload;
use crate::json::record::{HeaderOf, headers, timestamp_type};

/// The response to GET of a partition's records.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    grant: &Grant,
    log: Log<'_>,
    query: &str,
    format: Format,
    mut running: &RequestPermits,
) -> Result<Response, Problem> {
    let (position, bounds) = parse_fetch(query, grant.system())?;
    let begins = match position.resolve(grant, &[log], bounds.committed).await {
        Ok(begins) => begins,
        Err((log, error)) => return Err(partition::read_problem(grant, log, None, error).await),
    };
    let offset = begins.first().copied().unwrap_or_default();
    let fetched = match grant.fetch(log, offset, bounds, &mut running).await {
        Ok(fetched) => fetched,
        Err(error) => return Err(partition::read_problem(grant, log, Some(offset), error).await),
    };
    let mut part = Part { partition: log.partition, fetched };
    let limits = (grant.max_bytes(bounds), bounds.max_records);
    let parts = std::slice::from_mut(&mut part);
    let body = document(grant.system(), log.topic, parts, format, limits, &grant.route);
    let response = Response::with_body(StatusCode::OK, format.content_type(grant.system()), body.into());
    Ok(with_offsets(response, &part, grant.system()))
}

/// Where a query begins, and its bounds.
fn parse_fetch(query: &str, system: System) -> Result<(Position, ReadBounds), Problem> {
    let (place, query) = match system {
        System::Kafka => ("offset", Query::parse(query, &PARAMETERS)?),
        System::Nats => ("sequence", Query::parse(query, &STREAM_PARAMETERS)?),
    };
    let position = Position::of(&query, place)?.unwrap_or(Position::Time(LOG_START));
    Ok((position, bounds(&query)?))
}

/// The bounds of a query.
pub(super) fn bounds(query: &Query) -> Result<ReadBounds, Problem> {
    let size = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
    let timeout = query.number("timeout", 0..=MAX_TIMEOUT_MS)?;
    // A query has the name of its system.
    let max_records = match query.number("max_messages", 1..=i64::MAX)? {
        None => query.number("max_records", 1..=i64::MAX)?,
        max_messages => max_messages,
    };
    Ok(ReadBounds {
        max_bytes: size(query.number("max_bytes", 1..=i64::MAX)?),
        wait: timeout.and_then(|timeout| u64::try_from(timeout).ok()).map(Duration::from_millis),
        min_bytes: size(query.number("min_bytes", 0..=MAX_MIN_BYTES)?).unwrap_or_default(),
        max_records: size(max_records).unwrap_or_default(),
        fill: true,
        committed: query.committed()?,
    })
}

/// Encodes messages as JSON, one of each partition in turn. Stops at `max_bytes`, but after one record at least, and at
/// `max_records`, if that is not 0. Bytes that do not fit the format are an object with base64.
pub(super) fn document(
    system: System,
    topic: &str,
    parts: &mut [Part],
    format: Format,
    (max_bytes, max_records): (usize, usize),
    metrics: &RouteMetrics,
) -> Vec<u8> {
    let mut body = b"[".to_vec();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    'full: while parts.iter().any(|part| !part.fetched.messages.is_empty()) {
        for part in parts.iter_mut() {
            let Some((message, rest)) = part.fetched.first() else {
                part.fetched.end();
                continue;
            };
            let record = Entry::new(system, topic, part.partition, &message, format.of_values());
            let before = body.len();
            if count > 0 {
                body.push(b',');
            }
            // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
            let _ = serde_json::to_writer(&mut body, &record);
            let is_full = body.len() >= max_bytes || count == max_records && count > 0;
            if count > 0 && is_full {
                body.truncate(before);
                break 'full;
            }
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(part.fetched.messages.len().saturating_sub(rest.len()));
            part.fetched.advance_to(rest);
        }
    }
    metrics.delivered(count, bytes);
    parts.iter_mut().for_each(|part| part.fetched.end());
    body.push(b']');
    body
}

/// An element of a document.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Record(Record<'a>),
    Message(Message<'a, Formatted<'a>, Payload<'a>>),
}

impl<'a> Entry<'a> {
    fn new(
        system: System,
        topic: &'a str,
        partition: i32,
        message: &'a KafkaMessage,
        format: format::Format,
    ) -> Self {
        if system == System::Kafka {
            return Self::Record(Record::new(topic, partition, message, format));
        }
        let data = message.value.as_deref().unwrap_or_default();
        Self::Message(Message::new(Some(topic), message, format.value(data), Payload::Base64))
    }
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
}

impl<'a> Record<'a> {
    fn new(topic: &'a str, partition: i32, message: &'a KafkaMessage, format: format::Format) -> Self {
        let KafkaMessage { offset, timestamp, key, value, .. } = message;
        Self {
            topic,
            // As the REST proxies have it, keys are JSON as values are.
            key: key.as_deref().map(|key| format.value(key)),
            value: value.as_deref().map(|value| format.value(value)),
            partition,
            offset: *offset,
            timestamp: *timestamp,
            timestamp_type: timestamp_type(message),
            headers: headers(message, Payload::Base64),
        }
    }
}

/// The parameters of a read.
const PARAMETERS: [&str; 6] = ["offset", "max_bytes", "max_records", "min_bytes", "timeout", "isolation"];
/// The parameters of a read of a stream.
const STREAM_PARAMETERS: [&str; 5] = ["sequence", "max_bytes", "max_messages", "min_bytes", "timeout"];
/// The longest wait at the log end that a client can request.
const MAX_TIMEOUT_MS: i64 = 30_000;
/// The most bytes that a client can wait for: those that a waiting read keeps.
const MAX_MIN_BYTES: i64 = 16_384;
const _: () = assert!(MAX_MIN_BYTES as usize == WAITING_BYTES);

#[cfg(test)]
mod tests;
