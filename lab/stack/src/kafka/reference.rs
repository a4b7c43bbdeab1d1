//! Reads with librdkafka's consumer: the reference for our own reads and writes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, Timestamp, TopicPartitionList};
use sluicegate_protocol::{Header, KafkaMessage};

use super::Kafka;

impl Kafka {
    /// All records of a partition, from the start to the end of its log, including aborted ones.
    pub fn read(&self, topic: &str, partition: i32) -> Vec<KafkaMessage> {
        self.read_as("read_uncommitted", topic, partition..partition + 1).remove(&partition).unwrap()
    }

    /// As [`read`](Self::read), without the records of open and aborted transactions.
    pub fn read_committed(&self, topic: &str, partition: i32) -> Vec<KafkaMessage> {
        self.read_as("read_committed", topic, partition..partition + 1).remove(&partition).unwrap()
    }

    /// The same for each of so many partitions.
    pub fn read_all_committed(&self, topic: &str, partitions: i32) -> BTreeMap<i32, Vec<KafkaMessage>> {
        self.read_as("read_committed", topic, 0..partitions)
    }

    fn read_as(
        &self,
        isolation: &str,
        topic: &str,
        partitions: Range<i32>,
    ) -> BTreeMap<i32, Vec<KafkaMessage>> {
        let consumer = self.consumer(isolation);
        let mut start = TopicPartitionList::new();
        let mut logs = BTreeMap::new();
        for partition in partitions {
            start.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
            logs.insert(partition, Vec::new());
        }
        consumer.assign(&start).unwrap();
        let mut left: BTreeSet<i32> = logs.keys().copied().collect();
        while !left.is_empty() {
            match consumer.poll(WITHIN).expect("a record or the log end within 20 s") {
                // Of a partition whose end was told before.
                Ok(message) if !left.contains(&message.partition()) => {}
                Ok(message) => logs.entry(message.partition()).or_default().push(KafkaMessage {
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap(),
                    key: message.key().map(Bytes::copy_from_slice),
                    value: message.payload().map(Bytes::copy_from_slice),
                    headers: message.headers().into_iter().flat_map(|all| all.iter()).map(header).collect(),
                    timestamp_type: matches!(message.timestamp(), Timestamp::LogAppendTime(_)).into(),
                    ..KafkaMessage::default()
                }),
                Err(KafkaError::PartitionEOF(partition)) => drop(left.remove(&partition)),
                // A node is down, or all that it has asked so far. librdkafka reads from another one.
                Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                )) => {}
                Err(error) => panic!("{error}"),
            }
        }
        logs
    }

    /// The offsets that librdkafka finds in partition 0 for these times; −1 if every record is older.
    pub fn offsets_at(&self, topic: &str, times: &[i64]) -> Vec<i64> {
        let consumer = self.consumer("read_uncommitted");
        let offset_at = |time: &i64| {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_offset(topic, 0, Offset::Offset(*time)).unwrap();
            let found = consumer.offsets_for_times(asked, WITHIN).unwrap();
            match found.elements().first().expect("an element").offset() {
                Offset::Offset(offset) => offset,
                Offset::End => -1,
                other => panic!("{other:?}"),
            }
        };
        times.iter().map(offset_at).collect()
    }

    fn consumer(&self, isolation: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "unused")
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            // One empty poll finds the log end.
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap()
    }
}

fn header(header: rdkafka::message::Header<'_, &[u8]>) -> Header {
    Header { key: header.key.to_owned(), value: header.value.map(Bytes::copy_from_slice) }
}

const WITHIN: Duration = Duration::from_secs(20);
