//! Logs with gaps in their offsets: compacted ones.

use std::time::Duration;

use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::kafka::{Codec, Kafka, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::reading::reference::{START, check_reads};
use crate::reading::shared;

const WITHIN: Duration = Duration::from_secs(60);

/// Compacted as soon as a segment is full, and a segment is full at the next record.
pub(crate) const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];

/// Waits until compaction has left so many records, and gives them as librdkafka reads them.
pub(crate) async fn compacted(kafka: &Kafka, topic: &str, left: usize) -> Vec<KafkaMessage> {
    let left = async || match kafka.read(topic, 0) {
        messages if messages.len() == left => Ok(messages),
        messages => Err(format!("{} records are left, not {left}", messages.len())),
    };
    until("the log is compacted", WITHIN, left).await
}

#[tokio::test]
async fn compacted_log_is_read_from_every_offset() {
    const COUNT: i64 = 100;
    let (kafka, stack) = shared(Way::Tunnel).await;
    let record = |number: i64| Record {
        key: Some(format!("key {}", if number == 3 { 100 } else { number % 7 }).into()),
        // One key's last word is its tombstone.
        value: (number != COUNT - 1).then(|| format!("value {number}").into()),
        timestamp: Some(START + number * 10),
        ..Record::default()
    };
    let records: Vec<Record> = (0..COUNT).map(record).collect();
    // The last segment is not compacted.
    let last = Record { key: Some("last".into()), ..record(2 * COUNT) };
    let topic = &kafka.topic("compacted", 1, &COMPACTED).await.unwrap();
    let how = Write { codec: Codec::Zstd, batch: Some(5), ..Write::default() };
    kafka.produce(topic, 0, &records, how).await.unwrap();
    kafka.produce(topic, 0, &[last], how).await.unwrap();
    let left = compacted(kafka, topic, 9).await;
    assert_eq!(left.iter().map(|m| m.offset).collect::<Vec<_>>(), [3, 93, 94, 95, 96, 97, 98, 99, 100]);
    check_reads(&mut Socket::open(&stack).await, topic, 0..=COUNT + 1, &left).await;
}
