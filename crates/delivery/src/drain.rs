//! The end of the bridge's service: every client is told to go, and not all at the same moment.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Whether the bridge is shutting down. Clones are about the same bridge.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    /// The time within which clients are told.
    spread: Arc<OnceLock<Duration>>,
}

impl Drain {
    /// Begins. The turns of `clients` come within `within`, or sooner if they are few: those who come back at once
    /// arrive at other bridges at `CLIENTS_PER_SECOND` on average, instead of all in the same second.
    pub fn begin(&self, clients: usize, within: Duration) {
        let clients = u32::try_from(clients).unwrap_or(u32::MAX);
        self.spread.get_or_init(|| (Duration::from_secs(1) * clients / CLIENTS_PER_SECOND).min(within));
        self.begun.cancel();
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Ready when the drain begins: nothing new must begin after it.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Ready when it is this client's turn to go: a random time after the drain has begun.
    pub async fn turn(self) {
        self.begun.cancelled().await;
        let spread = self.spread.get().copied().unwrap_or_default();
        sleep(spread.mul_f64(fastrand::f64())).await;
    }
}

/// Clients that are told to go in a second. A bridge opens many times as many sessions.
const CLIENTS_PER_SECOND: u32 = 1000;

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::time::Instant;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(3);

    async fn turns(clients: usize) -> Vec<Duration> {
        let drain = Drain::default();
        drain.begin(clients, WITHIN);
        let begun = Instant::now();
        join_all((0..clients).map(|_| async { (drain.clone().turn().await, begun.elapsed()).1 })).await
    }

    #[tokio::test(start_paused = true)]
    async fn few_clients_go_at_once_and_many_one_after_the_other() {
        assert!(turns(10).await.iter().all(|turn| turn.as_millis() <= 11));
        let turns = turns(10_000).await;
        assert!(turns.iter().all(|turn| *turn <= WITHIN + Duration::from_millis(1)));
        for second in 0..3 {
            let now = turns.iter().filter(|turn| turn.as_secs() == second).count();
            assert!((3000..3700).contains(&now), "{now} in second {second}");
        }
    }
}
