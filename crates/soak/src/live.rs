//! Checks live delivery: subscribers of all kinds run while brokers, bridge and gateway are killed and restarted, and
//! each of them, resuming as the documents say, must end with exactly the records of its partitions.
//!
//! 1. [`Setup`]: a cluster of three nodes of a messaging [`System`], and a stack in front of it
//! 2. `writers`: write numbered records to all partitions
//! 3. `chaos`: kills and restarts
//! 4. `subscriber`: what a client does, over a `connection` of its kind
//! 5. [`check`]: starts all of them, and compares what each has received with the logs

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

mod chaos;
mod connection;
mod discards;
mod position;
pub mod rolling;
mod stream_name;
mod subscriber;
mod system;
pub mod writers;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::envoy::{plugin, routes};
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::{self, BridgeConfig, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::system::System;

use self::subscriber::{Report, Subscriber};

/// Subject and duration of a check.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// The system to read.
    pub system: System,
    /// The way in.
    pub way: Way,
    /// Subscribers, which have all kinds in turn.
    pub subscribers: usize,
    /// Time during which parts are killed and restarted.
    pub duration: Duration,
    /// Whether records are discarded before subscribers have them: then each must be told which.
    pub discards: bool,
    /// Makes what happens reproducible, as far as the machine's timing allows.
    pub seed: u64,
}

/// Result of a check.
#[derive(Debug, Default)]
pub struct Summary {
    /// Records in the logs.
    pub records: usize,
    /// Records that all subscribers have received.
    pub delivered: usize,
    /// Records that they were told they would not receive.
    pub missed: usize,
    /// Connections that they have opened.
    pub connections: usize,
    /// Kills and restarts, by what was killed.
    pub kills: BTreeMap<&'static str, usize>,
}

/// Runs a check. Panics if a subscriber has missed or repeated a record, or gets none any more.
pub async fn check(setup: Setup) -> Summary {
    let Setup { system, way, subscribers, duration, discards, seed } = setup;
    let mut cluster = system.start(PARTITIONS, discards).await;
    let envoy_edits = vec![plugin("", &[r#"{"path": "/kafka", "type": "rest"}"#]), routes(&["/kafka"])];
    let bridge = BridgeConfig::Text(format!(
        "[write]\nclusters = [\"default\"]\n[clusters.default]\n{}",
        cluster.keys()
    ));
    let setup = stack::Setup { bridge, envoy_edits, ..stack::Setup::new(way, "") };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(60)).await.unwrap();

    let mut random = Random::new(seed);
    let (tell_ends, ends) = watch::channel(None);
    let mut running = JoinSet::new();
    for number in 0..subscribers {
        let random = Random::new(random.next());
        let subscriber = Subscriber::new(number, stack.gateway(), cluster.source(), PARTITIONS, random);
        let subscriber = if discards { subscriber.may_miss() } else { subscriber };
        running.spawn(subscriber.run(ends.clone()));
    }
    let writers =
        cluster.write(PARTITIONS, |partition, number| format!("{partition}:{number}{}", "v".repeat(VALUE)));
    let kills = match discards {
        false => chaos::run(&mut cluster, &mut stack, duration, &mut random).await,
        true => chaos::discard(&mut cluster, &mut stack, duration, &mut random).await,
    };
    let written = writers.stop().await;

    let logs = cluster.logs(PARTITIONS).await;
    let end = |log: &Vec<KafkaMessage>| log.last().map_or(0, |last| last.offset.saturating_add(1));
    tell_ends.send_replace(Some(logs.iter().map(|(partition, log)| (*partition, end(log))).collect()));
    let records = logs.values().map(Vec::len).sum();
    let mut summary = Summary { records, kills, ..Summary::default() };
    while let Some(report) = timeout(LAST, running.join_next()).await.unwrap_or_else(|_| {
        panic!(
            "{} of {subscribers} subscribers do not reach the ends of the logs within {LAST:?}",
            running.len()
        )
    }) {
        let report = report.unwrap();
        match discards {
            false => compare(&report, &logs),
            true => discards::compare(&report, &logs, &written),
        }
        summary.missed = summary.missed.saturating_add(report.missed());
        summary.delivered = summary.delivered.saturating_add(report.count());
        summary.connections = summary.connections.saturating_add(report.connections);
    }
    summary
}

/// Panics unless the subscriber has received the records that it wanted, in order.
fn compare(report: &Report, logs: &BTreeMap<i32, Vec<KafkaMessage>>) {
    for (partition, got) in &report.records {
        let Report { number, kind, connections, .. } = report;
        let want = logs.get(partition).into_iter().flatten();
        let want = want.filter(|message| report.wants(message));
        let want: Vec<i64> = want.map(|message| message.offset).collect();
        if *got != want {
            let at = got
                .iter()
                .zip(&want)
                .position(|(got, want)| got != want)
                .unwrap_or(got.len().min(want.len()));
            panic!(
                "subscriber {number} ({kind:?}, {connections} connections), partition {partition}: record {at} has \
                 offset {:?} instead of {:?}, {} records instead of {}",
                got.get(at),
                want.get(at),
                got.len(),
                want.len(),
            );
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, delivered, missed, connections, kills } = self;
        write!(
            f,
            "{delivered} deliveries and {missed} records told as missing over {connections} connections; {records} \
             records are left; {kills:?}"
        )
    }
}

/// Partitions of the topic that all subscribers share; some read a part of them.
const PARTITIONS: i32 = 12;

/// Bytes. What a stuck client leaves must be more than its connection has room for.
const VALUE: usize = 500;

/// Time that the subscribers have to reach the ends of the logs. A broken connection to a broker can take 30 s.
const LAST: Duration = Duration::from_secs(90);
