//! A bridge that dies during a request: clients are told to retry only if nothing was written.

use std::time::Duration;

use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio::task::JoinSet;

use crate::http::answers::{unanswered, written};
use crate::http::openapi::ask;
use crate::http::stacks::{ANY, WRITES, reaches, with};

in_every_gateway! {
    lost_answers_to_writes_are_unknown
}

async fn lost_answers_to_writes_are_unknown(way: Way) {
    let mut kafka = Kafka::start().await.unwrap();
    let mut stack = with(way, &kafka, WRITES, "", "").await;
    let topic = &kafka.topic("lost", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let post = || Request::post(ANY, "v").with("x-kafka-topic", topic);
    written(&ask(gateway, post()).await, topic);
    kafka.freeze();
    let mut under_way = JoinSet::new();
    under_way.spawn(ask(gateway, post()));
    reaches(&stack, "write_queue_records", 1.0).await;
    stack.bridge.process.kill();
    let response = under_way.join_next().await.unwrap().unwrap();
    assert!(unanswered(way, &response, 504), "{response:?}");
    assert_eq!(response.header("retry-after"), None, "{response:?}");
    let response = ask(gateway, post()).await;
    assert!(!unanswered(way, &response, 503), "{response:?}");
    kafka.thaw();
    stack.bridge.up().await.unwrap();
    stack.ready_within(Duration::from_secs(20)).await.unwrap();
    written(&ask(gateway, post()).await, topic);
}
