//! The table that a client keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;

/// Start and end of each partition's log.
pub(crate) type Logs = BTreeMap<i32, Range<i64>>;

/// The offset of the newest record of each key of a partition.
pub(crate) type Entries = BTreeMap<(i32, Bytes), i64>;

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    /// Whether it removes its key from a table.
    pub(crate) is_removal: bool,
}

/// A client's memory of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Entries,
    /// Whether a snapshot has begun and is not complete.
    pub(crate) is_in_snapshot: bool,
    pub(crate) snapshots: usize,
    /// Connections that went on where the one before was lost.
    pub(crate) resumed: usize,
    /// Partitions and offsets of all records with content.
    pub(crate) received: BTreeSet<(i32, i64)>,
}

impl Table {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.is_in_snapshot = false;
    }

    /// Puts newer records. Panics if they are not.
    pub(crate) fn put(&mut self, partition: i32, records: Vec<Record>) {
        for Record { offset, key, is_removal, .. } in records {
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

    pub(crate) fn end_snapshot(&mut self) {
        assert!(self.is_in_snapshot, "a snapshot ends that has not begun");
        self.is_in_snapshot = false;
        self.snapshots = self.snapshots.saturating_add(1);
    }

    /// Removes the entries of a partition before the start of its log.
    pub(crate) fn start_log(&mut self, partition: i32, start: i64) {
        self.entries.retain(|(of, _), offset| *of != partition || *offset >= start);
    }

    /// Whether it is complete, and nothing of it is before the start of its log.
    pub(crate) fn is_within(&self, logs: &Logs) -> bool {
        let is_within = |((partition, _), offset): (&(i32, Bytes), &i64)| {
            logs.get(partition).is_some_and(|log| *offset >= log.start)
        };
        !self.is_in_snapshot && self.entries.iter().all(is_within)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
