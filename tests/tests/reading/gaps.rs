//! Logs with gaps in their offsets: compacted logs, and logs with transactions.

use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sluicegate_protocol::KafkaMessage;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Codec, Kafka, Record, Write};
use sluicegate_tests::socket::Socket;
use sluicegate_tests::waiting::until;
use tokio::task::spawn_blocking;

use crate::gateway::{shared, tight};
use crate::reference::{FOREVER, START, check_reads};

const WITHIN: Duration = Duration::from_secs(30);

/// Compacted as soon as a segment is full, and a segment is full at the next record.
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];

/// Waits until compaction has left so many records, and gives them as librdkafka reads them.
async fn compacted(kafka: &Kafka, topic: &str, left: usize) -> Vec<KafkaMessage> {
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
    };
    let records: Vec<Record> = (0..COUNT).map(record).collect();
    // The last segment is not compacted.
    let last = Record { key: Some("last".into()), ..record(2 * COUNT) };
    let mut logs = Vec::new();
    for codec in [Codec::None, Codec::Zstd] {
        let topic = kafka.topic("compacted", 1, &COMPACTED).await.unwrap();
        let how = Write { codec, batch: Some(5), transaction: None };
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

/// A transactional producer, and the transactions it makes.
struct Transactions(BaseProducer);

impl Transactions {
    fn new(kafka: &Kafka, id: &str, codec: Codec) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("transactional.id", id)
            .set("compression.type", codec.name())
            .set("linger.ms", "0")
            .create()
            .unwrap();
        producer.init_transactions(WITHIN).unwrap();
        Self(producer)
    }

    /// Begins one and writes its records.
    fn begin(&self, topic: &str, values: &[&str]) {
        self.0.begin_transaction().unwrap();
        for value in values {
            let record = BaseRecord::to(topic).partition(0).key("key").payload(*value);
            self.0.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.0.flush(WITHIN).unwrap();
    }

    fn commit(&self) {
        self.0.commit_transaction(WITHIN).unwrap();
    }

    fn abort(&self) {
        self.0.abort_transaction(WITHIN).unwrap();
    }
}

/// Waits until the log ends there: a transaction's end is told before its marker is written.
async fn ends_at(kafka: &Kafka, topic: &str, end: i64) {
    let ended = async || match kafka.watermarks(topic, 0).unwrap() {
        (_, now) if now == end => Ok(()),
        (_, now) => Err(format!("it is {now}")),
    };
    until("the log ends behind the marker", WITHIN * 2, ended).await;
}

#[tokio::test]
async fn log_with_transactions_is_read_uncommitted() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let mut socket = Socket::open(stack).await;
    for codec in [Codec::None, Codec::Lz4] {
        let topic = kafka.topic("transactions", 1, &[FOREVER]).await.unwrap();
        let transactions = Transactions::new(kafka, &topic, codec);
        kafka.produce(&topic, 0, &[Record::of("plain")], Write::default()).await.unwrap();
        transactions.begin(&topic, &["committed", "committed too", "and this"]);
        transactions.commit();
        transactions.begin(&topic, &["aborted", "aborted too"]);
        transactions.abort();
        ends_at(kafka, &topic, 8).await;
        kafka.produce(&topic, 0, &[Record::of("plain")], Write::default()).await.unwrap();
        transactions.begin(&topic, &["open", "open too"]);

        let want = kafka.read(&topic, 0);
        // 4 and 7 are the markers.
        let offsets: Vec<i64> = want.iter().map(|message| message.offset).collect();
        assert_eq!(offsets, [0, 1, 2, 3, 5, 6, 8, 9, 10]);
        check_reads(&mut socket, &topic, 0..=11, &want).await;
        assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(11), "open transactions included");
        transactions.abort();
        ends_at(kafka, &topic, 12).await;
        check_reads(&mut socket, &topic, 0..=12, &want).await;
    }
}

#[tokio::test]
async fn log_that_ends_with_a_marker_is_read_on() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = kafka.topic("marked", 1, &[FOREVER]).await.unwrap();
    let transactions = Transactions::new(kafka, &topic, Codec::None);
    let mut socket = Socket::open(stack).await;
    for round in 0..5 {
        transactions.begin(&topic, &["value"]);
        if round % 2 == 0 {
            transactions.commit()
        } else {
            transactions.abort()
        }
        // Each round is a record and its marker.
        let (record, end) = (2 * round, 2 * round + 2);
        ends_at(kafka, &topic, end).await;
        // A reader that asks on at the last record's offset + 1 is at the last round's marker.
        for offset in [record - 1, record] {
            let read = socket.fetch(&topic, 0, offset.max(0)).await.unwrap();
            assert_eq!(read.iter().map(|message| message.offset).collect::<Vec<_>>(), [record]);
        }
        for offset in [end - 1, end] {
            assert_eq!(socket.fetch(&topic, 0, offset).await, Ok(Vec::new()), "at {offset} of {end}");
        }
        assert_eq!(socket.fetch(&topic, 0, end + 1).await.unwrap_err().code, 1, "beyond {end}");
    }
}

#[tokio::test]
async fn long_run_of_markers_is_passed_at_once() {
    // Markers of 78 bytes each: more of them than a fetch for the smallest answer brings.
    const PRODUCERS: i64 = 20;
    const TRANSACTIONS: i64 = 25;
    let (kafka, stack) = tight(Profile::Tunnel).await;
    let [compact, dirty, _] = COMPACTED;
    let topic = kafka.topic("markers", 1, &[compact, dirty, ("segment.ms", "100")]).await.unwrap();
    let producers = (0..PRODUCERS).map(|number| {
        let topic = topic.clone();
        spawn_blocking(move || {
            let transactions = Transactions::new(kafka, &format!("{topic}-{number}"), Codec::None);
            for _ in 0..TRANSACTIONS {
                transactions.begin(&topic, &["overwritten by the next"]);
                transactions.commit();
            }
        })
    });
    join_all(producers).await.into_iter().for_each(Result::unwrap);
    ends_at(kafka, &topic, PRODUCERS * TRANSACTIONS * 2).await;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let timestamp = i64::try_from((now + Duration::from_secs(60)).as_millis()).unwrap();
    let key = Some("last".into());
    let last = Record { key, timestamp: Some(timestamp), ..Record::of("the end") };
    kafka.produce(&topic, 0, &[last], Write::default()).await.unwrap();
    let left = compacted(kafka, &topic, 2).await;
    // A record and a marker each, and the last record.
    let end = PRODUCERS * TRANSACTIONS * 2;
    assert_eq!(left[1].offset, end);
    let (_, roomy) = shared(Profile::Tunnel).await;
    for stack in [stack, roomy] {
        let mut socket = Socket::open(stack).await;
        let offsets = [0, 1, 2, 3, 500, end - 3, end - 2, end - 1, end, end + 1];
        check_reads(&mut socket, &topic, offsets, &left).await;
    }
}
