//! The parameters of a fetch, and the memory for its answer.

use std::pin::Pin;
use std::time::Duration;

use sluicegate_fair_share::ClientKey;

/// A fetch from a log.
#[derive(Debug, Clone, Copy)]
pub struct Fetch {
    /// The position of the first record: from the log's start up to and including its end.
    pub offset: i64,
    /// The largest encoded answer in bytes. A single record is delivered even if it is larger.
    pub max_bytes: usize,
    /// The time to wait at the end of the log for `min_bytes`, up to [`MAX_WAIT`]. Zero: no wait.
    pub wait: Duration,
    /// The records to wait for, in bytes of the answer, at most [`WAITING_BYTES`]. 0 and 1: one record.
    pub min_bytes: usize,
    /// The largest number of records; 0: as many as fit.
    pub max_records: usize,
    /// Whether to read on until the answer is half full or the log ends, for a quarter of a second at most. Otherwise
    /// the answer is what is at hand: a single record, if others were written since it was read.
    pub fill: bool,
    /// Whether records of open and aborted transactions are left out.
    pub committed: bool,
    /// Whether values and keys with a schema are given as JSON.
    pub decode: bool,
    /// The client that fetches. Clients that share a request, or wait for the same limit, are told apart by it.
    pub source: ClientKey,
}

impl Fetch {
    /// The largest answer.
    pub fn size(&self) -> AnswerSize {
        AnswerSize { bytes: self.max_bytes, entries: self.max_records }
    }
}

/// The largest size of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerSize {
    /// In bytes. A single entry is given even if it is larger.
    pub bytes: usize,
    /// In entries; 0: as many as fit.
    pub entries: usize,
}

impl AnswerSize {
    /// Any number of entries within so many bytes.
    pub fn of_bytes(bytes: usize) -> Self {
        Self { bytes, entries: 0 }
    }

    /// Whether entries of so many bytes fit.
    pub(crate) fn fits(self, bytes: usize, entries: usize) -> bool {
        bytes <= self.bytes && (self.entries == 0 || entries <= self.entries)
    }

    /// Whether so many entries are all that are wanted.
    pub(crate) fn has_all(self, entries: usize) -> bool {
        self.entries > 0 && entries >= self.entries
    }

    /// The room that is left beside part of an answer, which has fewer entries.
    pub(crate) fn less(self, bytes: usize, entries: usize) -> Self {
        debug_assert!(!self.has_all(entries), "0 would be any number");
        let left = if self.entries == 0 { 0 } else { self.entries.saturating_sub(entries) };
        Self { bytes: self.bytes.saturating_sub(bytes), entries: left }
    }
}

/// The memory reserved for a fetch's answer. `()` is for fetches that do not wait.
pub trait AnswerReservation: Send {
    /// Gives back all but `keep` bytes while the fetch waits at the end of the log. Ready when it must stop waiting.
    fn wait(&mut self, keep: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Reserves again what [`AnswerReservation::wait`] gave back. False if there is no room now.
    fn refill(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

impl AnswerReservation for () {
    fn wait(&mut self, _: usize) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }

    fn refill(&mut self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async { true })
    }
}

/// Bytes reserved for the answer of a waiting fetch. Small, so that many can wait in one session.
pub const WAITING_BYTES: usize = 16 * 1024;

/// The longest wait at the end of a log; longer waits are shortened to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
