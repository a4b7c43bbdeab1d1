//! Who may write, and what is said where a part is not there, does not answer, or has no room.

use std::time::Duration;

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::http::client::Request;
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::answers::{problem, rest_problem, retry_after, unanswered, written};
use crate::openapi::ask;
use crate::stacks::{ANY, REST, WRITES, reaches, setup, shared, with};

in_every_gateway! {
    neither_route_nor_bridge_writes_unless_it_is_told_to
    a_bridge_that_is_away_or_hangs_is_said_to_be
    a_gateway_that_the_bridge_does_not_know_serves_nobody
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
/// How long a gateway waits for a bridge that hangs.
const PATIENCE: Duration = Duration::from_secs(2);
const LIST: &str = r#"{"records":[{"value":1}]}"#;

async fn neither_route_nor_bridge_writes_unless_it_is_told_to(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("unwritten", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let list =
        |route: &str| Request::post(format!("{route}/topics/{topic}"), LIST).with("content-type", JSON);
    rest_problem(&ask(gateway, list("/readonly")).await, 403, 403, "write");
    rest_problem(&ask(gateway, list("/rest-unwritten")).await, 403, 403, "write");
    problem(&ask(gateway, Request::post("/unwritten", "v")).await, 403, "write");
    // All of it can be read.
    for route in ["/readonly", "/rest-unwritten"] {
        assert_eq!(
            ask(gateway, Request::get(format!("{route}/topics/{topic}"))).await.status,
            200,
            "{route}"
        );
    }
    // No client chooses the cluster.
    let chosen = Request::post("/unwritten", "v").with("sluicegate-cluster", "default");
    problem(&ask(gateway, chosen).await, 403, "write");
    // A cluster that the bridge does not know is the gateway's mistake.
    problem(&ask(gateway, Request::post("/nowhere", "v")).await, 502, "");
    rest_problem(&ask(gateway, Request::get("/rest-nowhere/topics")).await, 502, 502, "");
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

async fn a_bridge_that_is_away_or_hangs_is_said_to_be(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("no-bridge", 1, &[]).await.unwrap();
    let mut setup = setup(way, kafka, WRITES, "", "");
    if way == Way::Apisix {
        setup.apisix.read_timeout = PATIENCE;
    } else {
        setup
            .envoy_edits
            .push(("idle_timeout: 40s".to_owned(), format!("idle_timeout: {}s", PATIENCE.as_secs())));
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

async fn a_gateway_that_the_bridge_does_not_know_serves_nobody(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("no-secret", 1, &[]).await.unwrap();
    let secret = "between-gateway-and-bridge";
    let settings = format!("gateway_secret = {secret:?}\n{WRITES}");
    let wrong = "\"gateway_secret\": \"between-gateway-and-bridgf\",";
    let stack = Stack::start(setup(way, kafka, &settings, "", wrong)).await.unwrap();
    let request =
        Request::post(ANY, "v").with("x-kafka-topic", topic).with("sluicegate-gateway-secret", secret);
    let response = ask(stack.gateway(), request).await;
    problem(&response, 502, "gateway and bridge are misconfigured");
    assert!(!response.text().contains("between-gateway"), "{response:?}");
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
    let right = format!("\"gateway_secret\": {secret:?},");
    let stack = with(way, kafka, &settings, "", &right).await;
    written(&ask(stack.gateway(), Request::post(ANY, "v").with("x-kafka-topic", topic)).await, topic);
}

#[tokio::test]
async fn a_full_queue_is_said_to_be_full() {
    let mut kafka = Kafka::start().await.unwrap();
    // One client can hold 10 of them.
    let properties = "queue.buffering.max.messages = 12\nmessage.timeout.ms = 60000\n";
    let stack = with(Profile::Tunnel, &kafka, WRITES, properties, "").await;
    let topic = &kafka.topic("full", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let post = |number: usize| Request::post(ANY, number.to_string()).with("x-kafka-topic", topic);
    written(&ask(gateway, post(0)).await, topic);
    kafka.freeze();
    let mut waiting = JoinSet::new();
    for number in 0..10 {
        waiting.spawn(ask(gateway, post(number)));
    }
    reaches(&stack, "write_queue_records", 10.0).await;
    let asked = Instant::now();
    // Nor is a record accepted whose client does not wait.
    for request in [post(10), post(11).with("prefer", "respond-async")] {
        let response = ask(gateway, request).await;
        problem(&response, 429, "");
        retry_after(&response);
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    kafka.thaw();
    while let Some(response) = waiting.join_next().await {
        written(&response.unwrap(), topic);
    }
    written(&ask(gateway, post(10)).await, topic);
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 12));
}

#[tokio::test]
async fn a_broker_that_hangs_is_another_thing_than_one_that_is_away() {
    let mut kafka = Kafka::start().await.unwrap();
    let stack = with(Profile::Tunnel, &kafka, WRITES, "message.timeout.ms = 6000\n", "").await;
    let topic = &kafka.topic("stuck", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let post = |body: &'static str| Request::post(ANY, body).with("x-kafka-topic", topic);
    written(&ask(gateway, post("0")).await, topic);
    kafka.freeze();
    let hung = problem(&ask(gateway, post("1")).await, 504, "");
    assert_eq!((&hung["unknown_outcome"], &hung["kafka_code"]), (&true.into(), &7.into()), "{hung}");
    kafka.thaw();
    kafka.kill();
    reaches(&stack, "write_failures_total", 1.0).await;
    let list = Request::post(format!("{REST}/topics/{topic}"), LIST).with("content-type", JSON);
    let read = Request::get(format!("{REST}/topics/{topic}/partitions/0/records?offset=0"));
    let (one, list, read) = tokio::join!(ask(gateway, post("2")), ask(gateway, list), ask(gateway, read));
    for response in [&one, &list, &read] {
        assert!(!response.text().contains("127.0.0.1"), "no client learns where brokers are: {response:?}");
    }
    let away = problem(&one, 503, "");
    assert!(away.get("unknown_outcome").is_none(), "{away}");
    retry_after(&one);
    assert!(list.status == 503 || list.json()["offsets"][0]["error_code"] == 2, "{list:?}");
    rest_problem(&read, 503, 50003, "");
    retry_after(&read);
    kafka.up().await.unwrap();
    let again = async { while ask(gateway, post("3")).await.status != 200 {} };
    tokio::time::timeout(Duration::from_secs(60), again).await.expect("an acknowledgement within 60 s");
    let end = kafka.watermarks(topic, 0).unwrap().1;
    assert!((2..=3).contains(&end), "{end}");
}

#[tokio::test]
async fn who_finds_the_bridge_busy_is_told_when_to_come_back() {
    let mut kafka = Kafka::start().await.unwrap();
    let settings = format!("{WRITES}[limits]\nmax_calls = 4\n");
    let stack = with(Profile::Internal, &kafka, &settings, "message.timeout.ms = 60000\n", "").await;
    let topic = &kafka.topic("busy", 1, &[]).await.unwrap();
    let gateway = stack.gateway();
    let post = || Request::post(ANY, "v").with("x-kafka-topic", topic);
    written(&ask(gateway, post()).await, topic);
    kafka.freeze();
    let mut waiting = JoinSet::new();
    // Three quarters of the places: a cluster can hold no more.
    for _ in 0..3 {
        waiting.spawn(ask(gateway, post()));
    }
    reaches(&stack, "write_queue_records", 3.0).await;
    for (request, is_rest) in [(post(), false), (Request::get(format!("{REST}/topics/{topic}")), true)] {
        let response = ask(gateway, request).await;
        let problem = if is_rest {
            rest_problem(&response, 503, 50003, "at capacity")
        } else {
            problem(&response, 503, "at capacity")
        };
        assert!(problem.get("unknown_outcome").is_none(), "{problem}");
        retry_after(&response);
    }
    kafka.thaw();
    while let Some(response) = waiting.join_next().await {
        written(&response.unwrap(), topic);
    }
    written(&ask(gateway, post()).await, topic);
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 5));
}
