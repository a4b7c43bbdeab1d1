//! Records that were selected by rows lately: clients with the same rows share the work.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_backend::Chunk;
use sluicegate_rights::Rows;
use tokio::time::Instant;

use crate::filter::select_rows;

/// The latest selections of a cluster.
#[derive(Default)]
pub(crate) struct Selections(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    selected: HashMap<Key, Selected>,
    /// The oldest first.
    order: VecDeque<(Key, Instant)>,
    bytes: usize,
}

/// The address and the length of records in memory, and a hash of the rows.
type Key = (usize, usize, u64);

struct Selected {
    /// Kept, so that no other records get this address.
    read: Bytes,
    rows: Rows,
    messages: Bytes,
    count: usize,
}

impl Selections {
    /// The records among `rows`, of those that were read, and the work to find them in bytes.
    pub(crate) fn select(&self, read: Chunk, rows: &Rows) -> (Chunk, usize) {
        if rows.is_all() {
            return (read, 0);
        }
        // Few records cost less than a look at what others have selected.
        let is_shared = (MIN_BYTES..=MAX_BYTES / 4).contains(&read.messages.len());
        let key = is_shared.then(|| key(&read.messages, rows));
        if let Some(key) = key
            && let Some((messages, count)) = self.0.lock().get(key, rows)
        {
            return (Chunk { messages, count, ..read }, 0);
        }
        let all = read.messages.clone();
        let (selected, work) = select_rows(read, rows);
        if let Some(key) = key {
            let (messages, count) = (selected.messages.clone(), selected.count);
            self.0.lock().insert(key, Selected { read: all, rows: rows.clone(), messages, count });
        }
        (selected, work)
    }

    /// Forgets what was selected more than a second ago.
    pub(crate) fn expire(&self) {
        self.0.lock().expire(Instant::now());
    }
}

impl Recent {
    fn get(&self, key: Key, rows: &Rows) -> Option<(Bytes, usize)> {
        let selected = self.selected.get(&key).filter(|selected| selected.rows == *rows)?;
        Some((selected.messages.clone(), selected.count))
    }

    fn insert(&mut self, key: Key, selected: Selected) {
        let now = Instant::now();
        self.expire(now);
        // Another client was faster, or its rows have the same hash.
        if self.selected.contains_key(&key) {
            return;
        }
        self.bytes = self.bytes.saturating_add(selected.bytes());
        self.selected.insert(key, selected);
        self.order.push_back((key, now));
        while self.bytes > MAX_BYTES {
            self.drop_oldest();
        }
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= MAX_AGE) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.order.pop_front().and_then(|(key, _)| self.selected.remove(&key));
        self.bytes = self.bytes.saturating_sub(oldest.map_or(0, |selected| selected.bytes()));
    }
}

impl Selected {
    /// Its memory, estimated. Records that were all selected are not copied.
    fn bytes(&self) -> usize {
        let copied = if self.messages.as_ptr() == self.read.as_ptr() { 0 } else { self.messages.len() };
        self.read.len().saturating_add(copied).saturating_add(self.rows.memory()).saturating_add(OVERHEAD)
    }
}

fn key(read: &Bytes, rows: &Rows) -> Key {
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    (read.as_ptr().addr(), read.len(), hasher.finish())
}

/// About thirty records of 100 bytes.
const MIN_BYTES: usize = 4 * 1024;
/// The memory of all selections of a cluster: 32 answers or more, and as much again for what was selected.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The memory of a selection beside its records and rows.
const OVERHEAD: usize = 512;
/// Clients read the end of a log at the same time.
const MAX_AGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
