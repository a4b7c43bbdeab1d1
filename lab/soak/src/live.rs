//! Checks live delivery: subscribers of all kinds run while brokers, bridge and gateway are killed and restarted, and
//! each of them, resuming as the documents say, must end with exactly the records of its partitions. One in three keeps a
//! table instead, which must end as exactly the replay of its log.
//!
//! 1. [`Setup`]: a cluster of three nodes of a messaging [`System`], and a stack in front of it
//! 2. `writers`: write numbered records to all partitions, and the keys of `tables`; to most partitions of a topic
//!    `once`, through two bridges, and by `raw` commands
//! 3. `chaos`: kills and restarts
//! 4. `subscriber`: what a client does, over one of the `clients`
//! 5. `oracles`: compare what each has received with the logs; [`check`] starts all of them

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

pub(crate) mod chaos;
mod once;
mod oracles;
mod raw;
pub mod rolling;
mod subscriber;
mod system;
mod tables;
pub mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::envoy::{instead, routes};
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::{self, BridgeConfig, Stack};
use sluicegate_stack::way::Way;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use self::system::{PROPERTIES, System};

use self::once::Numbered;
use self::raw::Raw;
use self::subscriber::{Report, Subscriber};
use self::system::Cluster;
use self::tables::{TableLogs, Tables};
use self::writers::Writers;
use crate::clients::table::Logs;
use crate::clients::wish::{RED, RED_REST, RED_SESSIONS, REST, SESSIONS, STREAMS, TENANT};

/// Subject and duration of a check.
pub struct Setup<'a> {
    pub system: System<'a>,
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

#[derive(Debug, Default)]
pub struct Summary {
    /// Records in the logs.
    pub records: usize,
    /// Writes that were repeated, and recognized.
    pub duplicates: usize,
    pub delivered: usize,
    /// Records that they were told they would not receive.
    pub missed: usize,
    pub connections: usize,
    /// Kills and restarts, by what was killed.
    pub kills: BTreeMap<&'static str, usize>,
    pub tables: TableSummary,
}

/// Result for subscribers that keep tables.
#[derive(Debug, Default)]
pub struct TableSummary {
    pub subscribers: usize,
    /// Keys that all of them hold at the end.
    pub keys: usize,
    pub snapshots: usize,
    /// Connections that went on without one.
    pub resumed: usize,
    pub partitions: i32,
    /// Records that newer ones of their keys have replaced in the log.
    pub compacted: usize,
    /// Records that were deleted at the beginning of a log.
    pub deleted: usize,
    pub aborted: usize,
}

/// Runs a check. Panics if a subscriber has missed or repeated a record, or gets none any more, or if its table is not
/// the replay of its log.
pub async fn check(setup: Setup<'_>) -> Summary {
    let Setup { system, way, subscribers, duration, discards, seed } = setup;
    let mut cluster = system.start(PARTITIONS, discards).await;
    let mut tables = Tables::create(&cluster).await;
    let mut stack = Stack::start(stack_setup(way, &cluster)).await.unwrap();
    stack.ready_within(Duration::from_secs(60)).await.unwrap();

    let mut random = Random::new(seed);
    let ((tell_logs, logs), (tell_tables, table_logs)) = (watch::channel(None), watch::channel(None));
    let mut running = JoinSet::new();
    for number in 0..subscribers {
        let random = Random::new(random.next());
        let subscriber = Subscriber::new(number, stack.gateway(), cluster.source(), PARTITIONS, random);
        let mut subscriber = subscriber.with_table(&tables.source, tables::PARTITIONS);
        subscriber.may_miss = discards;
        let logs = if subscriber.wish.is_table { &table_logs } else { &logs };
        running.spawn(subscriber.run(logs.clone()));
    }
    let value = |partition, number| format!("{partition}:{number}{}", "v".repeat(VALUE));
    let plain = match &cluster {
        Cluster::Kafka(..) => PLAIN,
        // Purged subjects forget their producers.
        Cluster::Nats(_) if discards => PARTITIONS,
        Cluster::Nats(_) => PARTITIONS - 2,
    };
    let mut writers = Writers::numbered(cluster.sink(&cluster.source()).await, 0..plain, value);
    for partition in plain..PARTITIONS {
        let (url, gateway, random) = (stack.url(), stack.gateway(), Random::new(random.next()));
        let name: Arc<str> = cluster.source().name().into();
        let way = match (&cluster, partition % 4) {
            (Cluster::Nats(_), _) => raw::Way::Nats,
            (_, 0) if !discards => raw::Way::Http,
            (_, 1) if !discards => raw::Way::Json,
            _ => {
                let numbered = Numbered { url, topic: name, partition, value };
                writers.start(|stopped| numbered.write(stopped, random));
                continue;
            }
        };
        let raw = Raw { gateway, way, name, partition, value };
        writers.start(|stopped| raw.write(stopped, random));
    }
    let table_writers = tables.write(&cluster, &mut random).await;
    let kills = chaos::run(&mut cluster, &mut tables, &mut stack, (duration, discards), &mut random).await;
    tables.end(&cluster, &mut random).await;
    let (written, table_written) =
        tokio::join!(writers.stop(), table_writers.stop_with_last(tables.partitions()));

    let logs = cluster.logs(&cluster.source(), PARTITIONS).await;
    let TableLogs { logs: table_logs, aborted, summary: tables } = tables.logs(&cluster, table_written).await;
    tell_logs.send_replace(Some(bounds(&logs)));
    tell_tables.send_replace(Some(bounds(&table_logs)));
    once::each_is_there_once(&written.numbered, value, cluster.source().first(), &logs);
    let records = logs.values().map(Vec::len).sum();
    let duplicates = written.duplicates;
    let mut summary = Summary { records, kills, tables, duplicates, ..Summary::default() };
    let (mut reports, mut late) = (Vec::new(), 0);
    let gather = async {
        while let Some(report) = running.join_next().await {
            reports.push(report.unwrap());
        }
    };
    if timeout(LAST, gather).await.is_err() {
        // Each of the others says what it has.
        late = running.len();
        drop((tell_logs, tell_tables));
        reports.extend(running.join_all().await);
    }
    for report in reports {
        match (&report.position.table, discards) {
            (Some(_), _) => oracles::table_is_replay(&report, &table_logs, &aborted),
            (None, false) => oracles::each_came_once(&report, &logs),
            (None, true) => oracles::each_came_or_was_told(&report, &logs, &written.offsets),
        }
        summary.add(&report);
    }
    assert_eq!(late, 0, "subscribers do not reach the ends of the logs within {LAST:?}");
    summary
}

fn stack_setup(way: Way, cluster: &Cluster<'_>) -> stack::Setup {
    let bridge = BridgeConfig::Text(format!(
        "[read]\ntable_away_ms = {}\n[write]\nclusters = [\"default\"]\n[clusters.default]\n{}",
        tables::AWAY_MS,
        cluster.keys()
    ));
    let (all, red) = (json!(["*"]), json!([{"topic": "*", "only": {"header": TENANT, "is": RED}}]));
    let paths = [
        json!({"path": SESSIONS, "tables": all, "write": true}),
        json!({"path": REST, "type": "rest", "tables": all, "write": true}),
        json!({"path": STREAMS, "type": "streams", "elements": "envelope"}),
        json!({"path": RED_SESSIONS, "tables": all, "read": red}),
        json!({"path": RED_REST, "type": "rest", "tables": all, "read": red}),
    ]
    .map(|route| route.to_string());
    let envoy_edits = vec![
        instead("", &paths.each_ref().map(String::as_str)),
        routes(&[REST, STREAMS, RED_SESSIONS, RED_REST]),
    ];
    let bridges = if matches!((cluster, way), (Cluster::Kafka(..), Way::Tunnel)) { 2 } else { 1 };
    stack::Setup { bridge, bridges, envoy_edits, ..stack::Setup::new(way, "") }
}

/// Start and end of each log.
fn bounds(logs: &BTreeMap<i32, Vec<KafkaMessage>>) -> Logs {
    let bounds = |log: &Vec<KafkaMessage>| {
        let start = log.first().map_or(0, |first| first.offset);
        start..log.last().map_or(0, |last| last.offset.saturating_add(1))
    };
    logs.iter().map(|(partition, log)| (*partition, bounds(log))).collect()
}

impl Summary {
    fn add(&mut self, report: &Report) {
        self.missed += report.missed();
        self.delivered += report.count();
        self.connections += report.connections;
        if let Some(table) = &report.position.table {
            self.tables.subscribers += 1;
            self.tables.keys += table.len();
            self.tables.snapshots += table.snapshots;
            self.tables.resumed += table.resumed;
        }
    }
}

/// Partitions of the topic that all subscribers share; some read a part of them.
const PARTITIONS: i32 = 12;

/// Of a topic's, those that are written by librdkafka, also while no bridge is there. Others have a producer.
const PLAIN: i32 = 4;

/// Bytes. What a stuck client leaves must be more than its connection has room for.
const VALUE: usize = 500;

/// Time that the subscribers have to reach the ends of the logs. A broken connection to a broker can take 30 s.
const LAST: Duration = Duration::from_secs(90);
