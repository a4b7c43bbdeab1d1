//! Logs that lose records, or become others.

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_stack::kafka::{Codec, Record, Write};
use sluicegate_stack::way::Way;

use crate::live::subscriber::Told;
use crate::pool::standard;
use crate::tables::holder::{Holder, replay, table};
use crate::tables::write;

fn record(key: &str) -> Record {
    crate::tables::record(key, Some("value"))
}

#[tokio::test]
async fn entries_before_the_log_start_are_removed() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("retention", 1, &[]).await.unwrap();
    let records: Vec<Record> = (0..10).map(|key| record(&key.to_string())).collect();
    write(kafka, topic, &records).await;
    let mut holder = Holder::open(&stack, "/pubsub", table(topic)).await;
    holder.complete().await;
    assert_eq!(holder.held.len(), 10);
    kafka.delete_records_before(topic, 0, 7).await.unwrap();
    // The log does not grow: waiting subscribers learn its start.
    loop {
        match holder.told().await {
            Told::Event(Event::LogStart(start)) => {
                assert_eq!((start.partition, start.offset), (0, 7));
                break;
            }
            Told::Ended(error) => panic!("{error:?}"),
            _ => {}
        }
    }
    assert_eq!(holder.held, replay(kafka, topic, 1, |_| true));
}

#[tokio::test]
async fn topic_that_was_created_again_has_another_table() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("again", 1, &[]).await.unwrap();
    write(kafka, topic, &[record("old"), record("both")]).await;
    let mut holder = Holder::open(&stack, "/pubsub", table(topic)).await;
    holder.complete().await;
    kafka.delete_topic(topic).await.unwrap();
    kafka.make_topic(topic, 1, &[]).await.unwrap();
    write(kafka, topic, &[record("both"), record("new"), record("newer")]).await;
    while !matches!(holder.told().await, Told::Subscribed(anew) if anew.snapshot) {}
    holder.complete().await;
    holder.becomes(&replay(kafka, topic, 1, |_| true)).await;
}

#[tokio::test]
async fn new_partitions_are_part_of_the_table() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("growing", 1, &[]).await.unwrap();
    write(kafka, topic, &[record("a")]).await;
    let mut holder = Holder::open(&stack, "/pubsub", table(topic)).await;
    holder.complete().await;
    kafka.grow_topic(topic, 2).await.unwrap();
    // The producer of other records knows one partition.
    let other = Write { codec: Codec::Gzip, ..Write::default() };
    kafka.produce(topic, 1, &[record("b"), record("a")], other).await.unwrap();
    holder.becomes(&replay(kafka, topic, 2, |_| true)).await;
}
