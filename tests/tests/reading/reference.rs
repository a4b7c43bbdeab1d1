//! What the tests expect: what was written, and what librdkafka's consumer reads.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::{Message, Offset, TopicPartitionList};
use sluicegate_protocol::{Header, KafkaMessage};
use sluicegate_tests::kafka::{Kafka, Record};
use sluicegate_tests::random::Random;
use sluicegate_tests::socket::Socket;

/// What librdkafka reads of partition 0, from the log start to the log end, aborted records included.
pub(crate) fn read(kafka: &Kafka, topic: &str) -> Vec<KafkaMessage> {
    let consumer = consumer(kafka);
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    let mut messages = Vec::new();
    loop {
        match consumer.poll(WITHIN).expect("a record or the log end within 20 s") {
            Ok(message) => messages.push(KafkaMessage {
                offset: message.offset(),
                timestamp: message.timestamp().to_millis().unwrap(),
                key: message.key().map(Bytes::copy_from_slice),
                value: message.payload().map(Bytes::copy_from_slice),
                headers: message
                    .headers()
                    .into_iter()
                    .flat_map(|headers| headers.iter())
                    .map(header)
                    .collect(),
            }),
            Err(KafkaError::PartitionEOF(_)) => return messages,
            Err(error) => panic!("{error}"),
        }
    }
}

fn header(header: rdkafka::message::Header<'_, &[u8]>) -> Header {
    Header { key: header.key.to_owned(), value: header.value.map(Bytes::copy_from_slice) }
}

/// The offsets that librdkafka finds in partition 0 for these times; −1 where every record is older.
pub(crate) fn offsets_at(kafka: &Kafka, topic: &str, times: &[i64]) -> Vec<i64> {
    let consumer = consumer(kafka);
    let offset_at = |time: &i64| {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(topic, 0, Offset::Offset(*time)).unwrap();
        match consumer.offsets_for_times(asked, WITHIN).unwrap().elements()[0].offset() {
            Offset::Offset(offset) => offset,
            Offset::End => -1,
            other => panic!("{other:?}"),
        }
    };
    times.iter().map(offset_at).collect()
}

/// Records that were given timestamps, as messages at these offsets.
pub(crate) fn messages(offsets: &[i64], records: &[Record]) -> Vec<KafkaMessage> {
    let message = |(offset, record): (&i64, &Record)| KafkaMessage {
        offset: *offset,
        timestamp: record.timestamp.expect("a timestamp of the test's own"),
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: Vec::new(),
    };
    offsets.iter().zip(records).map(message).collect()
}

/// A record of its own at each place: null, empty, binary and plain keys and values, each at its own time.
pub(crate) fn varied(count: u32) -> Vec<Record> {
    let part = |what: &str, number: u32, kind: u32| match kind {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some([&[0xFF, 0x00, b'\n'], what.as_bytes(), &number.to_be_bytes()].concat()),
        _ => Some(format!("{what} {number}").into_bytes()),
    };
    let record = |number: u32| Record {
        key: part("key", number, number % 5),
        value: part("value", number, number / 5 % 5),
        timestamp: Some(START + i64::from(number) * 10),
    };
    (0..count).map(record).collect()
}

/// Bytes that do not compress, the same ones for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// Fetches from these offsets of partition 0 give what there is from there on, or the first part of it, and a walk gives
/// all of it.
pub(crate) async fn check_reads(
    socket: &mut Socket,
    topic: &str,
    offsets: impl IntoIterator<Item = i64>,
    want: &[KafkaMessage],
) {
    for offset in offsets {
        let read = socket.fetch(topic, 0, offset).await.unwrap();
        let rest = &want[want.partition_point(|message| message.offset < offset)..];
        let what = format!("{topic} from {offset}");
        // A broker's answer ends with a segment of its log. It is never empty before the log end.
        assert_eq!(read.is_empty(), rest.is_empty(), "{what}");
        assert_same(&read, &rest[..read.len().min(rest.len())], &what);
    }
    let start = socket.list_offset(topic, 0, -2).await.unwrap();
    assert_same(&socket.walk(topic, 0, start).await, want, &format!("a walk of {topic}"));
}

/// Says where two logs differ, and not all that is in them.
#[track_caller]
pub(crate) fn assert_same(read: &[KafkaMessage], want: &[KafkaMessage], what: &str) {
    if let Some(at) = read.iter().zip(want).position(|(read, want)| read != want) {
        panic!("{what}: at {at}: {} where {} was expected", brief(&read[at]), brief(&want[at]));
    }
    let last = |messages: &[KafkaMessage]| messages.last().map(brief);
    assert_eq!(read.len(), want.len(), "{what}: last {:?}, expected {:?}", last(read), last(want));
}

fn brief(message: &KafkaMessage) -> String {
    let KafkaMessage { offset, timestamp, key, value, headers } = message;
    let start = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => format!("{} B {:?}", bytes.len(), bytes.slice(..bytes.len().min(32))),
        None => "null".to_owned(),
    };
    format!(
        "offset {offset}, time {timestamp}, key {}, value {}, headers {headers:?}",
        start(key),
        start(value)
    )
}

fn consumer(kafka: &Kafka) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "unused")
        .set("isolation.level", "read_uncommitted")
        .set("enable.partition.eof", "true")
        // The log end is known after one wait.
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap()
}

/// The first of the times that tests give their records; [`FOREVER`] keeps them.
pub(crate) const START: i64 = 1_700_000_000_000;
/// For topics whose records are older than Kafka's default retention.
pub(crate) const FOREVER: (&str, &str) = ("retention.ms", "-1");

const WITHIN: Duration = Duration::from_secs(20);
