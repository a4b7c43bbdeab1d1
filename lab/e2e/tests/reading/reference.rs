//! The expected result of a read: the written records, as messages.

use bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage};
use sluicegate_stack::kafka::Record;
use sluicegate_stack::random::Random;

/// Records that were given timestamps, as messages at these offsets.
pub(crate) fn messages(offsets: &[i64], records: &[Record]) -> Vec<KafkaMessage> {
    let message = |(offset, record): (&i64, &Record)| KafkaMessage {
        offset: *offset,
        timestamp: record.timestamp.expect("a timestamp of the test's own"),
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record.headers.iter().map(header).collect(),
        ..Default::default()
    };
    offsets.iter().zip(records).map(message).collect()
}

fn header((key, value): &(String, Option<Vec<u8>>)) -> Header {
    Header { key: key.clone(), value: value.clone().map(Bytes::from) }
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
        ..Record::default()
    };
    (0..count).map(record).collect()
}

/// Bytes that do not compress, the same ones for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(len)
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
    let KafkaMessage { offset, timestamp, key, value, headers, .. } = message;
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

/// The first of the times that tests give their records; [`FOREVER`] keeps them.
pub(crate) const START: i64 = 1_700_000_000_000;
/// For topics whose records are older than Kafka's default retention.
pub(crate) const FOREVER: (&str, &str) = ("retention.ms", "-1");
