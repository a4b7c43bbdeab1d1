//! SIGTERM: accepted records are delivered, waiting clients get their result, and sessions are closed.

use std::time::Duration;

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaFetch, KafkaMessage};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{Raw, Upgrade, close, request};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::task::JoinSet;

use crate::http::answers::{unanswered, written};
use crate::http::openapi::ask;
use crate::pool::{ANY, REST, count, reaches, routed};

in_ways! {
    [tunnel full relay apisix]
    accepted_records_are_delivered_and_answered_after_sigterm
}

const CLIENTS: usize = 20;
const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// Nothing is on its way to Kafka before SIGTERM.
const LINGER: &str = "linger.ms = 2000";

async fn accepted_records_are_delivered_and_answered_after_sigterm(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("drained", 1, &[]).await.unwrap();
    let empty = kafka.topic("waits", 1, &[]).await.unwrap();
    let mut stack = routed(way).await.properties(LINGER).own().await;
    let gateway = stack.gateway();
    // The emulated APISIX host serves plain HTTP only.
    let mut sessions = Vec::new();
    if way != Way::Apisix {
        let (idle, mut busy) = (Raw::open(gateway).await, Raw::open(gateway).await);
        let (topic, max_wait_ms) = (empty.clone(), Some(3000));
        let fetch = CmdKafkaFetch { topic, max_wait_ms, ..CmdKafkaFetch::default() };
        busy.write(request(7, Req::CmdKafkaFetch(fetch))).await;
        sessions.extend([idle, busy]);
    }
    let mut asked = JoinSet::new();
    let post = |number: usize| Request::post(ANY, number.to_string()).with("x-kafka-topic", topic);
    for number in 0..CLIENTS {
        asked.spawn(ask(gateway, post(number)));
    }
    let list: Vec<String> = (CLIENTS..2 * CLIENTS).map(|number| format!(r#"{{"value":{number}}}"#)).collect();
    let list = format!(r#"{{"records":[{}]}}"#, list.join(","));
    let list = Request::post(format!("{REST}/topics/{topic}"), list);
    let list = tokio::spawn(ask(gateway, list.with("content-type", "application/vnd.kafka.json.v2+json")));
    for number in 2 * CLIENTS..3 * CLIENTS {
        let response = ask(gateway, post(number).with("prefer", "respond-async")).await;
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
    if let [idle, busy] = &mut sessions[..] {
        assert_eq!(busy.answer().await.sequence, 7, "commands in flight are answered");
        for session in [idle, busy] {
            session.is_closed(&close(1001, "going away"), "a session").await;
        }
    }
    drop(sessions);
    let status = stack.bridge.process.wait(DRAINED_WITHIN).await.unwrap();
    assert!(status.success(), "{status}");
    let log = stack.bridge.process.log_tail();
    assert!(!log.contains("cut off") && !log.contains("panicked"), "{log}");
    let number =
        |message: KafkaMessage| String::from_utf8(message.value.unwrap().to_vec()).unwrap().parse().unwrap();
    let mut numbers: Vec<usize> = kafka.read(topic, 0).into_iter().map(number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..3 * CLIENTS).collect::<Vec<_>>(), "each once");

    assert!(!unanswered(way, &ask(gateway, post(0)).await, 503));
    if way != Way::Apisix {
        let response = Raw::connect(gateway).await.ask(&Upgrade::default().bytes()).await;
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
        assert!(response.text().contains("bridge"), "{response:?}");
        // Envoy answers gRPC requests with status 200 and `grpc-status` if it cannot reach their upstream.
        assert!(!response.headers.keys().any(|name| name.as_str().contains("grpc")), "{response:?}");
    }
}
