//! Bounds a producer's queue, and shares it so that newcomers always find room.
//!
//! A source can hold at most three times what is left, in bytes and in records: at most three quarters of the queue.
//! See [`fair_permits`](crate::fair_permits). A source that holds nothing is refused only if the queue is full.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sluicegate_protocol::{Header, ProduceRecord};
use sluicegate_ws_session::source::Source;

use crate::fair_permits::SHARE;

/// The records queued for one cluster, by source. Memory: one entry per source with queued records.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: Amount,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: Amount,
    by_source: BTreeMap<Source, Amount>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Amount {
    bytes: usize,
    records: usize,
}

/// The memory that a system's client takes for a record besides its own bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overhead {
    pub(crate) record: usize,
    pub(crate) header: usize,
}

/// The room that one queued record takes. Freed on drop.
#[derive(Debug)]
pub(crate) struct QueuePermit {
    queue: Arc<Queue>,
    source: Source,
    bytes: usize,
}

impl Queue {
    pub(crate) fn new(bytes: usize, records: usize) -> Arc<Self> {
        Arc::new(Self { bounds: Amount { bytes, records }, held: Mutex::default() })
    }

    /// Reserves room for a record of `bytes`; None if the queue is full or `source` holds its share.
    pub(crate) fn take(self: &Arc<Self>, source: Source, bytes: usize) -> Option<QueuePermit> {
        let mut held = self.held();
        let mine = held.by_source.get(&source).copied().unwrap_or_default();
        let free = |bound: usize, held: usize, more: usize| bound.checked_sub(held)?.checked_sub(more);
        let left = Amount {
            bytes: free(self.bounds.bytes, held.all.bytes, bytes)?,
            records: free(self.bounds.records, held.all.records, 1)?,
        };
        let is_over = |mine: usize, left: usize| mine > left.saturating_add(1).saturating_mul(SHARE);
        if is_over(mine.bytes, left.bytes) || is_over(mine.records, left.records) {
            return None;
        }
        held.all = held.all.plus(bytes);
        held.by_source.insert(source, mine.plus(bytes));
        Some(QueuePermit { queue: Arc::clone(self), source, bytes })
    }

    /// Whether a record of `bytes` fits into the empty queue.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes <= self.bounds.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of queued records.
    pub(crate) fn len(&self) -> usize {
        self.held().all.records
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Amount {
    /// Adds one record.
    fn plus(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_add(bytes), records: self.records.saturating_add(1) }
    }

    /// Removes one record.
    fn minus(self, bytes: usize) -> Self {
        Self { bytes: self.bytes.saturating_sub(bytes), records: self.records.saturating_sub(1) }
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        let mut held = self.queue.held();
        held.all = held.all.minus(self.bytes);
        let Some(mine) = held.by_source.get_mut(&self.source) else { return };
        *mine = mine.minus(self.bytes);
        if mine.records == 0 {
            held.by_source.remove(&self.source);
        }
    }
}

/// The memory of a queued record, in bytes.
pub(crate) fn size(record: &ProduceRecord, overhead: Overhead) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let header =
        |header: &Header| header.key.len().saturating_add(len(&header.value)).saturating_add(overhead.header);
    let headers = record.headers.iter().map(header).fold(0, usize::saturating_add);
    len(&record.key)
        .saturating_add(len(&record.value))
        .saturating_add(headers)
        .saturating_add(overhead.record)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn source(number: u8) -> Source {
        Source::from(IpAddr::from([10, 0, 0, number]))
    }

    fn take_all(queue: &Arc<Queue>, source: Source, bytes: usize) -> Vec<QueuePermit> {
        std::iter::from_fn(|| queue.take(source, bytes)).collect()
    }

    #[test]
    fn source_holds_at_most_three_quarters_and_a_newcomer_finds_room() {
        for (bytes, records, each) in [(100_000, usize::MAX, 100), (usize::MAX, 1000, 1)] {
            let queue = Queue::new(bytes, records);
            let attacker = take_all(&queue, source(1), each);
            assert!((740..=752).contains(&attacker.len()), "{}", attacker.len());
            let bystander = take_all(&queue, source(2), each);
            assert!(bystander.len() > 100, "{}", bystander.len());
            drop(attacker);
            assert!(queue.take(source(1), each).is_some());
        }
    }

    #[test]
    fn newcomer_can_use_all_that_is_left() {
        let queue = Queue::new(1000, 10);
        assert!(queue.take(source(1), 1001).is_none());
        let whole = queue.take(source(1), 1000).unwrap();
        assert!(queue.take(source(2), 1).is_none());
        drop(whole);
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_and_records_are_conserved(asks in prop::collection::vec((0_u8..4, 0_usize..60, any::<bool>()), 0..200)) {
            let queue = Queue::new(500, 20);
            let mut taken: Vec<QueuePermit> = Vec::new();
            for (name, bytes, is_freed) in asks {
                if is_freed && !taken.is_empty() {
                    taken.swap_remove(bytes % taken.len());
                }
                taken.extend(queue.take(source(name), bytes));
                let held = queue.held();
                let all = Amount { bytes: taken.iter().map(|room| room.bytes).sum(), records: taken.len() };
                prop_assert_eq!(held.all, all);
                prop_assert!(all.bytes <= 500 && all.records <= 20);
                let counted: usize = held.by_source.values().map(|amount| amount.records).sum();
                prop_assert_eq!(counted, all.records);
            }
            drop(taken);
            prop_assert!(queue.held().by_source.is_empty() && queue.is_empty());
        }
    }
}
