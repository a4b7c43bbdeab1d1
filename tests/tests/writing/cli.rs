//! The command line writes, Kafka's own console consumer reads.

use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sluicegate_protocol::ProduceRecord;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::folder::Folder;
use sluicegate_tests::kafka::{CONSOLE_CONSUMER, Kafka, Record, Write};
use sluicegate_tests::stack::Stack;
use sluicegate_tests::tools;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::log::{numbers, read};
use crate::stacks::{becomes, shared, with};

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

/// What a command says to this input.
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
async fn lines_become_records_as_the_options_say() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("lines", 3, &[]).await.unwrap();
    assert_acknowledged(run(stack, &["produce", topic, "-p", "1"], b"a\n\nb").await, 3);
    let values =
        |partition: i32| -> Vec<_> { read(kafka, topic, partition).into_iter().map(|r| r.value).collect() };
    assert_eq!(values(1), ["a", "", "b"].map(|value| Some(value.into())));

    let options = ["produce", topic, "-p", "2", "-K", "=>", "-D", ";", "-Z", "-r", "a=1", "-r", "b=x=y"];
    assert_acknowledged(run(stack, &options, b"k=>v;=>w;gone=>;plain").await, 4);
    let records = read(kafka, topic, 2);
    let seen: Vec<_> = records.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    let some = |text: &'static str| Some(bytes::Bytes::from(text));
    let want = [(some("k"), some("v")), (None, some("w")), (some("gone"), None), (None, some("plain"))];
    assert_eq!(seen, want);
    for record in &records {
        let headers: Vec<_> = record.headers.iter().map(|h| (h.key.as_str(), h.value.as_deref())).collect();
        assert_eq!(headers, [("a", Some(&b"1"[..])), ("b", Some(&b"x=y"[..]))]);
    }
    let (_, lines, _) = run(stack, &["fetch", topic, "-p", "2", "--json"], b"").await;
    assert_acknowledged(run(stack, &["produce", topic, "-p", "0", "--json"], lines.as_bytes()).await, 4);
    let content = |record: ProduceRecord| (record.key, record.value, record.headers);
    assert!(read(kafka, topic, 0).into_iter().map(content).eq(records.into_iter().map(content)), "{lines}");
    assert_acknowledged(run(stack, &["produce", topic], b"").await, 0);
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
async fn large_file_keeps_its_order() {
    const LINES: u64 = 50_000;
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("large-file", 1, &[]).await.unwrap();
    let lines: String = (0..LINES).map(|number| format!("{number} {}\n", "x".repeat(80))).collect();
    let folder = Folder::new("lines").unwrap();
    let file = folder.write("lines", &lines).unwrap();
    let args = ["produce", topic, "-p", "0", "-l", file.to_str().unwrap()];
    assert_acknowledged(run(stack, &args, b"").await, usize::try_from(LINES).unwrap());
    assert_eq!(numbers(kafka, topic, 0), (0..LINES).collect::<Vec<_>>());
}

#[tokio::test]
async fn exit_code_says_whether_all_is_acknowledged() {
    let kafka = Kafka::shared().await.unwrap();
    let stack = &with(Profile::Tunnel, kafka, "", "message.max.bytes = 100000\n").await;
    let topic = &kafka.topic("exit", 1, &[]).await.unwrap();
    let missing = "missing-cli".to_owned();
    for (args, input, code, says) in [
        (vec![missing.as_str()], "v\n".to_owned(), 1, "record 1: UNKNOWN_TOPIC_OR_PARTITION"),
        (vec![topic, "-p", "1"], "v\n".to_owned(), 1, "0 acknowledged, 1 failed"),
        (vec![topic], format!("v\n{}\n", "x".repeat(100_000)), 1, "2 sent, 1 acknowledged, 1 failed"),
    ] {
        let args = [&["produce"][..], &args].concat();
        let (ended, stdout, stderr) = run(stack, &args, input.as_bytes()).await;
        assert_eq!((ended, stdout.as_str()), (Some(code), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(says), "{args:?}: {stderr:?} instead of {says:?}");
    }
    let quiet = run(stack, &["produce", topic, "-q"], b"v\n").await;
    assert_eq!(quiet, (Some(0), String::new(), String::new()));
    assert!(!kafka.topics().unwrap().contains(&missing));
}

#[tokio::test]
async fn interrupted_write_says_what_was_acknowledged() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("interrupted", 1, &[]).await.unwrap();
    let mut child = start(stack, &["produce", topic]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\nthr").await.unwrap();
    let written = async {
        while read(kafka, topic, 0).len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(WITHIN, written).await.expect("two records");
    let id = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let output = timeout(WITHIN, child.wait_with_output()).await.expect("its end within 60 s").unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("% 2 sent, 2 acknowledged, 0 failed, 0 unknown"), "{stderr}");
}

#[tokio::test]
async fn records_that_a_full_queue_rejects_are_retried() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("again", 1, &[]).await.unwrap();
    let stack =
        with(Profile::Tunnel, kafka, "", "queue.buffering.max.messages = 100\nlinger.ms = 50\n").await;
    let lines: String = (0..2_000).map(|number| format!("{number}\n")).collect();
    assert_acknowledged(run(&stack, &["produce", topic, "-p", "0"], lines.as_bytes()).await, 2_000);
    let mut written = numbers(kafka, topic, 0);
    written.sort_unstable();
    assert_eq!(written, (0..2_000).collect::<Vec<_>>());
    becomes(&stack, "write_queue_records", 0.0).await;
}

/// What Kafka's console consumer prints of partition 0.
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
