//! Sums of times that cannot fail.

use std::time::Duration;

use tokio::time::Instant;

/// `start` plus `duration`, or `start` itself where the clock does not reach that far.
pub(crate) fn after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start)
}
