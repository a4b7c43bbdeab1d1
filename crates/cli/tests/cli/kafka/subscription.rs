//! A bridge's answers to a subscription of the example topics.

use sluicegate_protocol::kafka_source::From;
use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, Retrying};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, KafkaDeliveryResp, KafkaMessage, KafkaSource, KafkaSubscribedResp,
    KafkaSubscriptionEvent, PartitionNext, SubscribedTopic,
};

use super::{error, list_offset, log, message, unknown};

/// All of each topic up to its end, one partition after the other, and three more messages of `growing`.
pub(super) fn answers(command: &CmdKafkaSubscribe) -> Vec<Resp> {
    let mut topics = Vec::new();
    let mut told = Vec::new();
    for source in &command.sources {
        let begins = match begins(source) {
            Ok(begins) => begins,
            Err(partition) => return vec![Resp::ErrorResp(unknown("subscribe", &source.topic, partition))],
        };
        let topic = source.topic.clone();
        told.extend(begins.iter().flat_map(|begin| read(&topic, *begin)));
        topics.push(SubscribedTopic { topic, topic_id: "id".into(), partitions: begins });
    }
    told.insert(0, Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot: false }));
    told
}

/// Or a partition that does not exist.
fn begins(source: &KafkaSource) -> Result<Vec<PartitionNext>, i32> {
    let KafkaSource { topic, partitions, next, from, .. } = source;
    let partitions = match &partitions[..] {
        [] => (0..).take_while(|partition| log(topic, *partition).is_some()).collect(),
        named => named.to_vec(),
    };
    let begin = |partition: i32| {
        let log = log(topic, partition).ok_or(partition)?;
        let next = next.iter().find(|next| next.partition == partition);
        let offset = match (next, from) {
            (Some(next), _) => next.offset,
            (None, Some(From::Offset(offset))) => *offset,
            (None, Some(From::Timestamp(time))) => list_offset(&log, *time, log.end),
            (None, None) => log.end,
        };
        Ok(PartitionNext { partition, offset })
    };
    partitions.into_iter().map(begin).collect()
}

fn read(topic: &str, PartitionNext { partition, offset }: PartitionNext) -> Vec<Resp> {
    let Some(log) = log(topic, partition) else { return Vec::new() };
    let mut told = Vec::new();
    if topic == "moving" {
        let error = Some(error("deliver messages", topic, partition, 6, "NOT_LEADER_OR_FOLLOWER"));
        told.push(event(Event::Retrying(Retrying { topic: topic.into(), partition, error, since: 0 })));
    }
    let unread: Vec<_> = log.messages.into_iter().filter(|message| message.offset >= offset).collect();
    if !unread.is_empty() {
        told.push(delivery(topic, partition, unread, log.end));
    }
    told.push(event(Event::CaughtUp(CaughtUp {
        topic: topic.into(),
        partition,
        next_offset: log.end,
        open_transaction: None,
    })));
    if (topic, partition) == ("growing", 0) {
        told.push(delivery(topic, partition, (2..5).map(message).collect(), 5));
    }
    told
}

fn delivery(topic: &str, partition: i32, messages: Vec<KafkaMessage>, end: i64) -> Resp {
    let (topic, next_offset) = (topic.to_owned(), end);
    Resp::KafkaDeliveryResp(KafkaDeliveryResp {
        messages,
        topic,
        partition,
        next_offset,
        high_watermark: end,
    })
}

fn event(event: Event) -> Resp {
    Resp::KafkaSubscriptionEvent(KafkaSubscriptionEvent { event: Some(event) })
}
