//! Records written by Kafka's own producer, compared with what its own consumer reads.

use bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Codec, Kafka};
use sluicegate_tests::socket::Socket;
use tokio::sync::OnceCell;

use crate::console;
use crate::gateway::shared;
use crate::reference::assert_same;

/// Long enough for batches that a codec stores in several blocks.
const LINES: usize = 3_000;

/// A topic for each codec, written by the console producer.
async fn topics(kafka: &Kafka) -> &'static [(Codec, String)] {
    static TOPICS: OnceCell<Vec<(Codec, String)>> = OnceCell::const_new();
    let write = async || {
        let lines: String = (0..LINES).map(line).collect();
        let mut topics = Vec::new();
        for codec in Codec::ALL {
            let topic = kafka.topic(&format!("java-{}", codec.name()), 1, &[]).await.unwrap();
            console::produce(kafka, &topic, codec, &lines).await;
            topics.push((codec, topic));
        }
        topics
    };
    TOPICS.get_or_init(write).await
}

fn line(number: usize) -> String {
    let header = format!("trace:{number},origin:the console");
    match number % 10 {
        0 => format!("{header}\tNULL\tno key {number}\n"),
        1 => format!("{header}\tno value {number}\tNULL\n"),
        _ => format!("{header}\tkey {number}\tvalue {number} {}\n", "é".repeat(number % 100)),
    }
}

fn key_and_value(number: usize) -> (Option<String>, Option<String>) {
    match number % 10 {
        0 => (None, Some(format!("no key {number}"))),
        1 => (Some(format!("no value {number}")), None),
        _ => (Some(format!("key {number}")), Some(format!("value {number} {}", "é".repeat(number % 100)))),
    }
}

fn headers(number: usize) -> Vec<Header> {
    let header = |key: &str, value: String| Header { key: key.into(), value: Some(value.into()) };
    vec![header("trace", number.to_string()), header("origin", "the console".to_owned())]
}

#[tokio::test]
async fn records_of_kafkas_producer_are_read_in_every_codec() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let mut socket = Socket::open(stack).await;
    for (codec, topic) in topics(kafka).await {
        let walked = socket.walk(topic, 0, 0).await;
        let times = kafka.read(topic, 0);
        assert_eq!(times.len(), LINES, "{codec:?}");
        let message = |(number, read): (usize, &KafkaMessage)| {
            let (key, value) = key_and_value(number);
            let (offset, timestamp) = (i64::try_from(number).unwrap(), read.timestamp);
            KafkaMessage {
                offset,
                timestamp,
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                headers: headers(number),
            }
        };
        let want: Vec<KafkaMessage> = times.iter().enumerate().map(message).collect();
        assert_same(&walked, &want, &format!("{codec:?}"));
    }
}

#[tokio::test]
async fn kafkas_consumer_reads_the_same() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let (_, topic) = topics(kafka).await.iter().find(|(codec, _)| *codec == Codec::Zstd).unwrap();
    let printed = console::consume(kafka, topic, LINES).await;
    let shown = |message: &KafkaMessage| {
        let KafkaMessage { offset, timestamp, key, value, .. } = message;
        let [key, value] = [key, value].map(|bytes| bytes.as_deref().unwrap_or(b"null"));
        let [key, value] = [key, value].map(|bytes| std::str::from_utf8(bytes).unwrap());
        format!("CreateTime:{timestamp}\tOffset:{offset}\t{key}\t{value}\n")
    };
    let walked = Socket::open(stack).await.walk(topic, 0, 0).await;
    let ours: String = walked.iter().map(shown).collect();
    for (line, (ours, printed)) in ours.lines().zip(printed.lines()).enumerate() {
        assert_eq!(ours, printed, "line {line}");
    }
    assert_eq!(ours.len(), printed.len());
}
