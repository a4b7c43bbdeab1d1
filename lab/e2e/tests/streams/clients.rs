//! The official clients: for TypeScript in Node, and for TanStack DB in Chromium.

use std::time::Duration;

use serde_json::json;
use sluicegate_stack::browser;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;

use crate::pool::Config;

async fn stack() -> Stack {
    let routes = [
        json!({"path": "/json", "type": "streams", "write": true}),
        json!({"path": "/state", "type": "streams", "write": true, "elements": "state", "origins": ["*"]}),
    ];
    Config::new(Way::Tunnel).await.writing(&["default"]).routes(routes).own().await
}

/// Runs a script on a topic. `write` writes what the words after the first one say.
async fn run(script: &str, topic: &str, write: impl AsyncFn(&[&str])) {
    let mut stack = stack().await;
    let gateway = stack.gateway().to_string();
    browser::run(script, &[&gateway, topic], WITHIN, async |request| {
        match request {
            "kill bridge" => stack.bridge.process.kill(),
            "stop bridge" => {
                stack.bridge.process.terminate();
                assert!(stack.bridge.process.wait(WITHIN).await.unwrap().success());
            }
            "start bridge" => stack.bridge.up().await.unwrap(),
            _ => write(&request.split(' ').collect::<Vec<_>>()).await,
        }
        "done".to_owned()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn official_client_has_every_record_once() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("numbers", 1, &[]).await.unwrap();
    run("../streams/client.ts", topic, async |words| {
        let ["write", from, to] = *words else { panic!("unknown request {words:?}") };
        let records: Vec<Record> = (from.parse().unwrap()..to.parse::<u32>().unwrap())
            .map(|number| Record::of(number.to_string()))
            .collect();
        kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn collections_in_a_browser_follow_a_compacted_topic() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("collection", 1, &COMPACTED).await.unwrap();
    let write = async |key: &str, status: Option<&str>| {
        let value = status.map(|status| json!({"id": key, "status": status}).to_string().into_bytes());
        let record = Record { key: Some(key.into()), value, ..Record::default() };
        kafka.produce(topic, 0, &[record], Write::default()).await.unwrap();
    };
    for (key, status) in
        [("a", Some("open")), ("b", Some("open")), ("a", Some("paid")), ("b", None), ("c", Some("open"))]
    {
        write(key, status).await;
    }
    // The log begins with a hole, and has a tombstone.
    becomes("the records that are left", 3, WITHIN, async || kafka.read(topic, 0).len()).await;
    run("collections.ts", topic, async |words| match *words {
        ["write", key, status] => write(key, Some(status)).await,
        ["delete", key] => write(key, None).await,
        _ => panic!("unknown request {words:?}"),
    })
    .await;
}

/// Compacted as soon as a segment is full, and a segment is full at the next record.
const COMPACTED: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0"), ("segment.ms", "1")];
const WITHIN: Duration = Duration::from_secs(120);
