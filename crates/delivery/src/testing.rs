//! Messaging systems for tests, here and in crates with the feature `testing`.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

pub mod groups;
pub mod logs;
pub mod script;

#[cfg(test)]
pub(crate) mod records;

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::{Backend, System};
use sluicegate_telemetry::metrics::{Metrics, TableMetrics};

use crate::cluster::{Cluster, Parts, Rates, Reads, TableLimits, Writes};
use crate::consumers::ConsumerLimits;

fn cluster(
    system: System,
    backend: Arc<dyn Backend>,
    max_bytes: usize,
    writes: Option<Writes>,
    rates: Rates,
) -> Arc<Cluster> {
    let reads = Reads { max_bytes, wait: Duration::ZERO, table_away: Duration::from_secs(3600) };
    let parts = Parts::new(backend, 0, reads, writes);
    rates.set_has_clusters(false);
    let tables = TableLimits::new(TABLE_BYTES, TableMetrics::default());
    let consumers = ConsumerLimits::new(MAX_CONSUMERS, IDLE_TIMEOUT);
    consumers.set_has_clusters(false);
    Arc::new(Cluster::new(system, parts, Metrics::default().cluster("test"), rates, tables, consumers))
}

/// The partitions of the topic of `Logs` at first.
pub const PARTITIONS: i32 = 4;

/// The consumers of a test's cluster.
pub const MAX_CONSUMERS: usize = 1000;
/// The time after which one is idle.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Room for the tables of a test.
const TABLE_BYTES: usize = 64 << 20;
