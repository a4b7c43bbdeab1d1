//! One key over HTTP.

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::pool::{RED_REST, REST, standard};
use crate::tables::record;

async fn write(kafka: &Kafka, topic: &str, partition: i32, records: &[Record]) -> Vec<i64> {
    kafka.produce(topic, partition, records, Write::default()).await.unwrap()
}

async fn get(stack: &Stack, path: &str) -> (u16, Value) {
    let answer = ask(stack.gateway(), Request::get(path).with("accept", "application/json")).await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn key_is_as_new_as_what_was_acknowledged() {
    let (kafka, stack) = standard(Way::Tunnel).await;
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
