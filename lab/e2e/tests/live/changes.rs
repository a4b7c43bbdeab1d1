//! Topics that change while they are subscribed to: clients are told, and get no other records than they think.

use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, PartitionNext, Reason};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;
use tokio::time::Instant;

use crate::live::subscriber::{Subscriber, Told, from_end, from_start, numbered, write};
use crate::pool::standard;

#[tokio::test]
async fn added_partitions_are_read_from_their_beginning() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("grows", 1, &[]).await.unwrap();
    let mut subscriber = Subscriber::open(&stack, from_end(topic)).await;
    subscriber.catch_up(1).await;
    kafka.grow_topic(topic, 3).await.unwrap();
    let grown = Instant::now();
    for partition in 1..3 {
        write(kafka, topic, partition, &numbered("new", 10)).await;
    }
    let Told::Subscribed(subscribed) = subscriber.told().await else { panic!("no partition was added") };
    let added: Vec<(i32, i64)> =
        subscribed.topics[0].partitions.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!(added, [(1, 0), (2, 0)]);
    assert!(grown.elapsed() < Duration::from_secs(10), "{:?}", grown.elapsed());
    subscriber.collect(20).await;
    assert_eq!(subscriber.values(topic, 2), numbered("new", 10));
}

/// The same offsets would be other records.
#[tokio::test]
async fn recreated_topic_ends_its_subscriptions() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("anew", 1, &[]).await.unwrap();
    write(kafka, topic, 0, &numbered("old", 5)).await;
    let mut subscriber = Subscriber::over(Socket::open(&stack).await, from_start(topic)).await;
    let Told::Subscribed(subscribed) = subscriber.told().await else { panic!("no beginning") };
    subscriber.collect(5).await;
    subscriber.catch_up(1).await;
    kafka.delete_topic(topic).await.unwrap();
    until("the name is free", Duration::from_secs(30), async || {
        kafka.make_topic(topic, 1, &[]).await.map_err(|error| error.to_string())
    })
    .await;
    write(kafka, topic, 0, &numbered("new", 9)).await;
    let written = Instant::now();
    let error = loop {
        match subscriber.told().await {
            Told::Event(Event::Retrying(_)) => {}
            Told::Ended(error) => break error,
            other => panic!("{other:?} of a topic that is gone"),
        }
    };
    assert_eq!((error.reason(), error.retriable), (Reason::Recreated, false), "{error:?}");
    assert!(error.message.contains("deleted and created again"), "{error:?}");
    // A client that subscribes again at once reads the new topic soon.
    Subscriber::open(&stack, from_start(topic)).await.collect(9).await;
    assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());

    // The old one is not resumed.
    let next = vec![PartitionNext { partition: 0, offset: 5 }];
    let topic_id = subscribed.topics[0].topic_id.clone();
    let source = KafkaSource { topic: topic.clone(), next, topic_id, ..Default::default() };
    let resumed = CmdKafkaSubscribe { sources: vec![source], ..Default::default() };
    let mut resumed = Subscriber::over(Socket::open(&stack).await, resumed).await;
    let Told::Ended(error) = resumed.told().await else { panic!("a subscription of another topic") };
    assert!(error.message.contains("deleted and created again"), "{error:?}");
}
