//! Rates that the clients of all clusters share.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_fair_share::Ledger;

use sluicegate_backend::rate::Rate;

/// Work that the clients of all clusters share.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Requests of sessions.
    pub(super) requests: Arc<Rate>,
    /// Bytes that are read and not delivered.
    pub(super) scans: Arc<Rate>,
    /// Partitions that are described.
    pub(super) descriptions: Arc<Rate>,
}

impl Rates {
    /// So many requests, bytes and partitions a second.
    pub fn new(requested: usize, scanned: usize, described: usize) -> Self {
        let [scans, descriptions] = [scanned, described].map(|max| Arc::new(Rate::new(Ledger::new(max))));
        let requests = Rate::each(TURN, Ledger::new(requested / TURNS));
        Self { requests: Arc::new(requests), scans, descriptions }
    }

    /// Changes whether there are several clusters.
    pub fn set_has_clusters(&self, has_clusters: bool) {
        for rate in [&self.requests, &self.scans, &self.descriptions] {
            rate.set_has_clusters(has_clusters);
        }
    }
}

/// The longest rest of a client that has had its share of requests, and the number of such times in a second.
const TURN: Duration = Duration::from_millis(100);
const TURNS: usize = 10;
