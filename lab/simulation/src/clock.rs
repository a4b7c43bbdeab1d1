//! The clock, which jumps as it does for a process that stood still: what was due in the meantime is due at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::advance;

/// The jumps of a schedule's clock.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Jumps>);

#[derive(Debug, Default)]
struct Jumps {
    /// The length of the next one.
    next: Option<Duration>,
    /// By how much the clock has jumped.
    all: Duration,
}

impl Clock {
    fn jumps(&self) -> MutexGuard<'_, Jumps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the clock jump when the next answer has arrived; `None`: it does not jump any more.
    pub(crate) fn arm(&self, by: Option<Duration>) {
        self.jumps().next = by;
    }

    /// Performs a jump for which the time has come.
    pub(crate) async fn jump_if_armed(&self) {
        let Some(by) = self.jumps().next.take() else { return };
        self.jumps().all += by;
        advance(by).await;
    }

    /// By how much it has jumped.
    pub(crate) fn jumped(&self) -> Duration {
        self.jumps().all
    }
}
