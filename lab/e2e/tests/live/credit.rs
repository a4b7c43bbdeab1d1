//! A client that is slow says how much it can take, or what it does not want.

use prost::Message;
use std::time::{Duration, Instant};

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaMessage, OnLag};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::live::stacks::shared;
use crate::live::subscriber::{Subscriber, Told, from_start, numbered, write};

in_every_way! {
    credit_bounds_what_is_delivered
}

/// A delivery begins while credit is left, and exceeds it by one record at most.
async fn credit_bounds_what_is_delivered(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("credit", 1, &[]).await.unwrap();
    let values = numbered(&"v".repeat(1000), 100);
    write(kafka, topic, 0, &values).await;
    let mut credit = 1;
    let command = CmdKafkaSubscribe { credit: Some(credit), ..from_start(topic) };
    let mut subscriber = Subscriber::open(stack, command).await;
    for more in [900, 200, 10_000, 1, 20_500, 1_000] {
        let mut sizes = sizes_of(&subscriber);
        while sizes.iter().sum::<u64>() < credit {
            let told = subscriber.told().await;
            assert!(matches!(told, Told::Delivery(1..)), "{told:?}");
            sizes = sizes_of(&subscriber);
        }
        let last = sizes.pop().unwrap();
        assert!(sizes.iter().sum::<u64>() < credit, "{sizes:?} and {last} for {credit}");
        subscriber.socket.ping().await;
        subscriber.add_credit(more).await;
        credit += more;
    }
    subscriber.add_credit(u64::MAX).await;
    subscriber.collect(values.len()).await;
    assert_eq!(subscriber.values(topic, 0), values);
}

fn sizes_of(subscriber: &Subscriber) -> Vec<u64> {
    subscriber.messages.values().flatten().map(size).collect()
}

/// The size of an encoded message, with its tag and length.
fn size(message: &KafkaMessage) -> u64 {
    let fields = message.encoded_len();
    (fields + prost::length_delimiter_len(fields) + 1) as u64
}

/// Records that a client has no credit for are not in the way of others that ask for the same.
#[tokio::test]
async fn client_without_credit_delays_nobody() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("unpaid", 20, &[]).await.unwrap();
    for partition in 0..20 {
        write(kafka, topic, partition, &numbered(&"v".repeat(1000), 10)).await;
    }
    let mut stuck = Vec::new();
    for _ in 0..10 {
        let command = CmdKafkaSubscribe { credit: Some(1), ..from_start(topic) };
        stuck.push(Subscriber::open(stack, command).await);
    }
    for subscriber in &mut stuck {
        subscriber.collect(1).await;
    }
    let started = Instant::now();
    let mut bystander = Subscriber::open(stack, from_start(topic)).await;
    bystander.collect(200).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn view_of_now_skips_what_it_cannot_follow() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("now", 1, &[]).await.unwrap();
    write(kafka, topic, 0, &numbered("old", 1000)).await;
    let mut command = CmdKafkaSubscribe { max_batch_records: 10, ..from_start(topic) };
    command.set_on_lag(OnLag::Skip);
    let mut subscriber = Subscriber::open(stack, command).await;
    subscriber.collect(10).await;
    let Told::Event(Event::Skipped(skipped)) = subscriber.told().await else { panic!("nothing is skipped") };
    assert_eq!((skipped.from, skipped.to, skipped.cause()), (10, 1000, Cause::Lag));
    subscriber.catch_up(1).await;
    write(kafka, topic, 0, &numbered("new", 1)).await;
    subscriber.collect(11).await;
    assert_eq!(subscriber.values(topic, 0)[10], "new 0");
}
