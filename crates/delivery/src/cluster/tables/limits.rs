//! Limits that the tables of all clusters share: memory, and places to read logs.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use sluicegate_fair_share::{Holder, Ledger, Permits, Place, Places};
use sluicegate_telemetry::metrics::TableMetrics;

/// The limits of the tables of all clusters. Clones share them.
///
/// When their memory is full, the cluster that holds most loses its largest table: a table of another cluster stays,
/// however much is read for one. While logs are read into new tables, the clients that asked for them take turns.
#[derive(Clone)]
pub struct TableLimits {
    memory: Arc<Mutex<Memory>>,
    reads: Arc<Places>,
    /// Bytes of keys that clients have.
    held_keys: Arc<Permits>,
}

#[derive(Default)]
struct Memory {
    max_bytes: usize,
    used: usize,
    next: u64,
    tables: HashMap<u64, Kept>,
    metrics: TableMetrics,
}

struct Kept {
    cluster: usize,
    bytes: usize,
    table: Weak<dyn Droppable>,
}

/// A table that can be dropped to make room for others.
pub(super) trait Droppable: Send + Sync {
    /// Ends it, and frees its memory.
    fn drop_for_room(&self);
}

/// A table's part of the memory. A drop gives it back.
pub(super) struct Share {
    limits: TableLimits,
    number: u64,
}

impl TableLimits {
    /// Room for so many bytes.
    pub fn new(max_bytes: usize, metrics: TableMetrics) -> Self {
        let memory = Arc::new(Mutex::new(Memory { max_bytes, metrics, ..Memory::default() }));
        let held_keys = Permits::new(Ledger::new(max_bytes / HELD_KEYS));
        Self { memory, reads: Places::new(READS), held_keys }
    }

    /// Changes whether there are several clusters.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        self.held_keys.set_has_clusters(has_clusters);
    }

    /// The bytes of keys that clients have.
    pub(super) fn held_keys(&self) -> &Arc<Permits> {
        &self.held_keys
    }

    /// Changes the bound. Tables above it are dropped.
    pub fn set_max_bytes(&self, max_bytes: usize) {
        self.held_keys.set_max(max_bytes / HELD_KEYS);
        let dropped = {
            let mut memory = self.memory.lock();
            memory.max_bytes = max_bytes;
            memory.make_room()
        };
        end(dropped);
    }

    /// The bytes in use, and the number of tables.
    pub fn used(&self) -> (usize, usize) {
        let memory = self.memory.lock();
        (memory.used, memory.tables.len())
    }

    /// A turn to read a part of a log, for the client that asked for its table.
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub(super) async fn turn(&self, holder: Holder) -> Place {
        self.reads.acquire(holder).await
    }

    /// The part of a further table of a cluster, without bytes yet.
    pub(super) fn add(&self, cluster: usize, table: Weak<dyn Droppable>) -> Share {
        let mut memory = self.memory.lock();
        let number = memory.next;
        memory.next = number.saturating_add(1);
        memory.tables.insert(number, Kept { cluster, bytes: 0, table });
        memory.tell();
        Share { limits: self.clone(), number }
    }
}

impl Share {
    /// The table now has so many bytes. If that is too much, one of the tables is over.
    pub(super) fn set(&self, bytes: usize) {
        let dropped = {
            let mut memory = self.limits.memory.lock();
            let Memory { used, tables, .. } = &mut *memory;
            let Some(kept) = tables.get_mut(&self.number) else { return };
            *used = used.saturating_sub(std::mem::replace(&mut kept.bytes, bytes)).saturating_add(bytes);
            memory.make_room()
        };
        end(dropped);
    }

    /// The table is over.
    pub(super) fn give_back(&self) {
        drop(self.limits.memory.lock().take(self.number));
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Memory {
    fn take(&mut self, number: u64) -> Option<Kept> {
        let kept = self.tables.remove(&number)?;
        self.used = self.used.saturating_sub(kept.bytes);
        self.tell();
        Some(kept)
    }

    fn tell(&self) {
        self.metrics.used(self.tables.len(), self.used);
    }

    /// Takes out tables until the others fit.
    fn make_room(&mut self) -> Vec<Weak<dyn Droppable>> {
        let mut dropped = Vec::new();
        while self.used > self.max_bytes
            && let Some(kept) = self.largest().and_then(|number| self.take(number))
        {
            self.metrics.dropped();
            dropped.push(kept.table);
        }
        self.tell();
        dropped
    }

    /// The largest table of the cluster that holds most.
    fn largest(&self) -> Option<u64> {
        let mut clusters: HashMap<usize, usize> = HashMap::new();
        for kept in self.tables.values() {
            let held = clusters.entry(kept.cluster).or_default();
            *held = held.saturating_add(kept.bytes);
        }
        let (largest, _) = clusters.into_iter().max_by_key(|(_, held)| *held)?;
        let of_largest = self.tables.iter().filter(|(_, kept)| kept.cluster == largest);
        of_largest.max_by_key(|(_, kept)| kept.bytes).map(|(number, _)| *number)
    }
}

/// Without the lock: it frees their memory.
fn end(dropped: Vec<Weak<dyn Droppable>>) {
    for table in dropped.iter().filter_map(Weak::upgrade) {
        table.drop_for_room();
    }
}

/// Parts of logs that are read into new tables at the same time: each takes a few MiB of memory.
const READS: usize = 4;

/// The keys that clients have can take this part of the memory of tables, beside it.
const HELD_KEYS: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::FutureExt;
    use sluicegate_fair_share::ClientKey;

    use super::*;

    #[derive(Default)]
    struct Dropped(AtomicBool);

    impl Droppable for Dropped {
        fn drop_for_room(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A table of a cluster with so many bytes.
    fn table(limits: &TableLimits, cluster: usize, bytes: usize) -> (Arc<Dropped>, Share) {
        let table = Arc::new(Dropped::default());
        let share = limits.add(cluster, Arc::downgrade(&table) as _);
        share.set(bytes);
        (table, share)
    }

    fn is_dropped((table, _): &(Arc<Dropped>, Share)) -> bool {
        table.0.load(Ordering::Relaxed)
    }

    #[test]
    fn largest_table_of_the_largest_cluster_is_dropped() {
        let limits = TableLimits::new(1000, TableMetrics::default());
        let bystander = table(&limits, 1, 400);
        let (small, large) = (table(&limits, 2, 250), table(&limits, 2, 300));
        assert_eq!(limits.used(), (950, 3));
        small.1.set(350);
        assert_eq!([&bystander, &small, &large].map(is_dropped), [false, true, false]);
        assert_eq!(limits.used(), (700, 2));
        // A table that is dropped takes nothing any more.
        small.1.set(900);
        assert_eq!(limits.used(), (700, 2));
        limits.set_max_bytes(350);
        assert_eq!([&bystander, &large].map(is_dropped), [true, false]);
        drop(large);
        assert_eq!(limits.used(), (0, 0));
    }

    #[tokio::test]
    async fn client_with_many_tables_leaves_turns_to_others() {
        let limits = TableLimits::new(1000, TableMetrics::default());
        let [greedy, other] = [1, 2]
            .map(|host| Holder { cluster: 1, source: ClientKey::from(IpAddr::from([192, 0, 2, host])) });
        let mut held = Vec::new();
        for _ in 0..READS {
            held.push(limits.turn(greedy).await);
        }
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(limits.turn(greedy))).collect();
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let mut turn = Box::pin(limits.turn(other));
        assert!((&mut turn).now_or_never().is_none());
        held.truncate(READS - 2);
        assert!(turn.now_or_never().is_some(), "its first turn comes before the hundred of the other");
    }
}
