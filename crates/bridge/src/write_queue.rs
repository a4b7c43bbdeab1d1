//! Bounds a producer's queue in bytes and in records, which its clients share fairly.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sluicegate_fair_share::{Ledger, Source};
use sluicegate_protocol::{Header, ProduceRecord};

/// The records queued for one cluster. Memory: at most six entries per source with queued records.
#[derive(Debug)]
pub(crate) struct Queue {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    bytes: Ledger,
    records: Ledger,
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
        let [bytes, records] = [bytes, records].map(Ledger::of_one_cluster);
        Arc::new(Self { held: Mutex::new(Held { bytes, records }) })
    }

    /// Reserves room for a record of `bytes`; None if the queue is full or `source` holds its share.
    pub(crate) fn take(self: &Arc<Self>, source: Source, bytes: usize) -> Option<QueuePermit> {
        let (mut held, holder) = (self.held(), source.into());
        if !held.bytes.has_room(holder, bytes) || !held.records.take(holder, 1) {
            return None;
        }
        held.bytes.add(holder, bytes);
        Some(QueuePermit { queue: Arc::clone(self), source, bytes })
    }

    /// Whether a record of `bytes` fits into the empty queue.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes <= self.held().bytes.max()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of queued records.
    pub(crate) fn len(&self) -> usize {
        self.held().records.used()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        let mut held = self.queue.held();
        held.bytes.give_back(self.source.into(), self.bytes);
        held.records.give_back(self.source.into(), 1);
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

    use super::*;

    fn source(number: u8) -> Source {
        Source::from(IpAddr::from([10, 0, 0, number]))
    }

    fn take_all(queue: &Arc<Queue>, source: Source, bytes: usize) -> Vec<QueuePermit> {
        std::iter::from_fn(|| queue.take(source, bytes)).collect()
    }

    #[test]
    fn greedy_source_leaves_bytes_and_records_to_a_newcomer() {
        for (bytes, records, each) in [(100_000, usize::MAX, 100), (usize::MAX, 1000, 1)] {
            let queue = Queue::new(bytes, records);
            let attacker = take_all(&queue, source(1), each);
            assert!((740..=752).contains(&attacker.len()), "{}", attacker.len());
            let bystander = take_all(&queue, source(2), each);
            assert!(bystander.len() > 100, "{}", bystander.len());
            drop(attacker);
            assert!(queue.take(source(1), each).is_some());
            drop(bystander);
            assert!(queue.is_empty() && queue.held().bytes.is_empty());
        }
    }
}
