//! Requests to the servers of a messaging system, and connections to them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::durations;
use super::labels::{ApiLabels, OutcomeLabels, RequestLabels};

/// Of all clusters of a system.
#[derive(Clone)]
pub(super) struct Requests {
    counts: Family<RequestLabels, Counter>,
    durations: Family<ApiLabels, Histogram, fn() -> Histogram>,
    connections: Family<OutcomeLabels, Counter>,
}

/// Of one cluster.
#[derive(Clone)]
pub struct RequestMetrics {
    requests: Requests,
    apis: Arc<[Api]>,
    opened: Counter,
    failed: Counter,
    cluster: String,
}

/// Of one API.
struct Api {
    name: &'static str,
    durations: Histogram,
    outcomes: Vec<(&'static str, Counter)>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            counts: Family::default(),
            durations: Family::new_with_constructor(durations),
            connections: Family::default(),
        }
    }
}

impl Requests {
    /// Registers metrics whose names begin with `system`, which has this name for its servers.
    pub(super) fn register(&self, system: &str, servers: &str, registry: &mut Registry) {
        let requests = format!("Requests to {servers}, by API and outcome");
        registry.register(format!("{system}_requests"), requests, self.counts.clone());
        let durations = format!("Time to the answers of {servers}");
        registry.register(format!("{system}_request_duration_seconds"), durations, self.durations.clone());
        let connections = format!("Attempts to connect to {servers}, by outcome");
        registry.register(format!("{system}_connections"), connections, self.connections.clone());
    }

    pub(super) fn cluster(&self, name: &str) -> RequestMetrics {
        let connection = |outcome: &'static str| {
            self.connections.get_or_create_owned(&OutcomeLabels { cluster: name.to_owned(), outcome })
        };
        RequestMetrics {
            opened: connection("opened"),
            failed: connection("failed"),
            cluster: name.to_owned(),
            requests: self.clone(),
            apis: Arc::default(),
        }
    }
}

impl RequestMetrics {
    /// Counts these APIs and outcomes. Every label exists from the start, so that a rate sees the first event.
    pub fn of(self, apis: &[&'static str], outcomes: &[&'static str]) -> Self {
        let Requests { counts, durations, .. } = &self.requests;
        let cluster = || self.cluster.clone();
        let api = |name: &&'static str| {
            let api = *name;
            let count = |outcome: &&'static str| {
                let labels = RequestLabels { cluster: cluster(), api, outcome };
                (*outcome, counts.get_or_create_owned(&labels))
            };
            Api {
                name: api,
                durations: durations.get_or_create_owned(&ApiLabels { cluster: cluster(), api }),
                outcomes: outcomes.iter().map(count).collect(),
            }
        };
        Self { apis: apis.iter().map(api).collect(), ..self }
    }

    /// A request has ended.
    pub fn requested(&self, api: &'static str, outcome: &'static str, took: Duration) {
        let Some(api) = self.apis.iter().find(|known| known.name == api) else { return };
        api.durations.observe(took.as_secs_f64());
        if let Some((_, count)) = api.outcomes.iter().find(|(known, _)| *known == outcome) {
            count.inc();
        }
    }

    /// A connection was opened, or could not be.
    pub fn connected(&self, is_open: bool) {
        if is_open { &self.opened } else { &self.failed }.inc();
    }

    pub(super) fn name(&self) -> &str {
        &self.cluster
    }
}

impl fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetrics").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}
