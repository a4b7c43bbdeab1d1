//! A subscription's items in protobuf.

use sluicegate_delivery::{Item, Place};
use sluicegate_protocol::kafka_subscription_event::{
    Building, CaughtUp, Event, LogStart, OpenTransaction, Retrying, Skipped, SnapshotEnd,
};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    KafkaDeliveryResp, KafkaSubscribedResp, KafkaSubscriptionEvent, PartitionNext, SubscribedTopic,
};

use crate::error::{MAX_ERROR_BYTES, error_resp};
use crate::kafka::SYSTEM;
use crate::millis;
use crate::protobuf::{cause, id_bytes};

/// The message of an item without records; None for the other items.
pub(super) fn event(item: Item) -> Option<Resp> {
    let event = match item {
        Item::Subscribed(topics) => {
            let topics = topics.into_iter().map(subscribed).collect();
            return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false }));
        }
        Item::Snapshot(topics) => {
            let topics = topics.into_iter().map(subscribed).collect();
            return Some(Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: true }));
        }
        Item::Building { place: Place { topic, partition, offset }, end } => {
            Event::Building(Building { topic: topic.to_string(), partition, next_offset: offset, end })
        }
        Item::SnapshotEnd { skipped } => Event::SnapshotEnd(SnapshotEnd { skipped }),
        Item::LogStart(Place { topic, partition, offset }) => {
            Event::LogStart(LogStart { topic: topic.to_string(), partition, offset })
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
            error: Some(error_resp(error, SYSTEM, MAX_ERROR_BYTES)),
            since: millis(since),
        }),
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

fn subscribed(topic: sluicegate_delivery::SubscribedTopic) -> SubscribedTopic {
    let sluicegate_delivery::SubscribedTopic { topic, topic_id, partitions } = topic;
    let next = |(partition, offset)| PartitionNext { partition, offset };
    SubscribedTopic {
        topic: topic.to_string(),
        topic_id: id_bytes(topic_id),
        partitions: partitions.into_iter().map(next).collect(),
    }
}
