//! A log that is compacted while the bridge has its records in memory.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::{Socket, fetch};
use sluicegate_stack::waiting::until;

use crate::reading::reference::{START, assert_same, messages};
use crate::reading::shared_log::KEEPS;
use crate::reading::with;

/// More than one answer of Kafka holds.
const COUNT: i64 = 600;
/// Records with a key of their own; all others share seven.
const UNIQUE: [i64; 3] = [3, 100, 300];
/// A segment lasts a second by its records' timestamps, and is compacted once another one follows.
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1000")];
const CACHED: Duration = Duration::from_millis(300);

#[tokio::test]
async fn compacted_records_are_served_from_memory_for_a_while() {
    let (kafka, long) = with(KEEPS).await;
    let cached = CACHED.as_millis();
    let (_, short) = with(&format!("[read]\nwait_ms = 0\ncache_ms = {cached}")).await;
    let topic = kafka.topic("compacting", 1, &COMPACTED).await.unwrap();
    let records: Vec<Record> = (0..COUNT).map(record).collect();
    // Two batches. An answer of Kafka has the first one and a part of the second, which is of no use.
    let (first, second) = records.split_at(200);
    let mut offsets = kafka.produce(&topic, 0, first, Write::default()).await.unwrap();
    offsets.extend(kafka.produce(&topic, 0, second, Write::default()).await.unwrap());
    let written = messages(&offsets, &records);
    let (mut long, mut short) = (Socket::open(&long).await, Socket::open(&short).await);
    let known = answer(&mut long, &topic, 0).await;
    let cut = usize::try_from(known.next_offset).unwrap();
    assert_eq!(cut, first.len());
    assert_same(&known.messages, &written[..cut], "before the compaction");
    assert_same(&walk(&mut short, &topic).await, &written, "before the compaction");

    kafka.produce(&topic, 0, &[record(10 * COUNT)], Write::default()).await.unwrap();
    let left = compacted(kafka, &topic, UNIQUE.len() + 7 + 1).await;
    let since = Instant::now();
    // In front, what is in memory; behind it, what is left.
    let behind = left.partition_point(|message| message.offset < known.next_offset);
    let want = [&written[..cut], &left[behind..]].concat();
    assert_same(&walk(&mut long, &topic).await, &want, "from memory");
    loop {
        let start = since.elapsed();
        let read = walk(&mut short, &topic).await;
        if read == left {
            break;
        }
        assert!(start < CACHED, "records are served {start:?} after they were compacted");
        let was_there = |message: &KafkaMessage| written.contains(message) || left.contains(message);
        assert!(read.iter().all(was_there));
        assert!(left.iter().all(|message| read.contains(message)), "a walk skipped a record");
    }
}

/// Waits until compaction has left so many records, and gives them as librdkafka reads them.
pub(crate) async fn compacted(kafka: &Kafka, topic: &str, left: usize) -> Vec<KafkaMessage> {
    let left = async || match kafka.read(topic, 0) {
        messages if messages.len() == left => Ok(messages),
        messages => Err(format!("{} records are left, not {left}", messages.len())),
    };
    until("the log is compacted", Duration::from_secs(60), left).await
}

fn record(number: i64) -> Record {
    let key = if UNIQUE.contains(&number) { number } else { -(number % 7) };
    Record {
        key: Some(format!("key {key}").into()),
        value: Some(format!("{number:01000}").into()),
        timestamp: Some(START + number),
        ..Record::default()
    }
}

/// Reads on at `next_offset` from the start to the end of the log, as clients do that know that field.
async fn walk(socket: &mut Socket, topic: &str) -> Vec<KafkaMessage> {
    let (mut walked, mut offset) = (Vec::new(), 0);
    loop {
        let KafkaFetchResp { messages, next_offset, .. } = answer(socket, topic, offset).await;
        if messages.is_empty() {
            return walked;
        }
        let offsets = [offset - 1].into_iter().chain(messages.iter().map(|m| m.offset)).chain([next_offset]);
        assert!(offsets.is_sorted_by(|one, next| one < next), "an answer from {offset} is out of order");
        walked.extend(messages);
        offset = next_offset;
    }
}

async fn answer(socket: &mut Socket, topic: &str, offset: i64) -> KafkaFetchResp {
    match socket.ask(fetch(topic, 0, offset)).await {
        Resp::KafkaFetchResp(answer) => answer,
        other => panic!("{other:?} instead of messages"),
    }
}
