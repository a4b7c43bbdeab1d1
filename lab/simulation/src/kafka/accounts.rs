//! The idempotent producers of a partition, as its leader counts their records (Kafka's `ProducerStateManager`).

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::log::Log;

/// A batch of an idempotent producer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    pub(crate) last: i32,
    /// Its first offset, and the one after its last.
    base: i64,
    end: i64,
    leader_epoch: i32,
    pub(crate) at: Instant,
}

/// Keys and values of records.
pub(crate) type Entries = Vec<(Option<Bytes>, Option<Bytes>)>;

impl Log {
    /// The batches of a producer that the leader knows, the newest last; none if it has forgotten the producer.
    pub(crate) fn account(&self, id: i64, life: Duration) -> Vec<Counted> {
        let mut known: Vec<Counted> = Vec::new();
        let is_kept = |counted: &&Counted| {
            counted.id == id && self.has_kept((counted.leader_epoch, counted.end - 1), self.epoch)
        };
        for counted in self.counted.iter().filter(is_kept) {
            let is_other =
                |last: &Counted| counted.at.duration_since(last.at) >= life || last.epoch != counted.epoch;
            if known.last().is_some_and(is_other) {
                known.clear();
            }
            known.push(*counted);
        }
        if known.last().is_none_or(|last| last.at.elapsed() >= life) {
            return Vec::new();
        }
        // A leader that was started again has read one batch of each producer from its snapshot.
        let mut newer = (0..known.len()).rev();
        known.retain(|counted| {
            let newer = newer.next().unwrap_or_default();
            newer == 0 || counted.leader_epoch == self.epoch && newer < BATCHES
        });
        known
    }

    /// A broker's start: it takes no snapshot of producers that is not behind the log's start.
    pub(super) fn forget_producers_if_empty(&mut self) {
        if self.start >= self.end && !self.counted.is_empty() {
            self.counted.clear();
            self.has_forgotten = true;
        }
    }

    /// The producers that the leader knows, by their ids.
    pub(crate) fn producers(&self, life: Duration) -> Vec<Counted> {
        let mut ids: Vec<i64> = self.counted.iter().map(|counted| counted.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| self.account(id, life).pop()).collect()
    }

    /// Appends a batch, unless it is there already. Gives its first offset.
    ///
    /// # Errors
    /// Kafka's error code.
    pub(crate) fn append_once(
        &mut self,
        (id, epoch, first): (i64, i16, i32),
        entries: Entries,
        life: Duration,
    ) -> Result<i64, i16> {
        let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
        let last = first + count - 1;
        let known = self.account(id, life);
        if let Some(newest) = known.last() {
            if epoch < newest.epoch {
                return Err(INVALID_PRODUCER_EPOCH);
            }
            let is_it = |known: &&Counted| (known.epoch, known.first, known.last) == (epoch, first, last);
            if let Some(there) = known.iter().find(is_it) {
                return Ok(there.base);
            }
            let next = if epoch == newest.epoch { newest.last + 1 } else { 0 };
            if first != next {
                return Err(OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
        }
        let base = self.end;
        self.append(None, entries);
        let (end, leader_epoch, at) = (self.end, self.epoch, Instant::now());
        self.counted.push(Counted { id, epoch, first, last, base, end, leader_epoch, at });
        Ok(base)
    }
}

/// Batches of a producer that a leader knows.
const BATCHES: usize = 5;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
