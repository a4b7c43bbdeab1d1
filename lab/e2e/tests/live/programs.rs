//! The programs of `examples/follow`, with other people's libraries.

use std::fs;
use std::process::Command;
use std::time::Duration;

use sluicegate_stack::bridge::Bridge;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::process::Process;
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::tools;
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::live::delivery::write;
use crate::pool::{REST, routed};

const PARTITIONS: [i32; 2] = [0, 1];
/// Those of a step: of each partition.
const RECORDS: usize = 100;
/// The slowest library waits for 16 s before it connects again.
const WITHIN: Duration = Duration::from_secs(60);

/// While records are written, each bridge drains beside the other one, and then none is left for a while. With
/// libraries that `./dev` has for other tests; `SLUICEGATE_FULL` adds those of `./dev programs`.
#[tokio::test]
async fn programs_have_every_record_across_drains() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("followed", 2, &[]).await.unwrap();
    let setup = Setup { bridges: 2, ..routed(Way::Tunnel).await.setup() };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    let events = format!("http://{}{REST}/topics/{topic}/events?from=earliest", stack.gateway());
    let session = [stack.url(), topic.clone()];
    let mut running: Vec<(&str, Process)> = Vec::new();
    for &(name, is_session, command) in PROGRAMS.iter().chain(tools::scale(&[][..], &MORE[..])) {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {command} \"$@\""), name]).current_dir(tools::workspace());
        shell.args(if is_session { &session[..] } else { std::slice::from_ref(&events) });
        let log = stack.folder().path().join(format!("{name}.log"));
        running.push((name, Process::spawn(name, shell, &log).unwrap()));
    }
    let mut written = 0;
    let mut step = async || {
        for partition in PARTITIONS {
            let values: Vec<String> = (written..written + RECORDS).map(|number| number.to_string()).collect();
            write(kafka, topic, partition, &values).await;
        }
        written += RECORDS;
        written
    };
    let all_have = async |running: &[(&str, Process)], count: usize| {
        until("every record", WITHIN, async || {
            let late = running.iter().find(|(_, process)| records(process).len() < count * PARTITIONS.len());
            late.map_or(Ok(()), |(name, process)| Err(format!("{name}: {}", process.log_tail())))
        })
        .await;
    };
    let drain = async |bridge: &mut Bridge| {
        bridge.process.terminate();
        assert!(bridge.process.wait(WITHIN).await.unwrap().success());
    };
    all_have(&running, step().await).await;
    let (first, second) = (&mut stack.bridge, &mut stack.others[0]);
    let (_, count) = tokio::join!(drain(first), step());
    all_have(&running, count).await;
    first.up().await.unwrap();
    let (_, count) = tokio::join!(drain(second), step());
    all_have(&running, count).await;
    drain(first).await;
    let count = step().await;
    first.up().await.unwrap();
    all_have(&running, count).await;
    for (name, process) in &running {
        let records = records(process);
        for partition in PARTITIONS {
            let of_partition = |line: &&String| line.starts_with(&format!("{partition} "));
            let seen: Vec<&String> = records.iter().filter(of_partition).collect();
            let want: Vec<String> =
                (0..count).map(|offset| format!("{partition} {offset} {offset}")).collect();
            assert!(seen.into_iter().eq(&want), "{name}: {}", process.log_tail());
        }
        // No request is refused, and nothing without data is given to a program.
        let log = fs::read_to_string(process.log()).unwrap();
        assert!(!log.contains("status 4") && !log.contains("JSON input"), "{name}: {log}");
    }
}

/// The lines of records that a program has printed.
fn records(process: &Process) -> Vec<String> {
    let log = fs::read_to_string(process.log()).unwrap();
    log.lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

/// The name, whether it follows over a WebSocket, and the command.
type Program = (&'static str, bool, &'static str);

const PROGRAMS: [Program; 4] = [
    ("websockets", true, "target/tools/venv/bin/python examples/follow/websockets_follow.py"),
    ("eventsource", false, "target/tools/bin/node examples/follow/eventsource.mjs"),
    ("event-source-polyfill", false, "target/tools/bin/node examples/follow/event-source-polyfill.mjs"),
    ("fetch-event-source", false, "target/tools/bin/node examples/follow/fetch-event-source.mjs"),
];

const MORE: [Program; 4] = [
    ("httpx-sse", false, "target/tools/venv/bin/python examples/follow/httpx_follow.py"),
    ("r3labs-sse", false, "target/tools/bin/follow"),
    ("coder-websocket", true, "target/tools/bin/follow"),
    ("java", true, "java -cp 'target/tools/kafka/lib/*' examples/follow/Follow.java"),
];
