//! Events that clients can repeat without end: one a second of each is logged.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The events of the last second.
#[derive(Default)]
pub(super) struct Repeats(Mutex<HashMap<u64, Repeated>>);

struct Repeated {
    /// The next one is logged from then on.
    next: Instant,
    /// Events that were left out since the last one.
    suppressed: u64,
}

impl Repeats {
    /// How many events with this key were left out before this one; None: it is left out, too.
    pub(super) fn suppressed(&self, key: u64) -> Option<u64> {
        let now = Instant::now();
        let next = now.checked_add(PAUSE).unwrap_or(now);
        let mut events = self.0.lock();
        if let Some(event) = events.get_mut(&key) {
            if now < event.next {
                event.suppressed = event.suppressed.saturating_add(1);
                return None;
            }
            event.next = next;
            return Some(std::mem::take(&mut event.suppressed));
        }
        if events.len() >= MAX_EVENTS {
            events.retain(|_, event| now < event.next || event.suppressed > 0);
        }
        if events.len() >= MAX_EVENTS {
            // Newcomers pass: a source of so many events fills its own share of the queue.
            events.clear();
        }
        events.insert(key, Repeated { next, suppressed: 0 });
        Some(0)
    }
}

const PAUSE: Duration = Duration::from_secs(1);
/// 32 bytes each.
const MAX_EVENTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeated_event_passes_once_a_second_with_the_count_of_others() {
        let repeats = Repeats::default();
        assert_eq!([1, 1, 2, 1].map(|key| repeats.suppressed(key)), [Some(0), None, Some(0), None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!([1, 2, 1].map(|key| repeats.suppressed(key)), [Some(2), Some(0), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_newcomers_pass() {
        let repeats = Repeats::default();
        for key in 0..25_000 {
            assert_eq!(repeats.suppressed(key), Some(0));
        }
        assert!(repeats.0.lock().len() <= MAX_EVENTS);
    }
}
