//! Requests to Kafka's brokers, and the state of brokers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::requests::{RequestMetrics, Requests};

/// Of all clusters.
#[derive(Clone, Default)]
pub(super) struct Brokers {
    requests: Requests,
    readers: Readers,
}

/// The readers whose brokers are counted, by cluster.
#[derive(Clone, Default)]
struct Readers(Arc<Mutex<Vec<(String, CountBrokers)>>>);

/// `None` when the reader is gone.
type CountBrokers = Box<dyn Fn() -> Option<BrokerStates> + Send + Sync>;

/// Of one cluster.
#[derive(Debug)]
pub struct BrokerMetrics {
    /// The requests to brokers.
    pub requests: RequestMetrics,
    readers: Readers,
}

/// The number of brokers that a reader knows, by state.
#[derive(Debug, Clone, Copy, Default)]
pub struct BrokerStates {
    /// Brokers with a connection.
    pub connected: u64,
    /// Brokers that need none.
    pub idle: u64,
    /// Brokers whose last connection failed.
    pub failed: u64,
}

impl Brokers {
    pub(super) fn register(&self, registry: &mut Registry) {
        self.requests.register("kafka", "brokers for reads", registry);
        registry.register_collector(Box::new(self.readers.clone()));
    }

    pub(super) fn cluster(&self, name: &str) -> BrokerMetrics {
        BrokerMetrics { requests: self.requests.cluster(name), readers: self.readers.clone() }
    }
}

impl BrokerMetrics {
    /// See [`RequestMetrics::of`].
    pub fn of(self, apis: &[&'static str], outcomes: &[&'static str]) -> Self {
        Self { requests: self.requests.of(apis, outcomes), ..self }
    }

    /// Counts the brokers of a reader for as long as there are some.
    pub fn watch(&self, count: impl Fn() -> Option<BrokerStates> + Send + Sync + 'static) {
        let mut readers = self.readers.0.lock();
        readers.retain(|(_, count)| count().is_some());
        readers.push((self.requests.name().to_owned(), Box::new(count)));
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

impl Collector for Readers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut by_cluster: BTreeMap<String, BrokerStates> = BTreeMap::new();
        for (cluster, count) in self.0.lock().iter() {
            let Some(states) = count() else { continue };
            let sum = by_cluster.entry(cluster.clone()).or_default();
            sum.connected = sum.connected.saturating_add(states.connected);
            sum.idle = sum.idle.saturating_add(states.idle);
            sum.failed = sum.failed.saturating_add(states.failed);
        }
        let help = "Brokers that reads know, by state";
        let mut family = encoder.encode_descriptor("kafka_brokers", help, None, MetricType::Gauge)?;
        for (cluster, BrokerStates { connected, idle, failed }) in by_cluster {
            for (state, count) in [("connected", connected), ("idle", idle), ("failed", failed)] {
                let labels = [("cluster", cluster.as_str()), ("state", state)];
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
