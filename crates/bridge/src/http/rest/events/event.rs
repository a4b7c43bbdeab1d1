//! A subscription's items as the text of events.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use sluicegate_backend::{Chunk, CommandError, DecodeMessages as _, Fault, System};
use sluicegate_delivery::grant::TermCause;
use sluicegate_delivery::{Item, Place, SubscribedTopic};
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::failure::Failure;
use sluicegate_dialect::json::format::Format;
use sluicegate_dialect::session::too_large;
use sluicegate_protocol::KafkaMessage;
use sluicegate_protocol::error_code::{INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED};
use sluicegate_shared_log::Ends;

use super::super::super::event_stream::Writer;
use super::super::super::response::FRAME_BYTES;
use super::id::{self, MAX_PARTITIONS, Positions, ago};

/// Writes the events of one stream.
pub(super) struct Events {
    system: System,
    format: Format,
    /// The largest event that the client takes.
    max_bytes: usize,
    positions: Positions,
    /// `positions` as the base of an `id`.
    base: String,
    /// Records that are left to write, and their partition.
    delivery: Option<(i32, Chunk)>,
    is_table: bool,
    /// When the client of a table had all that was in its logs last, in seconds since 1970.
    current_at: u64,
    /// Whether a snapshot is not complete: a client that comes back begins anew.
    is_in_snapshot: bool,
    /// Whether the stream has ended.
    is_over: bool,
}

impl Events {
    pub(super) fn new(
        system: System,
        format: Format,
        max_bytes: usize,
        positions: Positions,
        is_table: bool,
    ) -> Self {
        Self {
            system,
            format,
            max_bytes,
            positions,
            base: String::new(),
            delivery: None,
            is_table,
            current_at: 0,
            is_in_snapshot: false,
            is_over: false,
        }
    }

    /// Goes to where the partitions begin. False: the stream has ended.
    fn begin(&mut self, text: &mut Vec<u8>, topics: Vec<SubscribedTopic>) -> bool {
        self.positions.topic_id = topics.first().and_then(|topic| topic.topic_id);
        for (partition, offset) in topics.into_iter().flat_map(|topic| topic.partitions) {
            if !self.positions.set(partition, offset) {
                self.fail(text, None, &too_many_partitions());
                return false;
            }
        }
        self.encode();
        true
    }

    fn encode(&mut self) {
        self.positions.at = self.is_table.then_some(self.current_at);
        self.base = self.positions.encode();
    }

    /// Writes that a record is too large for the client, which goes on behind it. Its key is told if that fits.
    fn put_too_large(&self, text: &mut Vec<u8>, partition: i32, mut message: KafkaMessage, len: usize) {
        let (begin, error) = (text.len(), too_large(len, self.max_bytes, "max_event_bytes"));
        let put = |text: &mut Vec<u8>, message: &KafkaMessage| {
            text.truncate(begin);
            text.extend_from_slice(b"event: too-large\n");
            let data = dialect::of(self.system).too_large(partition, message, self.format, &error);
            put_data(text, |text| text.extend_from_slice(&data));
            self.end_record(text, partition, message);
        };
        put(text, &message);
        if text.len().saturating_sub(begin) > self.max_bytes {
            message.key = None;
            put(text, &message);
        }
    }

    /// Writes the id of a record's event, and its end. Some clients take an id before they have the whole event: behind the
    /// data, it costs them no record if the connection is cut in between.
    fn end_record(&self, text: &mut Vec<u8>, partition: i32, message: &KafkaMessage) {
        if !self.is_in_snapshot {
            // Cannot fail: a `Vec` accepts all writes.
            let _ = writeln!(text, "id: {}.{partition}.{}", self.base, message.offset.saturating_add(1));
        }
        text.push(b'\n');
    }

    /// The partition for clients. Streams have none, and a negative number stands for all partitions.
    fn shown(&self, partition: i32) -> Option<i32> {
        (self.system.has_partitions && partition >= 0).then_some(partition)
    }

    /// Moves a partition that has a position.
    fn move_to(&mut self, place: &Place) {
        let _ = self.positions.set(place.partition, place.offset);
        self.encode();
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
            // Also within a snapshot: it ends here.
            (self.is_in_snapshot, self.positions.at) = (false, None);
            self.base = id::over(&self.positions.encode());
        }
        self.put_event(text, "error", |text| put_json(text, &failure));
    }

    /// Writes where the stream is, if no record does. Clients that do not follow the standard hand blocks without data
    /// to their programs, so even this event has some.
    fn put_position(&self, text: &mut Vec<u8>) {
        self.put_event(text, "position", |text| text.extend_from_slice(b"{}"));
    }

    fn put_event(&self, text: &mut Vec<u8>, event: &str, data: impl FnOnce(&mut Vec<u8>)) {
        // Cannot fail: a `Vec` accepts all writes.
        let _ = writeln!(text, "event: {event}");
        put_data(text, data);
        if !self.is_in_snapshot {
            let _ = writeln!(text, "id: {}", self.base);
        }
        text.push(b'\n');
    }
}

impl Writer for Events {
    fn begin(&self) -> Vec<u8> {
        format!("retry: {}\n", fastrand::u64(RETRY_MS)).into_bytes()
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn has_records(&self) -> bool {
        self.delivery.is_some()
    }

    fn put(&mut self, text: &mut Vec<u8>, item: Item, behind: Duration) {
        self.current_at = ago(behind);
        match item {
            Item::Subscribed(topics) => {
                if self.begin(text, topics) {
                    self.put_position(text);
                }
            }
            Item::Snapshot(topics) => {
                self.positions = self.positions.emptied();
                self.is_in_snapshot = true;
                if self.begin(text, topics) {
                    // The HTML standard, section 9.2.6: an empty id is none. Some clients ignore fields without a colon.
                    text.extend_from_slice(b"event: snapshot\ndata: {}\nid:\n\n");
                }
            }
            Item::Building { place, end } => {
                let building = Building { partition: self.shown(place.partition), next: place.offset, end };
                self.put_event(text, "building", |text| put_json(text, &building));
            }
            Item::SnapshotEnd { skipped } => {
                self.is_in_snapshot = false;
                self.encode();
                self.put_event(text, "snapshot-end", |text| put_json(text, &SnapshotEnd { skipped }));
            }
            Item::LogStart(place) => {
                let start = LogStart { partition: self.shown(place.partition), offset: place.offset };
                self.put_event(text, "log-start", |text| put_json(text, &start));
            }
            Item::Delivery { next, messages, .. } if messages.is_empty() => {
                self.move_to(&next);
                self.put_position(text);
            }
            Item::Delivery { next: Place { partition, offset, .. }, messages, .. } => {
                let fetched = Chunk { messages, ..Chunk::nothing(offset, Ends::UNKNOWN) };
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
            // No stream of events is a member of a group.
            Item::Assigned { .. } | Item::Revoked => {}
            Item::Ended { place, error } => {
                self.fail(text, self.shown(place.partition), &error);
            }
        }
    }

    /// The client of a table learns when it had all that was in its logs.
    fn put_quiet(&mut self, text: &mut Vec<u8>, behind: Duration) {
        self.current_at = ago(behind);
        if self.is_table && !self.is_in_snapshot {
            self.encode();
            self.put_position(text);
        } else {
            text.extend_from_slice(COMMENT);
        }
    }

    fn put_records(&mut self, text: &mut Vec<u8>) {
        while text.len() < FRAME_BYTES
            && let Some((partition, fetched)) = &mut self.delivery
        {
            let partition = *partition;
            let Some((message, rest)) = fetched.first() else {
                let _ = self.positions.set(partition, fetched.next_offset);
                self.delivery = None;
                self.encode();
                return;
            };
            fetched.advance_to(rest);
            let begin = text.len();
            put_data(text, |text| {
                dialect::of(self.system).put_message(text, partition, &message, self.format);
            });
            self.end_record(text, partition, &message);
            let len = text.len().saturating_sub(begin);
            if len > self.max_bytes {
                text.truncate(begin);
                self.put_too_large(text, partition, message, len);
            }
        }
    }

    fn end(&mut self, text: &mut Vec<u8>, cause: TermCause) {
        self.is_over = true;
        match cause {
            TermCause::Identity => self.deny(text, "identity expired"),
            TermCause::Revoked => self.deny(text, "identity revoked"),
            TermCause::Age | TermCause::Operator => text.extend_from_slice(COMMENT),
        }
    }
}

/// Writes the data of an event. A line break would begin another field; in JSON, it is like any space.
fn put_data(text: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
    text.extend_from_slice(b"data: ");
    let begin = text.len();
    data(text);
    for byte in text.iter_mut().skip(begin).filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    text.push(b'\n');
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

/// The time before a browser reconnects, in milliseconds. Streams that end together do not come back together.
const RETRY_MS: std::ops::RangeInclusive<u64> = 1000..=3000;
/// A comment, which clients ignore. An empty line behind it would end a block without data.
const COMMENT: &[u8] = b":\n";

#[derive(Serialize)]
struct Skipped {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
struct Building {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    next: i64,
    end: i64,
}

#[derive(Serialize)]
struct SnapshotEnd {
    skipped: u64,
}

#[derive(Serialize)]
struct LogStart {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    offset: i64,
}
