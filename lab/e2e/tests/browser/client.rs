//! The client in a page.

use std::time::Duration;

use sluicegate_stack::browser;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::way::Way;

use crate::browser::parts::{Parts, TOPIC};

async fn slow_loop_gets_every_record_within_its_credit(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("slow", 1, &[]).await.unwrap();
    let records = vec![Record::of(vec![b'x'; 100]); 10_000];
    for _ in 0..10 {
        kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    }
    let mut stack = Stack::start(Setup::new(way, kafka.bootstrap())).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    let gateway = stack.gateway().to_string();
    let within = Duration::from_secs(120);
    let asked = async |request: &str| panic!("unknown request {request:?}");
    browser::run("slow.ts", &[&gateway, &topic, "100000"], within, asked).await.unwrap();
}

#[tokio::test]
async fn clients_that_are_disconnected_together_come_back_at_random_times() {
    let mut parts = Parts::start().await;
    let gateway = parts.stack.gateway().to_string();
    let within = Duration::from_secs(180);
    browser::run("storm.ts", &[&gateway, TOPIC], within, async |request| {
        match request.strip_prefix("write ") {
            Some(value) => parts.write(value).await.to_string(),
            None => parts.act(request).await,
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn client_says_why_it_is_not_connected_and_writes_nothing_wrong() {
    let mut parts = Parts::start().await;
    let gateway = parts.stack.gateway().to_string();
    let within = Duration::from_secs(60);
    browser::run("refused.ts", &[&gateway, TOPIC], within, async |request| parts.act(request).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn stored_tables_are_their_users_until_they_are_cleared() {
    let parts = Parts::start().await;
    let topic = "stored";
    parts.kafka.make_topic(topic, 1, &[]).await.unwrap();
    let gateway = parts.stack.gateway().to_string();
    let within = Duration::from_secs(120);
    browser::run("tables.ts", &[&gateway, topic], within, async |request| match request {
        "recreate" => {
            parts.kafka.delete_topic(topic).await.unwrap();
            parts.kafka.make_topic(topic, 1, &[]).await.unwrap();
            "done".to_owned()
        }
        request => panic!("unknown request {request:?}"),
    })
    .await
    .unwrap();
}

mod tunnel {
    use super::*;

    #[tokio::test]
    async fn slow_loop_gets_every_record_within_its_credit() {
        super::slow_loop_gets_every_record_within_its_credit(Profile::Tunnel.into()).await;
    }
}

mod relay {
    use super::*;

    #[tokio::test]
    async fn slow_loop_gets_every_record_within_its_credit() {
        super::slow_loop_gets_every_record_within_its_credit(Profile::Relay.into()).await;
    }
}
