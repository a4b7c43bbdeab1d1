//! The command line shows a table: once, and as it changes.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::kafka::Record;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::pool::standard;
use crate::tables::{record, write};

fn command(stack: &Stack, args: &[&str]) -> Command {
    let mut command = Command::new(tools::cli().unwrap());
    command.args(["--url", &stack.url(), "-q", "table"]).args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn table_is_printed_once_and_as_it_changes() {
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
    let one = [topic.as_str(), "--once", "--record-key", "a"];
    for (args, want) in
        [(&one[..2], json!({"a": "new", "b": {"n": 1.0}, "base64:/w==": 2})), (&one[..], json!({"a": "new"}))]
    {
        let printed = command(&stack, args).output().await.unwrap();
        assert!(printed.status.success(), "{printed:?}");
        assert_eq!(printed.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), want);
    }

    let mut showing = command(&stack, &[topic, "--record-key", "a"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(showing.stdout.take().unwrap()).lines();
    let mut line = async || {
        let line = timeout(Duration::from_secs(60), lines.next_line()).await.expect("a line within 60 s");
        serde_json::from_str::<Value>(&line.unwrap().expect("a line")).unwrap()
    };
    let shown = line().await;
    assert_eq!((&shown["key"], &shown["value"]), (&json!("a"), &json!("new")));
    assert_eq!(line().await, json!({"complete": true}));
    write(kafka, topic, &[record("a", None)]).await;
    assert_eq!(line().await, json!({"key": "a", "removed": true}));
}
