//! The throttle time of a broker whose client quota is exceeded (KIP-219).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Quotas are per principal and client id, so the throttle time of one connection applies to all with the same kind of
/// requests.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    /// Milliseconds after `start`; 0 if the broker never throttled.
    until: AtomicU64,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Records that the broker wants no requests for `time`, capped at [`MAX_THROTTLE`].
    pub(crate) fn extend(&self, time: Duration) {
        if !time.is_zero() {
            let until = self.start.elapsed().saturating_add(time.min(MAX_THROTTLE));
            // Rounded up: a request that is too early is throttled again.
            let millis = until.as_micros().div_ceil(1_000);
            self.until.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Whether the broker throttles, or did so until less than `time` ago.
    pub(crate) fn is_recent(&self, time: Duration) -> bool {
        let until = Duration::from_millis(self.until.load(Ordering::Relaxed));
        !until.is_zero() && self.start.elapsed() < until.saturating_add(time)
    }

    /// The remaining throttle time.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.until.load(Ordering::Relaxed) {
            0 => None,
            until => {
                Duration::from_millis(until).checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
            }
        }
    }
}

/// Brokers throttle for at most their quota windows: 11 s by default.
const MAX_THROTTLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn longest_throttle_time_applies_up_to_a_cap_and_passes() {
        let throttle = Throttle::new();
        assert_eq!(throttle.left(), None);
        for millis in [300, 500, 100, 0] {
            throttle.extend(Duration::from_millis(millis));
        }
        assert_eq!(throttle.left(), Some(Duration::from_millis(500)));
        advance(Duration::from_millis(499)).await;
        assert_eq!(throttle.left(), Some(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(throttle.left(), None);
        assert!(throttle.is_recent(Duration::from_millis(1)) && !throttle.is_recent(Duration::ZERO));
        throttle.extend(Duration::from_millis(u64::MAX));
        assert_eq!(throttle.left(), Some(MAX_THROTTLE));
    }
}
