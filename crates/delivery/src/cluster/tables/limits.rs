//! Limits that the tables of all clusters share: memory, and places to read logs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use sluicegate_fair_share::{ClientKey, ClusterId, Holder, Ledger, Permit, Permits, Place, Places};
use sluicegate_telemetry::metrics::TableMetrics;
use tokio::time::Instant;

/// The limits of the tables of all clusters. Clones share them.
///
/// When their memory is full, a table goes that nobody uses, or that single keys are looked up in, before those that clients
/// use. Of these, it is one of the
/// cluster that keeps most without the topic, and there of the client that does so: a client with one topic loses it to
/// none that asks for many. A table is kept by each client that uses it, and goes as one of the client that keeps least; if
/// nobody uses it, it is kept by the client that asked for it first. While logs are read into new tables, the clients that
/// asked for them take turns.
#[derive(Clone)]
pub struct TableLimits {
    memory: Arc<Mutex<Memory>>,
    reads: Arc<Places>,
    /// Bytes of keys that clients have.
    held_keys: Arc<Permits>,
    /// Tables of parts of logs.
    slices: Arc<Permits>,
}

#[derive(Default)]
struct Memory {
    max_bytes: usize,
    used: usize,
    /// The part of it in tables that clients use.
    in_use: usize,
    next: u64,
    tables: HashMap<u64, Kept>,
    metrics: TableMetrics,
}

struct Kept {
    /// The client that asked for it first.
    holder: Holder,
    topic: Arc<str>,
    bytes: usize,
    /// The clients that use it, each as many times as it does.
    users: BTreeMap<ClientKey, usize>,
    /// When a client ended its use last.
    used: Instant,
    table: Weak<dyn Droppable>,
    /// Of a table of a part of a log.
    _permit: Option<Permit>,
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
        Self { memory, reads: Places::new(READS), held_keys, slices: Permits::new(Ledger::new(SLICES)) }
    }

    /// Changes whether there are several clusters.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        self.held_keys.set_has_clusters(has_clusters);
        self.slices.set_has_clusters(has_clusters);
    }

    /// The bytes of keys that clients have.
    pub(super) fn held_keys(&self) -> &Arc<Permits> {
        &self.held_keys
    }

    /// A place for the table of a part of a log; None: others have them all, or the client its share.
    pub(super) fn slice(&self, holder: Holder) -> Option<Permit> {
        self.slices.try_acquire(holder, 1)
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

    /// The part of a further table, of a topic that a client asked for, without bytes yet.
    pub(super) fn add(
        &self,
        holder: Holder,
        topic: Arc<str>,
        permit: Option<Permit>,
        table: Weak<dyn Droppable>,
    ) -> Share {
        let mut memory = self.memory.lock();
        let number = memory.next;
        memory.next = number.saturating_add(1);
        let (users, used) = (BTreeMap::new(), Instant::now());
        memory.tables.insert(number, Kept { holder, topic, bytes: 0, users, used, table, _permit: permit });
        memory.tell();
        Share { limits: self.clone(), number }
    }
}

impl Share {
    /// The table now has so many bytes. If that is too much, one of the tables is over.
    pub(super) fn set(&self, bytes: usize) {
        let dropped = {
            let mut memory = self.limits.memory.lock();
            memory.change(self.number, |kept| kept.bytes = bytes);
            memory.make_room()
        };
        end(dropped);
    }

    /// A client uses the table.
    pub(super) fn begin_use(&self, client: ClientKey) {
        self.limits.memory.lock().change(self.number, |kept| {
            let uses = kept.users.entry(client.site()).or_default();
            *uses = uses.saturating_add(1);
        });
    }

    /// One use that a client began, or a look into the table, is over.
    pub(super) fn end_use(&self, client: Option<ClientKey>) {
        self.limits.memory.lock().change(self.number, |kept| {
            kept.used = Instant::now();
            let Some(client) = client else { return };
            let Some(uses) = kept.users.get_mut(&client.site()) else { return };
            *uses = uses.saturating_sub(1);
            if *uses == 0 {
                kept.users.remove(&client.site());
            }
        });
    }

    /// When a client used the table last, if none does now.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        self.limits.memory.lock().tables.get(&self.number)?.unused_since()
    }

    /// The bytes for all tables.
    pub(super) fn max(&self) -> usize {
        self.limits.memory.lock().max_bytes
    }

    /// Whether a table of so many bytes can have room, without one that clients use.
    pub(super) fn may_have(&self, bytes: usize) -> bool {
        let memory = self.limits.memory.lock();
        memory.in_use.saturating_add(bytes) <= memory.max_bytes
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
        self.change(number, |kept| kept.bytes = 0);
        let kept = self.tables.remove(&number)?;
        self.tell();
        Some(kept)
    }

    /// Changes a table, if it is not over, and the sums of all with it.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Kept)) {
        let Some(kept) = self.tables.get_mut(&number) else { return };
        self.used = self.used.saturating_sub(kept.bytes);
        self.in_use = self.in_use.saturating_sub(kept.bytes_in_use());
        change(kept);
        self.used = self.used.saturating_add(kept.bytes);
        self.in_use = self.in_use.saturating_add(kept.bytes_in_use());
    }

    fn tell(&self) {
        self.metrics.used(self.tables.len(), self.used);
    }

    /// Takes out tables until the others fit.
    fn make_room(&mut self) -> Vec<Weak<dyn Droppable>> {
        let mut dropped = Vec::new();
        while self.used > self.max_bytes
            && let Some(kept) = self.loser().and_then(|number| self.take(number))
        {
            self.metrics.dropped();
            dropped.push(kept.table);
        }
        self.tell();
        dropped
    }

    /// The table that goes next: see [`TableLimits`].
    fn loser(&self) -> Option<u64> {
        let mut held: BTreeMap<Part<'_>, usize> = BTreeMap::new();
        for kept in self.tables.values() {
            let keepers = kept.clients().map(Some).chain([None]);
            for part in keepers.flat_map(|keeper| kept.parts(keeper)) {
                let held = held.entry(part).or_default();
                *held = held.saturating_add(kept.bytes);
            }
        }
        // Bytes that a cluster or a client keeps without its largest topic.
        let mut left = held.clone();
        for ((cluster, client, _), bytes) in held.iter().filter(|((.., topic), _)| topic.is_some()) {
            let of = (*cluster, *client, None);
            let all = held.get(&of).copied().unwrap_or(0);
            left.entry(of).and_modify(|left| *left = all.saturating_sub(*bytes).min(*left));
        }
        let loser = self.tables.iter().max_by_key(|(number, kept)| {
            let left = |keeper| kept.parts(keeper).map(|part| left.get(&part).copied().unwrap_or(0));
            let [cluster, _] = left(None);
            let [client, topic] = kept.clients().map(Some).map(left).min().unwrap_or_default();
            let unused = kept.unused_since();
            (unused.is_some(), cluster, client, unused.map(Reverse), topic, kept.bytes, **number)
        });
        loser.map(|(number, _)| *number)
    }
}

/// A part of the memory that tables share: of a cluster, or of one of its clients, and there of a topic or of all.
type Part<'a> = (ClusterId, Option<ClientKey>, Option<&'a str>);

impl Kept {
    /// The clients that keep it.
    fn clients(&self) -> impl Iterator<Item = ClientKey> {
        let first = self.users.is_empty().then(|| self.holder.source.site());
        self.users.keys().copied().chain(first)
    }

    /// All that a client keeps, and its part of the topic. None: those of the cluster.
    fn parts(&self, client: Option<ClientKey>) -> [Part<'_>; 2] {
        [None, Some(&*self.topic)].map(|topic| (self.holder.cluster, client, topic))
    }

    /// When a client used it last, if none does now.
    fn unused_since(&self) -> Option<Instant> {
        self.users.is_empty().then_some(self.used)
    }

    fn bytes_in_use(&self) -> usize {
        if self.users.is_empty() { 0 } else { self.bytes }
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

/// Tables of parts of logs: each has a task that reads its log.
const SLICES: usize = 1024;

/// The keys that clients have can take this part of the memory of tables, beside it.
const HELD_KEYS: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[derive(Default)]
    struct Dropped(AtomicBool);

    impl Droppable for Dropped {
        fn drop_for_room(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A table, and its part of the memory.
    type Held = (Arc<Dropped>, Share);

    fn client(host: u8) -> ClientKey {
        ClientKey::from(IpAddr::from([192, 0, 2, host]))
    }

    /// The tables of a client, with so many bytes each, of which nobody uses those that have an age.
    fn tables(
        limits: &TableLimits,
        (cluster, host): (ClusterId, u8),
        all: &[(&str, usize, Option<u64>)],
    ) -> Vec<Held> {
        let holder = Holder { cluster, source: client(host) };
        let now = Instant::now();
        let table = |(topic, bytes, age): &(&str, usize, Option<u64>)| {
            let table = Arc::new(Dropped::default());
            let share =
                limits.add(holder, Arc::from(*topic), limits.slice(holder), Arc::downgrade(&table) as _);
            match age {
                None => share.begin_use(holder.source),
                Some(age) => limits.memory.lock().change(share.number, |kept| {
                    kept.used = now - Duration::from_secs(*age);
                }),
            }
            share.set(*bytes);
            (table, share)
        };
        all.iter().map(table).collect()
    }

    fn are_dropped(tables: &[Held]) -> Vec<bool> {
        tables.iter().map(|(table, _)| table.0.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn those_who_keep_most_lose_a_table_and_first_one_that_nobody_uses() {
        let used = None;
        // The last is the one that is dropped, of all of them.
        for (bystander, attacker, dropped) in [
            // As many as a client likes: a page with one topic keeps it, also in several partitions.
            (&[("a", 525, used)][..], &["b", "c", "d", "e"].map(|topic| (topic, 125, used))[..], 4),
            (&[("a", 263, used); 2], &[("b", 125, used), ("c", 125, used), ("d", 250, used)], 4),
            // Unused tables go before others, the oldest first, also those of a client that holds less.
            (&[("a", 600, used)], &[("b", 100, Some(1)), ("c", 100, Some(2)), ("d", 300, used)], 2),
            (&[("a", 300, used), ("b", 300, Some(1))], &[("c", 500, used)], 1),
            // The page that was closed, too, unless others leave more behind.
            (&[("a", 525, Some(9))], &[("b", 200, Some(1)), ("c", 200, Some(2)), ("d", 200, used)], 2),
            // A newcomer is let in by those who hold much.
            (&[("a", 200, used)], &["b", "c", "d"].map(|topic| (topic, 300, used)), 3),
        ] {
            let limits = TableLimits::new(1000, TableMetrics::default());
            let mut held = tables(&limits, (1, 1), bystander);
            held.extend(tables(&limits, (1, 2), attacker));
            let want: Vec<_> = (0..held.len()).map(|number| number == dropped).collect();
            assert_eq!(are_dropped(&held), want, "{bystander:?} {attacker:?}");
        }
    }

    #[test]
    fn cluster_that_keeps_most_loses_a_table() {
        let limits = TableLimits::new(1000, TableMetrics::default());
        let bystander = tables(&limits, (1, 1), &[("a", 400, None)]);
        let others = tables(&limits, (2, 1), &[("a", 250, None), ("b", 300, None)]);
        assert_eq!(limits.used(), (950, 3));
        assert!(!bystander[0].1.may_have(51) && bystander[0].1.may_have(50));
        others[0].1.set(350);
        assert_eq!((are_dropped(&bystander), are_dropped(&others)), (vec![false], vec![true, false]));
        assert_eq!(limits.used(), (700, 2));
        // A table that is dropped takes nothing any more.
        others[0].1.set(900);
        assert_eq!(limits.used(), (700, 2));
        limits.set_max_bytes(350);
        assert_eq!((are_dropped(&bystander), are_dropped(&others)), (vec![true], vec![true, false]));
        // Places of tables that are over are for others.
        assert_eq!(limits.slices.used(), 1);
        drop(others);
        assert_eq!(limits.used(), (0, 0));
    }

    #[test]
    fn table_that_others_use_is_not_one_of_the_client_that_asked_for_it_first() {
        let limits = TableLimits::new(1000, TableMetrics::default());
        let attacker = tables(&limits, (1, 2), &[("a", 500, Some(1)), ("b", 200, None), ("c", 200, None)]);
        let (a, is_dropped) = (&attacker[0].1, || are_dropped(&attacker));
        for user in [2, 1, 1] {
            a.begin_use(client(user));
        }
        a.end_use(Some(client(1)));
        attacker[2].1.set(400);
        assert_eq!(is_dropped(), [false, false, true]);
        assert!(a.may_have(300) && !a.may_have(301));
        for user in [1, 2] {
            a.end_use(Some(client(user)));
        }
        assert!(a.may_have(800) && !a.may_have(801));
        attacker[1].1.set(501);
        assert_eq!(is_dropped(), [true, false, true]);
    }

    #[tokio::test]
    async fn client_with_many_tables_leaves_turns_to_others() {
        let limits = TableLimits::new(1000, TableMetrics::default());
        let [greedy, other] = [1, 2].map(|host| Holder { cluster: 1, source: client(host) });
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
