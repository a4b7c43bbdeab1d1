//! The stack as the other tests use it: a client reads a real Kafka through a gateway and the bridge.

use std::time::Duration;

use sluicegate_client::Client;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Kafka, Record, Write};
use sluicegate_tests::stack::{Setup, Stack};
use sluicegate_tests::way::Way;

const STEP: Duration = Duration::from_secs(20);

async fn first_values(stack: &Stack, topic: &str) -> Vec<String> {
    let client = Client::connect(stack.url()).await.unwrap();
    let messages = client.fetch(topic, 0, 0).await.unwrap();
    client.close().await.unwrap();
    messages
        .iter()
        .map(|message| String::from_utf8(message.value.clone().unwrap().to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_client_reads_what_was_written_whichever_way_it_comes_in() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("stack", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &[Record::of("one"), Record::of("two")], Write::default()).await.unwrap();
    for way in Way::ALL {
        let mut stack = Stack::start(Setup::new(way, kafka.bootstrap())).await.unwrap();
        stack.ready_within(STEP).await.unwrap();
        assert_eq!(first_values(&stack, &topic).await, ["one", "two"], "{way:?}");
    }
}

#[tokio::test]
async fn a_killed_bridge_comes_back_behind_the_same_gateway() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("stack", 1, &[]).await.unwrap();
    kafka.produce(&topic, 0, &[Record::of("one")], Write::default()).await.unwrap();
    let mut stack = Stack::start(Setup::new(Profile::Tunnel, kafka.bootstrap())).await.unwrap();
    stack.ready_within(STEP).await.unwrap();
    stack.bridge.process.kill();
    assert!(stack.ready().await.is_err());
    stack.bridge.up().await.unwrap();
    stack.ready_within(STEP).await.unwrap();
    assert_eq!(first_values(&stack, &topic).await, ["one"]);
}
