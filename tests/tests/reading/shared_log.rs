//! Records that the bridge keeps for many readers: what a client is told while the log grows, shrinks or is replaced.

use std::time::{Duration, Instant};

use sluicegate_protocol::KafkaMessage;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Kafka, Record, Write};
use sluicegate_tests::socket::Socket;
use sluicegate_tests::stack::Stack;

use crate::gateway::{shared, with};
use crate::reference::{FOREVER, assert_same, messages, varied};

/// Records are served this long after Kafka has deleted them.
const CACHED: &str = "[read]\nwait_ms = 0\ncache_ms = 300";
const SOON: Duration = Duration::from_secs(10);

async fn own() -> (&'static Kafka, Stack) {
    let (kafka, _) = shared(Profile::Tunnel).await;
    (kafka, with(Profile::Tunnel, kafka, CACHED, "").await)
}

/// Fetches until the answer is another one than `before`.
async fn changed(
    socket: &mut Socket,
    topic: &str,
    offset: i64,
    before: &[KafkaMessage],
) -> Result<Vec<KafkaMessage>, i32> {
    let start = Instant::now();
    loop {
        match socket.fetch(topic, 0, offset).await {
            Ok(read) if read == before => assert!(start.elapsed() < SOON, "still the old records"),
            Ok(read) => return Ok(read),
            Err(error) if error.retriable => {}
            Err(error) => return Err(error.code),
        }
    }
}

#[tokio::test]
async fn acknowledged_record_is_read_while_others_read_the_log_end() {
    let (kafka, stack) = own().await;
    let topic = kafka.topic("acknowledged", 1, &[FOREVER]).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..8 {
        let (mut socket, topic) = (Socket::open(&stack).await, topic.clone());
        crowd.push(tokio::spawn(async move {
            let mut next = 0;
            loop {
                for message in socket.fetch(&topic, 0, next).await.unwrap() {
                    assert_eq!(message.offset, next);
                    next += 1;
                }
            }
        }));
    }
    let mut socket = Socket::open(&stack).await;
    for round in 0..200 {
        let record = Record::of(format!("record {round}"));
        let offsets = kafka.produce(&topic, 0, &[record], Write::default()).await.unwrap();
        // Without a wait: an answer from before the acknowledgement would be empty.
        let read = socket.fetch(&topic, 0, offsets[0]).await.unwrap();
        assert_eq!(read.first().map(|message| message.offset), Some(offsets[0]));
        assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(offsets[0] + 1));
    }
    for reader in crowd {
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled(), "a reader of the crowd failed");
    }
}

#[tokio::test]
async fn deleted_records_are_out_of_range_soon() {
    let (kafka, stack) = own().await;
    let topic = kafka.topic("before", 1, &[FOREVER]).await.unwrap();
    let records = varied(5);
    // One batch: the log start is in the middle of it.
    let offsets = kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    let written = messages(&offsets, &records);
    let mut socket = Socket::open(&stack).await;
    assert_same(&socket.fetch(&topic, 0, 0).await.unwrap(), &written, "before records are deleted");
    kafka.delete_records_before(&topic, 0, 3).await.unwrap();
    assert_eq!(changed(&mut socket, &topic, 0, &written).await, Err(OFFSET_OUT_OF_RANGE));
    // One answer of Kafka is enough for all offsets.
    assert_eq!(socket.fetch(&topic, 0, 2).await.unwrap_err().code, OFFSET_OUT_OF_RANGE);
    for offset in [3, 4] {
        let read = socket.fetch(&topic, 0, offset).await.unwrap();
        assert_same(&read, &written[usize::try_from(offset).unwrap()..], "from the log start on");
    }
    kafka.delete_records_before(&topic, 0, 5).await.unwrap();
    assert_eq!(changed(&mut socket, &topic, 4, &written[4..]).await, Err(OFFSET_OUT_OF_RANGE));
    assert_eq!(socket.fetch(&topic, 0, 5).await, Ok(Vec::new()));
}

#[tokio::test]
async fn recreated_topic_is_read_soon() {
    let (kafka, stack) = own().await;
    let topic = kafka.topic("recreated", 1, &[FOREVER]).await.unwrap();
    let offsets = kafka.produce(&topic, 0, &varied(5), Write::default()).await.unwrap();
    let old = messages(&offsets, &varied(5));
    let mut socket = Socket::open(&stack).await;
    assert_same(&socket.fetch(&topic, 0, 0).await.unwrap(), &old, "the first topic");
    kafka.delete_topic(&topic).await.unwrap();
    kafka.make_topic(&topic, 1, &[FOREVER]).await.unwrap();
    let records = [Record::of("of the second topic")];
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < SOON, "still the first topic");
        match changed(&mut socket, &topic, 0, &old).await {
            // Until brokers know the new topic.
            Ok(read) if read.is_empty() => {}
            Err(UNKNOWN_TOPIC_OR_PARTITION) => {}
            Ok(read) => break assert_eq!(read[0].value.as_deref(), Some(&b"of the second topic"[..])),
            Err(code) => panic!("code {code}"),
        }
    }
}

/// Kafka's error codes.
const OFFSET_OUT_OF_RANGE: i32 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
