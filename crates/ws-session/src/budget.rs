//! A bound on the memory of all unfinished messages, shared fairly between client addresses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::source::Source;

/// The bytes that unfinished messages can hold, shared by the sessions of a proxy worker or of the bridge's WebSocket endpoint.
///
/// A source can hold an eighth, or one message if that is more. A source that would exceed its share loses its own oldest
/// message. If the whole budget is full, the source that holds most loses its oldest message. A newcomer never loses to
/// others.
#[derive(Debug)]
pub struct Budget {
    ledger: Mutex<Ledger>,
}

impl Budget {
    /// A budget of `max` bytes for messages of at most `max_message`.
    pub fn new(max: usize, max_message: usize) -> Arc<Self> {
        let budget = Arc::new(Self { ledger: Mutex::default() });
        budget.set(max, max_message);
        budget
    }

    /// Changes the limits. Messages above them stay until they grow or others do.
    pub fn set(&self, max: usize, max_message: usize) {
        let mut ledger = lock(&self.ledger);
        ledger.max = max;
        ledger.share = (max / SHARES).max(max_message).min(max);
    }

    /// Bytes in use, at most the budget's size unless that has shrunk.
    pub fn used(&self) -> usize {
        lock(&self.ledger).used
    }
}

/// The payload of a session's unfinished message, counted against a [`Budget`] until it is taken or dropped.
///
/// The growth of another buffer of the same budget can evict it, which frees its memory at once.
#[derive(Debug)]
pub struct Buffer {
    budget: Arc<Budget>,
    source: Source,
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
    pub fn new(budget: &Arc<Budget>, source: Source) -> Self {
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

/// The messages of each source. Each session has at most one entry.
#[derive(Debug, Default)]
struct Ledger {
    max: usize,
    /// The limit of one source, at most `max`.
    share: usize,
    /// The sum of `sources[_].bytes`, at most `max` unless that has shrunk.
    used: usize,
    /// The number of messages begun so far.
    begun: u64,
    sources: BTreeMap<Source, Messages>,
}

/// The messages of one source.
#[derive(Debug, Default)]
struct Messages {
    /// The sum of `by_age[_].bytes`, at most a share.
    bytes: usize,
    by_age: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// At least the data's capacity.
    bytes: usize,
    data: Data,
}

impl Ledger {
    /// Adds a new message of `source`, the youngest of all.
    fn begin(&mut self, source: Source) -> Held {
        self.begun = self.begun.saturating_add(1);
        let (age, data) = (self.begun, Arc::new(Mutex::new(Some(Vec::new()))));
        let entry = Entry { bytes: 0, data: Arc::clone(&data) };
        self.sources.entry(source).or_default().by_age.insert(age, entry);
        Held { age, data }
    }

    /// Counts `bytes` for a message in place of its previous size. Evicts older messages if necessary.
    fn grow(&mut self, source: Source, age: u64, bytes: usize) -> Result<(), BufferError> {
        loop {
            let messages = self.sources.get_mut(&source).ok_or(BufferError::Evicted)?;
            let entry = messages.by_age.get_mut(&age).ok_or(BufferError::Evicted)?;
            let more = bytes.saturating_sub(entry.bytes);
            let loser = if messages.bytes.saturating_add(more) > self.share {
                source
            } else if self.used.saturating_add(more) > self.max {
                self.holder_of_most(source, more)
            } else {
                entry.bytes = entry.bytes.saturating_add(more);
                messages.bytes = messages.bytes.saturating_add(more);
                self.used = self.used.saturating_add(more);
                return Ok(());
            };
            self.evict_oldest(loser)?;
        }
    }

    /// The source that would hold most if `grows` held `more`. Another source wins a tie.
    fn holder_of_most(&self, grows: Source, more: usize) -> Source {
        let bytes = |(source, messages): &(&Source, &Messages)| {
            let more = if **source == grows { more } else { 0 };
            (messages.bytes.saturating_add(more), **source != grows)
        };
        self.sources.iter().max_by_key(bytes).map_or(grows, |(source, _)| *source)
    }

    fn evict_oldest(&mut self, source: Source) -> Result<(), BufferError> {
        let messages = self.sources.get(&source).ok_or(BufferError::Evicted)?;
        let (age, entry) = messages.by_age.first_key_value().ok_or(BufferError::Evicted)?;
        let (age, data) = (*age, Arc::clone(&entry.data));
        self.remove(source, age);
        *lock(&data) = None;
        Ok(())
    }

    fn remove(&mut self, source: Source, age: u64) {
        let Some(messages) = self.sources.get_mut(&source) else { return };
        let Some(entry) = messages.by_age.remove(&age) else { return };
        messages.bytes = messages.bytes.saturating_sub(entry.bytes);
        self.used = self.used.saturating_sub(entry.bytes);
        if messages.by_age.is_empty() {
            self.sources.remove(&source);
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
