//! A subscription's items as answers.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use sluicegate_protocol::kafka_subscription_event::{
    CaughtUp, Event, OpenTransaction, Retrying, Skipped, skipped::Cause,
};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::wire::number::{KAFKA_DELIVERY_RESP, NATS_DELIVERY_RESP};
use sluicegate_protocol::{
    KafkaDeliveryResp, KafkaSubscribedResp, KafkaSubscriptionEvent, PartitionNext, PubSubResp,
    SubscribedTopic,
};

use super::answer::{Answer, MAX_ERROR_BYTES, error_resp};
use super::command::Encoding;
use super::{json, nats};
use crate::backend::System;
use crate::cluster::shown_log;
use crate::delivery::{self, Item, Place, SkipCause};

impl Answer {
    /// A message of the subscription with this sequence.
    pub(super) fn item(sequence: i64, system: System, item: Item, encoding: Encoding) -> Self {
        match item {
            Item::Delivery { next, messages, end } => match encoding {
                Encoding::Protobuf => {
                    let (number, rest) = match system {
                        System::Kafka => (KAFKA_DELIVERY_RESP, rest(&next, end).encode_to_vec()),
                        System::Nats => (NATS_DELIVERY_RESP, nats::delivered(&next, end).encode_to_vec()),
                    };
                    Self::Shared { sequence, number, encoded: messages, rest }
                }
                Encoding::Json(format) => {
                    Self::Text(json::delivered(sequence, system, &next, messages, end, format))
                }
            },
            Item::Ended { place, error } => {
                let log = shown_log(system, &place.topic, place.partition);
                Self::failed(sequence, system, format_args!("deliver messages, {log}"), error)
            }
            Item::Subscribed(_) | Item::CaughtUp { .. } | Item::Skipped { .. } | Item::Retrying { .. } => {
                let resp = match system {
                    System::Kafka => event(item),
                    System::Nats => nats::event(item),
                };
                Self::Message(PubSubResp { sequence, resp })
            }
        }
    }
}

/// The message of an item without records; None for the other items.
fn event(item: Item) -> Option<Resp> {
    let event = match item {
        Item::Subscribed(topics) => {
            let topics = topics.into_iter().map(subscribed).collect();
            return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics }));
        }
        Item::CaughtUp { place: Place { topic, partition, offset }, blocked_until } => {
            let open_transaction = blocked_until.map(|end| OpenTransaction { end });
            let topic = topic.to_string();
            Event::CaughtUp(CaughtUp { topic, partition, next_offset: offset, open_transaction })
        }
        Item::Skipped { from, to: Place { topic, partition, offset }, cause: why } => {
            let cause = cause(why).into();
            Event::Skipped(Skipped { topic: topic.to_string(), partition, from, to: offset, cause })
        }
        Item::Retrying { place: Place { topic, partition, .. }, error, since } => Event::Retrying(Retrying {
            topic: topic.to_string(),
            partition,
            error: Some(error_resp(error, System::Kafka, MAX_ERROR_BYTES)),
            since: millis(since),
        }),
        Item::Delivery { .. } | Item::Ended { .. } => return None,
    };
    Some(Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) }))
}

/// Everything of a delivery but its messages.
fn rest(Place { topic, partition, offset }: &Place, end: i64) -> KafkaDeliveryResp {
    KafkaDeliveryResp {
        messages: Vec::new(),
        topic: topic.to_string(),
        partition: *partition,
        next_offset: *offset,
        high_watermark: end,
    }
}

fn subscribed(topic: delivery::SubscribedTopic) -> SubscribedTopic {
    let delivery::SubscribedTopic { topic, topic_id, partitions } = topic;
    let next = |(partition, offset)| PartitionNext { partition, offset };
    SubscribedTopic {
        topic: topic.to_string(),
        topic_id: topic_id.map(|id| id.to_be_bytes().to_vec().into()).unwrap_or_default(),
        partitions: partitions.into_iter().map(next).collect(),
    }
}

pub(super) fn cause(cause: SkipCause) -> Cause {
    match cause {
        SkipCause::Deleted => Cause::Deleted,
        SkipCause::Lag => Cause::Lag,
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
