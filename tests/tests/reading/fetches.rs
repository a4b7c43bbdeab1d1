//! `cmd_kafka_fetch`: order, content, timestamps and sizes.

use prost::Message as _;
use sluicegate_protocol::KafkaFetchResp;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_every_way;
use sluicegate_tests::kafka::{Codec, Record, Write};
use sluicegate_tests::socket::Socket;
use sluicegate_tests::way::Way;

use crate::gateway::shared;
use crate::reference::{FOREVER, START, assert_same, messages, noise, varied};

in_every_way! {
    values_of_megabytes_arrive_whole
}

#[tokio::test]
async fn every_offset_is_read_from_there_on() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let records = varied(30);
    let mut topics = Vec::new();
    for codec in Codec::ALL {
        for batch in [1, 7, 1_000] {
            let topic = kafka.topic(&format!("{}-by-{batch}", codec.name()), 1, &[FOREVER]).await.unwrap();
            let how = Write { codec, batch: Some(batch), transaction: None };
            let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
            let written = messages(&offsets, &records);
            assert_same(&kafka.read(&topic, 0), &written, "librdkafka");
            topics.push((topic, written));
        }
    }
    let mut socket = Socket::open(stack).await;
    for (topic, written) in &topics {
        for (offset, want) in (0..).zip((0..written.len()).map(|at| &written[at..])) {
            let read = socket.fetch(topic, 0, offset).await.unwrap();
            assert_same(&read, want, &format!("{topic} from {offset}"));
        }
    }
}

async fn values_of_megabytes_arrive_whole(way: Way) {
    let (kafka, stack) = shared(way).await;
    let lens = [65_500, 65_535, 65_536, 262_144, 1 << 20, 4 << 20];
    let mut socket = Socket::open(stack).await;
    for codec in Codec::ALL {
        let topic = kafka.topic("large", 1, &[FOREVER, ("max.message.bytes", "8388608")]).await.unwrap();
        let large = |(seed, len): (u64, &usize)| Record {
            key: Some(noise(len / 4, seed)),
            timestamp: Some(START),
            ..Record::of(noise(*len, seed + 100))
        };
        let records: Vec<Record> = (1..).zip(&lens).map(large).collect();
        let offsets = kafka.produce(&topic, 0, &records, Write { codec, ..Write::default() }).await.unwrap();
        let walked = socket.walk(&topic, 0, 0).await;
        assert_same(&walked, &messages(&offsets, &records), &format!("{codec:?}"));
    }
}

#[tokio::test]
async fn answers_end_near_their_limit() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = kafka.topic("answers", 1, &[FOREVER]).await.unwrap();
    let record = |number: u64| Record { timestamp: Some(START), ..Record::of(noise(300, number + 1)) };
    let records: Vec<Record> = (0..3_000).map(record).collect();
    let offsets = kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    let mut socket = Socket::open(stack).await;
    let first = socket.fetch(&topic, 0, 0).await.unwrap();
    let len = KafkaFetchResp { messages: first, next_offset: 0 }.encoded_len();
    assert!((200 * 1024..=256 * 1024).contains(&len), "{len} bytes");
    assert_same(&socket.walk(&topic, 0, 0).await, &messages(&offsets, &records), "the walk");
}

#[tokio::test]
async fn timestamps_are_those_of_the_topics_type() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let records = varied(10);
    let mut socket = Socket::open(stack).await;
    for kind in ["CreateTime", "LogAppendTime"] {
        for codec in [Codec::None, Codec::Zstd] {
            let configs = [FOREVER, ("message.timestamp.type", kind)];
            let topic = kafka.topic(kind, 1, &configs).await.unwrap();
            kafka.produce(&topic, 0, &records, Write { codec, ..Write::default() }).await.unwrap();
            let read = socket.fetch(&topic, 0, 0).await.unwrap();
            assert_same(&read, &kafka.read(&topic, 0), kind);
            let by_the_producer = read.iter().zip(&records).all(|(m, r)| Some(m.timestamp) == r.timestamp);
            assert_eq!(by_the_producer, kind == "CreateTime", "{kind}, {codec:?}");
        }
    }
}
