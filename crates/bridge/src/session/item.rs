//! A subscription's items as answers.

use std::time::{SystemTime, UNIX_EPOCH};

use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, Retrying, Skipped, skipped::Cause};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    KafkaDeliveryResp, KafkaSubscribedResp, KafkaSubscriptionEvent, PartitionNext, SubscribedTopic,
};

use super::answer::{Answer, MAX_ERROR_BYTES, error_resp};
use super::command::Encoding;
use super::json;
use crate::cluster::shown;
use crate::delivery::{self, Item, Place, SkipCause};

impl Answer {
    /// A message of the subscription with this sequence.
    pub(super) fn item(sequence: i64, item: Item, encoding: Encoding) -> Self {
        let event = match item {
            Item::Delivery { next, messages, end } => {
                return match encoding {
                    Encoding::Protobuf => Self::Delivery { sequence, messages, rest: rest(next, end) },
                    Encoding::Json(format) => {
                        Self::Text(json::delivered(sequence, &next, messages, end, format))
                    }
                };
            }
            Item::Subscribed(topics) => {
                let topics = topics.into_iter().map(subscribed).collect();
                return Self::new(sequence, Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics }));
            }
            Item::Ended { place, error } => {
                let (topic, partition) = (shown(&place.topic), place.partition);
                let what = format_args!("deliver messages, topic: {topic}, partition: {partition}");
                return Self::failed(sequence, what, error);
            }
            Item::CaughtUp(Place { topic, partition, offset }) => {
                Event::CaughtUp(CaughtUp { topic: topic.to_string(), partition, next_offset: offset })
            }
            Item::Skipped { from, to: Place { topic, partition, offset }, cause } => {
                let cause = match cause {
                    SkipCause::Deleted => Cause::Deleted,
                    SkipCause::Lag => Cause::Lag,
                };
                Event::Skipped(Skipped {
                    topic: topic.to_string(),
                    partition,
                    from,
                    to: offset,
                    cause: cause.into(),
                })
            }
            Item::Retrying { place: Place { topic, partition, .. }, error, since } => {
                Event::Retrying(Retrying {
                    topic: topic.to_string(),
                    partition,
                    error: Some(error_resp(error, MAX_ERROR_BYTES)),
                    since: millis(since),
                })
            }
        };
        Self::new(sequence, Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) }))
    }
}

/// Everything of a delivery but its messages.
fn rest(Place { topic, partition, offset }: Place, end: i64) -> KafkaDeliveryResp {
    KafkaDeliveryResp {
        messages: Vec::new(),
        topic: topic.to_string(),
        partition,
        next_offset: offset,
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

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
