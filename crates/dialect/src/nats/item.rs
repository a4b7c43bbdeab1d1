//! A subscription's items.

use bytes::Bytes;
use serde::Serialize;
use sluicegate_backend::number::millis;
use sluicegate_delivery::{Item, Place, SubscribedTopic};
use sluicegate_protocol as wire;
use sluicegate_protocol::nats_subscription_event::{self as event, Event};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{NatsDeliveryResp, NatsSubscribedResp, NatsSubscriptionEvent, SubscribedStream};

use super::SYSTEM;
use crate::cause_name;
use crate::session::error::{Error, MAX_ERROR_BYTES, error_resp};
use crate::session::subscribe::{cause, id_bytes, id_text};
use crate::session::text::{LATEST_PER_KEY, SnapshotEnd, text};

/// The message of an item without messages of the stream; None for the other items.
pub(super) fn protobuf(item: Item) -> Option<Resp> {
    let event = match item {
        Item::Subscribed(topics) => {
            let streams = topics.into_iter().map(subscribed).collect();
            return Some(Resp::NatsSubscribedResp(NatsSubscribedResp { streams, snapshot: false }));
        }
        Item::Snapshot(topics) => {
            let streams = topics.into_iter().map(subscribed).collect();
            return Some(Resp::NatsSubscribedResp(NatsSubscribedResp { streams, snapshot: true }));
        }
        Item::Building { place: Place { topic, offset, .. }, end } => {
            Event::Building(event::Building { stream: topic.to_string(), next_sequence: offset, end })
        }
        Item::SnapshotEnd { skipped } => {
            Event::SnapshotEnd(wire::kafka_subscription_event::SnapshotEnd { skipped })
        }
        Item::LogStart(Place { topic, offset, .. }) => {
            Event::FirstSequence(event::FirstSequence { stream: topic.to_string(), sequence: offset })
        }
        Item::CaughtUp { place: Place { topic, offset, .. }, .. } => {
            Event::CaughtUp(event::CaughtUp { stream: topic.to_string(), next_sequence: offset })
        }
        Item::Skipped { from, to: Place { topic, offset, .. }, cause: why } => {
            Event::Skipped(event::Skipped {
                stream: topic.to_string(),
                from,
                to: offset,
                cause: cause(why).into(),
            })
        }
        Item::Retrying { place, error, since } => Event::Retrying(event::Retrying {
            stream: place.topic.to_string(),
            error: Some(error_resp(error, SYSTEM, MAX_ERROR_BYTES)),
            since: millis(since),
        }),
        // A stream has no groups.
        Item::Assigned { .. } | Item::Revoked | Item::Delivery { .. } | Item::Ended { .. } => return None,
    };
    Some(Resp::NatsSubscriptionEvent(NatsSubscriptionEvent { event: Some(event) }))
}

/// Everything of a delivery but its messages.
pub(super) fn delivered(Place { topic, offset, .. }: &Place, end: i64) -> NatsDeliveryResp {
    NatsDeliveryResp { messages: Vec::new(), stream: topic.to_string(), next_sequence: *offset, end }
}

fn subscribed(SubscribedTopic { topic, topic_id, partitions }: SubscribedTopic) -> SubscribedStream {
    SubscribedStream {
        stream: topic.to_string(),
        stream_id: id_bytes(topic_id),
        next_sequence: partitions.first().map_or(-1, |(_, next)| *next),
    }
}

/// An item without messages of the stream in JSON; none for the other items.
pub(super) fn json(sequence: i64, item: &Item) -> Option<Bytes> {
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
        Item::Assigned { .. } | Item::Revoked | Item::Delivery { .. } | Item::Ended { .. } => return None,
    })
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
