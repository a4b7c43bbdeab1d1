//! Topics that come, go and grow while sessions read them.

use std::time::Duration;

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::{Kafka, Record, Write};
use sluicegate_tests::socket::Socket;

use crate::gateway::shared;
use crate::reference::{FOREVER, START, assert_same, messages, varied};
use crate::waiting::until;

in_both_profiles! {
    a_topic_made_after_it_was_missed_is_read
    a_topic_deleted_and_made_again_is_read_from_its_new_start
    partitions_added_to_a_topic_are_read
}

const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;

fn record(value: &str) -> Record {
    Record { timestamp: Some(START), ..Record::of(value) }
}

/// Written by a producer that has seen nothing of the topic before: `batch` is one of the test's own.
async fn write(kafka: &Kafka, topic: &str, partition: i32, batch: usize, records: &[Record]) {
    let how = Write { batch: Some(batch), ..Write::default() };
    kafka.produce(topic, partition, records, how).await.unwrap();
}

async fn missing(socket: &mut Socket, topic: &str, partition: i32) -> Result<(), String> {
    match socket.fetch(topic, partition, 0).await {
        Err(error) if error.code == UNKNOWN_TOPIC_OR_PARTITION => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn a_topic_made_after_it_was_missed_is_read(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let mut socket = Socket::open(stack).await;
    let topic = format!("made-later-{}", profile.name());
    missing(&mut socket, &topic, 0).await.unwrap();
    kafka.make_topic(&topic, 1, &[FOREVER]).await.unwrap();
    write(kafka, &topic, 0, 101, &[record("new")]).await;
    let found = async || socket.fetch(&topic, 0, 0).await.map_err(|error| error.message);
    let start = tokio::time::Instant::now();
    let read = until("the topic is found", found).await;
    // What is known to be missing is asked for again at least once a second.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_same(&read, &messages(&[0], &[record("new")]), "the new topic");
}

async fn a_topic_deleted_and_made_again_is_read_from_its_new_start(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let mut socket = Socket::open(stack).await;
    let topic = format!("made-again-{}", profile.name());
    kafka.make_topic(&topic, 1, &[FOREVER]).await.unwrap();
    write(kafka, &topic, 0, 102, &varied(5)).await;
    assert_eq!(socket.walk(&topic, 0, 0).await.len(), 5);
    kafka.delete_topic(&topic).await.unwrap();
    until("the topic is gone", async || missing(&mut socket, &topic, 0).await).await;
    assert!(!kafka.topics().unwrap().contains(&topic), "asking for it made it again");
    kafka.make_topic(&topic, 1, &[FOREVER]).await.unwrap();
    write(kafka, &topic, 0, 103, &[record("of the new topic")]).await;
    let found = async || socket.fetch(&topic, 0, 0).await.map_err(|error| error.message);
    let read = until("the new topic is found", found).await;
    assert_same(&read, &messages(&[0], &[record("of the new topic")]), "the new topic");
    assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(1));
}

async fn partitions_added_to_a_topic_are_read(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let mut socket = Socket::open(stack).await;
    let topic = kafka.topic("grows", 1, &[FOREVER]).await.unwrap();
    write(kafka, &topic, 0, 104, &varied(2)).await;
    assert_eq!(socket.walk(&topic, 0, 0).await.len(), 2);
    missing(&mut socket, &topic, 2).await.unwrap();
    kafka.add_partitions(&topic, 3).await.unwrap();
    write(kafka, &topic, 2, 105, &[record("in the new partition")]).await;
    let found = async || socket.fetch(&topic, 2, 0).await.map_err(|error| error.message);
    let read = until("the partition is found", found).await;
    assert_same(&read, &messages(&[0], &[record("in the new partition")]), "the new partition");
    assert_eq!(socket.walk(&topic, 0, 0).await.len(), 2);
}
