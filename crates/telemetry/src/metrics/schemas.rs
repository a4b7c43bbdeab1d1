//! Look-ups in schema registries, and records that could not be decoded.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::durations;
use super::labels::{ClusterLabel, LookupLabels, RegistryLabel};

/// Of all registries and clusters.
#[derive(Clone)]
pub(super) struct Schemas {
    lookups: Family<LookupLabels, Counter>,
    durations: Family<RegistryLabel, Histogram, fn() -> Histogram>,
    decode_failures: Family<ClusterLabel, Counter>,
}

/// The look-ups in one registry.
#[derive(Debug)]
pub struct LookupMetrics {
    outcomes: Vec<(&'static str, Counter)>,
    durations: Histogram,
}

/// The records of one cluster that could not be decoded.
#[derive(Debug, Clone, Default)]
pub struct DecodeMetrics(Counter);

impl Default for Schemas {
    fn default() -> Self {
        Self {
            lookups: Family::default(),
            durations: Family::new_with_constructor(durations),
            decode_failures: Family::default(),
        }
    }
}

impl Schemas {
    pub(super) fn register(&self, registry: &mut Registry) {
        let lookups = "Look-ups in a schema registry that were not cached, by outcome";
        registry.register("schema_lookups", lookups, self.lookups.clone());
        let durations = "Time of these look-ups, with the compilation of the schema";
        registry.register("schema_lookup_duration_seconds", durations, self.durations.clone());
        let failures = "Records whose key or value was given as stored, because it cannot be decoded";
        registry.register("decode_failures", failures, self.decode_failures.clone());
    }

    /// Every label exists from the start, so that a rate sees the first event.
    pub(super) fn registry(&self, name: &str, outcomes: &[&'static str]) -> LookupMetrics {
        let registry = || name.to_owned();
        let outcome = |outcome: &&'static str| {
            let labels = LookupLabels { registry: registry(), outcome };
            (*outcome, self.lookups.get_or_create_owned(&labels))
        };
        LookupMetrics {
            outcomes: outcomes.iter().map(outcome).collect(),
            durations: self.durations.get_or_create_owned(&RegistryLabel { registry: registry() }),
        }
    }

    pub(super) fn cluster(&self, name: &str) -> DecodeMetrics {
        DecodeMetrics(self.decode_failures.get_or_create_owned(&ClusterLabel { cluster: name.to_owned() }))
    }
}

impl LookupMetrics {
    /// A look-up has ended, after so long.
    pub fn looked_up(&self, outcome: &'static str, took: Duration) {
        self.durations.observe(took.as_secs_f64());
        if let Some((_, count)) = self.outcomes.iter().find(|(known, _)| *known == outcome) {
            count.inc();
        }
    }
}

impl DecodeMetrics {
    /// A record could not be decoded.
    pub fn failed(&self) {
        self.0.inc();
    }

    /// Records that could not.
    #[cfg(any(test, feature = "testing"))]
    pub fn failures(&self) -> u64 {
        self.0.get()
    }
}
