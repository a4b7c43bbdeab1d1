//! Consumers of groups, at this bridge.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::deliveries::OTHER;
use super::labels::{ClusterLabel, GroupLabels};

/// Of all clusters.
#[derive(Debug, Clone, Default)]
pub(super) struct Consumers {
    open: Family<ClusterLabel, Gauge>,
    rebalances: Family<ClusterLabel, Counter>,
    commits: Family<ClusterLabel, Counter>,
    lag: Family<GroupLabels, Gauge>,
}

/// Of one cluster.
#[derive(Debug, Clone, Default)]
pub struct ConsumerMetrics {
    open: Gauge,
    rebalances: Counter,
    commits: Counter,
    lag: Family<GroupLabels, Gauge>,
    cluster: String,
    /// The groups of the last sample.
    sampled: Arc<Mutex<BTreeMap<GroupLabels, i64>>>,
}

/// The lag in records of each group and route: names of both.
pub type GroupLags = BTreeMap<(Arc<str>, Arc<str>), u64>;

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

    /// Groups are so many records behind. At most 100 have labels: those that are furthest
    /// behind.
    pub fn lags(&self, lags: GroupLags) {
        let mut lags: Vec<_> = lags.into_iter().collect();
        lags.sort_by_key(|(_, lag)| Reverse(*lag));
        let mut sample = BTreeMap::<GroupLabels, i64>::new();
        for (index, ((group, route), lag)) in lags.iter().enumerate() {
            let (group, route) = if index < MAX_GROUPS { (&**group, &**route) } else { (OTHER, OTHER) };
            let labels = GroupLabels {
                cluster: self.cluster.clone(),
                gateway_route: route.to_owned(),
                group: group.to_owned(),
            };
            let sum = sample.entry(labels).or_default();
            *sum = sum.saturating_add_unsigned(*lag);
        }
        let mut sampled = self.sampled.lock();
        for gone in sampled.keys().filter(|labels| !sample.contains_key(labels)) {
            self.lag.remove(gone);
        }
        for (labels, lag) in &sample {
            self.lag.get_or_create_owned(labels).set(*lag);
        }
        *sampled = sample;
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
            lag: self.lag.clone(),
            cluster: cluster.cluster,
            sampled: Arc::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("consumers", "Consumers of groups at this bridge", self.open.clone());
        let rebalances = "Times that consumers at this bridge got their share of a group's partitions";
        registry.register("consumer_rebalances", rebalances, self.rebalances.clone());
        let commits = "Positions that groups have committed for clients of this bridge";
        registry.register("consumer_commits", commits, self.commits.clone());
        let lag = "Records that members of a group at this bridge are behind, every 15 s";
        registry.register("group_lag_records", lag, self.lag.clone());
    }
}

/// Groups and routes of one cluster that have labels.
const MAX_GROUPS: usize = 100;
