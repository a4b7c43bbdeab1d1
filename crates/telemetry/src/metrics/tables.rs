//! Tables in memory.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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
