//! The command line writes, Kafka's own console consumer reads.

use std::process::{Output, Stdio};
use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{CONSOLE_CONSUMER, Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::tools;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::writing::stacks::shared;

const WITHIN: Duration = Duration::from_secs(60);

fn start(stack: &Stack, args: &[&str]) -> Child {
    Command::new(tools::cli().unwrap())
        .args(args)
        .env("SLUICEGATE_URL", stack.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Status and output of a command with this input.
async fn run(stack: &Stack, args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = start(stack, args);
    let mut stdin = child.stdin.take().unwrap();
    let fed = async {
        // A command that has had enough says why when it ends.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ended = async { tokio::join!(fed, child.wait_with_output()).1.unwrap() };
    let Output { status, stdout, stderr } = timeout(WITHIN, ended).await.expect("its end within 60 s");
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn assert_acknowledged((code, stdout, stderr): (Option<i32>, String, String), count: usize) {
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    let summary = format!("% {count} sent, {count} acknowledged, 0 failed, 0 unknown in ");
    assert!(stderr.contains(&summary), "{stderr:?} instead of {summary:?}");
}

#[tokio::test]
async fn produce_writes_what_fetch_prints() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let source = &kafka.topic("source", 1, &[("retention.ms", "-1")]).await.unwrap();
    let copy = &kafka.topic("copy", 1, &[("retention.ms", "-1")]).await.unwrap();
    let value = |at: usize| match at % 4 {
        0 => Some(format!("value {at} é \"quoted\" \\ \t")),
        1 => Some("two\nlines".to_owned()),
        2 => Some("x".repeat(at * 10)),
        _ => None,
    };
    let record = |at: usize| Record {
        key: (!at.is_multiple_of(3)).then(|| format!("key {at}").into_bytes()),
        value: value(at).map(String::into_bytes),
        timestamp: Some(1_700_000_000_000 + i64::try_from(at).unwrap()),
        ..Record::default()
    };
    let mut records: Vec<Record> = (0..500).map(record).collect();
    records.push(Record { timestamp: Some(1_700_000_001_000), ..Record::of(vec![0xFF, 0x00, 0xFE]) });
    let empty = Record { key: Some(Vec::new()), timestamp: Some(1_700_000_001_001), ..Record::of("") };
    records.push(empty);
    kafka.produce(source, 0, &records, Write::default()).await.unwrap();
    let (code, lines, stderr) = run(stack, &["fetch", source, "-p", "0", "--json"], b"").await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(lines.lines().count(), records.len());
    let piped = run(stack, &["produce", copy, "--json"], lines.as_bytes()).await;
    assert_acknowledged(piped, records.len());
    assert_eq!(consume(kafka, copy, records.len()).await, consume(kafka, source, records.len()).await);
}

#[tokio::test]
async fn newcomers_options_work() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("newcomer", 2, &[]).await.unwrap();
    let place = |record: u32, partition: u32, offset: u32| {
        format!("{record} {topic} [{partition}] offset {offset}\n")
    };
    let (code, places, stderr) =
        run(stack, &["produce", topic, "-p", "1", "--print-offsets"], b"a\nb\n").await;
    assert_eq!((code, places), (Some(0), place(1, 1, 0) + &place(2, 1, 1)), "{stderr}");
    let (code, values, stderr) = run(stack, &["fetch", topic, "--from", "s@-1h"], b"").await;
    assert_eq!((code, values.as_str()), (Some(0), "a\nb\n"), "{stderr}");

    // Of the gateway in SLUICEGATE_URL.
    let (code, topics, stderr) = run(stack, &["topics"], b"").await;
    assert!(code == Some(0) && topics.contains(&format!("topic \"{topic}\" with 2 partitions:")), "{stderr}");

    let url = stack.url();
    let without_path = url.trim_end_matches("/pubsub");
    let (code, _, stderr) = run(stack, &["ping", "-u", without_path], b"").await;
    assert!(
        code == Some(3) && stderr.contains("the URL has no path: add that of a `pubsub` route"),
        "{stderr}"
    );
    let (code, _, stderr) = run(stack, &["ping", "-u", &url.replace("ws:", "wss:")], b"").await;
    assert!(code == Some(3) && stderr.ends_with("; if the port is one without TLS, use ws://\n"), "{stderr}");
}

/// Output of Kafka's console consumer for partition 0.
async fn consume(kafka: &Kafka, topic: &str, count: usize) -> Vec<String> {
    let folder = Folder::new("console").unwrap();
    let properties =
        "print.timestamp=true\nprint.offset=true\nprint.key=true\nprint.headers=true\nnull.literal=NULL\n";
    let formatter = folder.write("formatter.properties", properties).unwrap();
    let max = count.to_string();
    let args = ["--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", &max];
    let args = [&args[..], &["--formatter-config", formatter.to_str().unwrap()]].concat();
    let printed = kafka.console(CONSOLE_CONSUMER, &args, b"").await.unwrap();
    let lines =
        printed.split_inclusive(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<String> = lines.collect();
    assert!(lines.len() >= count, "{lines:?}");
    lines
}
