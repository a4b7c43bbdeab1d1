//! Records as Kafka's own producer writes them, and as Kafka's own consumer reads them.

use sluicegate_protocol::KafkaMessage;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::{Codec, Kafka};
use sluicegate_tests::socket::Socket;
use tokio::sync::OnceCell;

use crate::console;
use crate::gateway::shared;
use crate::reference::{self, assert_same};

in_both_profiles! {
    what_kafkas_own_producer_writes_is_read_in_every_codec
    kafkas_own_consumer_reads_the_same
}

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

fn key_and_value(number: usize) -> (String, String) {
    match number % 10 {
        0 => (String::new(), format!("no key {number}")),
        1 => (format!("no value {number}"), String::new()),
        _ => (format!("key {number}"), format!("value {number} {}", "é".repeat(number % 100))),
    }
}

async fn what_kafkas_own_producer_writes_is_read_in_every_codec(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let mut socket = Socket::open(stack).await;
    for (codec, topic) in topics(kafka).await {
        let walked = socket.walk(topic, 0, 0).await;
        let times = reference::read(kafka, topic);
        assert_eq!(times.len(), LINES, "{codec:?}");
        let message = |(number, read): (usize, &KafkaMessage)| {
            let (key, value) = key_and_value(number);
            let (offset, timestamp) = (i64::try_from(number).unwrap(), read.timestamp);
            KafkaMessage { offset, timestamp, key: key.into(), value: value.into() }
        };
        let want: Vec<KafkaMessage> = times.iter().enumerate().map(message).collect();
        assert_same(&walked, &want, &format!("{codec:?}"));
    }
}

async fn kafkas_own_consumer_reads_the_same(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let (_, topic) = topics(kafka).await.iter().find(|(codec, _)| *codec == Codec::Zstd).unwrap();
    let printed = console::consume(kafka, topic, LINES).await;
    let shown = |number: usize, message: &KafkaMessage| {
        let text = |bytes: &bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let (key, value) = (text(&message.key), text(&message.value));
        // The console shows null as such; the contract shows it as nothing.
        let null = |text: String, number_of_null: usize| match number % 10 == number_of_null {
            true => "null".to_owned(),
            false => text,
        };
        let KafkaMessage { offset, timestamp, .. } = message;
        format!("CreateTime:{timestamp}\tOffset:{offset}\t{}\t{}\n", null(key, 0), null(value, 1))
    };
    let walked = Socket::open(stack).await.walk(topic, 0, 0).await;
    let ours: String = walked.iter().enumerate().map(|(number, message)| shown(number, message)).collect();
    for (line, (ours, printed)) in ours.lines().zip(printed.lines()).enumerate() {
        assert_eq!(ours, printed, "line {line}");
    }
    assert_eq!(ours.len(), printed.len());
}
