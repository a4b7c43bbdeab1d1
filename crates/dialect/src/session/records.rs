//! Answers with records.
//!
//! In JSON, the records of an answer take at most the bytes that the command asked for, as in protobuf; one record is delivered
//! even if it is larger. As text, it can be up to six times as large: a control character takes six bytes. What has no
//! room is left to the next fetch.

use std::io::Write as _;

use bytes::Bytes;
use sluicegate_backend::{Chunk, DecodeMessages as _, System, first_message};
use sluicegate_delivery::cluster::escaped_log;
use sluicegate_delivery::{Item, Place};
use sluicegate_protocol::PubSubResp;
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::RouteMetrics;

use super::answer::{Answer, ENVELOPE_BYTES, Encoding};
use super::text::shrunk;
use crate::json::format::Format;

impl Answer {
    /// Records of `partition`, and where to continue. In JSON, with at most `max_bytes` of records. `metrics`
    /// count them.
    pub fn fetched(
        sequence: i64,
        system: System,
        partition: i32,
        fetched: Chunk,
        encoding: Encoding,
        max_bytes: usize,
        metrics: &RouteMetrics,
    ) -> Self {
        match encoding {
            Encoding::Protobuf => {
                metrics.delivered(fetched.count, fetched.messages.len());
                let mut rest = Vec::new();
                let number = crate::of(system).put_fetched(&mut rest, fetched.next_offset, fetched.ends);
                Self::Shared { sequence, number, encoded: fetched.messages, rest }
            }
            Encoding::Json(format) => {
                let mut text = format!("{{\"id\":{sequence},").into_bytes();
                let room = RecordBounds { bytes: max_bytes, for_one: true };
                put_partition(&mut text, system, partition, fetched, format, room, metrics);
                text.push(b'}');
                Self::Text(shrunk(text))
            }
        }
    }

    /// A message of the subscription with this sequence.
    pub fn item(sequence: i64, system: System, item: Item, encoding: Encoding) -> Self {
        match (item, encoding) {
            (Item::Delivery { next, messages, end }, Encoding::Protobuf) => {
                let (number, rest) = crate::of(system).delivered(&next, end);
                Self::Shared { sequence, number, encoded: messages, rest }
            }
            (Item::Delivery { next, messages, end }, Encoding::Json(format)) => {
                Self::Text(delivered(sequence, system, &next, messages, end, format))
            }
            (Item::Ended { place, error }, _) => {
                let log = escaped_log(system, &place.topic, place.partition);
                Self::failed(sequence, system, format_args!("deliver messages, {log}"), error)
            }
            (item, Encoding::Protobuf) => {
                Self::Message(PubSubResp { sequence, resp: crate::of(system).item(item) })
            }
            (item, Encoding::Json(_)) => {
                Self::Text(crate::of(system).item_text(sequence, &item).unwrap_or_default())
            }
        }
    }
}

impl Encoding {
    /// The largest delivery of so many records, which have so many bytes in protobuf.
    pub fn max_delivery_bytes(self, bytes: usize, records: usize) -> usize {
        match self {
            Self::Protobuf => bytes.saturating_add(ENVELOPE_BYTES),
            Self::Json(_) => max_delivery_bytes(bytes, records),
        }
    }
}

/// A delivery: `{"id": 1, "messages": […], "next": {"0": 6}, …}`. Its `bytes` are its cost in credit.
fn delivered(
    sequence: i64,
    system: System,
    next: &Place,
    messages: Bytes,
    end: i64,
    format: Format,
) -> Bytes {
    let Place { topic, partition, offset } = next;
    let (dialect, bytes) = (crate::of(system), messages.len());
    let mut text = format!("{{\"id\":{sequence},\"messages\":[").into_bytes();
    let (mut left, mut is_first) = (messages, true);
    while let Some((message, rest)) = first_message(&left) {
        if !std::mem::take(&mut is_first) {
            text.push(b',');
        }
        dialect.put_message(&mut text, *partition, &message, format);
        left = rest;
    }
    text.push(b']');
    dialect.put_next(&mut text, *partition, *offset);
    dialect.put_ends(&mut text, Ends { end, ..Ends::UNKNOWN });
    // Cannot fail: a `Vec` accepts all writes.
    let _ = write!(text, ",\"{}\":", system.topic);
    let _ = serde_json::to_writer(&mut text, &**topic);
    let _ = write!(text, ",\"bytes\":{bytes}}}");
    shrunk(text)
}

/// The largest text of a delivery of so many records, which have so many bytes in protobuf.
pub const fn max_delivery_bytes(bytes: usize, records: usize) -> usize {
    let fixed = records.saturating_mul(RECORD_BYTES).saturating_add(DELIVERY_BYTES);
    bytes.saturating_mul(MAX_GROWTH).saturating_add(fixed)
}

/// The room for records in JSON.
#[derive(Clone, Copy)]
pub(crate) struct RecordBounds {
    pub(crate) bytes: usize,
    /// Whether one record can be larger.
    pub(crate) for_one: bool,
}

/// Appends what was read of a partition, in JSON. Returns the bytes of its records.
pub(crate) fn put_partition(
    text: &mut Vec<u8>,
    system: System,
    partition: i32,
    mut fetched: Chunk,
    format: Format,
    room: RecordBounds,
    metrics: &RouteMetrics,
) -> usize {
    let dialect = crate::of(system);
    let (records, bytes) = (fetched.count, fetched.messages.len());
    text.extend_from_slice(b"\"messages\":[");
    let begin = text.len();
    while let Some((message, rest)) = fetched.first() {
        let before = text.len();
        let is_first = before == begin;
        if !is_first {
            text.push(b',');
        }
        dialect.put_message(text, partition, &message, format);
        let has_room = text.len().saturating_sub(begin) <= room.bytes || is_first && room.for_one;
        if !has_room {
            text.truncate(before);
            break;
        }
        fetched.advance_to(rest);
    }
    let used = text.len().saturating_sub(begin);
    metrics.delivered(records.saturating_sub(fetched.count), bytes.saturating_sub(fetched.messages.len()));
    fetched.end();
    let Chunk { next_offset, ends, .. } = fetched;
    text.push(b']');
    dialect.put_next(text, partition, next_offset);
    dialect.put_ends(text, ends);
    used
}

/// The growth of a byte of a record in text, at most: a header without content has 3 and becomes 24, and a control
/// character becomes 6.
pub(crate) const MAX_GROWTH: usize = 8;
/// The text of a record that its own bytes do not account for: the names of its members.
pub(crate) const RECORD_BYTES: usize = 100;
/// The text of a delivery without records. A topic's name has at most 249 characters.
const DELIVERY_BYTES: usize = 512;

#[cfg(test)]
pub(crate) mod tests;
