//! The official clients: for TypeScript in Node, for TanStack DB in Chromium, and for Python.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use serde_json::json;
use sluicegate_stack::browser;
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::process::Process;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools;
use sluicegate_stack::waiting::{becomes, until};
use sluicegate_stack::way::Way;

use crate::pool::Config;

async fn stack() -> Stack {
    let routes = [
        json!({"path": "/json", "type": "streams", "write": true}),
        json!({"path": "/packed", "type": "streams", "write": true, "pack": true}),
        json!({"path": "/state", "type": "streams", "write": true, "elements": "state", "origins": ["*"]}),
    ];
    Config::new(Way::Tunnel).await.writing(&["default"]).routes(routes).own().await
}

/// Runs a script on a topic. `write` writes what the words after the first one say.
async fn run(stack: &mut Stack, script: &str, topic: &str, write: impl AsyncFn(&[&str])) {
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

/// The one for TypeScript, and beside it readers of the one for Python.
#[tokio::test]
async fn official_clients_have_every_record_once() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("numbers", 2, &[]).await.unwrap();
    let mut stack = stack().await;
    let url = format!("http://{}/json/{topic}/0", stack.gateway());
    let readers = ["auto", "sse"].map(|mode| {
        let mut python = tools::python("lab/e2e/streams/follow.py").unwrap();
        python.args([&url, mode]);
        Process::spawn("Python", python, &stack.folder().path().join(format!("python-{mode}.log"))).unwrap()
    });
    run(&mut stack, "../streams/client.ts", topic, async |words| {
        let ["write", from, to] = *words else { panic!("unknown request {words:?}") };
        write(kafka, topic, from.parse().unwrap()..to.parse().unwrap()).await;
    })
    .await;
    let all_have = async |count: u32| {
        let want: Vec<u32> = (0..count).collect();
        for reader in &readers {
            let is_same = async || if numbers(reader) == want { Ok(()) } else { Err(reader.log_tail()) };
            until("every number", WITHIN, is_same).await;
        }
    };
    all_have(301).await;
    stack.bridge.process.kill();
    write(kafka, topic, 301..400).await;
    stack.bridge.up().await.unwrap();
    all_have(400).await;
}

/// Writes a record for each number.
async fn write(kafka: &Kafka, topic: &str, numbers: Range<u32>) {
    let records: Vec<Record> = numbers.map(|number| Record::of(number.to_string())).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
}

/// The numbers that a program has printed, besides what it says of errors.
fn numbers(reader: &Process) -> Vec<u32> {
    let log = fs::read_to_string(reader.log()).unwrap();
    log.lines().filter_map(|line| line.parse().ok()).collect()
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
    run(&mut stack().await, "collections.ts", topic, async |words| match *words {
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
