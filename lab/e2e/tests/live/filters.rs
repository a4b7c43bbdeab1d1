//! Clients that want only some of the records.

use std::time::Duration;

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::{CmdKafkaSubscribe, RecordFilter};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::way::Way;
use tokio::time::Instant;

use crate::live::stacks::shared;
use crate::live::subscriber::{Subscriber, Told, from_end};

#[tokio::test]
async fn filtered_client_gets_its_records_and_learns_of_others() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("filtered", 1, &[]).await.unwrap();
    let filter = RecordFilter { equals: vec!["mine".into()], ..Default::default() };
    let command = CmdKafkaSubscribe { filters: vec![filter], ..from_end(topic) };
    let mut subscriber = Subscriber::open(stack, command).await;
    subscriber.catch_up(1).await;
    let record = |key: &str, value: &str| Record { key: Some(key.into()), ..Record::of(value) };
    let others = || (0..100).map(|_| record("other", "no"));
    let records: Vec<Record> = others().chain([record("mine", "yes")]).chain(others()).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    let written = Instant::now();
    subscriber.collect(1).await;
    assert_eq!(subscriber.values(topic, 0), ["yes"]);
    while subscriber.next[&(topic.clone(), 0)] < 201 {
        let told = subscriber.told().await;
        assert!(matches!(told, Told::Delivery(0) | Told::Event(Event::CaughtUp(_))), "{told:?}");
    }
    assert!(written.elapsed() < Duration::from_secs(2), "{:?}", written.elapsed());
}
