//! One key of a topic's table.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::{CommandError, Fault, LOG_END, Log, table_entry};
use sluicegate_fair_share::ClientKey;
use tokio::time::{Instant, timeout_at};

use super::super::multi_fetch::MAX_PARTITIONS;
use super::super::{Cluster, unanswered};
use super::Slice;
use super::log_table::{LogTable, Over, no_room};

impl Cluster {
    /// The newest record of a key in each partition that has it, encoded, with the partition: the one with the latest
    /// timestamp first. They are as new as what was acknowledged before the call. A partition that cannot be read now is
    /// left out if another one has the key.
    ///
    /// # Errors
    /// The topic cannot be read or has too many partitions, or reading it into its tables takes longer than `within`; or
    /// nobody knows whether it has the key, because a partition cannot be read.
    ///
    /// # Cancel safety
    /// A drop abandons the look-up.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        source: ClientKey,
        topic: &str,
        (key, decode): (&[u8], bool),
        within: Duration,
    ) -> Result<Vec<(i32, Bytes)>, CommandError> {
        let described = self.describe(source, topic).await?;
        let count = described.partitions.len();
        if count > MAX_PARTITIONS {
            let message = format!("{count} partitions: expected a topic with at most {MAX_PARTITIONS}");
            return Err(CommandError::new(Fault::Rejected, 0, message));
        }
        let log = |partition| Log { topic, partition };
        let logs: Vec<Log<'_>> = described.partitions.iter().map(|it| log(it.partition)).collect();
        let asked: Vec<_> = logs.iter().map(|log| (*log, LOG_END)).collect();
        let ends = self.offsets_of(source, &asked, true).await;
        let now = Instant::now();
        let until = now.checked_add(within).unwrap_or(now);
        let topic_id = logs.first().and_then(|log| self.backend().version(*log).topic_id);
        let slice = Some(Slice::Key(Bytes::copy_from_slice(key)));
        let table = |log: &Log<'_>| self.table(source, *log, (slice.clone(), decode), topic_id);
        let tables: Vec<_> = logs.iter().map(table).collect();
        let (mut found, mut unread) = (Vec::new(), None);
        for ((log, (mut part, mut epoch)), end) in logs.iter().zip(tables).zip(ends) {
            let end = match end {
                Ok(end) => end.offset,
                Err(error) if error.fault.is_retriable() => {
                    unread.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut reached = reaches(&part, end, epoch, until).await;
            if part.is_whole() && part.has_no_room() {
                (part, epoch) = table(log);
                reached = reaches(&part, end, epoch, until).await;
            }
            let (table, ()) = (part, reached?);
            let record = table.get(key).ok_or_else(unanswered)?;
            found.extend(record.map(|record| (log.partition, record)));
        }
        if let Some(unread) = unread.filter(|_| found.is_empty()) {
            return Err(unread);
        }
        // Keys belong to their partition: the later timestamp wins, then the higher partition.
        found.sort_by_key(|(partition, record)| Reverse((table_entry::timestamp(record), *partition)));
        Ok(found)
    }
}

/// Waits until the log was read up to `end`.
async fn reaches(table: &LogTable, end: i64, epoch: Option<i32>, until: Instant) -> Result<(), CommandError> {
    let mut progress = table.progress();
    let reached =
        timeout_at(until, progress.wait_for(|progress| progress.over.is_some() || progress.has(end, epoch)));
    match reached.await {
        Ok(Ok(reached)) => match &reached.over {
            None => Ok(()),
            Some(Over::Failed(error)) => Err(error.clone()),
            Some(Over::NoRoom { .. }) => Err(no_room()),
            Some(Over::Outdated) => Err(unanswered()),
        },
        Ok(Err(_)) => Err(unanswered()),
        Err(_) => {
            let error = table.outage();
            Err(error.unwrap_or_else(|| CommandError::new(Fault::Transient, 0, BUILDING).with_retry()))
        }
    }
}

const BUILDING: &str = "the bridge still reads the topic into its table";
