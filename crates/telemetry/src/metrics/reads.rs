//! Records in memory: counts of the shared log, with reads and their cost, and of tables.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use sluicegate_shared_log::{SharedLog, Stats};

/// Counts of the records kept in memory.
#[derive(Debug)]
pub(super) struct ReadMetrics(pub(super) SharedLog);

impl Collector for ReadMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Stats { hits, misses, bytes, tails, waiters, tail_requests, received_bytes } = self.0.stats();
        for (name, help, value) in [
            ("read_cache_hits", "Reads that were answered from memory", hits),
            (
                "read_cache_misses",
                "Reads that a cluster was asked for; those of several clients can share one",
                misses,
            ),
            (
                "tail_requests",
                "Fetches sent to Kafka for all reads that wait at the ends of its partitions",
                tail_requests,
            ),
            (
                "read_bytes",
                "Bytes of records that clusters have sent; Kafka's compressed as they are stored",
                received_bytes,
            ),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)?;
        }
        for (name, help, value) in [
            ("read_cache_bytes", "Recently read records in memory, in bytes", bytes as u64),
            ("tails", "Partitions at whose end clients wait", tails),
            ("tail_waiters", "Reads that wait at the end of a partition", waiters),
        ] {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}

/// The metrics of the tables of all clusters.
#[derive(Debug, Clone, Default)]
pub struct TableMetrics {
    tables: Gauge,
    bytes: Gauge,
    dropped: Counter,
}

impl TableMetrics {
    /// So many tables are in memory, and take so many bytes.
    pub fn used(&self, tables: usize, bytes: usize) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.tables.set(number(tables));
        self.bytes.set(number(bytes));
    }

    /// A table was dropped for want of memory.
    pub fn dropped(&self) {
        self.dropped.inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let tables = "Tables in memory, each of a partition or a stream";
        registry.register("tables", tables, self.tables.clone());
        registry.register("table_bytes", "Memory of tables, in bytes", self.bytes.clone());
        let dropped = "Tables that were dropped because `read.table_bytes` was full";
        registry.register("tables_dropped", dropped, self.dropped.clone());
    }
}
