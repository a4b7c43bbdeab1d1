//! One key over HTTP, and tables as events.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Client, Request, Streamed, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;
use tokio::time::timeout;

use crate::tables::stacks::{RED, REST, shared};

in_every_profile! {
    key_is_as_new_as_what_was_acknowledged
}

fn record(key: &str, value: Option<&str>) -> Record {
    Record { key: Some(key.into()), value: value.map(Into::into), ..Record::default() }
}

async fn write(kafka: &Kafka, topic: &str, partition: i32, records: &[Record]) -> Vec<i64> {
    kafka.produce(topic, partition, records, Write::default()).await.unwrap()
}

async fn get(stack: &Stack, path: &str) -> (u16, Value) {
    let answer = ask(stack.gateway(), Request::get(path).with("accept", "application/json")).await;
    (answer.status, answer.json())
}

async fn key_is_as_new_as_what_was_acknowledged(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("keys", 3, &[]).await.unwrap();
    let path = |key: &str| format!("{REST}/topics/{topic}/table/{key}");
    assert_eq!(get(&stack, &path("a")).await.0, 404);
    for number in 0..20 {
        let value = json!({"n": number}).to_string();
        write(kafka, topic, 1, &[record("a", Some(&value)), record("ä b/c", Some(&value))]).await;
        for key in ["a", "%C3%A4%20b/c"] {
            let (status, record) = get(&stack, &path(key)).await;
            assert_eq!((status, &record["value"]), (200, &json!({"n": number})), "{record}");
            assert_eq!(record["partition"], 1);
        }
    }
    write(kafka, topic, 1, &[record("a", None)]).await;
    let (status, problem) = get(&stack, &path("a")).await;
    assert_eq!((status, &problem["reason"]), (404, &json!("not_found")), "{problem}");
    // The later one wins, whatever the partition.
    let at = |timestamp, record| Record { timestamp: Some(timestamp), ..record };
    write(kafka, topic, 2, &[at(2000, record("b", Some("2")))]).await;
    write(kafka, topic, 0, &[at(1000, record("b", Some("1")))]).await;
    assert_eq!(get(&stack, &path("b")).await.1["value"], 2);
}

#[tokio::test]
async fn key_of_others_is_not_found() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("private", 1, &[]).await.unwrap();
    let of = |tenant: &str| Record {
        headers: vec![("tenant".to_owned(), Some(tenant.into()))],
        ..record(tenant, Some("1"))
    };
    write(kafka, topic, 0, &[of("red"), of("blue")]).await;
    for (key, want) in [("red", 200), ("blue", 404), ("none", 404)] {
        let (status, answer) = get(&stack, &format!("{RED}/topics/{topic}/table/{key}")).await;
        assert_eq!(status, want, "{key}: {answer}");
    }
    for (path, want) in
        [("/topics/missing/table/a", 404), ("/topics/x/table/%zz", 400), ("/topics/x/table", 404)]
    {
        let (status, answer) = get(&stack, &format!("{REST}{path}")).await;
        assert_eq!(status, want, "{path}: {answer}");
    }
}

struct Events {
    body: Streamed,
    unread: String,
}

impl Events {
    async fn open(stack: &Stack, path: &str, last: Option<&str>) -> Self {
        let request = Request::get(path).with("accept", "text/event-stream");
        let request = last.into_iter().fold(request, |request, last| request.with("last-event-id", last));
        let body = Client::connect(stack.gateway()).await.unwrap().stream(request).await.unwrap();
        assert_eq!(body.head.status, 200, "{:?}", body.head);
        Self { body, unread: String::new() }
    }

    /// The fields of the next event.
    async fn next(&mut self) -> (Option<String>, Option<String>, Option<Value>) {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let field =
                    |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let data = field("data: ").map(|data| serde_json::from_str(&data).unwrap());
                let found = (field("event: "), field("id: "), data);
                self.unread = rest.to_owned();
                return found;
            }
            let part = timeout(Duration::from_secs(30), self.body.next()).await.expect("more events");
            self.unread.push_str(std::str::from_utf8(&part.unwrap().expect("more events")).unwrap());
        }
    }

    /// Reads on to an event of this name; empty: a record. Gives its id and its data.
    async fn until(&mut self, name: &str) -> (Option<String>, Value) {
        loop {
            let (event, id, data) = self.next().await;
            if let (true, Some(data)) = (event.unwrap_or_default() == name, data) {
                return (id, data);
            }
        }
    }
}

#[tokio::test]
async fn events_begin_with_a_snapshot_and_go_on() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("events", 1, &[]).await.unwrap();
    write(kafka, topic, 0, &[record("a", Some("1")), record("a", Some("2")), record("b", Some("3"))]).await;
    let path = &format!("{REST}/topics/{topic}/events?snapshot=latest_per_key");
    let mut events = Events::open(&stack, path, None).await;
    assert_eq!(events.until("snapshot").await.0, None);
    for value in [2, 3] {
        let (id, data) = events.until("").await;
        assert_eq!(
            (id, &data["value"]),
            (None, &json!(value)),
            "a snapshot that is not complete begins anew"
        );
    }
    let (last, data) = events.until("snapshot-end").await;
    assert_eq!(data, json!({"skipped": 0}));
    write(kafka, topic, 0, &[record("a", None), record("b", Some("4"))]).await;
    let (_, data) = events.until("").await;
    assert_eq!((&data["key"], &data["value"]), (&json!("a"), &Value::Null));
    drop(events);
    // It comes back after a moment, without another snapshot.
    let mut events = Events::open(&stack, path, last.as_deref()).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let (event, _, data) = events.next().await;
        assert_ne!(event.as_deref(), Some("snapshot"));
        seen.extend(data.filter(|_| event.is_none()).map(|data| data["value"].clone()));
    }
    assert_eq!(seen, [Value::Null, json!(4)]);
}
