//! Records that were selected by rows or filters lately: clients with the same ones share the work.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_backend::Chunk;
use sluicegate_rights::Rows;
use tokio::time::Instant;

use crate::filter::{Filters, select_rows};

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

/// The address and the length of records in memory, and a hash of the choice.
type Key = (usize, usize, u64);

struct Selected {
    /// Kept, so that no other records get this address.
    read: Bytes,
    choice: Choice<'static>,
    messages: Bytes,
    count: usize,
}

/// The records that a client gets, of others.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Choice<'a> {
    Rows(Cow<'a, Rows>),
    Filters(Cow<'a, Filters>),
}

impl Selections {
    /// The records among `rows`, of those that were read, and the work to find them in bytes.
    pub(crate) fn select(&self, read: Chunk, rows: &Rows) -> (Chunk, usize) {
        if rows.is_all() {
            return (read, 0);
        }
        self.share(read, &Choice::Rows(Cow::Borrowed(rows)), MIN_BYTES, |read| select_rows(read, rows))
    }

    /// The records that match all filters, of those that were read, and the work to find them in bytes.
    pub(crate) fn filter(&self, read: Chunk, filters: &Filters) -> (Chunk, usize) {
        if filters.is_empty() {
            return (read, 0);
        }
        let min_bytes = if filters.look_at_values() { MIN_VALUE_BYTES } else { MIN_BYTES };
        let choice = Choice::Filters(Cow::Borrowed(filters));
        self.share(read, &choice, min_bytes, |read| filters.select(read))
    }

    /// The records among `rows` that match all filters, of those that were read, and the work to find them in bytes.
    pub(crate) fn select_both(&self, read: Chunk, rows: &Rows, filters: &Filters) -> (Chunk, usize) {
        let (granted, work) = self.select(read, rows);
        let (wanted, more_work) = self.filter(granted, filters);
        (wanted, work.saturating_add(more_work))
    }

    /// The choice among the records that were read, if they are few, or if it was not made yet, by `select`.
    fn share(
        &self,
        read: Chunk,
        choice: &Choice<'_>,
        min_bytes: usize,
        select: impl FnOnce(Chunk) -> (Chunk, usize),
    ) -> (Chunk, usize) {
        // Few records cost less than a look at what others have selected.
        let is_shared = (min_bytes..=MAX_BYTES / 4).contains(&read.messages.len());
        let key = is_shared.then(|| key(&read.messages, choice));
        if let Some(key) = key
            && let Some((messages, count)) = self.0.lock().get(key, choice)
        {
            return (Chunk { messages, count, ..read }, 0);
        }
        let all = read.messages.clone();
        let (selected, work) = select(read);
        if let Some(key) = key {
            let (messages, count) = (selected.messages.clone(), selected.count);
            self.0.lock().insert(key, Selected { read: all, choice: choice.owned(), messages, count });
        }
        (selected, work)
    }

    /// Forgets what was selected more than a second ago.
    pub(crate) fn expire(&self) {
        self.0.lock().expire(Instant::now());
    }
}

impl Recent {
    fn get(&self, key: Key, choice: &Choice<'_>) -> Option<(Bytes, usize)> {
        let selected = self.selected.get(&key).filter(|selected| selected.choice == *choice)?;
        Some((selected.messages.clone(), selected.count))
    }

    fn insert(&mut self, key: Key, selected: Selected) {
        let now = Instant::now();
        self.expire(now);
        // Another client was faster, or its choice has the same hash.
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
        self.read.len().saturating_add(copied).saturating_add(self.choice.memory()).saturating_add(OVERHEAD)
    }
}

impl Choice<'_> {
    fn owned(&self) -> Choice<'static> {
        match self {
            Self::Rows(rows) => Choice::Rows(Cow::Owned(rows.clone().into_owned())),
            Self::Filters(filters) => Choice::Filters(Cow::Owned(filters.clone().into_owned())),
        }
    }

    fn memory(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.memory(),
            Self::Filters(filters) => filters.memory(),
        }
    }
}

fn key(read: &Bytes, choice: &Choice<'_>) -> Key {
    let mut hasher = DefaultHasher::new();
    choice.hash(&mut hasher);
    (read.as_ptr().addr(), read.len(), hasher.finish())
}

/// About thirty records of 100 bytes.
const MIN_BYTES: usize = 4 * 1024;
/// The same for filters on values, each byte of which is looked at.
const MIN_VALUE_BYTES: usize = 256;
/// The memory of all selections of a cluster: 32 answers or more, and as much again for what was selected.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The memory of a selection beside its records and its choice.
const OVERHEAD: usize = 512;
/// Clients read the end of a log at the same time.
const MAX_AGE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
