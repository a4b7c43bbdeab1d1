//! The command line subscribes. `crates/cli` tests its options and what it says.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::way::Way;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::live::subscriber::{numbered, write};

/// It is not read while the bridge is away, so that deliveries are on their way everywhere.
#[tokio::test]
async fn each_record_is_printed_once_although_bridges_die() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("outlived", PARTITIONS, &[]).await.unwrap();
    let mut stack = Stack::start(Setup::new(Way::Tunnel, kafka.bootstrap())).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    let values = numbered(&"v".repeat(500), 1000);
    for partition in 0..PARTITIONS {
        for _ in 0..4 {
            write(kafka, topic, partition, &values).await;
        }
    }
    let mut subscribing = Command::new(tools::cli().unwrap())
        .args(["--url", &stack.url(), "-q", "subscribe", topic, "--from", "earliest"])
        .args(["-f", r"%p %o\n", "-c", &RECORDS.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(subscribing.stdout.take().unwrap()).lines();
    let mut read: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for death in 0..=DEATHS {
        if death > 0 {
            stack.bridge.process.kill();
            stack.bridge.up().await.unwrap();
            // It is printed, too.
            write(kafka, topic, 0, &values).await;
        }
        while read.values().map(Vec::len).sum::<usize>() < RECORDS * (death + 1) / (DEATHS + 1) {
            let line =
                timeout(Duration::from_secs(60), printed.next_line()).await.expect("a message within 60 s");
            let line = line.unwrap().expect("a message");
            let (partition, offset) = line.split_once(' ').unwrap();
            read.entry(partition.to_owned()).or_default().push(offset.parse().unwrap());
        }
    }
    assert!(subscribing.wait().await.unwrap().success());
    let want = |count: i64| (0..count).collect::<Vec<_>>();
    let want =
        [("0", 8000), ("1", 4000), ("2", 4000)].map(|(number, count)| (number.to_owned(), want(count)));
    // Not with `assert_eq`, which would print all of them.
    assert!(
        read == want.into(),
        "{:?}",
        read.iter().map(|(number, all)| (number, all.len())).collect::<Vec<_>>()
    );
}

const PARTITIONS: i32 = 3;
const DEATHS: usize = 4;
/// 4,000 of each partition, and 1,000 after each death.
const RECORDS: usize = 16_000;
