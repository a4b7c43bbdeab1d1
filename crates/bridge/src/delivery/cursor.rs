//! A subscription's position in one log.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::item::Place;
use crate::backend::Log;

/// A position, and what is known there.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The offset to read next.
    pub(super) next: i64,
    /// The epoch of the leader that the records before it are from. None: nothing was read yet, or it is not known.
    pub(super) epoch: Option<i32>,
    /// Whether the log had no more records when it was read last.
    pub(super) is_at_end: bool,
    /// Whether the client was not told yet that the end has been reached.
    pub(super) is_behind: bool,
    /// The log's end as last known; −1 if unknown.
    pub(super) end: i64,
    /// Whether the client was told that records after the position wait for a transaction.
    pub(super) is_blocked: bool,
    /// Whether the position has moved past records since the client was told of it last.
    pub(super) has_moved: bool,
    pub(super) outage: Option<Outage>,
}

/// A time in which a log cannot be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outage {
    /// Since when the topic, or the offset, is said to be missing.
    missing: Option<Instant>,
    /// When it began.
    pub(super) since: SystemTime,
    attempts: u32,
}

impl Cursor {
    pub(super) fn new(topic: Arc<str>, partition: i32, next: i64) -> Self {
        Self {
            topic,
            partition,
            next,
            epoch: None,
            is_at_end: false,
            is_behind: true,
            end: -1,
            is_blocked: false,
            has_moved: false,
            outage: None,
        }
    }

    pub(super) fn log(&self) -> Log<'_> {
        Log { topic: &self.topic, partition: self.partition }
    }

    pub(super) fn place(&self) -> Place {
        Place { topic: Arc::clone(&self.topic), partition: self.partition, offset: self.next }
    }
}

impl Outage {
    pub(super) fn new() -> Self {
        Self { missing: None, since: SystemTime::now(), attempts: 0 }
    }

    /// How long to wait before the next attempt.
    pub(super) fn back_off(&mut self, at_least: Duration) -> Duration {
        let longest = FIRST_WAIT.saturating_mul(1 << self.attempts.min(MAX_DOUBLINGS)).min(LONGEST_WAIT);
        self.attempts = self.attempts.saturating_add(1);
        longest.mul_f64(fastrand::f64().midpoint(1.0)).max(at_least)
    }

    /// Whether the log has been missing for so long that it is no mistake of a broker.
    pub(super) fn is_missing_for_long(&mut self) -> bool {
        self.missing.get_or_insert_with(Instant::now).elapsed() >= CERTAIN
    }

    /// Notes another reason for the outage.
    pub(super) fn is_not_missing(&mut self) {
        self.missing = None;
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const MAX_DOUBLINGS: u32 = 10;

/// Brokers that have just started, or lag behind the controller, do not know topics that exist.
const CERTAIN: Duration = Duration::from_secs(10);
