//! Deliveries are counted by the route that a request has found.

use sluicegate_stack::http::client::Request;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::answers::written;
use crate::http::openapi::ask;
use crate::pool::{ANY, standard};

in_ways! {
    [tunnel relay apisix]
    deliveries_are_counted_by_the_gateways_route
}

async fn deliveries_are_counted_by_the_gateways_route(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = kafka.topic("deliveries", 1, &[]).await.unwrap();
    for value in ["1", "22", "333"] {
        written(&ask(stack.gateway(), Request::post(ANY, value).with("x-kafka-topic", &topic)).await, &topic);
    }
    // No other test reads on this route.
    let before = delivered(&stack, "/readonly").await;
    let read = Request::get(format!("/readonly/topics/{topic}/partitions/0/records?offset=1"));
    let read = read.with("accept", "application/json").with("x-sluicegate-route", "/of/the/client");
    assert_eq!(ask(stack.gateway(), read).await.status, 200);
    assert_eq!(delivered(&stack, "/readonly").await - before, 2.0);
    assert_eq!(delivered(&stack, "/of/the/client").await, 0.0);
}

/// The records of a route.
async fn delivered(stack: &Stack, route: &str) -> f64 {
    let (prefix, label) = ("sluicegate_delivered_records_total{", format!("gateway_route=\"{route}\""));
    stack.bridge.count(prefix, &label).await.unwrap_or_default()
}
