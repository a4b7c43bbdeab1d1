//! The newest record of each key, then every change. `live::checker` compares tables of all kinds with their logs while
//! everything is killed.

use std::collections::BTreeMap;

use sluicegate_client::{Client, Table};
use sluicegate_stack::kafka::{Codec, Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::pool::standard;
use crate::tables::write;

in_ways! {
    [tunnel full relay]
    table_is_the_replay_of_its_log
}

const PARTITIONS: i32 = 3;

/// Through each change of a log: records, more partitions, a later start, and another topic of the same name.
async fn table_is_the_replay_of_its_log(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("replay", PARTITIONS, &[]).await.unwrap();
    let write_each = async |count| {
        for partition in 0..PARTITIONS {
            kafka.produce(topic, partition, &records(partition, count), Write::default()).await.unwrap();
        }
    };
    write_each(1000).await;
    let mut table = open(&stack, topic).await;
    becomes(&mut table, &replay(kafka, topic, PARTITIONS)).await;
    assert!(table.iter().count() > 60, "{}", table.iter().count());
    write_each(200).await;
    becomes(&mut table, &replay(kafka, topic, PARTITIONS)).await;

    kafka.grow_topic(topic, PARTITIONS + 1).await.unwrap();
    // The producer of other records knows the first partitions only.
    let other = Write { codec: Codec::Gzip, ..Write::default() };
    kafka.produce(topic, PARTITIONS, &records(PARTITIONS, 100), other).await.unwrap();
    becomes(&mut table, &replay(kafka, topic, PARTITIONS + 1)).await;

    // The log does not grow: waiting subscribers learn its start.
    let newest = kafka.read(topic, 0).len() as i64;
    kafka.delete_records_before(topic, 0, newest - 10).await.unwrap();
    becomes(&mut table, &replay(kafka, topic, PARTITIONS + 1)).await;

    kafka.delete_topic(topic).await.unwrap();
    kafka.make_topic(topic, 1, &[]).await.unwrap();
    write(kafka, topic, &records(0, 100)).await;
    becomes(&mut table, &replay(kafka, topic, 1)).await;
}

async fn open(stack: &Stack, topic: &str) -> Table {
    Client::connect(stack.url()).await.unwrap().table(topic)
}

/// Records of keys that other partitions do not have. Some keys are removed, some records have none.
fn records(partition: i32, count: usize) -> Vec<Record> {
    let record = |_| {
        let value = (fastrand::u8(..) > 40).then(|| fastrand::u64(..).to_string().into_bytes());
        let key = format!("key {} of {partition}", fastrand::u8(..40));
        Record { key: (fastrand::u8(..) > 10).then(|| key.into()), value, ..Record::default() }
    };
    (0..count).map(record).collect()
}

/// The offset of the newest record of each key.
type Offsets = BTreeMap<Vec<u8>, i64>;

/// Takes changes until the table is complete and has these records.
async fn becomes(table: &mut Table, want: &Offsets) {
    let has = |table: &Table| {
        let rows = table.iter().map(|(key, message)| (key.to_vec(), message.offset));
        table.is_complete() && rows.collect::<Offsets>() == *want
    };
    while !has(table) {
        table.next().await.unwrap().unwrap();
    }
}

/// A replay of the committed records of a topic.
fn replay(kafka: &Kafka, topic: &str, partitions: i32) -> Offsets {
    let mut newest = Offsets::new();
    for message in (0..partitions).flat_map(|partition| kafka.read_committed(topic, partition)) {
        let Some(key) = &message.key else { continue };
        match message.value {
            Some(_) => newest.insert(key.to_vec(), message.offset),
            None => newest.remove(&key[..]),
        };
    }
    newest
}
