//! A bound on the memory of all unfinished messages, shared fairly between client addresses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sluicegate_fair_share::{self as fair_share, ClientKey, Holder};

/// The bytes that unfinished messages can hold, shared by the sessions of a proxy worker or of the bridge's WebSocket
/// endpoint.
///
/// A source can hold an eighth, or one message if that is more, and so can all networks of an IPv6 /48 together. A
/// source that would exceed this loses its own oldest message. If the whole budget is full, the source or /48 that
/// holds most loses its oldest message, of a /48 the network that holds most. A newcomer never loses to others.
#[derive(Debug)]
pub struct Budget {
    ledger: Mutex<Ledger>,
}

impl Budget {
    /// A budget of `max` bytes for messages of at most `max_message`.
    pub fn new(max: usize, max_message: usize) -> Arc<Self> {
        let ledger = Ledger {
            share: 0,
            held: fair_share::Ledger::of_one_cluster(max),
            begun: 0,
            messages: BTreeMap::new(),
        };
        let budget = Arc::new(Self { ledger: Mutex::new(ledger) });
        budget.set(max, max_message);
        budget
    }

    /// Changes the limits. Messages above them stay until they grow or others do.
    pub fn set(&self, max: usize, max_message: usize) {
        let mut ledger = lock(&self.ledger);
        ledger.held.set_max(max);
        ledger.share = (max / SHARES).max(max_message).min(max);
    }

    /// Bytes in use, at most the budget's size unless that has shrunk.
    pub fn used(&self) -> usize {
        lock(&self.ledger).held.used()
    }
}

/// The payload of a session's unfinished message, counted against a [`Budget`] until it is taken or dropped.
///
/// The growth of another buffer of the same budget can evict it, which frees its memory at once.
#[derive(Debug)]
pub struct Buffer {
    budget: Arc<Budget>,
    source: ClientKey,
    held: Option<Held>,
}

/// Why a buffer lost its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufferError {
    /// Its source held too much, and this message was the oldest.
    Evicted,
    /// The allocator has no memory.
    OutOfMemory,
}

impl Buffer {
    /// An empty buffer of a client at `source`.
    pub fn new(budget: &Arc<Budget>, source: ClientKey) -> Self {
        Self { budget: Arc::clone(budget), source, held: None }
    }

    /// Whether nothing was appended since it was made or taken.
    pub fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    /// Bytes held; 0 after an eviction.
    pub fn len(&self) -> usize {
        self.held.as_ref().and_then(|held| lock(&held.data).as_ref().map(Vec::len)).unwrap_or_default()
    }

    /// Whether the content was evicted.
    pub fn is_evicted(&self) -> bool {
        self.held.as_ref().is_some_and(|held| lock(&held.data).is_none())
    }

    /// Appends `bytes`. The capacity grows by doubling, to `max` at most, and is counted before it is allocated.
    ///
    /// # Errors
    /// The content is lost, and so is the message.
    pub fn append(&mut self, bytes: &[u8], max: usize) -> Result<(), BufferError> {
        let held = self.held.get_or_insert_with(|| lock(&self.budget.ledger).begin(self.source));
        let (len, capacity) = match &*lock(&held.data) {
            Some(data) => (data.len(), data.capacity()),
            None => return Err(BufferError::Evicted),
        };
        let need = len.saturating_add(bytes.len());
        let room = capacity.saturating_mul(2).clamp(need, need.max(max));
        if need > capacity {
            lock(&self.budget.ledger).grow(self.source, held.age, room)?;
        }
        // Another thread can evict it between two locks.
        let mut data = lock(&held.data);
        let data = data.as_mut().ok_or(BufferError::Evicted)?;
        if need > capacity {
            data.try_reserve_exact(room.saturating_sub(len)).map_err(|_| BufferError::OutOfMemory)?;
        }
        data.extend_from_slice(bytes);
        Ok(())
    }

    /// Empties the buffer, and ends counting its content.
    ///
    /// # Errors
    /// The content was lost.
    pub fn take(&mut self) -> Result<Vec<u8>, BufferError> {
        let Some(held) = self.held.take() else { return Ok(Vec::new()) };
        lock(&self.budget.ledger).remove(self.source, held.age);
        lock(&held.data).take().ok_or(BufferError::Evicted)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let _ = self.take();
    }
}

/// A message's age among those of its source, and its bytes.
#[derive(Debug)]
struct Held {
    age: u64,
    data: Data,
}

/// None once evicted. Locked after the ledger, never before it.
type Data = Arc<Mutex<Option<Vec<u8>>>>;

/// The messages of all sources, oldest first of each. Each session has at most one.
#[derive(Debug)]
struct Ledger {
    /// The limit of one source, at most that of all.
    share: usize,
    held: fair_share::Ledger,
    /// The number of messages begun so far.
    begun: u64,
    messages: BTreeMap<(ClientKey, u64), Entry>,
}

#[derive(Debug)]
struct Entry {
    /// At least the data's capacity.
    bytes: usize,
    data: Data,
}

impl Ledger {
    /// Adds a new message of `source`, the youngest of all.
    fn begin(&mut self, source: ClientKey) -> Held {
        self.begun = self.begun.saturating_add(1);
        let (age, data) = (self.begun, Arc::new(Mutex::new(Some(Vec::new()))));
        self.messages.insert((source, age), Entry { bytes: 0, data: Arc::clone(&data) });
        Held { age, data }
    }

    /// Counts `bytes` for a message in place of its previous size. Evicts older messages if necessary.
    fn grow(&mut self, source: ClientKey, age: u64, bytes: usize) -> Result<(), BufferError> {
        loop {
            let entry = self.messages.get_mut(&(source, age)).ok_or(BufferError::Evicted)?;
            let (holder, more) = (Holder::from(source), bytes.saturating_sub(entry.bytes));
            let loser = if self.held.held(holder).saturating_add(more) > self.share {
                source
            } else if self.held.used().saturating_add(more) > self.held.max() {
                self.held.largest(holder, more).source
            } else {
                entry.bytes = entry.bytes.saturating_add(more);
                self.held.add(holder, more);
                return Ok(());
            };
            self.evict_oldest(loser)?;
        }
    }

    fn evict_oldest(&mut self, source: ClientKey) -> Result<(), BufferError> {
        let mut messages = self.messages.range((source, 0)..=(source, u64::MAX));
        let (&(_, age), entry) = messages.next().ok_or(BufferError::Evicted)?;
        let data = Arc::clone(&entry.data);
        self.remove(source, age);
        *lock(&data) = None;
        Ok(())
    }

    fn remove(&mut self, source: ClientKey, age: u64) {
        if let Some(entry) = self.messages.remove(&(source, age)) {
            self.held.give_back(source.into(), entry.bytes);
        }
    }
}

/// At least as many sources are needed to fill a budget.
const SHARES: usize = 8;

/// Nothing that runs under these locks panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
