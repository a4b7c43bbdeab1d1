//! Every record is delivered once, in the order of its partition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sluicegate_client::{At, Client, Source, Subscribe, Subscription, Update};
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::socket::{produce, results};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::pool::{Config, WRITES, direct, standard};

in_ways! {
    [tunnel relay direct]
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

/// The configuration of a cluster changes while a session writes to it and another one is subscribed.
#[tokio::test]
async fn reload_loses_repeats_and_reorders_no_record() {
    const RELOADS: usize = 5;
    const COMMANDS: usize = 400;
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("reloaded", 1, &[]).await.unwrap();
    let config = Config::new(Way::Direct).await.writing(&["default"]);
    let mut stack = config.properties("client.id = \"0\"").own().await;
    let mut subscriber = Subscriber::open(&stack, topic).await;
    let mut writer = direct(&stack, WRITES).await;
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
