//! Every record is delivered once, in the order of its partition.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, KafkaSource, PartitionNext, ProduceRecord, Reason, kafka_source,
};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{self, Socket, produce, results};
use sluicegate_stack::tools::scale;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::time::timeout;

use crate::breakable;
use crate::live::subscriber::{Subscriber, Told, from_end, from_start, numbered, write};
use crate::pool::{Config, standard};

in_ways! {
    [relay]
    records_are_delivered_from_the_start_and_as_they_are_written
}

in_ways! {
    [tunnel direct]
    flood_delays_neither_a_trickle_nor_a_ping
    records_are_delivered_from_the_start_and_as_they_are_written
}

async fn records_are_delivered_from_the_start_and_as_they_are_written(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("live", 3, &[]).await.unwrap();
    let old = [numbered("old", 2000), numbered("old", 1), Vec::new()];
    for (partition, values) in (0..).zip(&old).filter(|(_, values)| !values.is_empty()) {
        write(kafka, topic, partition, values).await;
    }
    let mut subscriber = Subscriber::over(Socket::open(&stack).await, from_start(topic)).await;
    let Told::Subscribed(subscribed) = subscriber.told().await else { panic!("no beginning") };
    let topics = subscribed.topics;
    let begins: Vec<(i32, i64)> = topics[0].partitions.iter().map(|at| (at.partition, at.offset)).collect();
    assert_eq!((topics.len(), begins, topics[0].topic_id.len()), (1, vec![(0, 0), (1, 0), (2, 0)], 16));
    subscriber.catch_up(3).await;
    for (partition, values) in (0..).zip(&old) {
        assert_eq!(subscriber.values(topic, partition), *values);
    }
    for partition in 0..3 {
        let new = numbered("new", 10);
        let written = Instant::now();
        write(kafka, topic, partition, &new).await;
        subscriber.collect(subscriber.count() + new.len()).await;
        assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
        let values = subscriber.values(topic, partition);
        assert_eq!(values[values.len() - new.len()..], new);
    }
    subscriber.socket.ping().await;
    subscriber.unsubscribe().await;
    write(kafka, topic, 0, &numbered("late", 1)).await;
    subscriber.socket.ping().await;
}

/// From the end, an offset, a time, before the end, and where an earlier subscription ended.
#[tokio::test]
async fn each_partition_begins_where_it_should() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("begins", 2, &[]).await.unwrap();
    for partition in 0..2 {
        write(kafka, topic, partition, &numbered("old", 5)).await;
    }
    let next = |partition, offset| PartitionNext { partition, offset };
    let source = || KafkaSource { topic: topic.clone(), ..Default::default() };
    let later = kafka_source::From::Timestamp(i64::MAX);
    for (source, want) in [
        (source(), vec![(0, 5), (1, 5)]),
        (
            KafkaSource { from: Some(kafka_source::From::Offset(3)), partitions: vec![1], ..source() },
            vec![(1, 3)],
        ),
        (KafkaSource { from: Some(kafka_source::From::Timestamp(0)), ..source() }, vec![(0, 0), (1, 0)]),
        (KafkaSource { from: Some(kafka_source::From::Offset(-2)), ..source() }, vec![(0, 3), (1, 3)]),
        (KafkaSource { from: Some(later), ..source() }, vec![(0, 5), (1, 5)]),
        // A partition that an earlier subscription did not know is new.
        (KafkaSource { next: vec![next(1, 4)], ..source() }, vec![(0, 0), (1, 4)]),
        (KafkaSource { next: vec![next(1, 4)], partitions: vec![0, 1], ..source() }, vec![(0, 5), (1, 4)]),
    ] {
        let command = CmdKafkaSubscribe { sources: vec![source.clone()], ..Default::default() };
        let mut subscriber = Subscriber::open(&stack, command).await;
        let begins: Vec<(i32, i64)> =
            subscriber.next.iter().map(|((_, partition), offset)| (*partition, *offset)).collect();
        assert_eq!(begins, want, "{source:?}");
        subscriber.catch_up(want.len()).await;
        let records = want.iter().map(|(_, offset)| 5 - offset).sum::<i64>();
        assert_eq!(subscriber.count() as i64, records, "{source:?}");
    }
}

/// Its broker creates so many partitions for a while.
#[tokio::test]
async fn large_topic_is_subscribed_to_as_soon_as_it_exists() {
    let (created, subscribed) = (scale(900, 9_000), 100);
    let kafka = breakable::kafka().await;
    let stack = Config::on(Way::Tunnel, &kafka.bootstrap()).own().await;
    let topic = &kafka.topic("small", 1, &[]).await.unwrap().replace("small", "large");
    // It is there, without the leaders that this waits for.
    let _ = kafka.make_topic(topic, created, &[]).await;
    let partitions = (created - subscribed..created).collect();
    let sources = vec![KafkaSource { topic: topic.clone(), partitions, ..Default::default() }];
    let command = CmdKafkaSubscribe { sources, ..Default::default() };
    let mut socket = Socket::open(&stack).await;
    // On a slow machine.
    let found = timeout(Duration::from_secs(180), async {
        loop {
            match socket.ask(Req::CmdKafkaSubscribe(command.clone())).await {
                Resp::KafkaSubscribedResp(subscribed) => return subscribed,
                // The broker has created some of them only. A missing partition would not be `Transient`.
                Resp::ErrorResp(error) if error.reason() == Reason::Transient && error.retriable => {}
                other => panic!("{other:?} of a subscription"),
            }
        }
    });
    let found = found.await.expect("a subscription while the broker creates the partitions");
    assert_eq!(found.topics[0].partitions.len(), subscribed as usize);
    kafka.delete_topic(topic).await.unwrap();
}

/// Records of the flood that arrive before the trickle's record and the pong are those for which gateway and kernel
/// have room.
async fn flood_delays_neither_a_trickle_nor_a_ping(way: Way) {
    let (kafka, stack) = standard(way).await;
    let flood = &kafka.topic("flood", 1, &[]).await.unwrap();
    let trickle = &kafka.topic("trickle", 1, &[]).await.unwrap();
    let value = "v".repeat(10_000);
    for round in 0..10 {
        write(kafka, flood, 0, &numbered(&format!("{round} {value}"), 400)).await;
    }
    let mut socket = Socket::open_narrow(&stack).await;
    let trickling = socket.send(Req::CmdKafkaSubscribe(from_end(trickle))).await;
    let mut told = 0;
    while told < 2 {
        let (sequence, _) = socket.receive().await;
        assert_eq!(sequence, trickling);
        told += 1;
    }
    let flooding = socket.send(Req::CmdKafkaSubscribe(from_start(flood))).await;
    let mut delivered = 0;
    while delivered < 2_000_000 {
        delivered += bytes(&socket.receive().await.1);
    }
    write(kafka, trickle, 0, &numbered("new", 1)).await;
    let pinged = socket.send(socket::ping()).await;
    let mut between = 0;
    let mut missing = vec![trickling, pinged];
    while !missing.is_empty() {
        let (sequence, resp) = socket.receive().await;
        missing.retain(|awaited| *awaited != sequence);
        if sequence == flooding {
            between += bytes(&resp);
        }
        assert!(between < MOST, "{between} bytes of the flood, and still nothing of {missing:?}");
    }
}

fn bytes(resp: &Resp) -> usize {
    match resp {
        Resp::KafkaDeliveryResp(delivery) => delivery
            .messages
            .iter()
            .map(|message| message.value.as_ref().map_or(0, |value| value.len()))
            .sum(),
        _ => 0,
    }
}

/// The flood has 40 MB. A busy gateway leaves several of them in the kernel's buffers.
const MOST: usize = 24 << 20;

/// The configuration of a cluster changes while a session writes to it and another one is subscribed.
#[tokio::test]
async fn reload_loses_repeats_and_reorders_no_record() {
    const RELOADS: usize = 5;
    const COMMANDS: usize = 400;
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("reloaded", 1, &[]).await.unwrap();
    let mut stack =
        Config::new(Way::Tunnel).await.writing(&["default"]).properties("client.id = \"0\"").own().await;
    let mut subscriber = Subscriber::open(&stack, from_start(topic)).await;
    let mut writer = Socket::open(&stack).await;
    let mut wanted = Vec::new();
    for reload in 1..=RELOADS {
        let mut open = BTreeSet::new();
        for _ in 0..COMMANDS {
            let value = wanted.len().to_string();
            let record = ProduceRecord {
                topic: topic.clone(),
                partition: Some(0),
                value: Some(value.clone().into()),
                ..ProduceRecord::default()
            };
            open.insert(writer.send(produce(vec![record])).await);
            wanted.push(value);
        }
        // The commands are on their way.
        let name = |reload: usize| format!("client.id = \"{reload}\"");
        stack.bridge.reconfigure(|text| text.replace(&name(reload - 1), &name(reload))).await.unwrap();
        while !open.is_empty() {
            let (sequence, resp) = writer.receive().await;
            assert!(open.remove(&sequence));
            assert_eq!(results(resp).unwrap()[0].error, None);
        }
        subscriber.collect(wanted.len()).await;
    }
    assert_eq!(subscriber.values(topic, 0), wanted);
    assert_eq!(kafka.read(topic, 0).len(), wanted.len());
}
