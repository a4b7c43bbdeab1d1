//! Results and items of subscriptions in JSON.

use bytes::Bytes;
use serde::Serialize;
use sluicegate_backend::{CommandError, DeliveryReport, ListedOffset};
use sluicegate_delivery::{Item, SubscribedTopic};

use crate::error::{MAX_ERROR_BYTES, error_resp};
use crate::json_sessions::answer::{LATEST_PER_KEY, SnapshotEnd, results, text};
use crate::json_sessions::error::Error;
use crate::json_sessions::subscribe::id_text;
use crate::nats::SYSTEM;
use crate::nats::published::Published;
use crate::{cause_name, millis};

/// The sequences of many streams.
pub(in crate::nats) fn listed(sequence: i64, listed: Vec<Result<ListedOffset, CommandError>>) -> Bytes {
    let place = |ListedOffset { offset, timestamp }| Sequence { sequence: offset, timestamp };
    results(sequence, SYSTEM, listed.into_iter().map(|result| result.map(place)))
}

/// The reports of messages.
pub(in crate::nats) fn published(sequence: i64, reports: Vec<DeliveryReport>) -> Bytes {
    results(sequence, SYSTEM, reports.into_iter().map(|report| report.map(Published::from)))
}

/// An item without messages of the stream; none for the other items.
pub(in crate::nats) fn item(sequence: i64, item: &Item) -> Option<Bytes> {
    Some(match item {
        Item::Subscribed(streams) => {
            text(sequence, &Subscribed { subscribed: streams.iter().map(stream).collect(), snapshot: None })
        }
        Item::Snapshot(streams) => {
            let subscribed = streams.iter().map(stream).collect();
            text(sequence, &Subscribed { subscribed, snapshot: Some(LATEST_PER_KEY) })
        }
        Item::Building { place, end } => {
            let building = Part { next: place.offset, end: *end };
            text(sequence, &Building { stream: &place.topic, building })
        }
        Item::SnapshotEnd { skipped } => text(sequence, &SnapshotEnd::new(*skipped)),
        Item::LogStart(place) => {
            text(sequence, &FirstSequence { stream: &place.topic, first_sequence: place.offset })
        }
        Item::CaughtUp { place, .. } => {
            text(sequence, &CaughtUp { stream: &place.topic, next: place.offset, caught_up: Empty {} })
        }
        Item::Skipped { from, to, cause } => {
            let skipped = Range { from: *from, to: to.offset, cause: cause_name(*cause) };
            text(sequence, &Skipped { stream: &to.topic, next: to.offset, skipped })
        }
        Item::Retrying { place, error, since } => {
            let error = error_resp(error.clone(), SYSTEM, MAX_ERROR_BYTES);
            let retrying = Outage { since: millis(*since), error: Error::of_command(&error) };
            text(sequence, &Retrying { stream: &place.topic, retrying })
        }
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    })
}

/// The sequence of a time.
#[derive(Serialize)]
struct Sequence {
    sequence: i64,
    timestamp: i64,
}

#[derive(Serialize)]
struct Subscribed<'a> {
    subscribed: Vec<Stream<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'static str>,
}

#[derive(Serialize)]
struct Building<'a> {
    stream: &'a str,
    building: Part,
}

#[derive(Serialize)]
struct Part {
    next: i64,
    end: i64,
}

#[derive(Serialize)]
struct FirstSequence<'a> {
    stream: &'a str,
    first_sequence: i64,
}

#[derive(Serialize)]
struct Stream<'a> {
    stream: &'a str,
    stream_id: String,
    /// Where it begins.
    next: i64,
}

#[derive(Serialize)]
struct CaughtUp<'a> {
    stream: &'a str,
    next: i64,
    caught_up: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Skipped<'a> {
    stream: &'a str,
    next: i64,
    skipped: Range,
}

#[derive(Serialize)]
struct Range {
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
struct Retrying<'a> {
    stream: &'a str,
    retrying: Outage<'a>,
}

#[derive(Serialize)]
struct Outage<'a> {
    since: i64,
    error: Error<'a>,
}

fn stream(SubscribedTopic { topic, topic_id, partitions }: &SubscribedTopic) -> Stream<'_> {
    Stream {
        stream: topic,
        stream_id: id_text(*topic_id),
        next: partitions.first().map_or(-1, |(_, next)| *next),
    }
}
