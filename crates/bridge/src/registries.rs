//! The schema registries in use.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_fair_share::Places;
use sluicegate_schemas::registry::{Observer, Outcome, Registry};
use sluicegate_telemetry::metrics::{LookupMetrics, Metrics};

use crate::config::Schemas;

/// Registries by the version of their configuration: clusters with the same one share what it has told.
pub(crate) struct Registries {
    open: Mutex<HashMap<u64, Weak<Registry>>>,
    places: Arc<Places>,
}

impl Default for Registries {
    fn default() -> Self {
        // As many threads as for batches that are decompressed.
        let cores = available_parallelism().map_or(1, usize::from);
        Self { open: Mutex::default(), places: Places::new((cores / 2).max(1)) }
    }
}

impl Registries {
    /// The schemas of a cluster with this configuration.
    pub(crate) fn of(&self, config: &Schemas, metrics: &Metrics) -> sluicegate_kafka::Schemas {
        let mut open = self.open.lock();
        open.retain(|_, registry| registry.strong_count() > 0);
        let known = open.get(&config.version).and_then(Weak::upgrade);
        let registry = known.unwrap_or_else(|| {
            let watched = Watched(metrics.lookups(&config.name, &Outcome::ALL.map(Outcome::name)));
            let registry = Arc::new(Registry::new(Arc::clone(&config.http) as _, Arc::new(watched)));
            open.insert(config.version, Arc::downgrade(&registry));
            registry
        });
        sluicegate_kafka::Schemas {
            registry,
            gives_bytes: config.gives_bytes,
            places: Arc::clone(&self.places),
        }
    }
}

/// Counts the look-ups in one registry.
#[derive(Debug)]
struct Watched(LookupMetrics);

impl Observer for Watched {
    fn looked_up(&self, outcome: Outcome, took: Duration) {
        self.0.looked_up(outcome.name(), took);
    }
}
