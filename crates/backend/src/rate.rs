//! Limits per time that clients share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use sluicegate_fair_share::{ClientKey, ClusterId, Holder, Ledger};
use tokio::time::{Instant, sleep_until};

/// A limit that is whole again every second, or after another time. Memory: an entry for each client, site and cluster
/// with a part of it.
#[derive(Debug)]
pub struct Rate {
    length: Duration,
    period: Mutex<Period>,
}

#[derive(Debug)]
struct Period {
    began: Instant,
    taken: Ledger,
}

/// A rate, as the clients of one cluster take of it.
#[derive(Debug, Clone)]
pub struct ClusterRate {
    /// The rate of all clusters.
    pub rate: Arc<Rate>,
    /// The cluster whose clients take of it.
    pub cluster: ClusterId,
}

impl ClusterRate {
    /// A rate of which everyone can take everything.
    pub fn unlimited() -> Self {
        Self { rate: Arc::new(Rate::new(Ledger::new(usize::MAX))), cluster: 0 }
    }

    /// As [`Rate::take`].
    ///
    /// # Cancel safety
    /// A drop takes nothing.
    pub async fn take(&self, source: ClientKey, amount: usize) {
        self.rate.take(Holder { cluster: self.cluster, source }, amount).await;
    }
}

/// A rate, as one client takes of it.
#[derive(Debug, Clone)]
pub struct ClientRate {
    /// The rate of all clients.
    pub rate: Arc<Rate>,
    /// The client.
    pub holder: Holder,
}

/// One of a period's, which began then.
#[derive(Debug)]
pub struct Taken(Instant);

impl ClientRate {
    /// Takes one of this period's.
    ///
    /// # Errors
    /// The client has no room for more until this instant.
    pub fn take_one(&self) -> Result<Taken, Instant> {
        let mut period = self.rate.now();
        match period.taken.take(self.holder, 1) {
            true => Ok(Taken(period.began)),
            false => Err(self.rate.next(&period)),
        }
    }

    /// As [`Rate::take`].
    ///
    /// # Cancel safety
    /// A drop takes nothing.
    pub async fn take(&self, amount: usize) {
        self.rate.take(self.holder, amount).await;
    }

    /// Gives back what was not needed, if its period lasts.
    pub fn give_back(&self, Taken(began): Taken) {
        let mut period = self.rate.now();
        if period.began == began {
            period.taken.give_back(self.holder, 1);
        }
    }
}

impl Rate {
    /// The whole of this ledger in each second.
    pub fn new(ledger: Ledger) -> Self {
        Self::each(SECOND, ledger)
    }

    /// The whole of this ledger in each period.
    pub fn each(length: Duration, ledger: Ledger) -> Self {
        Self { length, period: Mutex::new(Period { began: Instant::now(), taken: ledger }) }
    }

    /// Changes whether clusters share the limit.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        self.now().taken.set_has_clusters(has_clusters);
    }

    /// Takes a part of this period's, if `holder` may.
    pub fn try_take(&self, holder: Holder, amount: usize) -> bool {
        self.take_now(holder, amount).is_ok()
    }

    /// Takes a part of this period's, or of a later one's: of the first in which `holder` has room for something.
    ///
    /// # Cancel safety
    /// A drop takes nothing.
    pub async fn take(&self, holder: Holder, amount: usize) {
        while let Err(next) = self.take_now(holder, amount) {
            sleep_until(next).await;
        }
    }

    /// Counts what `holder` has done. Gives the beginning of the next period if it has no room for more in this one.
    pub fn count(&self, holder: Holder, amount: usize) -> Option<Instant> {
        let mut period = self.now();
        period.taken.take_up_to(holder, amount);
        (!period.taken.has_room(holder, 1)).then(|| self.next(&period))
    }

    /// Or when the next period begins.
    fn take_now(&self, holder: Holder, amount: usize) -> Result<(), Instant> {
        let mut period = self.now();
        if !period.taken.has_room(holder, 1) {
            return Err(self.next(&period));
        }
        // Beyond its share it takes nothing from others.
        period.taken.take_up_to(holder, amount);
        Ok(())
    }

    /// The current period.
    fn now(&self) -> MutexGuard<'_, Period> {
        let now = Instant::now();
        let mut period = self.period.lock();
        if now.duration_since(period.began) >= self.length {
            period.began = now;
            period.taken.clear();
        }
        period
    }

    fn next(&self, period: &Period) -> Instant {
        period.began.checked_add(self.length).unwrap_or(period.began)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use sluicegate_fair_share::ClientKey;

    use super::*;

    fn holder(address: &str) -> Holder {
        ClientKey::parse(address.as_bytes()).into()
    }

    #[tokio::test(start_paused = true)]
    async fn greedy_client_leaves_some_of_each_second_to_others() {
        let [greedy, other] = ["192.0.2.1", "192.0.2.2"].map(holder);
        let rate = Rate::new(Ledger::of_one_cluster(100));
        for _ in 0..2 {
            assert_eq!((0..1000).filter(|_| rate.try_take(greedy, 1)).count(), 75);
            assert_eq!((0..100).filter(|_| rate.try_take(other, 1)).count(), 19);
            tokio::time::advance(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_waits_for_the_next_second() {
        let rate = Rate::new(Ledger::of_one_cluster(100));
        let began = Instant::now();
        for (amount, waited) in [(74, 0), (60, 0), (1_000, 1), (0, 2), (75, 2), (1, 3)] {
            rate.take(holder("192.0.2.1"), amount).await;
            assert_eq!(began.elapsed().as_secs(), waited, "{amount}");
        }
        // The smallest rate gives something.
        let rate = Rate::new(Ledger::of_one_cluster(1));
        assert_eq!([(); 2].map(|()| rate.try_take(Holder::default(), 1)), [true, false]);
    }
}
