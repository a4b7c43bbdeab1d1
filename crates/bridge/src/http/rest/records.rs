//! Records of a partition, or messages of a stream, as JSON.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use sluicegate_protocol::KafkaMessage;

use super::super::media_type::Format;
use super::super::problem::{Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::partition;
use super::path::Query;
use super::positions::{Part, with_offsets};
use crate::backend::{Fetch, Log, System, WAITING_BYTES};
use crate::cluster::Reads;
use crate::grant::Grant;
use crate::json::message::Message;
use crate::json::payload::Payload;
use crate::json::record::{HeaderOf, headers, timestamp_type};
use crate::metrics::RouteMetrics;

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
    let cluster = &*grant.cluster;
    let fetch = parse_fetch(query, cluster.system, cluster.reads())?;
    let fetched = match cluster.fetch(log, fetch, &mut running).await {
        Ok(fetched) => fetched,
        Err(error) => return Err(partition::read_problem(cluster, log, Some(fetch.offset), error).await),
    };
    let mut part = Part { partition: log.partition, fetched };
    let body =
        document(cluster.system, log.topic, std::slice::from_mut(&mut part), format, fetch, &grant.metrics)?;
    let response = Response::with_body(StatusCode::OK, format.content_type(cluster.system), body.into());
    Ok(with_offsets(response, &part, cluster.system))
}

/// The fetch of a query, with `defaults` for missing parameters.
fn parse_fetch(query: &str, system: System, defaults: Reads) -> Result<Fetch, Problem> {
    let (place, first, query) = match system {
        System::Kafka => ("offset", "record", Query::parse(query, &with_bounds("offset"))?),
        System::Nats => ("sequence", "message", Query::parse(query, &STREAM_PARAMETERS)?),
    };
    let offset = query.number(place, 0..=i64::MAX)?.ok_or_else(|| {
        let detail = format!("query parameter {place} is missing: expected the {place} of the first {first}");
        Problem::new(ProblemKind::Malformed, detail)
    })?;
    bounded(&query, offset, defaults)
}

/// The parameters of a read: this one, and those of [`bounded`].
pub(super) fn with_bounds(place: &'static str) -> [&'static str; 6] {
    [place, "max_bytes", "max_records", "min_bytes", "timeout", "isolation"]
}

/// A fetch within the bounds of a query.
pub(super) fn bounded(query: &Query, offset: i64, defaults: Reads) -> Result<Fetch, Problem> {
    let size = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
    let timeout = query.number("timeout", 0..=MAX_TIMEOUT_MS)?;
    // A query has the name of its system.
    let max_records = match query.number("max_messages", 1..=i64::MAX)? {
        None => query.number("max_records", 1..=i64::MAX)?,
        max_messages => max_messages,
    };
    Ok(Fetch {
        offset,
        max_bytes: size(query.number("max_bytes", 1..=i64::MAX)?)
            .map_or(defaults.max_bytes, |max| max.min(defaults.max_bytes)),
        wait: timeout
            .and_then(|timeout| u64::try_from(timeout).ok())
            .map_or(defaults.wait, Duration::from_millis),
        min_bytes: size(query.number("min_bytes", 0..=MAX_MIN_BYTES)?).unwrap_or_default(),
        max_records: size(max_records).unwrap_or_default(),
        committed: query.committed()?,
    })
}

/// Encodes messages as JSON, one of each partition in turn. Stops at the fetch's `max_bytes`, but after one record at least, and
/// at its `max_records`, if that is not 0. A partition ends before a record that is not valid JSON if the format embeds it.
///
/// # Errors
/// The first record of a partition is not valid JSON.
pub(super) fn document(
    system: System,
    topic: &str,
    parts: &mut [Part],
    format: Format,
    fetch: Fetch,
    metrics: &RouteMetrics,
) -> Result<Vec<u8>, Problem> {
    let mut body = b"[".to_vec();
    let mut bytes = 0_usize;
    let (mut turn, mut count) = (0_usize, 0_usize);
    'full: while parts.iter().any(|part| !part.fetched.messages.is_empty()) {
        for part in parts.iter_mut() {
            let Some((message, rest)) = part.fetched.first() else {
                part.fetched.end();
                continue;
            };
            let record = match Entry::new(system, topic, part.partition, &message, format) {
                Ok(record) => record,
                Err(bad) if turn == 0 => return Err(not_json(system, &bad, part.partition, message.offset)),
                Err(_) => {
                    part.fetched.end();
                    continue;
                }
            };
            let before = body.len();
            if count > 0 {
                body.push(b',');
            }
            // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
            let _ = serde_json::to_writer(&mut body, &record);
            let is_full = body.len() >= fetch.max_bytes || count == fetch.max_records && count > 0;
            if count > 0 && is_full {
                body.truncate(before);
                break 'full;
            }
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(part.fetched.messages.len().saturating_sub(rest.len()));
            part.fetched.advance_to(rest);
        }
        turn = turn.saturating_add(1);
    }
    metrics.delivered(count, bytes);
    parts.iter_mut().for_each(|part| part.fetched.end());
    body.push(b']');
    Ok(body)
}

fn not_json(system: System, NotJson(part): &NotJson, partition: i32, offset: i64) -> Problem {
    let of = match system {
        System::Kafka => format!("record at offset {offset} of partition {partition}"),
        System::Nats => format!("message at sequence {offset}"),
    };
    let accept = Format::Binary.content_type(system);
    let detail = format!("the {part} of the {of} is not valid JSON: request it with Accept: {accept}");
    Problem::new(ProblemKind::NotAcceptable, detail)
}

/// An element of a document.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    Record(Record<'a>),
    Message(Message<'a, Option<Payload<'a>>, Payload<'a>>),
}

impl<'a> Entry<'a> {
    fn new(
        system: System,
        topic: &'a str,
        partition: i32,
        message: &'a KafkaMessage,
        format: Format,
    ) -> Result<Self, NotJson> {
        if system == System::Kafka {
            return Record::new(topic, partition, message, format).map(Self::Record);
        }
        let data = message.value.as_deref().unwrap_or_default();
        // JSON has no empty text. A write takes null as an empty message, too.
        let data = match format {
            Format::Json if data.is_empty() => None,
            _ => Some(payload(data, format).ok_or(NotJson("data"))?),
        };
        Ok(Self::Message(Message::new(Some(topic), message, data, Payload::Base64)))
    }
}

#[derive(Serialize)]
struct Record<'a> {
    topic: &'a str,
    key: Option<Payload<'a>>,
    value: Option<Payload<'a>>,
    partition: i32,
    offset: i64,
    timestamp: i64,
    /// Only if it is not Kafka's default, CreateTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderOf<'a, Payload<'a>>>,
}

/// The part of a record that is not valid JSON.
#[derive(Debug, PartialEq, Eq)]
struct NotJson(&'static str);

impl<'a> Record<'a> {
    fn new(
        topic: &'a str,
        partition: i32,
        message: &'a KafkaMessage,
        format: Format,
    ) -> Result<Self, NotJson> {
        let KafkaMessage { offset, timestamp, key, value, .. } = message;
        let field = |part, bytes: &'a Option<Bytes>| {
            let bytes = bytes.as_deref();
            bytes.map(|bytes| payload(bytes, format).ok_or(NotJson(part))).transpose()
        };
        Ok(Self {
            topic,
            key: field("key", key)?,
            value: field("value", value)?,
            partition,
            offset: *offset,
            timestamp: *timestamp,
            timestamp_type: timestamp_type(message),
            headers: headers(message, Payload::Base64),
        })
    }
}

/// None if the format cannot represent the bytes.
fn payload(bytes: &[u8], format: Format) -> Option<Payload<'_>> {
    match format {
        Format::Json => Payload::json(bytes),
        Format::Binary => Some(Payload::Base64(bytes)),
    }
}

/// The parameters of a read of a stream.
const STREAM_PARAMETERS: [&str; 5] = ["sequence", "max_bytes", "max_messages", "min_bytes", "timeout"];
/// The longest wait at the log end that a client can request.
const MAX_TIMEOUT_MS: i64 = 30_000;
/// The most bytes that a client can wait for: those that a waiting read keeps.
const MAX_MIN_BYTES: i64 = 16_384;
const _: () = assert!(MAX_MIN_BYTES as usize == WAITING_BYTES);

#[cfg(test)]
mod tests;
