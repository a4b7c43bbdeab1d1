//! `cmd_kafka_fetch`: order, content, times and sizes.

use prost::Message as _;
use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::{Codec, Record, Write};
use sluicegate_tests::socket::{self, Socket};
use sluicegate_tests::through_the_relay;
use sluicegate_tests::way::Way;
use tokio::sync::OnceCell;

use crate::gateway::shared;
use crate::reference::{self, FOREVER, START, assert_same, messages, noise, varied};

in_both_profiles! {
    every_offset_gives_what_was_written_from_there_on
    values_up_to_a_mebibyte_and_beyond_arrive_whole
    answers_over_64_kib_hold_many_messages_and_end_near_their_limit
    times_are_the_producers_or_the_brokers_as_the_topic_says
    an_answer_has_the_sequence_of_its_request_in_each_of_many_partitions
}

through_the_relay! {
    every_offset_gives_what_was_written_from_there_on
    values_up_to_a_mebibyte_and_beyond_arrive_whole
    answers_over_64_kib_hold_many_messages_and_end_near_their_limit
    times_are_the_producers_or_the_brokers_as_the_topic_says
    an_answer_has_the_sequence_of_its_request_in_each_of_many_partitions
}

async fn every_offset_gives_what_was_written_from_there_on(way: Way) {
    static TOPICS: OnceCell<Vec<(String, Vec<KafkaMessage>)>> = OnceCell::const_new();
    let (kafka, stack) = shared(way).await;
    let write = async || {
        let records = varied(30);
        let mut topics = Vec::new();
        for codec in Codec::ALL {
            for batch in [1, 7, 1_000] {
                let topic =
                    kafka.topic(&format!("{}-by-{batch}", codec.name()), 1, &[FOREVER]).await.unwrap();
                let how = Write { codec, batch: Some(batch), transaction: None };
                let offsets = kafka.produce(&topic, 0, &records, how).await.unwrap();
                let written = messages(&offsets, &records);
                assert_same(&reference::read(kafka, &topic), &written, "librdkafka");
                topics.push((topic, written));
            }
        }
        topics
    };
    let mut socket = Socket::open(stack).await;
    for (topic, written) in TOPICS.get_or_init(write).await {
        for (offset, want) in (0..).zip((0..written.len()).map(|at| &written[at..])) {
            let read = socket.fetch(topic, 0, offset).await.unwrap();
            assert_same(&read, want, &format!("{topic} from {offset}"));
        }
    }
}

async fn values_up_to_a_mebibyte_and_beyond_arrive_whole(way: Way) {
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

async fn answers_over_64_kib_hold_many_messages_and_end_near_their_limit(way: Way) {
    let (kafka, stack) = shared(way).await;
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

async fn times_are_the_producers_or_the_brokers_as_the_topic_says(way: Way) {
    let (kafka, stack) = shared(way).await;
    let records = varied(10);
    let mut socket = Socket::open(stack).await;
    for kind in ["CreateTime", "LogAppendTime"] {
        for codec in [Codec::None, Codec::Zstd] {
            let configs = [FOREVER, ("message.timestamp.type", kind)];
            let topic = kafka.topic(kind, 1, &configs).await.unwrap();
            kafka.produce(&topic, 0, &records, Write { codec, ..Write::default() }).await.unwrap();
            let read = socket.fetch(&topic, 0, 0).await.unwrap();
            assert_same(&read, &reference::read(kafka, &topic), kind);
            let by_the_producer = read.iter().zip(&records).all(|(m, r)| Some(m.timestamp) == r.timestamp);
            assert_eq!(by_the_producer, kind == "CreateTime", "{kind}, {codec:?}");
        }
    }
}

async fn an_answer_has_the_sequence_of_its_request_in_each_of_many_partitions(way: Way) {
    const PARTITIONS: i32 = 40;
    let (kafka, stack) = shared(way).await;
    let topic = kafka.topic("many", PARTITIONS, &[FOREVER]).await.unwrap();
    let record = |partition: i32| Record { timestamp: Some(START), ..Record::of(format!("in {partition}")) };
    for partition in 0..PARTITIONS {
        kafka.produce(&topic, partition, &[record(partition)], Write::default()).await.unwrap();
    }
    let mut socket = Socket::open(stack).await;
    let mut asked = Vec::new();
    for partition in 0..PARTITIONS {
        asked.push(socket.send(socket::fetch(&topic, partition, 0)).await);
    }
    let mut answers = Vec::new();
    for _ in &asked {
        answers.push(socket.receive().await);
    }
    // Answers come in any order.
    answers.sort_by_key(|(sequence, _)| *sequence);
    for ((sequence, answer), (partition, asked)) in answers.into_iter().zip((0..).zip(asked)) {
        assert_eq!(sequence, asked);
        let read = socket::messages(answer).unwrap();
        assert_same(&read, &messages(&[0], &[record(partition)]), &format!("partition {partition}"));
    }
}
