//! Bounds a producer's queue in bytes and in records, which its clients share fairly, and orders the commands of a session
//! that enter it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_fair_share::{ClientKey, Ledger};
use tokio::sync::{Notify, oneshot};

use crate::command::{Header, Record};

/// The records queued for one cluster. Memory: at most seven entries per source with queued records.
///
/// Records can be kept apart from those of others: see [`Queue::take_apart`].
#[derive(Debug)]
pub struct Queue {
    held: Mutex<Held>,
    /// Told of records that leave while some are kept apart.
    left: Notify,
}

#[derive(Debug)]
struct Held {
    bytes: Ledger,
    records: Ledger,
    /// The number of records of each source that are kept apart, never 0.
    apart: BTreeMap<ClientKey, usize>,
}

/// The memory that a system's client takes for a record besides its own bytes.
#[derive(Debug, Clone, Copy)]
pub struct Overhead {
    /// Bytes for each record.
    pub record: usize,
    /// Bytes for each header.
    pub header: usize,
}

/// The room that one queued record takes. Freed on drop.
#[derive(Debug)]
pub struct QueuePermit {
    queue: Arc<Queue>,
    source: ClientKey,
    bytes: usize,
    is_apart: bool,
}

impl Queue {
    /// A queue of at most so many bytes and records.
    pub fn new(bytes: usize, records: usize) -> Arc<Self> {
        let [bytes, records] = [bytes, records].map(Ledger::of_one_cluster);
        let held = Mutex::new(Held { bytes, records, apart: BTreeMap::new() });
        Arc::new(Self { held, left: Notify::new() })
    }

    /// Reserves room for a record of `bytes`; None if the queue is full or `source` holds its share.
    pub fn take(self: &Arc<Self>, source: ClientKey, bytes: usize) -> Option<QueuePermit> {
        self.reserve(source, bytes, false)
    }

    /// The same for a record that must not share a batch with those of others.
    pub fn take_apart(self: &Arc<Self>, source: ClientKey, bytes: usize) -> Option<QueuePermit> {
        self.reserve(source, bytes, true)
    }

    fn reserve(self: &Arc<Self>, source: ClientKey, bytes: usize, is_apart: bool) -> Option<QueuePermit> {
        let mut held = self.held.lock();
        if !held.take(source, bytes) {
            return None;
        }
        if is_apart {
            let apart = held.apart.entry(source).or_default();
            *apart = apart.saturating_add(1);
        }
        Some(QueuePermit { queue: Arc::clone(self), source, bytes, is_apart })
    }

    /// Whether records of `source` are kept apart.
    pub fn has_apart(&self, source: ClientKey) -> bool {
        self.held.lock().apart.contains_key(&source)
    }

    /// Waits until all records of `source` that are queued are kept apart.
    ///
    /// # Cancel safety
    /// A drop changes nothing.
    pub async fn shared_settled(&self, source: ClientKey) {
        loop {
            let mut left = pin!(self.left.notified());
            left.as_mut().enable();
            if !self.held.lock().has_shared(source) {
                return;
            }
            left.await;
        }
    }

    /// Whether a record of `bytes` fits into the empty queue.
    pub fn fits(&self, bytes: usize) -> bool {
        bytes <= self.held.lock().bytes.max()
    }

    /// Whether no record is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of queued records.
    pub fn len(&self) -> usize {
        self.held.lock().records.used()
    }
}

impl Held {
    fn take(&mut self, source: ClientKey, bytes: usize) -> bool {
        let holder = source.into();
        let has_room = self.bytes.has_room(holder, bytes) && self.records.take(holder, 1);
        if has_room {
            self.bytes.add(holder, bytes);
        }
        has_room
    }

    /// Whether records of `source` are queued that are not kept apart.
    fn has_shared(&self, source: ClientKey) -> bool {
        self.records.held_by(source.into()) > self.apart.get(&source).copied().unwrap_or_default()
    }
}

impl QueuePermit {
    /// The record's client.
    pub fn source(&self) -> ClientKey {
        self.source
    }
}

impl Drop for QueuePermit {
    fn drop(&mut self) {
        let mut held = self.queue.held.lock();
        held.bytes.give_back(self.source.into(), self.bytes);
        held.records.give_back(self.source.into(), 1);
        if self.is_apart
            && let Entry::Occupied(mut apart) = held.apart.entry(self.source)
        {
            match apart.get().saturating_sub(1) {
                0 => _ = apart.remove(),
                left => _ = apart.insert(left),
            }
        }
        if !held.apart.is_empty() {
            self.queue.left.notify_waiters();
        }
    }
}

/// The memory of a queued record, in bytes.
pub fn size(record: &Record, overhead: Overhead) -> usize {
    let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let header =
        |header: &Header| header.key.len().saturating_add(len(&header.value)).saturating_add(overhead.header);
    let headers = record.headers.iter().map(header).fold(0, usize::saturating_add);
    len(&record.key)
        .saturating_add(len(&record.value))
        .saturating_add(headers)
        .saturating_add(overhead.record)
}

/// Issues tickets, which proceed in the same order.
#[derive(Debug, Default)]
pub struct WriteSequencer {
    last: Option<oneshot::Receiver<()>>,
}

/// A command's place in the order. A drop lets the next ticket proceed. The default is a ticket without others.
#[derive(Debug, Default)]
pub struct WriteTicket {
    previous: Option<oneshot::Receiver<()>>,
    _own: Option<oneshot::Sender<()>>,
}

impl WriteSequencer {
    /// The ticket after all others.
    pub fn issue(&mut self) -> WriteTicket {
        let (own, next) = oneshot::channel();
        WriteTicket { previous: self.last.replace(next), _own: Some(own) }
    }
}

impl WriteTicket {
    /// Waits until the previous ticket is dropped.
    pub async fn wait(&mut self) {
        if let Some(previous) = self.previous.take() {
            // Nothing is ever sent: the drop closes the channel.
            let _ = previous.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn source(number: u8) -> ClientKey {
        ClientKey::from(IpAddr::from([10, 0, 0, number]))
    }

    fn take_all(queue: &Arc<Queue>, source: ClientKey, bytes: usize) -> Vec<QueuePermit> {
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
            assert!(queue.is_empty() && queue.held.lock().bytes.is_empty());
        }
    }

    #[tokio::test]
    async fn tickets_proceed_in_order() {
        let mut sequencer = WriteSequencer::default();
        let [mut first, mut second, mut third] = std::array::from_fn(|_| sequencer.issue());
        first.wait().await;
        let waits = tokio::spawn(async move { third.wait().await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(first);
        second.wait().await;
        assert!(!waits.is_finished());
        drop(second);
        waits.await.unwrap();
        WriteTicket::default().wait().await;
    }
}
