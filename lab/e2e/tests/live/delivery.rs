//! Every record is delivered once, in the order of its partition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sluicegate_client::{At, Client, Source, Subscribe, Subscription, Update};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, KafkaSource, ProduceRecord, Reason, kafka_source};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::{self, Socket, produce, results};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools::scale;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::time::timeout;

use crate::breakable;
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

/// A subscription to a topic from its beginning, and the values of each partition's records.
struct Subscriber {
    updates: Subscription,
    values: BTreeMap<i32, Vec<String>>,
}

impl Subscriber {
    async fn open(stack: &Stack, topic: &str) -> Self {
        let client = Client::connect(stack.url()).await.unwrap();
        let updates = client.subscribe(Subscribe::new([Source::new(topic).at(At::Earliest)]));
        Self { updates, values: BTreeMap::new() }
    }

    /// Takes updates until there are so many records in all.
    async fn collect(&mut self, count: usize) {
        while self.values.values().map(Vec::len).sum::<usize>() < count {
            match self.updates.next().await.unwrap().unwrap() {
                Update::Delivery(delivery) => {
                    let texts = delivery.messages.iter().map(|message| message.value.as_deref().unwrap());
                    let texts = texts.map(|text| String::from_utf8(text.to_vec()).unwrap());
                    self.values.entry(delivery.partition).or_default().extend(texts);
                }
                Update::Subscribed(_) | Update::CaughtUp { .. } => {}
                other => panic!("{other:?} instead of {count} records"),
            }
        }
    }
}

/// Writes these values to a partition.
pub(super) async fn write(kafka: &Kafka, topic: &str, partition: i32, values: &[String]) {
    let records: Vec<Record> = values.iter().map(|value| Record::of(value.clone())).collect();
    kafka.produce(topic, partition, &records, Write::default()).await.unwrap();
}

/// `count` values that begin with `name`.
fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number}")).collect()
}

async fn records_are_delivered_from_the_start_and_as_they_are_written(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("live", 3, &[]).await.unwrap();
    let mut wanted: BTreeMap<_, _> = [(0, numbered("old", 2000)), (1, numbered("old", 1))].into();
    for (partition, values) in &wanted {
        write(kafka, topic, *partition, values).await;
    }
    let mut subscriber = Subscriber::open(&stack, topic).await;
    subscriber.collect(2001).await;
    assert_eq!(subscriber.values, wanted);
    for (round, partition) in (1..).zip(0..3) {
        let (new, written) = (numbered("new", 10), Instant::now());
        write(kafka, topic, partition, &new).await;
        subscriber.collect(2001 + 10 * round).await;
        assert!(written.elapsed() < Duration::from_secs(5), "{:?}", written.elapsed());
        wanted.entry(partition).or_default().extend(new);
        assert_eq!(subscriber.values, wanted);
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
    let subscribe = |topic: &str, timestamp: i64| {
        let from = Some(kafka_source::From::Timestamp(timestamp));
        let source = KafkaSource { topic: topic.to_owned(), from, ..Default::default() };
        Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources: vec![source], ..Default::default() })
    };
    let trickling = socket.send(subscribe(trickle, -1)).await;
    let mut told = 0;
    while told < 2 {
        let (sequence, _) = socket.receive().await;
        assert_eq!(sequence, trickling);
        told += 1;
    }
    let flooding = socket.send(subscribe(flood, -2)).await;
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
    let mut subscriber = Subscriber::open(&stack, topic).await;
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
    assert_eq!(kafka.read(topic, 0).len(), wanted.len());
    assert_eq!(subscriber.values, [(0, wanted)].into());
}
