//! Tells how long a producer's oldest record has waited for its report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts of the records without a report, by the [`STEP`] in which they were queued: as many counts as steps at most,
/// however many records.
#[derive(Debug)]
pub(super) struct Ages {
    start: Instant,
    waiting: Mutex<BTreeMap<u128, usize>>,
}

/// The step in which a record was queued.
#[derive(Debug)]
pub(super) struct Queued(u128);

impl Ages {
    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, waiting: Mutex::default() }
    }

    /// Counts a record that is about to be queued.
    pub(super) fn enter(&self, now: Instant) -> Queued {
        let step = self.step(now);
        let mut waiting = self.waiting.lock();
        let count = waiting.entry(step).or_default();
        *count = count.saturating_add(1);
        Queued(step)
    }

    /// Uncounts a record that has its report, or could not be queued.
    pub(super) fn leave(&self, Queued(step): &Queued) {
        let mut waiting = self.waiting.lock();
        if let Some(count) = waiting.get_mut(step) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                waiting.remove(step);
            }
        }
    }

    /// Whether a record has waited for longer than `limit`, to one step.
    pub(super) fn exceed(&self, limit: Duration, now: Instant) -> bool {
        let oldest = self.waiting.lock().first_key_value().map(|(step, _)| *step);
        oldest.is_some_and(|oldest| self.step(now).saturating_sub(oldest) > limit.as_millis().div_ceil(STEP))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }

    fn step(&self, now: Instant) -> u128 {
        now.saturating_duration_since(self.start).as_millis() / STEP
    }
}

/// In milliseconds.
const STEP: u128 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_record_without_a_report_counts() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let ages = Ages::new(start);
        let limit = Duration::from_millis(1_000);
        assert!(ages.is_empty() && !ages.exceed(limit, at(5_000)));
        let [first, second, third] = [20, 30, 700].map(|millis| ages.enter(at(millis)));
        assert!(!ages.exceed(limit, at(1_030)) && ages.exceed(limit, at(1_100)));
        // Another of its step is left, then only the third.
        ages.leave(&first);
        assert!(ages.exceed(limit, at(1_100)));
        ages.leave(&second);
        assert!(!ages.exceed(limit, at(1_700)) && ages.exceed(limit, at(1_800)));
        ages.leave(&third);
        assert!(ages.is_empty() && !ages.exceed(limit, at(5_000)));
    }
}
