//! Records that a subscriber has received, and its next position.

use std::collections::BTreeMap;
use std::ops::Range;

/// Content of one message of a subscription, in any format.
#[derive(Debug)]
pub(super) enum Told {
    /// Where partitions begin, if they were not known before.
    Begins(Vec<Begin>),
    /// Records of a partition, by their offsets, and where it continues.
    Records { partition: i32, offsets: Vec<i64>, next: i64 },
    /// A partition continues elsewhere.
    Skipped { partition: i32, from: i64, to: i64 },
    /// This, and where to continue after it, in the bridge's words.
    Identified { id: String, told: Box<Told> },
    /// Nothing to note.
    Other,
}

/// Where a partition begins, and the id of its topic or stream in the form of the connection.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) id: Vec<u8>,
}

/// A subscriber's memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    /// Where each partition continues.
    pub(super) next: BTreeMap<i32, i64>,
    /// The id of each partition's topic or stream, in the form of the subscriber's connections.
    pub(super) ids: BTreeMap<i32, Vec<u8>>,
    /// Of server-sent events.
    pub(super) last_event_id: Option<String>,
    /// Whether records can be discarded before it has them.
    pub(super) may_miss: bool,
    /// Where each partition began, if that was told.
    pub(super) begins: BTreeMap<i32, i64>,
    /// The offsets that each partition has skipped.
    pub(super) missed: BTreeMap<i32, Vec<Range<i64>>>,
    /// The offsets of the records of each partition.
    pub(super) records: BTreeMap<i32, Vec<i64>>,
}

impl Position {
    /// Notes what was told. Panics if it contradicts what was told before.
    pub(super) fn take(&mut self, told: Told) {
        match told {
            Told::Begins(begins) => {
                for Begin { partition, offset, id } in begins {
                    let next = *self.next.entry(partition).or_insert(offset);
                    assert_eq!(next, offset, "partition {partition} begins elsewhere");
                    self.records.entry(partition).or_default();
                    if !id.is_empty() {
                        self.begins.entry(partition).or_insert(offset);
                    }
                    self.ids.insert(partition, id);
                }
            }
            Told::Records { partition, offsets, next } => {
                assert!(next >= self.next(partition), "partition {partition} goes back to {next}");
                self.next.insert(partition, next);
                self.records.entry(partition).or_default().extend(offsets);
            }
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

    /// Whether all its partitions are at these ends.
    pub(super) fn is_at(&self, ends: &BTreeMap<i32, i64>) -> bool {
        !self.next.is_empty()
            && self.next.iter().all(|(partition, next)| ends.get(partition).is_none_or(|end| next >= end))
    }
}
