//! A bridge that is down, or does not answer.

use std::time::Duration;

use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;
use tokio::time::Instant;

use crate::http::answers::{unanswered, written};
use crate::http::stacks::{ANY, WRITES, setup};

in_every_gateway! {
    bridge_that_is_away_or_hangs_is_named
}

/// Time that a gateway waits for a bridge that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

async fn bridge_that_is_away_or_hangs_is_named(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("no-bridge", 1, &[]).await.unwrap();
    let mut setup = setup(way, kafka, WRITES, "", "");
    if way == Way::Apisix {
        setup.apisix.read_timeout = PATIENCE;
    } else {
        let default = if way == Way::Relay { "stream_idle_timeout: 90s" } else { "idle_timeout: 40s" };
        let (key, _) = default.split_once(' ').unwrap();
        setup.envoy_edits.push((default.to_owned(), format!("{key} {}s", PATIENCE.as_secs())));
    }
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    let gateway = stack.gateway();
    let post = || Request::post(ANY, "v").with("x-kafka-topic", topic);
    written(&ask(gateway, post()).await, topic);
    stack.bridge.process.freeze();
    let asked = Instant::now();
    assert!(unanswered(way, &ask(gateway, post()).await, 504), "a write that hangs is unknown");
    let read = ask(gateway, Request::get("/kafka/topics")).await;
    assert!(!unanswered(way, &read, 504), "a read has no outcome: {read:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    stack.bridge.process.kill();
    for request in [post(), Request::get("/kafka/topics")] {
        let response = ask(gateway, request).await;
        assert!(!unanswered(way, &response, 503), "{response:?}");
    }
    stack.bridge.up().await.unwrap();
    stack.ready_within(Duration::from_secs(20)).await.unwrap();
    written(&ask(gateway, post()).await, topic);
}
