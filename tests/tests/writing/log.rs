//! What is in a log, as librdkafka's consumer reads it.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers;
use rdkafka::{Message, Offset, TopicPartitionList};
use sluicegate_protocol::{Header, ProduceRecord};
use sluicegate_tests::kafka::Kafka;

/// A partition from its start to its end, each record as one that would write it again; offsets count from 0.
pub(crate) fn read(kafka: &Kafka, topic: &str, partition: i32) -> Vec<ProduceRecord> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "unused")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    let mut records = Vec::new();
    loop {
        match consumer.poll(WITHIN).expect("a record or the log end within 20 s") {
            Ok(message) => {
                assert_eq!(usize::try_from(message.offset()), Ok(records.len()));
                let header = |header: rdkafka::message::Header<'_, &[u8]>| Header {
                    key: header.key.to_owned(),
                    value: header.value.map(|value| value.to_vec().into()),
                };
                records.push(ProduceRecord {
                    topic: topic.to_owned(),
                    partition: Some(partition),
                    key: message.key().map(|key| key.to_vec().into()),
                    value: message.payload().map(|value| value.to_vec().into()),
                    headers: message
                        .headers()
                        .map(|all| all.iter().map(header).collect())
                        .unwrap_or_default(),
                    timestamp: message.timestamp().to_millis(),
                });
            }
            Err(KafkaError::PartitionEOF(_)) => return records,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The numbers that the values of a partition begin with, up to a space.
pub(crate) fn numbers(kafka: &Kafka, topic: &str, partition: i32) -> Vec<u64> {
    let number = |record: ProduceRecord| {
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        value.split(' ').next().unwrap().parse().unwrap()
    };
    read(kafka, topic, partition).into_iter().map(number).collect()
}

const WITHIN: Duration = Duration::from_secs(20);
