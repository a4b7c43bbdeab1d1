//! Reading through a gateway: real Envoy, real bridge, real Kafka. Every gateway serves the same records, and passes
//! the largest answers.
//!
//! [`sluicegate_stack::socket`] is the client. What it reads is compared with what was written or what librdkafka reads.

mod differential;
mod shared_log;

use std::fs;

use bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage};
use sluicegate_stack::kafka::{Codec, Kafka, Record, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::{Lent, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::pool::{Config, standard};

in_ways! {
    [tunnel relay direct nginx]
    values_of_megabytes_arrive_whole
}

async fn values_of_megabytes_arrive_whole(way: Way) {
    let (kafka, stack) = shared(way).await;
    let mut socket = Socket::open(&stack).await;
    let topic = kafka.topic("large", 1, &[FOREVER, ("max.message.bytes", "8388608")]).await.unwrap();
    let large = |(seed, len): (u64, usize)| Record {
        key: Some(Random::new(seed).bytes(len / 4)),
        timestamp: Some(START),
        ..Record::of(Random::new(seed + 100).bytes(len))
    };
    let records: Vec<Record> = (1..).zip([65_500, 65_536, 262_144, 4 << 20]).map(large).collect();
    let how = Write { codec: Codec::Zstd, ..Write::default() };
    let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
    assert_same(&socket.walk(&topic, 0, 0).await, &messages(&offsets, &records), "a walk");
}

/// The Kafka of all tests, and the stack of all tests of a way in.
async fn shared(way: Way) -> (&'static Kafka, Lent<&'static Stack>) {
    let (kafka, stack) = standard(way).await;
    assert_version(kafka);
    (kafka, stack)
}

/// A bridge with these settings, without a gateway.
async fn with(settings: &str) -> Lent<&'static Stack> {
    Config::new(Way::Direct).await.settings(settings).shared().await
}

/// The running broker has the version that a recipe chose, by the jar that it has open.
fn assert_version(kafka: &Kafka) {
    let Some(want) = tools::kafka_version() else { return };
    let files = fs::read_dir(format!("/proc/{}/fd", kafka.nodes[0].process.id())).unwrap();
    let mut open =
        files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()?.into_os_string().into_string().ok());
    let jar = open.find(|file| file.contains("/kafka_2.13-")).expect("a broker that has its jar open");
    assert!(jar.contains(&format!("/kafka_2.13-{want}.")), "{jar} instead of Kafka {want}");
}

/// Records that were given timestamps, as messages at these offsets.
fn messages(offsets: &[i64], records: &[Record]) -> Vec<KafkaMessage> {
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

/// Says where two logs differ, and not all that is in them.
#[track_caller]
fn assert_same(read: &[KafkaMessage], want: &[KafkaMessage], what: &str) {
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
const START: i64 = 1_700_000_000_000;
/// For topics whose records are older than Kafka's default retention.
const FOREVER: (&str, &str) = ("retention.ms", "-1");
