//! Rates that the clients of all clusters share.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::rate::{ClientRate, ClusterRate, Rate};
use sluicegate_fair_share::{ClientKey, Holder, Ledger};
use tokio::time::Instant;

use super::Cluster;

/// Work that the clients of all clusters share.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Requests of sessions.
    requests: Arc<Rate>,
    /// Bytes that are read and not delivered.
    scans: Arc<Rate>,
    /// Partitions that are described.
    pub(super) descriptions: Arc<Rate>,
    /// Producers that logs do not know yet.
    producers: Arc<Rate>,
}

impl Rates {
    /// So many requests, bytes and partitions a second, and so many new producers an hour.
    pub fn new(requested: usize, scanned: usize, described: usize, producers: usize) -> Self {
        let [scans, descriptions] = [scanned, described].map(|max| Arc::new(Rate::new(Ledger::new(max))));
        let requests = Rate::each(TURN, Ledger::new(requested / TURNS));
        let producers = Arc::new(Rate::each(HOUR, Ledger::new(producers)));
        Self { requests: Arc::new(requests), scans, descriptions, producers }
    }

    /// Changes whether there are several clusters.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        for rate in [&self.requests, &self.scans, &self.descriptions, &self.producers] {
            rate.set_has_clusters(has_clusters);
        }
    }
}

impl Cluster {
    /// Counts requests of a session, which took so many bytes. Gives when the client's next ones may be read, if it has
    /// had its share.
    pub(crate) fn requested(&self, source: ClientKey, requests: usize, bytes: usize) -> Option<Instant> {
        self.rates.requests.count(self.holder(source), requests.saturating_add(bytes / REQUEST_BYTES))
    }

    /// Counts bytes that are read for a client and not delivered: those that its filters leave out, or that a read
    /// skips.
    pub(crate) fn scans(&self) -> ClusterRate {
        ClusterRate {
            rate: Arc::clone(&self.rates.scans),
            cluster: self.holder(ClientKey::default()).cluster,
        }
    }

    /// The producers that the cluster's logs do not know yet, as `source` may bring some.
    pub(crate) fn new_producers(&self, source: ClientKey) -> ClientRate {
        ClientRate { rate: Arc::clone(&self.rates.producers), holder: self.holder(source) }
    }

    /// The requests of sessions, as `source` takes part of them.
    pub(crate) fn requests(&self, source: ClientKey) -> ClientRate {
        ClientRate { rate: Arc::clone(&self.rates.requests), holder: self.holder(source) }
    }

    /// A client of this cluster as shared limits count it. The cluster is known by its address, which is no other's
    /// while it lives.
    pub(crate) fn holder(&self, source: ClientKey) -> Holder {
        Holder { cluster: std::ptr::from_ref(self).addr(), source }
    }
}

/// The longest rest of a client that has had its share of requests, and the number of such times in a second.
const TURN: Duration = Duration::from_millis(100);
const TURNS: usize = 10;

const HOUR: Duration = Duration::from_hours(1);

/// A request counts once more for so many bytes: larger ones can cost more.
const REQUEST_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::testing::script::Script;

    #[tokio::test(start_paused = true)]
    async fn greedy_source_leaves_new_producers_to_others() {
        let (cluster, _script) = Script::cluster(1);
        let of = |number: u8| cluster.new_producers(ClientKey::from(IpAddr::from([10, 0, 0, number])));
        let (greedy, bystander) = (of(1), of(2));
        let mut brought = 0;
        let next = loop {
            match greedy.take_one() {
                Ok(_) => brought += 1,
                Err(next) => break next,
            }
        };
        assert!((700..=760).contains(&brought), "{brought} of 1,000");
        let taken = bystander.take_one().expect("room for a newcomer");
        bystander.give_back(taken);
        tokio::time::advance(next - Instant::now()).await;
        assert!(greedy.take_one().is_ok());
    }
}
