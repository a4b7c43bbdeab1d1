//! Counts of the shared log: reads, and their cost.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
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
