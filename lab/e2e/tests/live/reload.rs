//! The configuration of a cluster changes while a session writes to it and another one is subscribed.

use std::collections::BTreeSet;

use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::{Socket, produce, results};
use sluicegate_stack::way::Way;

use crate::live::subscriber::{Subscriber, from_start};
use crate::pool::Config;

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
