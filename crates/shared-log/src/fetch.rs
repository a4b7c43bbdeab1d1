//! The parameters and the result of a fetch.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_fair_share::ClientKey;

use crate::answer_size::AnswerSize;
use crate::chunk::{Chunk, Ends};

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
    /// The client that fetches. Clients that share a request, or wait for the same limit, are told apart by it.
    pub source: ClientKey,
}

impl Fetch {
    /// The largest answer.
    pub fn size(&self) -> AnswerSize {
        AnswerSize { bytes: self.max_bytes, entries: self.max_records }
    }
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The encoded records, one after the other. Empty at the end of the log.
    pub messages: Bytes,
    /// The number of records.
    pub count: usize,
    /// The position to continue from. It can be beyond the requested one even without records, because ranges without
    /// records for clients are skipped.
    pub next_offset: i64,
    /// The ends of the log. With records that were read before, they are as old as the last answer about the log.
    pub ends: Ends,
}

impl Fetched {
    /// No records.
    pub fn nothing(next_offset: i64, ends: Ends) -> Self {
        Self { messages: Bytes::new(), count: 0, next_offset, ends }
    }
}

impl From<Chunk> for Fetched {
    fn from(Chunk { entries: messages, count, next: next_offset, ends, .. }: Chunk) -> Self {
        Self { messages, count, next_offset, ends }
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
