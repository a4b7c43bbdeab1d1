//! Records of a partition, or messages of a stream, as JSON.

use std::time::Duration;

use http::StatusCode;
use sluicegate_backend::command::{ReadBounds, Start};
use sluicegate_backend::{DecodeMessages as _, LOG_START, Log, System, WAITING_BYTES, first_message};
use sluicegate_delivery::cluster::escape_for_message;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::media_type::{CLOUDEVENTS, Format};
use sluicegate_protocol::KafkaMessage;
use sluicegate_telemetry::metrics::RouteMetrics;

use super::super::accept::Elements;
use super::super::cloudevents;
use super::super::problem::{Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::filters::with_json;
use super::path::Query;
use super::position::{position, resolve};
use super::positions::{Part, with_offsets};

/// The response to GET of a partition's records.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    grant: &Grant,
    log: Log<'_>,
    query: &Query,
    elements: Elements,
    mut running: &RequestPermits,
) -> Result<Response, Problem> {
    let (start, bounds) = parse_fetch(query, grant.system(), elements)?;
    let filters = with_json(Vec::new(), query, grant.system())?;
    let offset = match resolve(start, grant, log, bounds.committed).await {
        Ok(offset) => offset,
        Err(error) => return Err(Problem::of_read(grant, log, None, error).await),
    };
    let fetched = match grant.fetch(log, offset, bounds, filters, &mut running).await {
        Ok(fetched) => fetched,
        Err(error) => return Err(Problem::of_read(grant, log, Some(offset), error).await),
    };
    let mut part = Part { partition: log.partition, fetched };
    let limits = (grant.max_bytes(bounds), bounds.max_records);
    let parts = std::slice::from_mut(&mut part);
    let body = document(grant.system(), |_| log.topic, parts, elements, limits, grant.route());
    let response = Response::with_body(StatusCode::OK, elements.content_type(grant.system()), body.into());
    Ok(with_offsets(response, &part, grant.system()))
}

/// The response to GET of a key: its newest record, from the topic's table.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get_key(
    grant: &Grant,
    topic: &str,
    key: &[u8],
    format: Format,
) -> Result<Response, Problem> {
    let system = grant.system();
    let found = match grant.look_up(topic, key, format.of_values().decodes()).await {
        Ok(found) => found,
        Err(error) => {
            return Err(Problem::failed(error, system).with_missing_log(grant, topic, None).await);
        }
    };
    let Some((partition, record, (message, _))) =
        found.and_then(|(partition, record)| Some((partition, record.clone(), first_message(&record)?)))
    else {
        let (word, topic) = (dialect::of(system).words().key, escape_for_message(topic));
        let detail = format!("the table of {} {topic} has no such {word}", system.topic);
        return Err(Problem::new(ProblemKind::NoKey, detail));
    };
    let mut body = Vec::new();
    dialect::of(system).put_record(&mut body, topic, partition, &message, format);
    grant.route().delivered(1, record.len());
    Ok(Response::with_body(StatusCode::OK, content_type(format, system), body.into()))
}

/// Where a query begins, and its bounds.
fn parse_fetch(query: &Query, system: System, elements: Elements) -> Result<(Start, ReadBounds), Problem> {
    let place = dialect::of(system).words().offset;
    let start = position(query, place)?.unwrap_or(Start::Timestamp(LOG_START));
    Ok((start, bounds(query, system, elements)?))
}

/// The bounds of a query.
pub(super) fn bounds(query: &Query, system: System, elements: Elements) -> Result<ReadBounds, Problem> {
    let size = |number: Option<i64>| number.and_then(|number| usize::try_from(number).ok());
    let timeout = query.number("timeout", 0..=MAX_TIMEOUT_MS)?;
    let max_records = query.number(dialect::of(system).words().max_records, 1..=i64::MAX)?;
    Ok(ReadBounds {
        max_bytes: size(query.number("max_bytes", 1..=i64::MAX)?),
        wait: timeout.and_then(|timeout| u64::try_from(timeout).ok()).map(Duration::from_millis),
        min_bytes: size(query.number("min_bytes", 0..=MAX_MIN_BYTES)?).unwrap_or_default(),
        max_records: size(max_records).unwrap_or_default(),
        fill: true,
        committed: query.committed()?,
        decode: elements.decodes(),
        reads_on: false,
    })
}

impl Elements {
    /// Whether values with a schema are given as JSON. The data of a CloudEvent has its own type.
    fn decodes(self) -> bool {
        match self {
            Self::Records(format) => format.of_values().decodes(),
            Self::CloudEvents => false,
        }
    }

    /// The media type of a document.
    pub(super) fn content_type(self, system: System) -> &'static str {
        match self {
            Self::Records(format) => content_type(format, system),
            Self::CloudEvents => CLOUDEVENTS,
        }
    }

    /// Appends a record. False: it is left out.
    fn put(self, body: &mut Vec<u8>, system: System, log: Log<'_>, message: &KafkaMessage) -> bool {
        match self {
            Self::Records(format) => {
                dialect::of(system).put_record(body, log.topic, log.partition, message, format);
                true
            }
            Self::CloudEvents => cloudevents::put(body, message, system),
        }
    }
}

/// The media type of records.
pub(super) fn content_type(format: Format, system: System) -> &'static str {
    dialect::of(system).words().media_types.of(format)
}

/// Encodes messages as JSON, one of each partition in turn, without those that are no such elements. Stops at
/// `max_bytes`, but after one record at least, and at `max_records`, if that is not 0. Bytes that do not fit the format
/// are an object with base64. `topic_of` gives the topic of each part.
pub(super) fn document<'a>(
    system: System,
    topic_of: impl Fn(usize) -> &'a str,
    parts: &mut [Part],
    elements: Elements,
    (max_bytes, max_records): (usize, usize),
    metrics: &RouteMetrics,
) -> Vec<u8> {
    let mut body = b"[".to_vec();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    'full: while parts.iter().any(|part| !part.fetched.messages.is_empty()) {
        for (index, part) in parts.iter_mut().enumerate() {
            let Some((message, rest)) = part.fetched.first() else {
                part.fetched.end();
                continue;
            };
            let before = body.len();
            if count > 0 {
                body.push(b',');
            }
            let log = Log { topic: topic_of(index), partition: part.partition };
            if !elements.put(&mut body, system, log, &message) {
                body.truncate(before);
                part.fetched.advance_to(rest);
                continue;
            }
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

/// The longest wait at the log end that a client can request.
const MAX_TIMEOUT_MS: i64 = 30_000;
/// The most bytes that a client can wait for: those that a waiting read keeps.
const MAX_MIN_BYTES: i64 = 16_384;
const _: () = assert!(MAX_MIN_BYTES as usize == WAITING_BYTES);

#[cfg(test)]
mod tests;
