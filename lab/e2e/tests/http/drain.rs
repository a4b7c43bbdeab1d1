//! SIGTERM: accepted records are delivered, and waiting clients get their result.

use std::time::Duration;

use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio::task::JoinSet;

use crate::http::answers::{unanswered, written};
use crate::http::console::consume;
use crate::http::openapi::ask;
use crate::http::stacks::{ANY, REST, WRITES, count, reaches, with};

in_every_gateway! {
    accepted_records_are_delivered_and_answered_after_sigterm
}

const CLIENTS: usize = 20;
const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// Nothing is on its way to Kafka before SIGTERM.
const LINGER: &str = "linger.ms = 2000\n";

async fn accepted_records_are_delivered_and_answered_after_sigterm(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("drained", 1, &[]).await.unwrap();
    let mut stack = with(way, kafka, WRITES, LINGER, "").await;
    let gateway = stack.gateway();
    let mut asked = JoinSet::new();
    for number in 0..CLIENTS {
        asked.spawn(ask(gateway, Request::post(ANY, number.to_string()).with("x-kafka-topic", topic)));
    }
    let list: Vec<String> = (CLIENTS..2 * CLIENTS).map(|number| format!(r#"{{"value":{number}}}"#)).collect();
    let list =
        Request::post(format!("{REST}/topics/{topic}"), format!(r#"{{"records":[{}]}}"#, list.join(",")))
            .with("content-type", "application/vnd.kafka.json.v2+json");
    let list = tokio::spawn(ask(gateway, list));
    for number in 2 * CLIENTS..3 * CLIENTS {
        let unawaited = Request::post(ANY, number.to_string())
            .with("x-kafka-topic", topic)
            .with("prefer", "respond-async");
        let response = ask(gateway, unawaited).await;
        assert_eq!((response.status, response.header("preference-applied")), (202, Some("respond-async")));
    }
    reaches(&stack, "write_queue_records", 3.0 * CLIENTS as f64).await;
    assert_eq!(count(&stack, "written_records_total").await, 0.0);
    stack.bridge.process.terminate();
    while let Some(response) = asked.join_next().await {
        written(&response.unwrap(), topic);
    }
    let list = list.await.unwrap();
    assert_eq!(list.status, 200, "{list:?}");
    assert!(list.json()["offsets"].as_array().unwrap().iter().all(|one| one["offset"].is_i64()), "{list:?}");
    assert!(stack.bridge.process.wait(DRAINED_WITHIN).await.unwrap().success());
    assert_eq!(numbers(kafka, topic).await, (0..3 * CLIENTS).collect::<Vec<_>>());
    let refused = ask(gateway, Request::post(ANY, "x").with("x-kafka-topic", topic)).await;
    assert!(!unanswered(way, &refused, 503), "{refused:?}");
}

/// The numbers that are there, in their order, each once.
async fn numbers(kafka: &Kafka, topic: &str) -> Vec<usize> {
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap()).unwrap();
    let records = consume(kafka, topic, 1).await;
    let mut numbers: Vec<usize> =
        records.into_values().map(|record| text(record.value).parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}
