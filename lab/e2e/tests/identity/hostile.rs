//! Claims that try to reach more than they should: a token is verified, and its values come from a form that anybody
//! can fill in.

use serde_json::{Value, json};
use sluicegate_protocol::{ProduceRecord, Reason};
use sluicegate_stack::http::client::Request;
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::identity::renewing::open;
use crate::identity::stacks::{http, session, start, token};
use crate::identity::tokens::verifier;

in_every_gateway! {
    hostile_claims_reach_nothing
}

/// Values of the claim `team`. The topic that they aim at ends in `secret` or `team.x.y`.
fn hostile() -> Vec<Value> {
    let text = [
        "",
        "..",
        "*",
        ">",
        "s*",
        "secret*",
        "secret ",
        "secret\u{0}",
        "s\u{435}cret",
        "SECRET",
        "x.y",
        "x.",
        "auth0|x",
    ];
    let mut all: Vec<Value> = text.into_iter().map(Value::from).collect();
    all.extend([
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(9_007_199_254_740_992_u64),
        json!({"team": "secret"}),
        json!([["secret"], {"a": "secret"}, null, "*", ""]),
        json!("secret".repeat(500)),
        json!(vec!["*"; 1000]),
    ]);
    all
}

async fn hostile_claims_reach_nothing(way: Way) {
    let kafka = Kafka::shared().await.unwrap();
    let shared = kafka.topic("hostile", 1, &[]).await.unwrap();
    let aims = ["secret", "team.x.y"].map(|name| format!("{shared}.{name}"));
    for topic in &aims {
        kafka.make_topic(topic, 1, &[]).await.unwrap();
    }
    let topics = format!(r#"["{shared}", "{shared}.${{team}}", "{shared}.team.${{team}}.*"]"#);
    let keys = format!(
        r#""identity": {{"from": "token", "name": "main"}}, "claims": {{"team": ["team"]}},
           "read": {topics}, "write": {topics}"#
    );
    let stack = start(way, kafka, &keys, &verifier()).await;
    let of = |team: Value| token("mallory", &json!({"aud": "app", "team": team}), 600);
    for team in hostile() {
        let name = team.to_string().chars().take(40).collect::<String>();
        let token = of(team);
        assert_eq!(statuses(&stack, &token, &shared).await, [200; 4], "{name}");
        for topic in &aims {
            assert_eq!(statuses(&stack, &token, topic).await, [403; 4], "{name}: {topic}");
            if way != Way::Apisix {
                assert!(is_denied_in_sessions(&stack, &token, topic).await, "{name}: {topic}");
            }
        }
    }
    // Members of these teams reach them.
    assert_eq!(statuses(&stack, &of(json!("secret")), &aims[0]).await, [200; 4]);
    assert_eq!(statuses(&stack, &of(json!(["x"])), &aims[1]).await, [200; 4]);
}

/// The answers to a description, a read, a write and a stream of events.
async fn statuses(stack: &Stack, token: &str, topic: &str) -> [u16; 4] {
    let status = async |request: Request| http(stack, Some(token), request).await.status;
    let topics = format!("/kafka/topics/{topic}");
    let records = Request::get(format!("{topics}/partitions/0/records?offset=0&timeout=0"))
        .with("accept", "application/vnd.kafka.json.v2+json");
    let write = Request::post(topics.clone(), r#"{"records":[{"value":1}]}"#)
        .with("content-type", "application/vnd.kafka.json.v2+json");
    let events = Request::get(format!("{topics}/events")).with("accept", "text/event-stream");
    let events = events.with("authorization", format!("Bearer {token}"));
    let client = sluicegate_stack::http::client::Client::connect(stack.gateway()).await.unwrap();
    [
        status(Request::get(topics)).await,
        status(records).await,
        status(write).await,
        client.stream(events).await.unwrap().head.status,
    ]
}

/// Whether binary and JSON sessions deny reading, subscribing and writing.
async fn is_denied_in_sessions(stack: &Stack, token: &str, topic: &str) -> bool {
    let client = session(stack, Some(token)).await.unwrap();
    let record = ProduceRecord { topic: topic.to_owned(), value: Some("v".into()), ..Default::default() };
    let written = client.produce(vec![record]).await.unwrap().remove(0);
    let mut socket: JsonSocket = open(stack, token).await;
    let subscribe = json!({"id": 1, "subscribe": {"topic": topic}});
    socket.send(subscribe.to_string()).await;
    client.fetch(topic, 0, 0).await.is_err()
        && written.is_err_and(|error| error.reason == Reason::Denied)
        && socket.receive().await["error"]["reason"] == "DENIED"
}
