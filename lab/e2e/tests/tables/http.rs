//! One key over HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Client, Request, Streamed, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;
use tokio::time::timeout;

use crate::pool::{RED_REST, REST, standard};
use crate::tables::record;

in_every_profile! {
    key_is_as_new_as_what_was_acknowledged
}

async fn write(kafka: &Kafka, topic: &str, partition: i32, records: &[Record]) -> Vec<i64> {
    kafka.produce(topic, partition, records, Write::default()).await.unwrap()
}

async fn get(stack: &Stack, path: &str) -> (u16, Value) {
    let answer = ask(stack.gateway(), Request::get(path).with("accept", "application/json")).await;
    (answer.status, answer.json())
}

async fn key_is_as_new_as_what_was_acknowledged(way: Way) {
    let (kafka, stack) = standard(way).await;
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
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("private", 1, &[]).await.unwrap();
    let of = |tenant: &str| Record {
        headers: vec![("tenant".to_owned(), Some(tenant.into()))],
        ..record(tenant, Some("1"))
    };
    write(kafka, topic, 0, &[of("red"), of("blue")]).await;
    for (key, want) in [("red", 200), ("blue", 404), ("none", 404)] {
        let (status, answer) = get(&stack, &format!("{RED_REST}/topics/{topic}/table/{key}")).await;
        assert_eq!(status, want, "{key}: {answer}");
    }
    for (path, want) in
        [("/topics/missing/table/a", 404), ("/topics/x/table/%zz", 400), ("/topics/x/table", 404)]
    {
        let (status, answer) = get(&stack, &format!("{REST}{path}")).await;
        assert_eq!(status, want, "{path}: {answer}");
    }
}

/// The name, the id and the data of the next event with data.
async fn event(body: &mut Streamed, unread: &mut String) -> (String, Option<String>, Value) {
    loop {
        while let Some((block, rest)) = unread.split_once("\n\n") {
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            let (name, id, data) = (field("event: ").unwrap_or_default(), field("id: "), field("data: "));
            *unread = rest.to_owned();
            if let Some(data) = data {
                return (name, id, serde_json::from_str(&data).unwrap());
            }
        }
        let part = timeout(Duration::from_secs(30), body.next()).await.expect("more events");
        unread.push_str(std::str::from_utf8(&part.unwrap().expect("more events")).unwrap());
    }
}

#[tokio::test]
async fn events_begin_with_a_snapshot_and_go_on() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("table-events", 1, &[]).await.unwrap();
    let old = [record("a", Some("1")), record("a", Some("2")), record("b", Some("3"))];
    write(kafka, topic, 0, &old).await;
    let path = format!("{REST}/topics/{topic}/events?snapshot=latest_per_key");
    let open = async |last: Option<String>| {
        let request = Request::get(&path).with("accept", "text/event-stream");
        let request = last.into_iter().fold(request, |request, last| request.with("last-event-id", last));
        Client::connect(stack.gateway()).await.unwrap().stream(request).await.unwrap()
    };
    let (mut body, mut unread, mut values) = (open(None).await, String::new(), Vec::new());
    let last = loop {
        let (name, id, data) = event(&mut body, &mut unread).await;
        match &*name {
            "snapshot-end" => {
                assert_eq!(data, json!({"skipped": 0}));
                break id;
            }
            "" => {
                assert_eq!(id, None, "a snapshot that is not complete begins anew");
                values.push(data["value"].clone());
            }
            _ => {}
        }
    };
    assert!(last.is_some());
    assert_eq!(values, [2, 3]);
    drop(body);
    write(kafka, topic, 0, &[record("a", None), record("b", Some("4"))]).await;
    let (mut body, mut unread, mut values) = (open(last).await, String::new(), Vec::new());
    while values.len() < 2 {
        let (name, _, data) = event(&mut body, &mut unread).await;
        assert_ne!(name, "snapshot", "it was away for a moment only");
        if name.is_empty() {
            values.push(data["value"].clone());
        }
    }
    assert_eq!(values, [Value::Null, json!(4)]);
}
