//! The contents of a log, as read by librdkafka's consumer.

use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::kafka::Kafka;

/// A partition from its start to its end, each record as one that would write it again; offsets count from 0.
pub(crate) fn read(kafka: &Kafka, topic: &str, partition: i32) -> Vec<ProduceRecord> {
    let messages = kafka.read(topic, partition);
    assert!(messages.iter().map(|message| message.offset).eq(0..messages.len() as i64));
    let record = |message: sluicegate_protocol::KafkaMessage| ProduceRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        key: message.key,
        value: message.value,
        headers: message.headers,
        timestamp: Some(message.timestamp),
    };
    messages.into_iter().map(record).collect()
}
