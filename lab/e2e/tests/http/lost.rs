//! A bridge that hangs, dies during a request, or is away: clients are told to retry only if nothing was written.

use std::time::{Duration, Instant};

use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::answers::unanswered;
use crate::http::openapi::ask;
use crate::pool::{ANY, reaches, routed};

in_ways! {
    [tunnel full relay apisix]
    lost_answers_to_writes_are_unknown
}

/// Time that a gateway waits for a bridge that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

async fn lost_answers_to_writes_are_unknown(way: Way) {
    let topic = &Kafka::shared().await.unwrap().topic("lost", 1, &[]).await.unwrap();
    // A record stays in the bridge for longer than the test.
    let mut setup = routed(way).await.properties("linger.ms = 20000").setup();
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
    let get = || Request::get("/kafka/topics");
    assert_eq!(ask(gateway, get()).await.status, 200);

    let under_way = tokio::spawn(ask(gateway, post()));
    reaches(&stack, "write_queue_records", 1.0).await;
    stack.bridge.process.kill();
    let response = under_way.await.unwrap();
    assert!(unanswered(way, &response, 504), "{response:?}");
    assert_eq!(response.header("retry-after"), None, "{response:?}");
    for request in [post(), get()] {
        let response = ask(gateway, request).await;
        assert!(!unanswered(way, &response, 503), "{response:?}");
    }

    stack.bridge.up().await.unwrap();
    stack.ready_within(Duration::from_secs(20)).await.unwrap();
    assert_eq!(ask(gateway, get()).await.status, 200);
    stack.bridge.process.freeze();
    let asked = Instant::now();
    assert!(unanswered(way, &ask(gateway, post()).await, 504), "a write that hangs is unknown");
    let read = ask(gateway, get()).await;
    assert!(!unanswered(way, &read, 504), "a read has no outcome: {read:?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}
