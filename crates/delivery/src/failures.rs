//! Failed reads of a log since the last one that succeeded.

use std::time::Duration;

use sluicegate_backend::Fault;
use tokio::time::Instant;

/// No failure yet by default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Failures {
    /// Since when the topic, or the offset, is said to be missing.
    missing: Option<Instant>,
    attempts: u32,
}

impl Failures {
    /// Whether another attempt can succeed after this fault. A log that is missing for [`CERTAIN`] is no mistake of a
    /// broker.
    pub(crate) fn is_passing(&mut self, fault: Fault, is_missing: bool, now: Instant) -> bool {
        if !is_missing {
            self.missing = None;
            return fault.is_retriable();
        }
        now.saturating_duration_since(*self.missing.get_or_insert(now)) < CERTAIN
    }

    /// The wait before the next attempt, `at_least` so long. `jitter` is from 0, for half of the usual wait, to 1.
    pub(crate) fn back_off(&mut self, at_least: Duration, jitter: f64) -> Duration {
        let longest = FIRST_WAIT.saturating_mul(1 << self.attempts.min(MAX_DOUBLINGS)).min(LONGEST_WAIT);
        self.attempts = self.attempts.saturating_add(1);
        longest.mul_f64(jitter.midpoint(1.0)).max(at_least)
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const MAX_DOUBLINGS: u32 = 10;

/// Brokers that have just started, or lag behind the controller, do not know topics that exist.
const CERTAIN: Duration = Duration::from_secs(10);
