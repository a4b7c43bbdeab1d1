//! The command line client through a gateway.

use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::{Codec, Kafka, Outcome, Record, Write};
use sluicegate_tests::port::Port;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::tools;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::console;
use crate::gateway::shared;
use crate::reference::{FOREVER, START};

in_both_profiles! {
    ping_shows_each_round_trip_and_a_summary
    list_offsets_shows_every_partition_at_either_end_and_at_a_time
    fetch_prints_in_the_asked_format_from_the_asked_offset
    fetch_prints_json_lines
    fetch_ends_at_a_log_end_that_only_markers_reach
    fetch_follows_the_log_until_it_is_interrupted
    a_walk_of_50_000_records_prints_what_kafkas_own_consumer_prints
    a_reader_that_has_had_enough_is_no_failure
    exit_codes_tell_whose_fault_it_was
}

const WITHIN: Duration = Duration::from_secs(60);

fn start(url: &str, args: &[&str]) -> Child {
    Command::new(tools::cli().unwrap())
        .args(args)
        .env("SLUICEGATE_URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn end(child: Child) -> Output {
    timeout(WITHIN, child.wait_with_output()).await.expect("the command's end within 60 s").unwrap()
}

/// What a command that succeeds prints.
async fn prints(stack: &Stack, args: &[&str]) -> String {
    let output = end(start(&stack.url(), args)).await;
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A command that prints nothing, ends with this code and says this.
async fn fails(url: &str, args: &[&str], code: i32, says: &str) {
    let output = end(start(url, args)).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(says), "{args:?}: {stderr:?} instead of {says:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
}

fn record(key: &str, value: &str, timestamp: i64) -> Record {
    Record { key: Some(key.into()), timestamp: Some(timestamp), ..Record::of(value) }
}

/// A topic of three partitions with five, no and one record.
async fn topic(kafka: &Kafka) -> String {
    let topic = kafka.topic("cli", 3, &[FOREVER]).await.unwrap();
    let records: Vec<Record> =
        (0..5).map(|at| record(&format!("k{at}"), &format!("v{at}"), START + 1000 * at)).collect();
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    kafka.produce(&topic, 2, &records[..1], Write::default()).await.unwrap();
    topic
}

async fn ping_shows_each_round_trip_and_a_summary(profile: Profile) {
    let (_, stack) = shared(profile).await;
    let printed = prints(stack, &["ping", "-c", "3", "-i", "0.01"]).await;
    let lines: Vec<&str> = printed.lines().collect();
    let url = stack.url();
    assert_eq!(lines.len(), 6, "{printed}");
    for (sequence, line) in (1..).zip(&lines[..3]) {
        assert!(line.starts_with(&format!("pong from {url}: seq={sequence} time=")), "{printed}");
    }
    assert!(lines[4].starts_with("3 sent, 3 answered"), "{printed}");
}

async fn list_offsets_shows_every_partition_at_either_end_and_at_a_time(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = &topic(kafka).await;
    kafka.delete_records_before(topic, 0, 2).await.unwrap();
    let all = |offsets: [i64; 3]| -> String {
        (0..).zip(offsets).map(|(p, offset): (i32, _)| format!("{topic} [{p}] offset {offset}\n")).collect()
    };
    // 2023-11-14T22:13:20Z is START.
    let third = (START + 3000).to_string();
    for (at, want) in [
        ("latest", [5, 0, 1]),
        ("earliest", [2, 0, 0]),
        ("-1", [5, 0, 1]),
        ("-2", [2, 0, 0]),
        (&third, [3, -1, -1]),
        ("2023-11-14T22:13:20Z", [2, -1, 0]),
        ("2023-11-14T23:13:23.001+01:00", [4, -1, -1]),
    ] {
        assert_eq!(prints(stack, &["list-offsets", topic, "--at", at]).await, all(want), "at {at}");
    }
    let one = prints(stack, &["list-offsets", topic, "-p", "2", "--json"]).await;
    let line: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(line, json!({"topic": topic, "partition": 2, "offset": 1}));
}

async fn fetch_prints_in_the_asked_format_from_the_asked_offset(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = &topic(kafka).await;
    assert_eq!(prints(stack, &["fetch", topic, "-p", "0"]).await, "v0\nv1\nv2\nv3\nv4\n");
    let format = r"%t [%p] %o %T %k=%s %K/%S%%\n";
    let first = prints(stack, &["fetch", topic, "-p", "0", "-c", "1", "-f", format]).await;
    assert_eq!(first, format!("{topic} [0] 0 {START} k0=v0 2/2%\n"));
    let at = format!("s@{}", START + 1001);
    for (from, want) in [
        ("earliest", "01234"),
        ("beginning", "01234"),
        ("3", "34"),
        ("-2", "34"),
        ("-99", "01234"),
        ("latest", ""),
        ("5", ""),
        (&at, "234"),
    ] {
        for option in ["--from", "-o"] {
            let read = prints(stack, &["fetch", topic, "-p", "0", option, from, "-f", "%o"]).await;
            assert_eq!(read, want, "{option} {from}");
        }
    }
    assert_eq!(prints(stack, &["fetch", topic, "-p", "1"]).await, "");
}

async fn fetch_prints_json_lines(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = &kafka.topic("json", 1, &[FOREVER]).await.unwrap();
    let binary = Record { key: None, value: Some(vec![0xFF, 0x00]), timestamp: Some(START + 1) };
    let tombstone = Record { value: None, ..record("gone", "", START + 2) };
    let records = [record("quoted \"key\"", "two\nlines é", START), binary, tombstone];
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    let printed = prints(stack, &["fetch", topic, "-p", "0", "--json"]).await;
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |offset: i64, key: Value, value: Value| {
        let timestamp = START + offset;
        json!({"topic": topic, "partition": 0, "offset": offset, "timestamp": timestamp, "key": key, "value": value})
    };
    let want = [
        line(0, json!("quoted \"key\""), json!("two\nlines é")),
        line(1, json!(null), json!({"base64": "/wA="})),
        line(2, json!("gone"), json!(null)),
    ];
    assert_eq!(lines, want);
}

async fn fetch_ends_at_a_log_end_that_only_markers_reach(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = &kafka.topic("committed", 1, &[FOREVER]).await.unwrap();
    let how = Write { transaction: Some(Outcome::Commit), ..Write::default() };
    kafka.produce(topic, 0, &[Record::of("one"), Record::of("two")], how).await.unwrap();
    assert_eq!(prints(stack, &["fetch", topic, "-p", "0"]).await, "one\ntwo\n");
}

async fn fetch_follows_the_log_until_it_is_interrupted(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = &kafka.topic("followed", 1, &[FOREVER]).await.unwrap();
    kafka.produce(topic, 0, &[Record::of("first")], Write::default()).await.unwrap();
    let mut child = start(&stack.url(), &["fetch", topic, "-p", "0", "--follow"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for value in ["first", "second", "third"] {
        let line = timeout(WITHIN, lines.next_line()).await.expect("a line within 60 s").unwrap();
        assert_eq!(line.as_deref(), Some(value));
        let next = if value == "first" { "second" } else { "third" };
        kafka.produce(topic, 0, &[Record::of(next)], Write::default()).await.unwrap();
    }
    let id = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    assert_eq!(end(child).await.status.code(), Some(130));
}

/// 50,000 records, and what the console consumer prints of them.
async fn fifty_thousand(kafka: &Kafka) -> &'static (String, String) {
    static TOPIC: OnceCell<(String, String)> = OnceCell::const_new();
    let write = async || {
        let topic = kafka.topic("walk", 1, &[FOREVER]).await.unwrap();
        let records: Vec<Record> = (0..50_000)
            .map(|at| record(&format!("key {at}"), &format!("value {at} {}", "x".repeat(60)), START + at))
            .collect();
        let how = Write { codec: Codec::Lz4, ..Write::default() };
        kafka.produce(&topic, 0, &records, how).await.unwrap();
        let printed = console::consume(kafka, &topic, records.len()).await;
        (topic, printed)
    };
    TOPIC.get_or_init(write).await
}

async fn a_walk_of_50_000_records_prints_what_kafkas_own_consumer_prints(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let (topic, printed) = fifty_thousand(kafka).await;
    assert_eq!(printed.lines().count(), 50_000);
    let format = r"CreateTime:%T\tOffset:%o\t%k\t%s\n";
    let ours = prints(stack, &["fetch", topic, "-p", "0", "-f", format]).await;
    let differs = ours.lines().zip(printed.lines()).find(|(ours, printed)| ours != printed);
    assert_eq!(differs, None);
    assert_eq!(ours.len(), printed.len());
}

async fn a_reader_that_has_had_enough_is_no_failure(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let (topic, _) = fifty_thousand(kafka).await;
    let mut child = start(&stack.url(), &["fetch", topic, "-p", "0"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(WITHIN, lines.next_line()).await.expect("a line within 60 s").unwrap();
    assert!(line.unwrap().starts_with("value 0 "));
    drop(lines);
    assert_eq!(end(child).await.status.code(), Some(0));
}

async fn exit_codes_tell_whose_fault_it_was(profile: Profile) {
    let (kafka, stack) = shared(profile).await;
    let topic = &topic(kafka).await;
    let url = &stack.url();
    let missing = &format!("missing-cli-{}", profile.name());
    let unknown = format!("topic: {missing}, partition: 0, err: UNKNOWN_TOPIC_OR_PARTITION");
    fails(url, &["list-offsets", missing], 1, &format!("failed to list offset, {unknown}")).await;
    fails(url, &["fetch", missing, "-p", "0"], 1, &unknown).await;
    fails(url, &["fetch", topic, "-p", "9"], 1, "partition: 9, err: UNKNOWN_TOPIC_OR_PARTITION").await;
    fails(url, &["fetch", topic, "-p", "0", "-o", "99"], 1, "OFFSET_OUT_OF_RANGE").await;
    fails(url, &["fetch", "bad name", "-p", "0"], 1, "INVALID_TOPIC_EXCEPTION").await;
    fails(url, &["fetch", topic], 2, "--partition").await;
    fails(url, &["list-offsets", topic, "--at", "tomorrow"], 2, "tomorrow").await;
    let elsewhere = format!("ws://{}/elsewhere", stack.gateway());
    fails(&elsewhere, &["ping", "-c", "1"], 3, "HTTP 404").await;
    let nobody = Port::pick().unwrap();
    fails(&format!("ws://{}/pubsub", nobody.address()), &["list-offsets", topic], 3, "failed to connect")
        .await;
    assert!(!kafka.topics().unwrap().contains(missing));
}
