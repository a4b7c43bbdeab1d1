//! A subscription's items as the text of events.

use std::io::Write as _;

use serde::Serialize;
use sluicegate_protocol::error_code::INVALID_REQUEST;
use sluicegate_shared_log::Ends;

use super::super::super::problem::{is_default, name};
use super::super::super::response::FRAME_BYTES;
use super::id::{self, MAX_PARTITIONS, Positions};
use crate::backend::{CommandError, Fault, Fetched};
use crate::delivery::{Item, Place, SkipCause};
use crate::json::format::Format;
use crate::json::record::Record;

/// Writes the events of one stream.
pub(super) struct Events {
    format: Format,
    positions: Positions,
    /// `positions` as the base of an `id`.
    base: String,
    /// Records that are left to write, and their partition.
    delivery: Option<(i32, Fetched)>,
    /// Whether the stream has ended.
    pub(super) is_over: bool,
}

impl Events {
    pub(super) fn new(format: Format, positions: Positions) -> Self {
        Self { format, positions, base: String::new(), delivery: None, is_over: false }
    }

    /// Whether records are left to write.
    pub(super) fn has_records(&self) -> bool {
        self.delivery.is_some()
    }

    /// Writes an item, or leaves its records to [`Events::put_records`].
    pub(super) fn put(&mut self, text: &mut Vec<u8>, item: Item) {
        match item {
            Item::Subscribed(topics) => {
                self.positions.topic_id = topics.first().and_then(|topic| topic.topic_id);
                for (partition, offset) in topics.into_iter().flat_map(|topic| topic.partitions) {
                    if !self.positions.set(partition, offset) {
                        return self.fail(text, None, &too_many_partitions());
                    }
                }
                self.base = self.positions.encode();
                self.put_id(text);
                text.push(b'\n');
            }
            Item::Delivery { next, messages, .. } if messages.is_empty() => {
                self.move_to(&next);
                self.put_id(text);
                text.push(b'\n');
            }
            Item::Delivery { next: Place { partition, offset, .. }, messages, .. } => {
                let fetched = Fetched { messages, count: 0, next_offset: offset, ends: Ends::UNKNOWN };
                self.delivery = Some((partition, fetched));
            }
            Item::CaughtUp(place) => {
                self.move_to(&place);
                let data = CaughtUp { partition: place.partition, next_offset: place.offset };
                self.put_event(text, "caught-up", &data);
            }
            Item::Skipped { from, to, cause } => {
                self.move_to(&to);
                let cause = match cause {
                    SkipCause::Deleted => "deleted",
                    SkipCause::Lag => "lag",
                };
                self.put_event(
                    text,
                    "skipped",
                    &Skipped { partition: to.partition, from, to: to.offset, cause },
                );
            }
            Item::Retrying { place, error, .. } => {
                self.put_event(text, "retrying", &Failure::new(Some(place.partition), &error));
            }
            Item::Ended { place, error } => {
                self.fail(text, Some(place.partition).filter(|partition| *partition >= 0), &error);
            }
        }
    }

    /// Writes records of the delivery: as many as a frame has room for, but one at least.
    pub(super) fn put_records(&mut self, text: &mut Vec<u8>) {
        while text.len() < FRAME_BYTES
            && let Some((partition, fetched)) = &mut self.delivery
        {
            let partition = *partition;
            let Some((message, rest)) = fetched.first() else {
                let _ = self.positions.set(partition, fetched.next_offset);
                self.base = self.positions.encode();
                self.delivery = None;
                return;
            };
            fetched.advance_to(rest);
            // Cannot fail: a `Vec` accepts all writes.
            let _ = writeln!(text, "id: {}.{partition}.{}", self.base, message.offset.saturating_add(1));
            put_data(text, &Record::new(partition, &message, self.format));
        }
    }

    /// Moves a partition that has a position.
    fn move_to(&mut self, place: &Place) {
        let _ = self.positions.set(place.partition, place.offset);
        self.base = self.positions.encode();
    }

    fn fail(&mut self, text: &mut Vec<u8>, partition: Option<i32>, error: &CommandError) {
        self.is_over = true;
        let failure = Failure::new(partition, error);
        if !failure.retriable {
            self.base = id::over(&self.base);
        }
        self.put_event(text, "error", &failure);
    }

    fn put_event(&self, text: &mut Vec<u8>, event: &str, data: &impl Serialize) {
        self.put_id(text);
        let _ = writeln!(text, "event: {event}");
        put_data(text, data);
    }

    fn put_id(&self, text: &mut Vec<u8>) {
        let _ = writeln!(text, "id: {}", self.base);
    }
}

/// Writes the data of an event, and its end. A line break would begin another field; in JSON, it is like any space.
fn put_data(text: &mut Vec<u8>, data: &impl Serialize) {
    text.extend_from_slice(b"data: ");
    let begin = text.len();
    // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
    let _ = serde_json::to_writer(&mut *text, data);
    for byte in text.iter_mut().skip(begin).filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    text.extend_from_slice(b"\n\n");
}

fn too_many_partitions() -> CommandError {
    let message = format!(
        "the topic now has more than {MAX_PARTITIONS} partitions: request the events of each partition"
    );
    CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
}

#[derive(Serialize)]
struct CaughtUp {
    partition: i32,
    next_offset: i64,
}

#[derive(Serialize)]
struct Skipped {
    partition: i32,
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
struct Failure<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    reason: String,
    detail: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    kafka_code: i32,
    retriable: bool,
}

impl<'a> Failure<'a> {
    fn new(partition: Option<i32>, error: &'a CommandError) -> Self {
        let CommandError { fault, code, message, .. } = error;
        let (reason, retriable) = (name(fault.reason()), fault.is_retriable());
        Self { partition, reason, detail: message, kafka_code: *code, retriable }
    }
}
