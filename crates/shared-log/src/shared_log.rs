//! The chunks of all clusters, bounded in bytes and in age.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::chunk::{AnswerSize, Chunk, Chunks, Ends, Kept, assemble_marked};
use crate::log::LogKey;
use crate::marks::FirstEntry;

/// Recently read records of all clusters. Clones share them. The default keeps none.
///
/// When it is full, the cluster that holds most loses its oldest chunk: a cluster that holds little keeps it, however
/// much others read.
#[derive(Debug, Clone, Default)]
pub struct SharedLog {
    inner: Arc<Inner>,
}

/// The bounds of a [`SharedLog`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The size of all chunks in bytes; 0: none are kept.
    pub max_bytes: usize,
    /// The time for which a chunk is served after it was read. Bounds how long records are served that the log has
    /// lost.
    pub max_age: Duration,
}

/// Counts since the start, and what is held now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that chunks have answered.
    pub hits: u64,
    /// Reads that they could not answer, and that the messaging system was asked for.
    pub misses: u64,
    /// The size of all chunks in bytes.
    pub bytes: usize,
    /// Logs with callers waiting at the end.
    pub tails: u64,
    /// Callers that wait at the end of a log.
    pub waiters: u64,
    /// Requests that waited for them.
    pub tail_requests: u64,
    /// Bytes of records that the messaging system has sent.
    pub received_bytes: u64,
}

/// One cluster's part of a [`SharedLog`]. Dropping it drops the cluster's chunks.
#[derive(Debug)]
pub struct ClusterLogs {
    inner: Arc<Inner>,
    id: u64,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    hits: AtomicU64,
    misses: AtomicU64,
    tails: Arc<AtomicU64>,
    waiters: Arc<AtomicU64>,
    tail_requests: AtomicU64,
    received_bytes: AtomicU64,
}

/// Something that is counted for as long as it lives.
#[derive(Debug)]
pub struct Counted(Arc<AtomicU64>);

#[derive(Debug, Default)]
struct State {
    limits: Limits,
    clusters: HashMap<u64, Cluster>,
    next_cluster: u64,
    next_chunk: u64,
    /// The size of all chunks.
    bytes: usize,
}

#[derive(Debug, Default)]
struct Cluster {
    logs: HashMap<LogKey, KeptLog>,
    /// All chunks in the order of their arrival.
    order: BTreeMap<u64, Arrival>,
    bytes: usize,
}

/// The chunks of a log in one version of it.
#[derive(Debug)]
struct KeptLog {
    version: i64,
    /// The ends as known from all answers.
    ends: Ends,
    chunks: Chunks,
}

#[derive(Debug)]
struct Arrival {
    log: LogKey,
    base: i64,
    at: Instant,
}

impl SharedLog {
    /// Holds no chunk yet.
    pub fn new(limits: Limits) -> Self {
        let shared = Self::default();
        shared.set_limits(limits);
        shared
    }

    /// The limits that were set last.
    pub fn limits(&self) -> Limits {
        self.inner.state.lock().limits
    }

    /// Changes the limits. Chunks above them are dropped.
    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.inner.state.lock();
        state.limits = limits;
        state.make_room();
    }

    /// The part of a further cluster.
    pub fn add_cluster(&self) -> ClusterLogs {
        let mut state = self.inner.state.lock();
        let id = state.next_cluster;
        state.next_cluster = id.saturating_add(1);
        state.clusters.insert(id, Cluster::default());
        ClusterLogs { inner: Arc::clone(&self.inner), id }
    }

    /// Drops the chunks that are too old. Reads never give them; this frees their memory.
    pub fn expire(&self, now: Instant) {
        let mut state = self.inner.state.lock();
        let State { clusters, bytes, limits, .. } = &mut *state;
        for cluster in clusters.values_mut() {
            *bytes = bytes.saturating_sub(cluster.expire(now, limits.max_age));
        }
    }

    /// Counts of reads, and of what is held.
    pub fn stats(&self) -> Stats {
        let Inner { hits, misses, tails, waiters, tail_requests, received_bytes, .. } = &*self.inner;
        let [hits, misses, tails, waiters, tail_requests, received_bytes] =
            [hits, misses, &**tails, &**waiters, tail_requests, received_bytes]
                .map(|count| count.load(Ordering::Relaxed));
        let bytes = self.inner.state.lock().bytes;
        Stats { hits, misses, bytes, tails, waiters, tail_requests, received_bytes }
    }
}

impl ClusterLogs {
    /// Entries of a log from `position` on, at most `size` but one at least; `None` if no chunk has one. The log's ends
    /// are those that were learned last.
    ///
    /// `version` is the log's, as in [`ClusterLogs::insert`].
    pub fn read(
        &self,
        log: &LogKey,
        version: i64,
        position: i64,
        size: AnswerSize,
        first: FirstEntry,
        now: Instant,
    ) -> Option<Chunk> {
        // Half of an answer is enough: a copy to fill it would cost more than the next read.
        let enough = AnswerSize { bytes: size.bytes / 2, ..size };
        let ((chunks, marks), ends) = {
            let mut state = self.inner.state.lock();
            let (chunks, ends) = state.chunks(self.id, log, version, position, now)?;
            (chunks.read(position, enough), ends)
        };
        // Without the lock: it can copy.
        let found = assemble_marked(&chunks, marks.as_ref(), position, size, first);
        let found = Chunk { ends, ..found };
        if found.count == 0 {
            return None;
        }
        self.inner.hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// Whether a chunk covers `position`.
    ///
    /// `version` is the log's, as in [`ClusterLogs::insert`].
    pub fn covers(&self, log: &LogKey, version: i64, position: i64, now: Instant) -> bool {
        let mut state = self.inner.state.lock();
        state.chunks(self.id, log, version, position, now).is_some_and(|(chunks, _)| chunks.covers(position))
    }

    /// The first position from `position` on that no chunk covers; `None` if chunks that begin from there on have
    /// `enough` bytes before that, or are many.
    ///
    /// `version` is the log's, as in [`ClusterLogs::insert`].
    pub fn edge(
        &self,
        log: &LogKey,
        version: i64,
        position: i64,
        enough: usize,
        now: Instant,
    ) -> Option<i64> {
        let mut state = self.inner.state.lock();
        match state.chunks(self.id, log, version, position, now) {
            Some((chunks, _)) => chunks.edge(position, enough),
            None => Some(position),
        }
    }

    /// The end of a log that was learned last; `None` if no chunk of it is kept.
    pub fn end(&self, log: &LogKey) -> Option<i64> {
        let state = self.inner.state.lock();
        let cluster = state.clusters.get(&self.id)?;
        let known = both(log).iter().filter_map(|log| Some(cluster.logs.get(log)?.ends.end)).max();
        known.filter(|end| *end >= 0)
    }

    /// Keeps a chunk that was read at `now`, and notes the ends of its log. Entries before the start are no longer
    /// served.
    ///
    /// A log's `version` grows when its records can have changed, as with a new leader. Chunks of lower versions are
    /// dropped, and not accepted any more.
    pub fn insert(&self, log: &LogKey, version: i64, chunk: Chunk, now: Instant) {
        let mut state = self.inner.state.lock();
        let State { limits: Limits { max_bytes, max_age }, clusters, next_chunk, bytes, .. } = &mut *state;
        let Some(cluster) = clusters.get_mut(&self.id) else { return };
        cluster.update_ends(log, version, chunk.ends);
        if size(&chunk) > *max_bytes || chunk.count == 0 {
            return;
        }
        *bytes = bytes.saturating_sub(cluster.expire(now, *max_age));
        let number = *next_chunk;
        *next_chunk = number.saturating_add(1);
        let (added, freed) = cluster.insert(log, version, chunk, (number, now));
        *bytes = bytes.saturating_add(added).saturating_sub(freed);
        state.make_room();
    }

    /// Keeps a chunk as [`ClusterLogs::insert`], in parts of at most `max_part_bytes`, but one entry at least, and
    /// gives the first one.
    pub fn insert_parts(
        &self,
        log: &LogKey,
        version: i64,
        chunk: Chunk,
        max_part_bytes: usize,
        first: FirstEntry,
        now: Instant,
    ) -> Chunk {
        let empty = Chunk::nothing(chunk.base, chunk.ends);
        let parts = chunk.split(max_part_bytes, first);
        for part in &parts {
            self.insert(log, version, part.clone(), now);
        }
        parts.into_iter().next().unwrap_or(empty)
    }

    /// The size of all chunks in bytes: see [`Limits::max_bytes`].
    pub fn max_bytes(&self) -> usize {
        self.inner.state.lock().limits.max_bytes
    }

    /// Counts a log with callers waiting at its end, in [`Stats::tails`].
    pub fn tail(&self) -> Counted {
        Counted::new(&self.inner.tails)
    }

    /// Counts a caller waiting at the end of a log, in [`Stats::waiters`].
    pub fn waiter(&self) -> Counted {
        Counted::new(&self.inner.waiters)
    }

    /// Counts a read that the messaging system is asked for, in [`Stats::misses`].
    pub fn count_miss(&self) {
        self.inner.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that waits for callers, in [`Stats::tail_requests`].
    pub fn count_tail_request(&self) {
        self.inner.tail_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the size of an answer's records, in [`Stats::received_bytes`].
    pub fn count_received(&self, bytes: usize) {
        self.inner.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Drops the chunks of a log, of each topic of this name.
    pub fn forget(&self, topic: &str, partition: i32) {
        let mut state = self.inner.state.lock();
        let Some(cluster) = state.clusters.get_mut(&self.id) else { return };
        let is_it = |log: &&LogKey| &*log.topic == topic && log.partition == partition;
        let logs: Vec<LogKey> = cluster.logs.keys().filter(is_it).cloned().collect();
        let freed = logs.iter().map(|log| cluster.forget(log)).fold(0, usize::saturating_add);
        state.bytes = state.bytes.saturating_sub(freed);
    }

    /// The messaging system has no entry at `position`. Drops the chunks of a log whose known ends say otherwise,
    /// because the log is another one than before.
    pub fn invalidate(&self, log: &LogKey, position: i64) {
        let mut state = self.inner.state.lock();
        let Some(cluster) = state.clusters.get_mut(&self.id) else { return };
        let freed = both(log).map(|log| cluster.invalidate(&log, position)).iter().sum();
        state.bytes = state.bytes.saturating_sub(freed);
    }
}

impl Counted {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ClusterLogs {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        let freed = state.clusters.remove(&self.id).map_or(0, |cluster| cluster.bytes);
        state.bytes = state.bytes.saturating_sub(freed);
    }
}

impl State {
    /// The chunks of a log that begins at or before `position`, and its ends.
    fn chunks(
        &mut self,
        id: u64,
        log: &LogKey,
        version: i64,
        position: i64,
        now: Instant,
    ) -> Option<(&Chunks, Ends)> {
        let cluster = self.clusters.get_mut(&id)?;
        self.bytes = self.bytes.saturating_sub(cluster.expire(now, self.limits.max_age));
        let known = cluster.logs.get(log)?;
        (known.version >= version && position >= known.ends.start).then_some((&known.chunks, known.ends))
    }

    /// Drops chunks until they have at most `limits.max_bytes`.
    fn make_room(&mut self) {
        while self.bytes > self.limits.max_bytes {
            let Some(largest) = self.clusters.values_mut().max_by_key(|cluster| cluster.bytes) else {
                return;
            };
            let freed = largest.drop_oldest();
            self.bytes = self.bytes.saturating_sub(freed);
            if freed == 0 {
                return;
            }
        }
    }
}

impl Cluster {
    /// Adds a chunk. Gives how many bytes were added and dropped.
    fn insert(
        &mut self,
        log: &LogKey,
        version: i64,
        chunk: Chunk,
        (number, at): (u64, Instant),
    ) -> (usize, usize) {
        let mut freed = 0_usize;
        match self.logs.get(log) {
            Some(known) if known.version > version => return (0, 0),
            Some(known) if known.version < version => freed = self.forget(log),
            Some(_) | None => {}
        }
        let (base, size, ends) = (chunk.base, size(&chunk), chunk.ends);
        let chunks = Chunks::default();
        let known = self.logs.entry(log.clone()).or_insert(KeptLog { version, ends, chunks });
        let Some(dropped) = known.chunks.insert(chunk, number) else { return (0, freed) };
        for kept in dropped {
            freed = freed.saturating_add(self.release(&kept));
        }
        self.order.insert(number, Arrival { log: log.clone(), base, at });
        self.bytes = self.bytes.saturating_add(size);
        (size, freed)
    }

    /// Notes the ends of a log, in whichever way it was read.
    fn update_ends(&mut self, log: &LogKey, version: i64, ends: Ends) {
        for log in both(log) {
            if let Some(known) = self.logs.get_mut(&log)
                && known.version == version
            {
                known.ends = known.ends.merge(ends);
            }
        }
    }

    /// Drops the chunks of a log if its known ends include `position`. Gives their size.
    fn invalidate(&mut self, log: &LogKey, position: i64) -> usize {
        let includes = |known: &KeptLog| (known.ends.start..=known.ends.end).contains(&position);
        if self.logs.get(log).is_some_and(includes) { self.forget(log) } else { 0 }
    }

    /// Drops the chunks of a log. Gives their size.
    fn forget(&mut self, log: &LogKey) -> usize {
        let Some(forgotten) = self.logs.remove(log) else { return 0 };
        forgotten.chunks.into_kept().map(|kept| self.release(&kept)).fold(0, usize::saturating_add)
    }

    /// Drops the chunks of this age. Gives their size.
    fn expire(&mut self, now: Instant, max_age: Duration) -> usize {
        let mut freed = 0_usize;
        while let Some((_, oldest)) = self.order.first_key_value() {
            if now.saturating_duration_since(oldest.at) < max_age {
                break;
            }
            freed = freed.saturating_add(self.drop_oldest());
        }
        freed
    }

    /// Drops the chunk that came first. Gives its size; 0 if there is none.
    fn drop_oldest(&mut self) -> usize {
        let Some((_, Arrival { log, base, .. })) = self.order.pop_first() else { return 0 };
        let Some(known) = self.logs.get_mut(&log) else { return 0 };
        let kept = known.chunks.remove(base);
        if known.chunks.is_empty() {
            self.logs.remove(&log);
        }
        kept.map_or(0, |kept| self.release(&kept))
    }

    /// Removes a dropped chunk from the books. Gives its size.
    fn release(&mut self, kept: &Kept) -> usize {
        let size = size(&kept.chunk);
        self.order.remove(&kept.number);
        self.bytes = self.bytes.saturating_sub(size);
        size
    }
}

/// A log as read in both ways: with all entries, and with those of committed transactions.
fn both(log: &LogKey) -> [LogKey; 2] {
    [false, true].map(|committed| LogKey { committed, ..log.clone() })
}

/// The memory of a chunk in bytes: its entries, and about what the maps need for it.
fn size(chunk: &Chunk) -> usize {
    chunk.messages.len().saturating_add(OVERHEAD)
}

const OVERHEAD: usize = 512;

#[cfg(test)]
mod tests;
