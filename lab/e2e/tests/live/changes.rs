//! Topics that change while they are subscribed to: clients are told, and get no other records than they think.

use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, PartitionNext, Reason, kafka_source};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use tokio::time::Instant;

use crate::live::stacks::shared;
use crate::live::subscriber::{Subscriber, Told, from, from_end, from_start, numbered, write};

#[tokio::test]
async fn added_partitions_are_read_from_their_beginning() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("grows", 1, &[]).await.unwrap();
    let mut subscriber = Subscriber::open(stack, from_end(topic)).await;
    subscriber.catch_up(1).await;
    kafka.grow_topic(topic, 3).await.unwrap();
    let grown = Instant::now();
    for partition in 1..3 {
        write(kafka, topic, partition, &numbered("new", 10)).await;
    }
    let Told::Subscribed(topics) = subscriber.told().await else { panic!("no partition was added") };
    let added: Vec<(i32, i64)> = topics[0].partitions.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!(added, [(1, 0), (2, 0)]);
    assert!(grown.elapsed() < Duration::from_secs(10), "{:?}", grown.elapsed());
    subscriber.collect(20).await;
    assert_eq!(subscriber.values(topic, 2), numbered("new", 10));
}

#[tokio::test]
async fn deleted_records_are_skipped_and_told() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("deleted", 1, &[]).await.unwrap();
    write(kafka, topic, 0, &numbered("old", 100)).await;
    kafka.delete_records_before(topic, 0, 90).await.unwrap();
    let mut subscriber = Subscriber::open(stack, from(topic, kafka_source::From::Offset(10))).await;
    let Some(Event::Skipped(skipped)) = subscriber.told().await.event() else { panic!("nothing is skipped") };
    assert_eq!((skipped.from, skipped.to, skipped.cause()), (10, 90, Cause::Deleted));
    subscriber.collect(10).await;
    subscriber.catch_up(1).await;
}

#[tokio::test]
async fn subscriber_of_a_compacted_log_gets_what_is_left_once() {
    const COUNT: i64 = 600;
    let (kafka, stack) = shared(Way::Tunnel).await;
    // A segment lasts a second by its records' timestamps, and is compacted once another one follows.
    let compacted =
        [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1000")];
    let topic = &kafka.topic("compacted", 1, &compacted).await.unwrap();
    let record = |number: i64| Record {
        key: Some(format!("key {}", number % 7).into()),
        value: Some(format!("{number:01000}").into()),
        timestamp: Some(1_700_000_000_000 + number),
        ..Record::default()
    };
    let records: Vec<Record> = (0..COUNT).map(record).collect();
    // An answer of Kafka has the first batch, which stays in the bridge's memory for a while, and not the second.
    for batch in [&records[..200], &records[200..]] {
        kafka.produce(topic, 0, batch, Write::default()).await.unwrap();
    }
    let command = CmdKafkaSubscribe { credit: Some(1), ..from_start(topic) };
    let mut subscriber = Subscriber::open(stack, command).await;
    subscriber.collect(1).await;
    kafka.produce(topic, 0, &[record(10 * COUNT)], Write::default()).await.unwrap();
    let left = until("the log is compacted", Duration::from_secs(60), async || match kafka.read(topic, 0) {
        messages if messages.len() == 8 => Ok(messages),
        messages => Err(format!("{} records are left, not 8", messages.len())),
    })
    .await;
    subscriber.add_credit(10_000_000).await;
    subscriber.catch_up(1).await;
    // Their order is checked as they come.
    let got = &subscriber.messages[&(topic.clone(), 0)];
    assert!(got.len() < records.len(), "nothing was compacted");
    assert!(left.iter().all(|message| got.contains(message)), "a record is missing");
}

/// Deletes a topic, and creates one of its name.
async fn recreate(kafka: &Kafka, topic: &str) {
    kafka.delete_topic(topic).await.unwrap();
    until("the name is free", Duration::from_secs(30), async || {
        kafka.make_topic(topic, 1, &[]).await.map_err(|error| error.to_string())
    })
    .await;
}

/// The same offsets would be other records.
#[tokio::test]
async fn recreated_topic_ends_its_subscriptions() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("anew", 1, &[]).await.unwrap();
    write(kafka, topic, 0, &numbered("old", 5)).await;
    let mut subscriber = Subscriber::over(Socket::open(stack).await, from_start(topic)).await;
    let Told::Subscribed(topics) = subscriber.told().await else { panic!("no beginning") };
    subscriber.collect(5).await;
    subscriber.catch_up(1).await;
    recreate(kafka, topic).await;
    write(kafka, topic, 0, &numbered("new", 9)).await;
    let error = loop {
        match subscriber.told().await {
            Told::Event(Event::Retrying(_)) => {}
            Told::Ended(error) => break error,
            other => panic!("{other:?} of a topic that is gone"),
        }
    };
    assert_eq!((error.reason(), error.retriable), (Reason::Recreated, false), "{error:?}");
    assert!(error.message.contains("deleted and created again"), "{error:?}");

    // Nor is it resumed.
    let next = vec![PartitionNext { partition: 0, offset: 5 }];
    let topic_id = topics[0].topic_id.clone();
    let source = KafkaSource { topic: topic.clone(), next, topic_id, ..Default::default() };
    let resumed = CmdKafkaSubscribe { sources: vec![source], ..Default::default() };
    let mut resumed = Subscriber::over(Socket::open(stack).await, resumed).await;
    let Told::Ended(error) = resumed.told().await else { panic!("a subscription of another topic") };
    assert!(error.message.contains("deleted and created again"), "{error:?}");
}

#[tokio::test]
async fn deleted_topic_ends_its_subscriptions() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("gone", 1, &[]).await.unwrap();
    let mut subscriber = Subscriber::open(stack, from_end(topic)).await;
    subscriber.catch_up(1).await;
    kafka.delete_topic(topic).await.unwrap();
    // A broker can say so by mistake: it must be asked again first.
    let Some(Event::Retrying(retrying)) = subscriber.told().await.event() else { panic!("no outage") };
    assert_eq!(retrying.error.unwrap().reason(), Reason::NotFound);
    let Told::Ended(error) = subscriber.told().await else { panic!("a subscription of nothing") };
    assert_eq!((error.reason(), error.retriable), (Reason::NotFound, false), "{error:?}");
}

/// From the first record of the new topic to its delivery, over a client that subscribes again as soon as it is told.
#[tokio::test]
async fn recreated_topic_is_read_soon() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("again", 1, &[]).await.unwrap();
    for _ in 0..3 {
        let mut subscriber = Subscriber::open(stack, from_start(topic)).await;
        subscriber.catch_up(1).await;
        recreate(kafka, topic).await;
        write(kafka, topic, 0, &numbered("new", 1)).await;
        let written = Instant::now();
        while !matches!(subscriber.told().await, Told::Ended(_)) {}
        let mut again = Subscriber::open(stack, from_start(topic)).await;
        again.collect(1).await;
        assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
    }
}
