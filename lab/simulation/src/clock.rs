//! The clock, which jumps as it does for a process that stood still: what was due in the meantime is due at once.

use std::time::Duration;

use parking_lot::Mutex;
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
    /// Lets the clock jump when the next answer has arrived; `None`: it does not jump any more.
    pub(crate) fn arm(&self, by: Option<Duration>) {
        self.0.lock().next = by;
    }

    /// Performs a jump for which the time has come.
    pub(crate) async fn jump_if_armed(&self) {
        let Some(by) = self.0.lock().next.take() else { return };
        self.0.lock().all += by;
        advance(by).await;
    }

    /// By how much it has jumped.
    pub(crate) fn jumped(&self) -> Duration {
        self.0.lock().all
    }
}
