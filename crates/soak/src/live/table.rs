//! The table that a client keeps, and what a replay of the logs gives.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sluicegate_protocol::{Header, KafkaMessage, is_removal_header};

use super::position::{Logs, Record};
use super::subscriber::Report;

/// The offset of the newest record of each key of a partition.
type Entries = BTreeMap<(i32, Bytes), i64>;

/// A client's memory of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    entries: Entries,
    /// Whether a snapshot has begun and is not complete.
    pub(super) is_in_snapshot: bool,
    /// Snapshots that were complete.
    pub(super) snapshots: usize,
    /// Connections that went on where the one before was lost.
    pub(super) resumed: usize,
    /// Partitions and offsets of all records with content.
    received: BTreeSet<(i32, i64)>,
}

impl Table {
    /// Drops all entries.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.is_in_snapshot = false;
    }

    /// Puts newer records. Panics if they are not.
    pub(super) fn put(&mut self, partition: i32, records: Vec<Record>) {
        for Record { offset, key, is_removal } in records {
            let key = (partition, key);
            if let Some(before) = self.entries.get(&key) {
                assert!(*before < offset, "{offset} of partition {partition} comes after {before}");
            }
            if is_removal {
                assert!(!self.is_in_snapshot, "removal {offset} of partition {partition} in a snapshot");
                self.entries.remove(&key);
            } else {
                self.received.insert((partition, offset));
                self.entries.insert(key, offset);
            }
        }
    }

    pub(super) fn end_snapshot(&mut self) {
        assert!(self.is_in_snapshot, "a snapshot ends that has not begun");
        self.is_in_snapshot = false;
        self.snapshots = self.snapshots.saturating_add(1);
    }

    /// Removes the entries of a partition before the start of its log.
    pub(super) fn start_log(&mut self, partition: i32, start: i64) {
        self.entries.retain(|(of, _), offset| *of != partition || *offset >= start);
    }

    /// Whether it is complete, and nothing of it is before the start of its log.
    pub(super) fn is_within(&self, logs: &Logs) -> bool {
        let is_within = |((partition, _), offset): (&(i32, Bytes), &i64)| {
            logs.get(partition).is_some_and(|log| *offset >= log.start)
        };
        !self.is_in_snapshot && self.entries.iter().all(is_within)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Panics unless the subscriber holds exactly what a replay of these committed records gives, and has never received a
/// record that is `aborted` or that it does not want.
pub(super) fn compare(
    report: &Report,
    logs: &BTreeMap<i32, Vec<KafkaMessage>>,
    aborted: &BTreeSet<(i32, i64)>,
) {
    let Report { number, kind, connections, wish, position, .. } = report;
    let Table { entries, received, snapshots, .. } = position.table.as_ref().unwrap();
    let who = format!(
        "subscriber {number} ({kind:?}, {connections} connections, {snapshots} snapshots, table of {wish:?})"
    );
    let mut newest = BTreeMap::new();
    for (partition, log) in logs.iter().filter(|(partition, _)| wish.reads(**partition)) {
        for message in log {
            newest.insert((*partition, message.key.clone().unwrap()), message);
            assert!(
                is_removal(message)
                    || wish.wants(message)
                    || !received.contains(&(*partition, message.offset)),
                "{who} has received {} of partition {partition}, which it does not want",
                message.offset
            );
        }
    }
    if let Some((partition, offset)) = received.intersection(aborted).next() {
        panic!("{who} has received {offset} of partition {partition}, which was aborted");
    }
    newest.retain(|_, message| !is_removal(message) && wish.wants(message));
    let want: Entries = newest.into_iter().map(|(key, message)| (key, message.offset)).collect();
    let keys: BTreeSet<_> = entries.keys().chain(want.keys()).collect();
    let differs = |key: &&(i32, Bytes)| entries.get(key) != want.get(key);
    let differences: Vec<String> = keys
        .into_iter()
        .filter(differs)
        .map(|key| format!("{key:?} has offset {:?} instead of {:?}", entries.get(key), want.get(key)))
        .collect();
    assert!(
        differences.is_empty(),
        "{who}, at {:?}, differs from the replay in {} of {} keys: {}",
        position.next,
        differences.len(),
        want.len(),
        differences.join("; ")
    );
}

/// Whether a record, or a stream's message in the form of one, removes its key.
fn is_removal(message: &KafkaMessage) -> bool {
    message.value.is_none() || is_removal_among(&message.headers)
}

/// Whether a stream's message with these headers removes its key.
pub(super) fn is_removal_among(headers: &[Header]) -> bool {
    headers.iter().any(|header| is_removal_header(header.key.as_bytes(), header.value.as_deref()))
}
