//! How long a broker wants to be left alone, because a client's quota is used up (KIP-219).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Quotas are counted per principal and client id: what one connection is told holds for all of them.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    /// Milliseconds after `start`; 0 where the broker never asked for anything.
    until: AtomicU64,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Notes that the broker wants no request for `time`, which is believed up to [`MAX_THROTTLE`].
    pub(crate) fn note(&self, time: Duration) {
        if !time.is_zero() {
            let until = self.start.elapsed().saturating_add(time.min(MAX_THROTTLE));
            // Rounded up: who asks too early is sent away again.
            let millis = until.as_micros().div_ceil(1_000);
            self.until.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// How long it still wants none.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.until.load(Ordering::Relaxed) {
            0 => None,
            until => {
                Duration::from_millis(until).checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
            }
        }
    }
}

/// A broker asks for no more than the length of its quota windows: 11 s by default.
const MAX_THROTTLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_time_that_was_asked_for_counts_and_passes() {
        let throttle = Throttle::new();
        assert_eq!(throttle.left(), None);
        for millis in [300, 500, 100, 0] {
            throttle.note(Duration::from_millis(millis));
        }
        assert_eq!(throttle.left(), Some(Duration::from_millis(500)));
        advance(Duration::from_millis(499)).await;
        assert_eq!(throttle.left(), Some(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(throttle.left(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_broker_is_left_alone_for_longer_than_the_bound() {
        let throttle = Throttle::new();
        throttle.note(Duration::from_millis(u64::MAX));
        assert_eq!(throttle.left(), Some(MAX_THROTTLE));
    }
}
