//! A subscription's items as the text of events.

use std::io::Write as _;

use serde::Serialize;
use sluicegate_backend::{CommandError, DecodeMessages as _, Fault, Fetched, System};
use sluicegate_delivery::grant::TermCause;
use sluicegate_delivery::{Item, Place};
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::failure::Failure;
use sluicegate_dialect::json::format::Format;
use sluicegate_protocol::error_code::{INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED};
use sluicegate_shared_log::Ends;

use super::super::super::response::FRAME_BYTES;
use super::id::{self, MAX_PARTITIONS, Positions};

/// Writes the events of one stream.
pub(super) struct Events {
    system: System,
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
    pub(super) fn new(system: System, format: Format, positions: Positions) -> Self {
        Self { system, format, positions, base: String::new(), delivery: None, is_over: false }
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
            Item::CaughtUp { place, blocked_until } => {
                self.move_to(&place);
                let data = dialect::of(self.system).caught_up(&place, blocked_until);
                self.put_event(text, "caught-up", |text| text.extend_from_slice(&data));
            }
            Item::Skipped { from, to, cause } => {
                self.move_to(&to);
                let (partition, cause) = (self.shown(to.partition), dialect::cause_name(cause));
                let skipped = Skipped { partition, from, to: to.offset, cause };
                self.put_event(text, "skipped", |text| put_json(text, &skipped));
            }
            Item::Retrying { place, error, .. } => {
                let failure = Failure::new(&error, self.system, self.shown(place.partition));
                self.put_event(text, "retrying", |text| put_json(text, &failure));
            }
            Item::Ended { place, error } => {
                self.fail(text, self.shown(place.partition), &error);
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
            put_data(text, |text| {
                dialect::of(self.system).put_message(text, partition, &message, self.format);
            });
        }
    }

    /// The partition for clients. Streams have none, and a negative number stands for all partitions.
    fn shown(&self, partition: i32) -> Option<i32> {
        (self.system.has_partitions && partition >= 0).then_some(partition)
    }

    /// Moves a partition that has a position.
    fn move_to(&mut self, place: &Place) {
        let _ = self.positions.set(place.partition, place.offset);
        self.base = self.positions.encode();
    }

    /// Writes the end of a stream whose client's grant has ended. Another one continues at the same place.
    pub(super) fn end(&mut self, text: &mut Vec<u8>, cause: TermCause) {
        self.is_over = true;
        match cause {
            TermCause::Identity => self.deny(text, "identity expired"),
            TermCause::Revoked => self.deny(text, "identity revoked"),
            TermCause::Age | TermCause::Operator => text.extend_from_slice(COMMENT),
        }
    }

    fn deny(&self, text: &mut Vec<u8>, reason: &str) {
        let error = CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, reason);
        let failure = Failure::new(&error, self.system, None);
        self.put_event(text, "error", |text| put_json(text, &failure));
    }

    fn fail(&mut self, text: &mut Vec<u8>, partition: Option<i32>, error: &CommandError) {
        self.is_over = true;
        let failure = Failure::new(error, self.system, partition);
        if !error.fault.is_retriable() {
            self.base = id::over(&self.base);
        }
        self.put_event(text, "error", |text| put_json(text, &failure));
    }

    fn put_event(&self, text: &mut Vec<u8>, event: &str, data: impl FnOnce(&mut Vec<u8>)) {
        self.put_id(text);
        let _ = writeln!(text, "event: {event}");
        put_data(text, data);
    }

    fn put_id(&self, text: &mut Vec<u8>) {
        let _ = writeln!(text, "id: {}", self.base);
    }
}

/// Writes the data of an event, and its end. A line break would begin another field; in JSON, it is like any space.
fn put_data(text: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
    text.extend_from_slice(b"data: ");
    let begin = text.len();
    data(text);
    for byte in text.iter_mut().skip(begin).filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    text.extend_from_slice(b"\n\n");
}

fn put_json(text: &mut Vec<u8>, document: &impl Serialize) {
    // Cannot fail: a `Vec` accepts all writes, and there are no maps with keys that are not strings.
    let _ = serde_json::to_writer(text, document);
}

fn too_many_partitions() -> CommandError {
    let message = format!(
        "the topic now has more than {MAX_PARTITIONS} partitions: request the events of each partition"
    );
    CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
}

/// A comment, which clients ignore.
pub(super) const COMMENT: &[u8] = b":\n\n";

#[derive(Serialize)]
struct Skipped {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    from: i64,
    to: i64,
    cause: &'static str,
}
