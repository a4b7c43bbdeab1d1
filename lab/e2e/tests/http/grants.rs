//! The topics that a route grants, over plain HTTP and in sessions.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_client::{At, Client as Session, Error};
use sluicegate_protocol::ProduceRecord;
use sluicegate_stack::envoy::instead;
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::http::answers::{problem, rest_problem, written};
use crate::http::openapi::ask;
use crate::http::stacks::{WRITES, in_apisix, setup};

in_every_gateway! {
    routes_with_topics_serve_only_those
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
const LIST: &str = r#"{"records":[{"value":1}]}"#;
/// Kafka's TOPIC_AUTHORIZATION_FAILED.
const DENIED: i32 = 29;

async fn routes_with_topics_serve_only_those(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let [named, denied] =
        [kafka.topic("named", 1, &[]).await.unwrap(), kafka.topic("denied", 1, &[]).await.unwrap()];
    let (below, beside) = (&format!("{named}.below"), &format!("{named}-beside"));
    kafka.make_topic(below, 1, &[]).await.unwrap();
    kafka.make_topic(beside, 1, &[]).await.unwrap();
    let topics = [&named, &format!("{named}.*")];
    let stack = limited(way, kafka, &topics.map(String::as_str)).await;
    let gateway = stack.gateway();
    let [offsets, records] = ["offsets", "records?offset=0"];
    let get = async |route: &str, topic: &str, what: &str| {
        let path = format!("{route}/topics/{topic}/partitions/0/{what}");
        ask(gateway, Request::get(path)).await
    };
    let post = async |route: &str, topic: &str| {
        ask(gateway, Request::post(format!("{route}/topics/{topic}"), LIST).with("content-type", JSON)).await
    };
    let single =
        async |topic: &str| ask(gateway, Request::post("/any", "v").with("x-kafka-topic", topic)).await;

    for topic in [&named, below] {
        written(&single(topic).await, topic);
        assert_eq!(post("/kafka", topic).await.status, 200);
        assert_eq!(get("/kafka", topic, offsets).await.text(), r#"{"beginning_offset":0,"end_offset":2}"#);
        assert_eq!(get("/kafka", topic, "records?offset=1").await.status, 200);
        // `read` and `write` also apply to granted topics.
        rest_problem(&post("/reads", topic).await, 403, 403, "write");
        rest_problem(&get("/writes", topic, records).await, 403, 403, "read");
        assert_eq!(post("/writes", topic).await.status, 200);
    }
    let listed = ask(gateway, Request::get("/kafka/topics")).await;
    assert_eq!(listed.json(), json!([named, below]));

    // Denied topics look the same whether they exist or not.
    let missing = &format!("{denied}-missing");
    let alike = |told: &Response, topic: &str| {
        let (before, id) = told.text().split_once(",\"trace_id\":\"").unwrap();
        // Of each request, and random.
        format!("{before}{}", &id[32..]).replace(topic, "it")
    };
    for (exists, not) in [(&denied, missing), (beside, missing)] {
        for what in [offsets, records] {
            let told = get("/kafka", exists, what).await;
            rest_problem(&told, 403, 403, exists);
            assert_eq!(alike(&told, exists), alike(&get("/kafka", not, what).await, not));
        }
        let told = post("/kafka", exists).await;
        rest_problem(&told, 403, 403, exists);
        assert_eq!(alike(&told, exists), alike(&post("/kafka", not).await, not));
        let told = single(exists).await;
        problem(&told, 403, exists);
        assert_eq!(alike(&told, exists), alike(&single(not).await, not));
        let described =
            async |topic: &str| ask(gateway, Request::get(format!("/kafka/topics/{topic}"))).await;
        assert_eq!(alike(&described(exists).await, exists), alike(&described(not).await, not));
    }
    // The emulated APISIX host serves plain HTTP only.
    if way != Way::Apisix {
        sessions(&stack, &named, [&denied, beside, missing]).await;
    }
    for topic in [&denied, beside] {
        assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0), "{topic}");
    }
}

async fn sessions(stack: &Stack, named: &str, denied: [&str; 3]) {
    let session = Session::connect(&stack.url()).await.unwrap();
    let write = async |topic: &str| {
        let record = ProduceRecord {
            topic: topic.to_owned(),
            value: Some(Bytes::from_static(b"v")),
            ..ProduceRecord::default()
        };
        session.produce(vec![record]).await.unwrap().remove(0)
    };
    let end = session.list_offset(named, 0, At::Latest).await.unwrap().unwrap();
    assert_eq!(write(named).await.unwrap().offset, Some(end));
    assert_eq!(session.fetch(named, 0, end).await.unwrap().messages.len(), 1);
    let mut told = Vec::new();
    for topic in denied {
        let listed = session.list_offset(topic, 0, At::Latest).await.unwrap_err();
        let fetched = session.fetch(topic, 0, 0).await.unwrap_err();
        let written = write(topic).await.unwrap_err();
        assert!(matches!(listed, Error::Command { code: DENIED, .. }), "{listed:?}");
        assert!(matches!(fetched, Error::Command { code: DENIED, .. }), "{fetched:?}");
        assert_eq!(written.code, DENIED, "{written:?}");
        told.push(format!("{listed:?} {fetched:?} {written:?}").replace(topic, "it"));
    }
    assert!(told.iter().all(|other| *other == told[0]), "{told:?}");
}

/// A gateway whose routes have these topics.
async fn limited(way: Way, kafka: &Kafka, topics: &[&str]) -> Stack {
    let routes = [
        json!({"path": "/pubsub", "write": true, "topics": topics}),
        json!({"path": "/any", "type": "produce", "headerprefix": "x-kafka-", "overrides": ["topic"],
            "topics": topics}),
        json!({"path": "/kafka", "type": "rest", "write": true, "topics": topics}),
        json!({"path": "/reads", "type": "rest", "topics": topics}),
        json!({"path": "/writes", "type": "rest", "read": false, "write": true, "topics": topics}),
    ];
    let mut setup = setup(way, kafka, WRITES, "", "");
    let key = "\"gateway_secret\": \"between-gateway-and-bridge\",";
    if way == Way::Apisix {
        setup.apisix.routes = routes[1..].iter().map(|route| in_apisix(route, key)).collect();
    } else {
        let objects = routes.each_ref().map(Value::to_string);
        let keys = if way == Way::Relay { key } else { "" };
        setup.envoy_edits = vec![instead(keys, &objects.each_ref().map(String::as_str))];
    }
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    stack
}
