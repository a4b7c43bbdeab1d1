//! Records that a subscriber has received, and its next position.

use std::collections::BTreeMap;
use std::ops::Range;

use tokio::time::Instant;

use super::table::{Logs, Record, Table};
use super::wish::Wish;

/// Content of one message of a subscription, in any format.
#[derive(Debug)]
pub(crate) enum Told {
    /// Where partitions begin, if they were not known before.
    Begins(Vec<Begin>),
    /// A snapshot of a table begins, and where partitions continue after it, if that is known.
    Snapshot(Vec<Begin>),
    SnapshotEnd,
    /// Records of a partition, and where it continues, if that is known.
    Records {
        partition: i32,
        records: Vec<Record>,
        next: Option<i64>,
    },
    /// A partition's log starts here, and its table has nothing from before.
    LogStart {
        partition: i32,
        offset: i64,
    },
    /// A partition continues elsewhere.
    Skipped {
        partition: i32,
        from: i64,
        to: i64,
    },
    /// This, and where to continue after it, in the bridge's words.
    Identified {
        id: String,
        told: Box<Told>,
    },
    Other,
}

impl Told {
    /// The beginning of a subscription.
    pub(crate) fn begun(is_snapshot: bool, begins: Vec<Begin>) -> Self {
        if is_snapshot { Self::Snapshot(begins) } else { Self::Begins(begins) }
    }

    /// Without where to continue after it.
    pub(crate) fn what(&self) -> &Self {
        if let Self::Identified { told, .. } = self { told } else { self }
    }
}

/// Where a partition begins, and the id of its topic or stream in the form of the connection.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) id: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    pub(crate) next: BTreeMap<i32, i64>,
    /// The id of each partition's topic or stream, in the form of the subscriber's connections.
    pub(crate) ids: BTreeMap<i32, Vec<u8>>,
    /// Of server-sent events.
    pub(crate) last_event_id: Option<String>,
    /// Whether records can be discarded before it has them.
    pub(crate) may_miss: bool,
    /// Where each partition began, if that was told.
    pub(crate) begins: BTreeMap<i32, i64>,
    /// The offsets that each partition has skipped.
    pub(crate) missed: BTreeMap<i32, Vec<Range<i64>>>,
    /// The offsets of the records of each partition, unless they are a table.
    pub(crate) records: BTreeMap<i32, Vec<i64>>,
    /// The table that it keeps, if it does.
    pub(crate) table: Option<Table>,
    /// When it was last told something.
    pub(crate) told_at: Option<Instant>,
}

impl Position {
    /// Notes what was told. Panics if it contradicts what was told before.
    pub(crate) fn take(&mut self, told: Told) {
        self.told_at = Some(Instant::now());
        match told {
            Told::Begins(begins) => {
                // Partitions that were added begin later.
                let has_all = begins.len() == self.next.len();
                if let Some(table) = self.table.as_mut().filter(|table| has_all && !table.is_in_snapshot) {
                    table.resumed = table.resumed.saturating_add(1);
                }
                for Begin { partition, offset, id } in begins {
                    let next = self.next.entry(partition).or_insert(offset);
                    // One that has not begun is at -1.
                    *next = if *next < 0 { offset } else { *next };
                    assert_eq!(*next, offset, "partition {partition} begins elsewhere");
                    self.records.entry(partition).or_default();
                    if !id.is_empty() && offset >= 0 {
                        self.begins.entry(partition).or_insert(offset);
                    }
                    self.ids.insert(partition, id);
                }
            }
            Told::Snapshot(begins) => {
                self.forget();
                self.table_mut().is_in_snapshot = true;
                self.take(Told::Begins(begins));
            }
            Told::SnapshotEnd => self.table_mut().end_snapshot(),
            Told::Records { partition, records, next } => {
                if let Some(next) = next {
                    assert!(next >= self.next(partition), "partition {partition} goes back to {next}");
                    self.next.insert(partition, next);
                }
                match &mut self.table {
                    Some(table) => table.put(partition, records),
                    None => {
                        let offsets = records.iter().map(|record| record.offset);
                        self.records.entry(partition).or_default().extend(offsets);
                    }
                }
            }
            Told::LogStart { partition, offset } => self.table_mut().start_log(partition, offset),
            Told::Skipped { partition, from, to } => {
                let next = self.next(partition);
                // A filter can have left out records before them.
                assert!(
                    self.may_miss && to > from && from >= next,
                    "offsets {from} to {to} of partition {partition} were skipped at {next}"
                );
                self.missed.entry(partition).or_default().push(from..to);
                self.next.insert(partition, to);
            }
            Told::Identified { id, told } => {
                self.take(*told);
                self.last_event_id = Some(id);
            }
            Told::Other => {}
        }
    }

    fn next(&self, partition: i32) -> i64 {
        self.next.get(&partition).copied().unwrap_or_default()
    }

    /// Prepares another connection. A snapshot that is not complete begins anew.
    pub(crate) fn reconnect(&mut self) {
        if self.table.as_ref().is_some_and(|table| table.is_in_snapshot) {
            self.forget();
        }
    }

    /// Forgets which records it has received, of which there are too many in hours.
    pub(crate) fn trim(&mut self) {
        self.records.clear();
        if let Some(table) = &mut self.table {
            table.received.clear();
        }
    }

    /// Drops a table, and its place in the logs.
    fn forget(&mut self) {
        self.next.clear();
        self.ids.clear();
        self.last_event_id = None;
        self.table_mut().clear();
    }

    fn table_mut(&mut self) -> &mut Table {
        self.table.as_mut().expect("only tables have snapshots and log starts")
    }

    /// Milliseconds since it was last told something, for a table.
    pub(crate) fn away_ms(&self) -> Option<u64> {
        let told = self.told_at.filter(|_| self.table.is_some());
        told.map(|told| u64::try_from(told.elapsed().as_millis()).unwrap())
    }

    /// Whether all partitions that it wants are at the ends of these logs.
    pub(crate) fn is_at(&self, logs: &Logs, wish: &Wish) -> bool {
        let mut wanted = logs.iter().filter(|(partition, _)| wish.reads(**partition));
        wanted.all(|(partition, log)| self.next.get(partition).is_some_and(|next| *next >= log.end))
            && self.table.as_ref().is_none_or(|table| table.is_within(logs))
    }
}
