//! Logs with gaps in their offsets: compacted ones, and ones with transaction markers.

use std::time::Duration;

use sluicegate_protocol::{Isolation, KafkaMessage};
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Codec, Kafka, Outcome, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::waiting::until;

use crate::reading::cli;
use crate::reading::gateway::shared;
use crate::reading::many::list_offsets;
use crate::reading::reference::{FOREVER, START, check_reads};

const WITHIN: Duration = Duration::from_secs(30);

/// Compacted as soon as a segment is full, and a segment is full at the next record.
pub(crate) const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];

/// Waits until compaction has left so many records, and gives them as librdkafka reads them.
pub(crate) async fn compacted(kafka: &Kafka, topic: &str, left: usize) -> Vec<KafkaMessage> {
    let left = async || match kafka.read(topic, 0) {
        messages if messages.len() == left => Ok(messages),
        messages => Err(format!("{} records are left, not {left}", messages.len())),
    };
    until("the log is compacted", WITHIN * 2, left).await
}

#[tokio::test]
async fn compacted_log_is_read_from_every_offset() {
    const COUNT: i64 = 100;
    let (kafka, stack) = shared(Profile::Tunnel).await;
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
    let mut logs = Vec::new();
    for codec in [Codec::None, Codec::Zstd] {
        let topic = kafka.topic("compacted", 1, &COMPACTED).await.unwrap();
        let how = Write { codec, batch: Some(5), ..Write::default() };
        kafka.produce(&topic, 0, &records, how).await.unwrap();
        kafka.produce(&topic, 0, std::slice::from_ref(&last), how).await.unwrap();
        let left = compacted(kafka, &topic, 9).await;
        logs.push((topic, left));
    }
    let mut socket = Socket::open(stack).await;
    for (topic, left) in &logs {
        assert_eq!(left.iter().map(|m| m.offset).collect::<Vec<_>>(), [3, 93, 94, 95, 96, 97, 98, 99, 100]);
        check_reads(&mut socket, topic, 0..=COUNT + 1, left).await;
    }
}

#[tokio::test]
async fn open_transaction_hides_records_from_committed_reads_only() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("transactions", 1, &[FOREVER]).await.unwrap();
    let open = kafka.begin(Write::default()).await.unwrap();
    open.write(topic, 0, &["open", "open too"].map(Record::of)).await.unwrap();
    kafka.produce(topic, 0, &[Record::of("behind it")], Write::default()).await.unwrap();

    let mut socket = Socket::open(stack).await;
    let want = kafka.read(topic, 0);
    assert_eq!(want.len(), 3);
    assert_eq!(socket.list_offset(topic, 0, -1).await, Ok(3));
    let stable = list_offsets(&mut socket, topic, &[(0, -1)], Isolation::ReadCommitted).await;
    assert_eq!(stable[0].as_ref().map(|listed| listed.offset), Ok(0));
    check_reads(&mut socket, topic, 0..=3, &want).await;
    let fetch = ["fetch", topic, "-p", "0", "-f", r"%o %s\n", "--isolation"];
    let prints = async |level| cli::prints(&stack.url(), &[&fetch[..], &[level]].concat()).await;
    let all = "0 open\n1 open too\n2 behind it\n";
    assert_eq!(prints("read_uncommitted").await, all);
    assert_eq!(prints("read_committed").await, "");

    open.end(Outcome::Abort).await.unwrap();
    let marked = async || match kafka.watermarks(topic, 0).unwrap() {
        (_, 4) => Ok(()),
        (_, end) => Err(format!("the log ends at {end}")),
    };
    until("the marker is written", WITHIN, marked).await;
    check_reads(&mut socket, topic, 0..=4, &want).await;
    assert_eq!(prints("read_uncommitted").await, all);
    assert_eq!(prints("read_committed").await, "2 behind it\n");
}
