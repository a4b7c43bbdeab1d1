//! The command line reads from a real Kafka through a real gateway. `crates/cli` tests options, formats and failures.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::kafka::{CONSOLE_CONSUMER, Codec, Kafka, Record, Write};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::process::Command;
use tokio::time::timeout;

use crate::reading::reference::{FOREVER, START};
use crate::reading::shared;

#[tokio::test]
async fn topics_shows_what_the_rest_route_shows() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = "granted.topics";
    kafka.make_topic(topic, 3, &[]).await.unwrap();
    let hidden = &kafka.topic("hidden", 1, &[]).await.unwrap();
    let url = &format!("http://{}/granted", stack.gateway());

    let partition = |partition: i32| format!("    partition {partition}, leader 1, replicas: 1, isrs: 1\n");
    let partitions: String = (0..3).map(partition).collect();
    let want = format!(" 1 topics:\n  topic \"{topic}\" with 3 partitions:\n{partitions}");
    assert_eq!(prints(url, &["topics"]).await, want);
    let document: Value = serde_json::from_str(&prints(url, &["topics", "-J", topic]).await).unwrap();
    assert_eq!(document["topics"][0]["partitions"][2]["isrs"], json!([{"id": 1}]));
    let (code, stdout, stderr) = run(url, &["topics", hidden]).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains(hidden), "{stderr:?}");
}

#[tokio::test]
async fn fetch_prints_what_kafkas_own_consumer_prints() {
    const RECORDS: i64 = 50_000;
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("walk", 1, &[FOREVER]).await.unwrap();
    let value = |at| format!("value {at} {}", "x".repeat(60));
    let records: Vec<Record> =
        (0..RECORDS).map(|at| record(&format!("key {at}"), &value(at), START + at)).collect();
    let how = Write { codec: Codec::Lz4, ..Write::default() };
    kafka.produce(topic, 0, &records, how).await.unwrap();
    let printed = consume(kafka, topic, records.len()).await;
    assert_eq!(printed.lines().count(), records.len());
    let format = r"CreateTime:%T\tOffset:%o\t%k\t%s\n";
    let ours = prints(&stack.url(), &["fetch", topic, "-p", "0", "-f", format]).await;
    let differs = ours.lines().zip(printed.lines()).find(|(ours, printed)| ours != printed);
    assert_eq!(differs, None);
    assert_eq!(ours.len(), printed.len());
}

fn record(key: &str, value: &str, timestamp: i64) -> Record {
    Record { key: Some(key.into()), timestamp: Some(timestamp), ..Record::of(value) }
}

/// Output of Kafka's console consumer for partition 0 from the log start on, one line a record:
/// `CreateTime:TIME<tab>Offset:OFFSET<tab>KEY<tab>VALUE`.
async fn consume(kafka: &Kafka, topic: &str, count: usize) -> String {
    let count = count.to_string();
    // In a file: the options for single properties have other names in Kafka 3.9.
    let properties = "print.timestamp=true\nprint.offset=true\nprint.key=true\n";
    let folder = Folder::new("console").unwrap();
    let formatter = folder.write("formatter.properties", properties).unwrap();
    let args = [
        ["--topic", topic],
        ["--partition", "0"],
        ["--offset", "earliest"],
        ["--max-messages", &count],
        ["--formatter-config", formatter.to_str().unwrap()],
    ];
    String::from_utf8(kafka.console(CONSOLE_CONSUMER, &args.concat(), b"").await.unwrap()).unwrap()
}

/// Output of a command that succeeds.
async fn prints(url: &str, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(url, args).await;
    assert_eq!(code, Some(0), "{args:?}: {stderr}");
    stdout
}

async fn run(url: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let running = Command::new(tools::cli().unwrap())
        .args(args)
        .args(["--url", url])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        timeout(Duration::from_secs(60), running).await.expect("the command's end within 60 s").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
