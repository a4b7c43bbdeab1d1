//! Deliveries to clients of each route, in the bridge's metrics.

use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::{in_every_profile, through_apisix};

use crate::http::openapi::ask;
use crate::http::stacks::{REST, shared};

in_every_profile! {
    plain_http_is_counted_by_the_gateways_route
    sessions_are_counted_by_the_gateways_route
}

through_apisix! {
    plain_http_is_counted_by_the_gateways_route
}

async fn plain_http_is_counted_by_the_gateways_route(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = three_records(kafka, &stack).await;
    // No other test reads on this route.
    let before = counts(&stack, "/readonly").await;
    let read = Request::get(format!("/readonly/topics/{topic}/partitions/0/records?offset=1"));
    let read = read.with("accept", "application/json").with("x-sluicegate-route", "/of/the/client");
    assert_eq!(ask(stack.gateway(), read).await.status, 200);
    let after = counts(&stack, "/readonly").await;
    assert_eq!(after[0] - before[0], 2.0);
    assert!((4.0..200.0).contains(&(after[1] - before[1])), "{before:?} {after:?}");
    assert_eq!(counts(&stack, "/of/the/client").await, [0.0; 2]);
}

async fn sessions_are_counted_by_the_gateways_route(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = three_records(kafka, &stack).await;
    let before = counts(&stack, "/pubsub").await;
    let mut socket = Socket::open(&stack).await;
    assert_eq!(socket.fetch(&topic, 0, 0).await.unwrap().len(), 3);
    let after = counts(&stack, "/pubsub").await;
    assert!(after[0] - before[0] >= 3.0 && after[1] > before[1], "{before:?} {after:?}");
}

/// A topic of a test's own with three records.
async fn three_records(kafka: &Kafka, stack: &Stack) -> String {
    let topic = kafka.topic("deliveries", 1, &[]).await.unwrap();
    let records = r#"{"records":[{"value":1},{"value":22},{"value":333}]}"#;
    let write = Request::post(format!("{REST}/topics/{topic}"), records);
    let write = write.with("content-type", "application/vnd.kafka.json.v2+json");
    assert_eq!(ask(stack.gateway(), write).await.status, 200);
    topic
}

/// The records and bytes of a route.
async fn counts(stack: &Stack, route: &str) -> [f64; 2] {
    let label = format!("gateway_route=\"{route}\"");
    let count = async |name: &str| {
        let prefix = format!("sluicegate_delivered_{name}_total{{cluster=\"default\"");
        stack.bridge.count(&prefix, &label).await.unwrap_or_default()
    };
    [count("records").await, count("bytes").await]
}
