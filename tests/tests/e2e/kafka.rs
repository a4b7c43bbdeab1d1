//! The Kafka that the other tests stand on: what they ask of it, it does.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use sluicegate_tests::kafka::{Codec, Kafka, Outcome, Record, Setup, Write};

/// What librdkafka's consumer reads from the log start to the log end, with control records skipped.
fn read(kafka: &Kafka, topic: &str) -> Vec<(i64, Record)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "unused")
        .set("isolation.level", "read_uncommitted")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    let mut records = Vec::new();
    loop {
        match consumer.poll(Duration::from_secs(10)).expect("a record or the end") {
            Ok(message) => {
                let record = Record {
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    timestamp: message.timestamp().to_millis(),
                };
                records.push((message.offset(), record));
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return records,
            Err(error) => panic!("{error}"),
        }
    }
}

fn some_records() -> Vec<Record> {
    let record = |key: Option<&str>, value: Option<&str>, timestamp| Record {
        key: key.map(Into::into),
        value: value.map(Into::into),
        timestamp: Some(timestamp),
    };
    vec![
        record(Some("key"), Some("value"), 1_700_000_000_000),
        record(None, Some("no key"), 1_700_000_000_001),
        record(Some("no value"), None, 1_700_000_000_002),
        record(None, None, 1_700_000_000_003),
        Record { timestamp: Some(1_700_000_000_004), ..Record::of(vec![b'x'; 1 << 20]) },
    ]
}

#[tokio::test]
async fn records_of_every_codec_come_back_as_they_were_written() {
    let kafka = Kafka::shared().await.unwrap();
    for codec in Codec::ALL {
        let topic = kafka.topic(codec.name(), 1, &[]).await.unwrap();
        let how = Write { codec, batch: Some(2), ..Write::default() };
        let offsets = kafka.produce(&topic, 0, &some_records(), how).await.unwrap();
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
        let want: Vec<_> = offsets.into_iter().zip(some_records()).collect();
        let got = read(kafka, &topic);
        let offsets: Vec<i64> = got.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3, 4], "{codec:?}");
        assert!(got == want, "{codec:?}");
    }
}

#[tokio::test]
async fn a_transaction_ends_with_a_control_record_that_takes_an_offset() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("transactions", 1, &[]).await.unwrap();
    for (outcome, offset) in [(Outcome::Commit, 0), (Outcome::Abort, 2)] {
        let how = Write { transaction: Some(outcome), ..Write::default() };
        let offsets = kafka.produce(&topic, 0, &[Record::of("in a transaction")], how).await.unwrap();
        assert_eq!(offsets, [offset], "{outcome:?}");
    }
    assert_eq!(kafka.watermarks(&topic, 0).unwrap(), (0, 4));
    assert_eq!(read(kafka, &topic).iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 2]);
}

#[tokio::test]
async fn the_log_start_moves_when_records_are_deleted() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("deleted", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &some_records(), Write::default()).await.unwrap();
    kafka.delete_records_before(&topic, 0, 3).await.unwrap();
    assert_eq!(kafka.watermarks(&topic, 0).unwrap(), (3, 5));
    kafka.delete_topic(&topic).await.unwrap();
    assert!(!kafka.topics().unwrap().contains(&topic));
}

#[tokio::test]
async fn a_killed_node_comes_back_on_the_same_port_with_its_records() {
    let mut kafka = Kafka::start().await.unwrap();
    let topic = kafka.topic("killed", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &some_records(), Write::default()).await.unwrap();
    let bootstrap = kafka.bootstrap();
    kafka.kill();
    assert!(std::net::TcpStream::connect(kafka.nodes[0].address()).is_err());
    kafka.up().await.unwrap();
    assert_eq!(kafka.bootstrap(), bootstrap);
    let offsets = kafka.produce(&topic, 0, &[Record::of("after")], Write::default()).await.unwrap();
    assert_eq!(offsets, [5]);
}

#[tokio::test]
async fn three_nodes_share_a_topic_and_one_of_them_may_die() {
    let mut kafka = Kafka::start_with(Setup { nodes: 3, ..Setup::default() }).await.unwrap();
    let topic = kafka.topic("shared", 3, &[]).await.unwrap();
    kafka.nodes[2].process.kill();
    for partition in 0..3 {
        let offsets = kafka.produce(&topic, partition, &some_records(), Write::default()).await.unwrap();
        assert_eq!(offsets, [0, 1, 2, 3, 4]);
    }
    kafka.up().await.unwrap();
}
