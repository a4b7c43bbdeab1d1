//! Arithmetic on instants that cannot overflow.

use std::time::Duration;

use tokio::time::Instant;

/// `start` plus `duration`; `start` itself on overflow.
pub(crate) fn after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start)
}

/// So long after now; now itself on overflow.
pub(crate) fn in_future(time: Duration) -> Instant {
    after(Instant::now(), time)
}
