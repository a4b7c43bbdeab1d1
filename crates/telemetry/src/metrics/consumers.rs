//! Consumers of groups, at this bridge.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::ClusterLabel;

/// Of all clusters.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumers {
    open: Family<ClusterLabel, Gauge>,
    rebalances: Family<ClusterLabel, Counter>,
    commits: Family<ClusterLabel, Counter>,
}

/// Of one cluster.
#[derive(Debug, Clone, Default)]
pub struct ConsumerMetrics {
    open: Gauge,
    rebalances: Counter,
    commits: Counter,
}

/// An open consumer.
#[derive(Debug)]
pub struct OpenConsumer(Gauge);

impl Drop for OpenConsumer {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ConsumerMetrics {
    /// Counts a consumer for as long as the result lives.
    pub fn open(&self) -> OpenConsumer {
        self.open.inc();
        OpenConsumer(self.open.clone())
    }

    /// The open consumers.
    #[cfg(any(test, feature = "testing"))]
    pub fn count(&self) -> i64 {
        self.open.get()
    }

    /// A consumer got other logs, or the same again.
    pub fn rebalanced(&self) {
        self.rebalances.inc();
    }

    /// So many positions were committed.
    pub fn committed(&self, positions: usize) {
        self.commits.inc_by(u64::try_from(positions).unwrap_or(u64::MAX));
    }
}

impl Consumers {
    pub(super) fn cluster(&self, name: &str) -> ConsumerMetrics {
        let cluster = ClusterLabel { cluster: name.to_owned() };
        ConsumerMetrics {
            open: self.open.get_or_create_owned(&cluster),
            rebalances: self.rebalances.get_or_create_owned(&cluster),
            commits: self.commits.get_or_create_owned(&cluster),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("consumers", "Consumers of groups at this bridge", self.open.clone());
        let rebalances = "Times that consumers at this bridge got their share of a group's partitions";
        registry.register("consumer_rebalances", rebalances, self.rebalances.clone());
        let commits = "Positions that groups have committed for clients of this bridge";
        registry.register("consumer_commits", commits, self.commits.clone());
    }
}
