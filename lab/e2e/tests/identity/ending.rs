//! Sessions, streams of events and waits end with the identity that they were opened with.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluicegate_client::{Client, Error};
use sluicegate_stack::http::client::{self, Request, Streamed};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::identity::stacks::{http, of_gateway, session, token};

in_ways! {
    [tunnel full relay]
    session_ends_when_its_identity_expires
    stream_of_events_ends_when_its_identity_expires
}

/// The status and the reason with which a session ends.
pub(crate) async fn end(client: &Client) -> (u16, String) {
    loop {
        match client.ping("p").await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(Error::Closed { code, reason }) => return (code, reason),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A stream of the events of a topic.
pub(crate) async fn events(stack: &Stack, topic: &str, token: &str) -> Streamed {
    let request = Request::get(format!("/kafka/topics/{topic}/events"))
        .with("accept", "text/event-stream")
        .with("authorization", format!("Bearer {token}"));
    client::Client::connect(stack.gateway()).await.unwrap().stream(request).await.unwrap()
}

/// All that comes until the stream ends.
pub(crate) async fn rest(mut stream: Streamed) -> String {
    let mut text = Vec::new();
    while let Some(part) = stream.next().await.unwrap() {
        text.extend_from_slice(&part);
    }
    String::from_utf8(text).unwrap()
}

async fn session_ends_when_its_identity_expires(way: Way) {
    let stack = of_gateway(way).await;
    let began = Instant::now();
    let [short, long] = [3, 600].map(|seconds| token("alice", &json!({}), seconds));
    let short = session(&stack, Some(&short)).await.unwrap();
    let long = session(&stack, Some(&long)).await.unwrap();
    assert_eq!(end(&short).await, (3000, "identity expired".to_owned()));
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&took), "{took:?}");
    assert!(long.ping("p").await.is_ok());
}

async fn stream_of_events_ends_when_its_identity_expires(way: Way) {
    let topic = Kafka::shared().await.unwrap().topic("open-expiring", 1, &[]).await.unwrap();
    let stack = of_gateway(way).await;
    let short = token("alice", &json!({}), 3);
    let path = format!("/kafka/topics/{topic}/partitions/0/records?offset=0&timeout=20000");
    let records = Request::get(&path).with("accept", "application/vnd.kafka.json.v2+json");
    let began = Instant::now();
    let stream = events(&stack, &topic, &short).await;
    let (text, waited) = tokio::join!(rest(stream), http(&stack, Some(&short), records.clone()));
    let (_, last) = text.rsplit_once("event: error\ndata: ").unwrap();
    let failure: Value = serde_json::from_str(last.lines().next().unwrap()).unwrap();
    assert_eq!((&failure["reason"], &failure["detail"]), (&json!("denied"), &json!("identity expired")));
    // A wait ends in time, and the next request is refused.
    assert_eq!(waited.status, 200, "{}", waited.text());
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!(http(&stack, Some(&short), records).await.status, 401);
}
