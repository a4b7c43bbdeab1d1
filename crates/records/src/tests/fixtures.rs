//! Log segments of a real Apache Kafka, compared with the output of Kafka's own console consumer (both recorded by
//! `fixtures/record.py`).

use prost::bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage};

use super::{LIMITS, invariants};

macro_rules! check {
    ($name:literal, $records:literal) => {{
        let log = include_bytes!(concat!("../../fixtures/", $name, ".log"));
        let text = include_str!(concat!("../../fixtures/", $name, ".txt"));
        let want: Vec<_> = text.lines().map(message).collect();
        assert_eq!(want.len(), $records, "lines of the text");
        let walk = invariants::check(log, 0, &LIMITS, log.len() / 2);
        assert_eq!(walk.messages, want);
        assert_eq!((walk.truncated, walk.error), (None, None));
        attributes(log)
    }};
}

/// The attributes of each batch, to check that a fixture has the expected ones.
fn attributes(mut log: &[u8]) -> Vec<u16> {
    let mut attributes = Vec::new();
    while !log.is_empty() {
        attributes.push(u16::from_be_bytes([log[21], log[22]]));
        log = &log[12 + u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize..];
    }
    attributes
}

/// Parses a line of the console consumer: timestamp, offset, headers, key, value.
fn message(line: &str) -> KafkaMessage {
    let parts: Vec<&str> = line.split('\t').collect();
    let [timestamp, offset, headers, key, value] = parts[..] else { panic!("five parts in {line:?}") };
    let number = |part: &str| part.split_once(':').unwrap().1.parse().unwrap();
    let bytes = |part: &str| match part {
        "NULL" => None,
        "BIG" => Some(Bytes::from("0123456789".repeat(7000))),
        text => Some(Bytes::copy_from_slice(text.as_bytes())),
    };
    KafkaMessage {
        offset: number(offset),
        timestamp: number(timestamp),
        key: bytes(key),
        value: bytes(value),
        headers: headers.split(',').filter(|_| headers != "NO_HEADERS").map(header).collect(),
        timestamp_type: line.starts_with("LogAppendTime").into(),
        ..KafkaMessage::default()
    }
}

fn header(text: &str) -> Header {
    let (key, value) = text.split_once(':').unwrap();
    Header { key: key.into(), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

#[test]
fn records_of_the_java_producer_and_of_librdkafka_are_read() {
    assert_eq!(check!("java-none", 7), [0]);
    assert_eq!(check!("java-gzip", 8), [1]);
    assert_eq!(check!("java-snappy", 8), [2]);
    assert_eq!(check!("java-lz4", 8), [3]);
    assert_eq!(check!("java-zstd", 8), [4]);
    assert_eq!(check!("librdkafka-none", 7), [0]);
    assert_eq!(check!("librdkafka-gzip", 8), [1]);
    assert_eq!(check!("librdkafka-snappy", 8), [2]);
    assert_eq!(check!("librdkafka-lz4", 8), [3]);
    assert_eq!(check!("librdkafka-zstd", 8), [4]);
}

#[test]
fn log_append_times_transactions_and_compacted_logs_are_read() {
    assert_eq!(check!("log-append-time", 8), [3 | 0x08]);
    assert_eq!(check!("transactional", 12), [0x10, 0x30].repeat(4));
    assert_eq!(check!("compacted", 16), [0, 0, 0x42, 3]);
}

/// Logs without large records.
pub(crate) const LOGS: [&[u8]; 4] = [
    include_bytes!("../../fixtures/java-none.log"),
    include_bytes!("../../fixtures/librdkafka-none.log"),
    include_bytes!("../../fixtures/transactional.log"),
    include_bytes!("../../fixtures/compacted.log"),
];
