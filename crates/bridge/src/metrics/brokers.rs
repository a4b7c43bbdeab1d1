//! Requests to brokers, and the state of brokers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::durations;
use super::labels::{ApiLabels, OutcomeLabels, RequestLabels};

/// Of all clusters.
#[derive(Clone)]
pub(super) struct Brokers {
    requests: Family<RequestLabels, Counter>,
    durations: Family<ApiLabels, Histogram, fn() -> Histogram>,
    connections: Family<OutcomeLabels, Counter>,
    readers: Readers,
}

/// The readers whose brokers are counted, by cluster.
#[derive(Clone, Default)]
struct Readers(Arc<Mutex<Vec<(String, CountBrokers)>>>);

/// `None` when the reader is gone.
type CountBrokers = Box<dyn Fn() -> Option<BrokerStates> + Send + Sync>;

/// Of one cluster.
pub(crate) struct BrokerMetrics {
    brokers: Brokers,
    opened: Counter,
    failed: Counter,
    cluster: String,
}

/// How many brokers a reader knows, by state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BrokerStates {
    pub(crate) connected: u64,
    pub(crate) idle: u64,
    pub(crate) failed: u64,
}

impl Default for Brokers {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            connections: Family::default(),
            readers: Readers::default(),
        }
    }
}

impl Brokers {
    pub(super) fn register(&self, registry: &mut Registry) {
        let requests = "Requests to brokers for reads, by API and outcome";
        registry.register("kafka_requests", requests, self.requests.clone());
        let durations = "Time to a broker's response, including waiting fetches";
        registry.register("kafka_request_duration_seconds", durations, self.durations.clone());
        let connections = "Attempts to connect to brokers for reads, by outcome";
        registry.register("kafka_connections", connections, self.connections.clone());
        registry.register_collector(Box::new(self.readers.clone()));
    }

    pub(super) fn cluster(&self, name: &str) -> BrokerMetrics {
        let connection = |outcome: &'static str| {
            self.connections.get_or_create_owned(&OutcomeLabels { cluster: name.to_owned(), outcome })
        };
        BrokerMetrics {
            opened: connection("opened"),
            failed: connection("failed"),
            cluster: name.to_owned(),
            brokers: self.clone(),
        }
    }
}

impl BrokerMetrics {
    /// Begins to count: every label exists from the start, so that a rate sees the first event.
    pub(crate) fn begin(&self, apis: &[&'static str], outcomes: &[&'static str]) {
        for api in apis {
            drop(self.brokers.durations.get_or_create(&self.api(api)));
            for outcome in outcomes {
                drop(self.brokers.requests.get_or_create(&self.request(api, outcome)));
            }
        }
    }

    /// A request has ended.
    pub(crate) fn requested(&self, api: &'static str, outcome: &'static str, took: Duration) {
        self.brokers.durations.get_or_create(&self.api(api)).observe(took.as_secs_f64());
        self.brokers.requests.get_or_create(&self.request(api, outcome)).inc();
    }

    fn api(&self, api: &'static str) -> ApiLabels {
        ApiLabels { cluster: self.cluster.clone(), api }
    }

    fn request(&self, api: &'static str, outcome: &'static str) -> RequestLabels {
        RequestLabels { cluster: self.cluster.clone(), api, outcome }
    }

    /// A connection was opened, or could not be.
    pub(crate) fn connected(&self, is_open: bool) {
        if is_open { &self.opened } else { &self.failed }.inc();
    }

    /// Counts the brokers of a reader for as long as there are some.
    pub(crate) fn watch(&self, count: impl Fn() -> Option<BrokerStates> + Send + Sync + 'static) {
        let mut readers = self.brokers.readers.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|(_, count)| count().is_some());
        readers.push((self.cluster.clone(), Box::new(count)));
    }
}

impl fmt::Debug for BrokerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerMetrics").field("cluster", &self.cluster).finish_non_exhaustive()
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
        for (cluster, count) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
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
