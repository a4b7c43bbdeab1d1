//! A subscription's items.

use bytes::Bytes;
use serde::{Serialize, Serializer};
use sluicegate_backend::number::millis;
use sluicegate_delivery::{Item, Place, SubscribedTopic};
use sluicegate_protocol as wire;
use sluicegate_protocol::kafka_subscription_event::{self as event, Event};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{KafkaDeliveryResp, KafkaSubscribedResp, KafkaSubscriptionEvent, PartitionNext};

use super::SYSTEM;
use crate::cause_name;
use crate::session::error::{Error, MAX_ERROR_BYTES, error_resp};
use crate::session::subscribe::{cause, id_bytes, id_text};
use crate::session::text::{LATEST_PER_KEY, SnapshotEnd, text};

/// The message of an item without records; None for the other items.
pub(super) fn protobuf(item: Item) -> Option<Resp> {
    let event = match item {
        Item::Subscribed(topics) => {
            let topics = topics.into_iter().map(subscribed).collect();
            return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false }));
        }
        Item::Snapshot(topics) => {
            let topics = topics.into_iter().map(subscribed).collect();
            return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: true }));
        }
        Item::Assigned { assignment, topics } => {
            let topics = topics.into_iter().map(subscribed).collect();
            Event::Assigned(event::Assigned { topics, assignment })
        }
        Item::Revoked => Event::Revoked(event::Revoked {}),
        Item::Building { place: Place { topic, partition, offset }, end } => {
            Event::Building(event::Building { topic: topic.to_string(), partition, next_offset: offset, end })
        }
        Item::SnapshotEnd { skipped } => Event::SnapshotEnd(event::SnapshotEnd { skipped }),
        Item::LogStart(Place { topic, partition, offset }) => {
            Event::LogStart(event::LogStart { topic: topic.to_string(), partition, offset })
        }
        Item::CaughtUp { place: Place { topic, partition, offset }, blocked_until } => {
            let open_transaction = blocked_until.map(|end| event::OpenTransaction { end });
            let topic = topic.to_string();
            Event::CaughtUp(event::CaughtUp { topic, partition, next_offset: offset, open_transaction })
        }
        Item::Skipped { from, to: Place { topic, partition, offset }, cause: why } => {
            let cause = cause(why).into();
            Event::Skipped(event::Skipped { topic: topic.to_string(), partition, from, to: offset, cause })
        }
        Item::Retrying { place: Place { topic, partition, .. }, error, since } => {
            Event::Retrying(event::Retrying {
                topic: topic.to_string(),
                partition,
                error: Some(error_resp(error, SYSTEM, MAX_ERROR_BYTES)),
                since: millis(since),
            })
        }
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    };
    Some(Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) }))
}

/// Everything of a delivery but its messages.
pub(super) fn delivered(Place { topic, partition, offset }: &Place, end: i64) -> KafkaDeliveryResp {
    KafkaDeliveryResp {
        messages: Vec::new(),
        topic: topic.to_string(),
        partition: *partition,
        next_offset: *offset,
        high_watermark: end,
    }
}

fn subscribed(SubscribedTopic { topic, topic_id, partitions }: SubscribedTopic) -> wire::SubscribedTopic {
    let next = |(partition, offset)| PartitionNext { partition, offset };
    wire::SubscribedTopic {
        topic: topic.to_string(),
        topic_id: id_bytes(topic_id),
        partitions: partitions.into_iter().map(next).collect(),
    }
}

/// An item without records in JSON; none for the other items.
pub(super) fn json(sequence: i64, item: &Item) -> Option<Bytes> {
    Some(match item {
        Item::Subscribed(topics) => {
            text(sequence, &Subscribed { subscribed: topics.iter().map(topic).collect(), snapshot: None })
        }
        Item::Snapshot(topics) => {
            let subscribed = topics.iter().map(topic).collect();
            text(sequence, &Subscribed { subscribed, snapshot: Some(LATEST_PER_KEY) })
        }
        Item::Assigned { assignment, topics } => {
            let assigned = topics.iter().map(topic).collect();
            text(sequence, &Assigned { assigned, assignment: *assignment })
        }
        Item::Revoked => text(sequence, &Revoked { revoked: Empty {} }),
        Item::Building { place, end } => {
            let building = Part { partition: place.partition, next: place.offset, end: *end };
            text(sequence, &Building { topic: &place.topic, building })
        }
        Item::SnapshotEnd { skipped } => text(sequence, &SnapshotEnd::new(*skipped)),
        Item::LogStart(place) => {
            let log_start = PartitionStart { partition: place.partition, offset: place.offset };
            text(sequence, &LogStart { topic: &place.topic, log_start })
        }
        Item::CaughtUp { place, blocked_until } => {
            let open_transaction = blocked_until.map(|end| OpenTransaction { end });
            let caught_up = CaughtUpAt { partition: place.partition, open_transaction };
            text(sequence, &CaughtUp { topic: &place.topic, next: Next::of(place), caught_up })
        }
        Item::Skipped { from, to, cause } => {
            let skipped =
                Range { partition: to.partition, from: *from, to: to.offset, cause: cause_name(*cause) };
            text(sequence, &Skipped { topic: &to.topic, next: Next::of(to), skipped })
        }
        Item::Retrying { place, error, since } => {
            let error = error_resp(error.clone(), SYSTEM, MAX_ERROR_BYTES);
            let error = Error::of_command(&error);
            let retrying = Outage { partition: place.partition, since: millis(*since), error };
            text(sequence, &Retrying { topic: &place.topic, retrying })
        }
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    })
}

#[derive(Serialize)]
struct Subscribed<'a> {
    subscribed: Vec<Topic<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'static str>,
}

#[derive(Serialize)]
struct Assigned<'a> {
    assigned: Vec<Topic<'a>>,
    assignment: u64,
}

#[derive(Serialize)]
struct Revoked {
    revoked: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Building<'a> {
    topic: &'a str,
    building: Part,
}

#[derive(Serialize)]
struct Part {
    partition: i32,
    next: i64,
    end: i64,
}

#[derive(Serialize)]
struct LogStart<'a> {
    topic: &'a str,
    log_start: PartitionStart,
}

#[derive(Serialize)]
struct PartitionStart {
    partition: i32,
    offset: i64,
}

#[derive(Serialize)]
struct Topic<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    topic_id: String,
    /// Where each begins.
    partitions: Next,
}

#[derive(Serialize)]
struct CaughtUp<'a> {
    topic: &'a str,
    next: Next,
    caught_up: CaughtUpAt,
}

#[derive(Serialize)]
struct CaughtUpAt {
    partition: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_transaction: Option<OpenTransaction>,
}

#[derive(Serialize)]
struct OpenTransaction {
    end: i64,
}

#[derive(Serialize)]
struct Skipped<'a> {
    topic: &'a str,
    next: Next,
    skipped: Range,
}

#[derive(Serialize)]
struct Range {
    partition: i32,
    from: i64,
    to: i64,
    cause: &'static str,
}

#[derive(Serialize)]
struct Retrying<'a> {
    topic: &'a str,
    retrying: Outage<'a>,
}

#[derive(Serialize)]
struct Outage<'a> {
    partition: i32,
    since: i64,
    error: Error<'a>,
}

/// The offset to continue from, by partition.
struct Next(Vec<(i32, i64)>);

impl Next {
    fn of(place: &Place) -> Self {
        Self(vec![(place.partition, place.offset)])
    }
}

impl Serialize for Next {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

fn topic(SubscribedTopic { topic, topic_id, partitions }: &SubscribedTopic) -> Topic<'_> {
    Topic { topic, topic_id: id_text(*topic_id), partitions: Next(partitions.clone()) }
}
