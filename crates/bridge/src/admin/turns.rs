//! Turns of answers that take long to make: one at a time, with pauses in which other tasks run.

use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;

use crate::limit::Limit;

/// The turns of all requests.
#[derive(Debug)]
pub(super) struct Turns(Limit);

/// A request's turn. A drop ends it.
#[derive(Debug)]
pub(super) struct Turn {
    /// When the work after the last pause began.
    began: Instant,
    /// None only if the semaphore is closed, which never happens.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Limit::new(1))
    }
}

impl Turns {
    /// A turn, after those of the requests before.
    ///
    /// # Cancel safety
    /// A drop gives up the place among those who wait.
    pub(super) async fn take(&self) -> Turn {
        let permit = self.0.acquire().await;
        Turn { began: Instant::now(), _permit: permit }
    }
}

impl Turn {
    /// Lets other tasks run, if the work since the last pause took long.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(super) async fn pause(&mut self) {
        if self.began.elapsed() >= WORK {
            yield_now().await;
            self.began = Instant::now();
        }
    }
}

/// The work between two pauses: sessions on the same thread wait for it.
const WORK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn one_request_works_at_a_time_and_pauses() {
        let turns = Turns::default();
        let mut turn = turns.take().await;
        let mut next = pin!(turns.take());
        assert!(poll!(&mut next).is_pending());
        turn.began = Instant::now();
        assert!(poll!(pin!(turn.pause())).is_ready(), "it has just begun");
        turn.began = Instant::now().checked_sub(WORK).unwrap();
        let mut pause = Box::pin(turn.pause());
        assert!(poll!(&mut pause).is_pending() && poll!(&mut next).is_pending());
        pause.await;
        drop(turn);
        assert!(poll!(&mut next).is_ready());
    }
}
