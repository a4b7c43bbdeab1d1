//! The command line shows a table: once, and as it changes while bridges die.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::kafka::{Kafka, Record};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::pool::{Config, standard};
use crate::tables::{record, write};

fn command(stack: &Stack, args: &[&str]) -> Command {
    let mut command = Command::new(tools::cli().unwrap());
    command.args(["--url", &stack.url(), "-q", "table"]).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn table_is_printed_once_as_one_object() {
    let (kafka, stack) = standard(Way::Tunnel).await;
    let topic = &kafka.topic("printed", 1, &[]).await.unwrap();
    let records = [
        record("b", Some("{\"n\":\n1.0}")),
        record("a", Some("old")),
        record("a", Some("new")),
        record("gone", Some("x")),
        record("gone", None),
        Record { key: Some(vec![0xFF]), ..Record::of("2") },
    ];
    write(kafka, topic, &records).await;
    for (args, want) in [
        (&[topic.as_str(), "--once"][..], json!({"a": "new", "b": {"n": 1.0}, "base64:/w==": 2})),
        (&[topic, "--once", "--record-key", "a"], json!({"a": "new"})),
    ] {
        let printed = command(&stack, args).output().await.unwrap();
        assert!(printed.status.success(), "{printed:?}");
        assert_eq!(printed.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), want);
    }
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = timeout(Duration::from_secs(60), lines.next_line()).await.expect("a line within 60 s");
    serde_json::from_str(&line.unwrap().expect("a line")).unwrap()
}

#[tokio::test]
async fn changes_are_printed_although_the_bridge_dies() {
    let kafka = Kafka::shared().await.unwrap();
    let mut stack = Config::new(Way::Tunnel).await.writing(&["default"]).own().await;
    let topic = &kafka.topic("changing", 1, &[]).await.unwrap();
    write(kafka, topic, &[record("a", Some("1"))]).await;
    let mut showing = command(&stack, &[topic]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(showing.stdout.take().unwrap()).lines();
    let shown = line(&mut lines).await;
    assert_eq!((&shown["key"], &shown["value"]), (&json!("a"), &json!(1)));
    assert_eq!(line(&mut lines).await, json!({"complete": true}));
    stack.bridge.process.kill();
    write(kafka, topic, &[record("a", None), record("b", Some("2"))]).await;
    stack.bridge.up().await.unwrap();
    assert_eq!(line(&mut lines).await, json!({"key": "a", "removed": true}));
    assert_eq!(line(&mut lines).await["key"], "b");
}
