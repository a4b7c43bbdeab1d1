//! The records of a stream as server-sent events (section 5.8): each event with data is followed by one that says where to go
//! on, in the same frame.

use std::time::Duration;

use serde::Serialize;
use sluicegate_backend::command::{Source, Start, SubscribeCommand};
use sluicegate_backend::{Chunk, DecodeMessages as _, Fault, System};
use sluicegate_delivery::Item;
use sluicegate_delivery::grant::TermCause;
use sluicegate_shared_log::Ends;

use super::super::Request;
use super::super::event_stream::{self, Life, Writer};
use super::super::problem::Problem;
use super::super::request_permits::RequestPermits;
use super::super::response::{FRAME_BYTES, Response};
use super::content::{Content, Kind};
use super::position::{Position, cursor};
use super::target::{Begin, ReadQuery, Target};
use super::{DATA_ENCODING, read};

/// The response to GET of events.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn get(
    request: &Request<'_>,
    target: &Target,
    content: Content,
    query: ReadQuery,
    running: &RequestPermits,
) -> Result<Response, Problem> {
    let grant = request.grant;
    let (start, end) = read::ends(grant, target, query.committed).await?;
    let topic_id = read::check_topic(grant, target, &query.begin)?;
    // Committed records end before those of an open transaction, behind which a client can be.
    let last = match query.begin {
        Begin::At(_) if query.committed => read::ends(grant, target, false).await?.1,
        _ => end,
    };
    let offset = match query.begin {
        Begin::Start => start,
        Begin::Now => end,
        Begin::At(Position { offset, .. }) if (start..=last).contains(&offset) => offset,
        Begin::At(Position { offset, .. }) => return Err(read::beyond(grant, target, offset, (start, last))),
    };
    let source = Source {
        topic: target.topic.clone(),
        partitions: vec![target.partition],
        from: Start::Offset(offset),
        next: vec![(target.partition, offset)],
        topic_id,
    };
    let command = SubscribeCommand {
        sources: vec![source],
        committed: query.committed,
        decode: content.decodes(),
        filters: query.filters,
        ..SubscribeCommand::default()
    };
    let subscription = match grant.follow(command).await {
        Ok(subscription) => subscription,
        Err(error) if error.fault == Fault::Recreated => return Err(read::other_topic(grant, target)),
        Err(error) => return Err(Problem::of_read(grant, target.log(), None, error).await),
    };
    let (response, frames) = event_stream::response("no-cache, no-store, no-transform");
    let response = match content.kind {
        Kind::Bytes => response.header(DATA_ENCODING, "base64"),
        Kind::Text | Kind::Json(_) => response,
    };
    let records = Records {
        system: grant.system(),
        content,
        partition: target.partition,
        topic_id,
        offset,
        cursor: cursor(query.cursor),
        delivery: None,
        held: Vec::new(),
        is_current: false,
        told: None,
        is_over: false,
    };
    event_stream::begin(subscription, records, grant, running, frames).await?;
    Ok(response)
}

/// Writes the records of one stream.
struct Records {
    system: System,
    content: Content,
    partition: i32,
    topic_id: Option<u128>,
    /// After what is written, or held.
    offset: i64,
    cursor: u64,
    /// Records that are left to write, and the end of the stream when they were read.
    delivery: Option<(Chunk, i64)>,
    /// Events with data whose control event waits to learn whether the stream ends there.
    held: Vec<u8>,
    /// Whether the end of the stream was found since the request: ends of later deliveries are newer.
    is_current: bool,
    /// The offset of the last control event, and whether it was the end.
    told: Option<(i64, bool)>,
    is_over: bool,
}

impl Records {
    /// Writes what is held, and where to go on, unless that was told.
    fn put_control(&mut self, text: &mut Vec<u8>, is_end: bool) {
        if self.held.is_empty() && self.told == Some((self.offset, is_end)) {
            return;
        }
        self.told = Some((self.offset, is_end));
        // Not appended to, as it would keep the memory of its largest content.
        let held = std::mem::take(&mut self.held);
        if text.is_empty() {
            *text = held
        } else {
            text.extend_from_slice(&held)
        }
        self.cursor = self.cursor.max(cursor(None));
        let control = Control {
            stream_next_offset: Position::new(self.topic_id, self.offset).text(),
            stream_cursor: self.cursor.to_string(),
            up_to_date: is_end,
        };
        text.extend_from_slice(b"event: control\ndata:");
        // Cannot fail: a `Vec` accepts all writes, and there are no maps with keys that are not strings.
        let _ = serde_json::to_writer(&mut *text, &control);
        text.extend_from_slice(b"\n\n");
    }

    fn move_to(&mut self, offset: i64) {
        self.offset = offset.max(self.offset);
    }
}

impl Writer for Records {
    fn begin(&self) -> Vec<u8> {
        Vec::new()
    }

    fn life(&self) -> Life {
        // Section 5.8: about 60 s. Streams that end together do not come back together.
        Life { least: LEAST_LIFE, most: Some(Duration::from_secs(fastrand::u64(LIFE_S))) }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn has_records(&self) -> bool {
        self.delivery.is_some()
    }

    fn put(&mut self, text: &mut Vec<u8>, item: Item, _: Duration) {
        match item {
            Item::Delivery { next, messages, end } if !messages.is_empty() => {
                self.put_held(text);
                self.delivery = Some((Chunk { messages, ..Chunk::nothing(next.offset, Ends::UNKNOWN) }, end));
            }
            Item::Delivery { next, end, .. } => {
                self.move_to(next.offset);
                let is_end = self.is_current && self.offset >= end;
                self.put_control(text, is_end);
            }
            Item::CaughtUp { place, .. } => {
                self.is_current = true;
                self.move_to(place.offset);
                self.put_control(text, true);
            }
            // The next request learns why.
            Item::Skipped { .. } | Item::Ended { .. } => {
                self.put_held(text);
                self.is_over = true;
            }
            Item::Retrying { .. } => self.put_held(text),
            // No stream is a table or a member of a group, and it has begun where it was asked to.
            Item::Subscribed(_)
            | Item::Snapshot(_)
            | Item::Building { .. }
            | Item::SnapshotEnd { .. }
            | Item::LogStart(_)
            | Item::Assigned { .. }
            | Item::Revoked => {}
        }
    }

    fn put_records(&mut self, text: &mut Vec<u8>) {
        let Some((mut chunk, end)) = self.delivery.take() else { return };
        let mut body = Vec::new();
        self.content.begin(&mut body);
        let begin = body.len();
        while let Some((message, rest)) = chunk.first().filter(|_| body.len() < FRAME_BYTES) {
            self.content.put(&mut body, self.system, self.partition, &message);
            self.move_to(message.offset.saturating_add(1));
            chunk.advance_to(rest);
        }
        let has_content = body.len() > begin;
        self.content.end(&mut body);
        if has_content {
            self.held.extend_from_slice(b"event: data\n");
            self.content.put_data(&mut self.held, &body);
            self.held.push(b'\n');
        }
        if !chunk.messages.is_empty() {
            self.delivery = Some((chunk, end));
            return self.put_control(text, false);
        }
        self.move_to(chunk.next_offset);
        match self.offset >= end {
            true if self.is_current => self.put_control(text, true),
            // The end can be as old as what was kept of the log: the subscription tells once it has looked.
            true => {}
            false => {
                self.is_current = false;
                self.put_control(text, false);
            }
        }
    }

    fn put_quiet(&mut self, text: &mut Vec<u8>, _: Duration) {
        self.told = None;
        self.put_control(text, self.is_current);
    }

    fn end(&mut self, text: &mut Vec<u8>, _: TermCause) {
        self.put_held(text);
        self.is_over = true;
    }
}

impl Records {
    fn put_held(&mut self, text: &mut Vec<u8>) {
        if !self.held.is_empty() {
            self.put_control(text, false);
        }
    }
}

/// Where a client goes on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    stream_next_offset: String,
    stream_cursor: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    up_to_date: bool,
}

/// The official client counts shorter streams as failed.
const LEAST_LIFE: Duration = Duration::from_millis(1500);
const LIFE_S: std::ops::RangeInclusive<u64> = 45..=75;
