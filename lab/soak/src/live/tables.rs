//! The topic or the streams of tables: compacted, cut at their beginning, and with more and more partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use serde_json::json;
use sluicegate_protocol::KafkaMessage;
use sluicegate_stack::random::Random;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::TableSummary;
use super::system::Cluster;
use super::writers::{Writers, Written};
use crate::clients::source::Source;

/// Where the records of tables are.
pub(super) struct Tables {
    pub(super) source: Source,
    partitions: watch::Sender<i32>,
    start: Instant,
    deleted_at: Instant,
    /// The start of each log as far as records were deleted.
    starts: BTreeMap<i32, i64>,
}

/// The remaining records of tables.
pub(super) struct TableLogs {
    /// Committed records.
    pub(super) logs: BTreeMap<i32, Vec<KafkaMessage>>,
    /// Partitions and offsets of records of aborted transactions.
    pub(super) aborted: BTreeSet<(i32, i64)>,
    /// With the number of those that are gone.
    pub(super) summary: TableSummary,
}

impl Tables {
    pub(super) async fn create(cluster: &Cluster<'_>) -> Self {
        let limits = json!({ "max_msgs_per_subject": KEPT });
        let source = cluster.create(NAME, PARTITIONS, &COMPACTED, limits).await;
        let now = Instant::now();
        let (partitions, starts) = (watch::Sender::new(PARTITIONS), BTreeMap::new());
        Self { source, partitions, start: now, deleted_at: now, starts }
    }

    pub(super) async fn write(&self, cluster: &Cluster<'_>, random: &mut Random) -> Writers {
        let partitions = self.partitions.subscribe();
        let sink = cluster.sink(&self.source).await;
        let mut writers = Writers::of_table(sink, &partitions, MOST_PARTITIONS, random);
        if let Cluster::Kafka(kafka, _) = cluster {
            writers.transact(kafka, self.source.name().into(), partitions, random);
        }
        writers
    }

    /// Deletes the beginning of a log now and then, and adds partitions to a topic. The cluster may not be able to do it
    /// at the moment.
    pub(super) async fn disturb(&mut self, cluster: &Cluster<'_>, random: &mut Random) {
        if self.deleted_at.elapsed() >= BETWEEN_DELETIONS {
            self.deleted_at = Instant::now();
            self.delete(cluster, random).await;
        }
        let due = BETWEEN_ADDITIONS * u32::try_from(self.partitions() + 1 - PARTITIONS).unwrap();
        if self.partitions() < MOST_PARTITIONS && self.start.elapsed() >= due {
            self.grow(cluster).await;
        }
    }

    /// Has what each run has, also if nodes were away whenever it was due: all nodes run now.
    pub(super) async fn end(&mut self, cluster: &Cluster<'_>, random: &mut Random) {
        self.delete(cluster, random).await;
        while matches!(cluster, Cluster::Kafka(..)) && self.partitions() == PARTITIONS {
            self.grow(cluster).await;
        }
    }

    /// Adds a partition to a topic.
    async fn grow(&self, cluster: &Cluster<'_>) {
        let Cluster::Kafka(kafka, _) = cluster else { return };
        // An error does not say whether it was added.
        let _ = kafka.grow_topic(self.source.name(), self.partitions() + 1).await;
        if let Ok(partitions) = kafka.partitions(self.source.name()) {
            self.partitions.send_replace(i32::try_from(partitions.len()).unwrap());
        }
    }

    /// Deletes the beginning of a log. It is tried until it succeeds: a start that a leader has told, but no other node,
    /// is lost with that leader.
    async fn delete(&mut self, cluster: &Cluster<'_>, random: &mut Random) {
        let partition = i32::try_from(random.below(usize::try_from(PARTITIONS).unwrap())).unwrap();
        let start = loop {
            match cluster.bounds(&self.source, partition).await {
                Some(Range { start, end }) => {
                    let some = random.below(usize::try_from(end - start).unwrap_or_default());
                    break start + i64::try_from(some).unwrap();
                }
                None => sleep(PAUSE).await,
            }
        };
        while !cluster.delete(&self.source, partition, Some(start)).await {
            sleep(PAUSE).await;
        }
        self.starts.insert(partition, start);
    }

    /// The remaining records, when nobody writes any more.
    pub(super) async fn logs(&self, cluster: &Cluster<'_>, written: Written) -> TableLogs {
        let Written { offsets, aborted, .. } = written;
        // The end of a transaction is written after it is acknowledged.
        let logs = loop {
            let logs = cluster.logs(&self.source, self.partitions()).await;
            let end = |partition: &i32| {
                logs.get(partition).and_then(|log| log.last()).map_or(-1, |last| last.offset)
            };
            if offsets.iter().all(|(partition, offset)| *offset <= end(partition)) {
                break logs;
            }
            sleep(PAUSE).await;
        };
        let left: BTreeSet<(i32, i64)> = logs
            .iter()
            .flat_map(|(partition, log)| log.iter().map(|message| (*partition, message.offset)))
            .collect();
        let is_deleted = |(partition, offset): &&(i32, i64)| {
            self.starts.get(partition).is_some_and(|start| offset < start)
        };
        let gone: Vec<&(i32, i64)> = offsets.difference(&left).collect();
        let deleted = gone.iter().copied().filter(is_deleted).count();
        let (compacted, partitions) = (gone.len() - deleted, self.partitions());
        let summary =
            TableSummary { compacted, deleted, partitions, aborted: aborted.len(), ..Default::default() };
        TableLogs { logs, aborted, summary }
    }

    pub(super) fn partitions(&self) -> i32 {
        *self.partitions.borrow()
    }
}

/// Of the topic, and the beginning of the names of streams.
const NAME: &str = "tables";
/// At the beginning.
pub(super) const PARTITIONS: i32 = 4;
/// With those that a topic gets.
const MOST_PARTITIONS: i32 = PARTITIONS + 2;

/// Messages of a subject that a stream keeps.
const KEPT: u32 = 3;

/// Records are compacted within seconds, and removals are deleted in time for a check to notice who missed them.
const COMPACTED: [(&str, &str); 5] = [
    ("cleanup.policy", "compact,delete"),
    ("retention.ms", "-1"),
    ("segment.ms", "3000"),
    ("min.cleanable.dirty.ratio", "0"),
    ("delete.retention.ms", "30000"),
];
/// A sixth of `delete.retention.ms`: what a stuck client reads can be 15 s old.
pub(super) const AWAY_MS: u32 = 5_000;

/// Before another attempt.
const PAUSE: Duration = Duration::from_millis(50);
const BETWEEN_DELETIONS: Duration = Duration::from_secs(3);
const BETWEEN_ADDITIONS: Duration = Duration::from_secs(15);
