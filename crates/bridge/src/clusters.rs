//! All clusters: those of the configuration by name, and those that gateways' routes define.
//!
//! Clusters of routes are checked, created on first use, and closed when unused. They are pooled by their whole
//! definition, including the password: routes with different definitions never share a connection.
//!
//! A new configuration replaces what has changed in clusters that are in use, and ends the sessions only of those that
//! it removes. A cluster of another kind is another cluster.

mod definition;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::future::{join, join_all};
use parking_lot::Mutex;
use sluicegate_backend::Backend;
use sluicegate_delivery::cluster::{Cluster, Parts, Rates, TableLimits, Writes};
use sluicegate_delivery::consumers::ConsumerLimits;
use sluicegate_fair_share::{ClientKey, Ledger, Permit, Permits};
use sluicegate_telemetry::metrics::Metrics;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) use self::definition::BASE64;
use self::definition::Definition;
#[cfg(feature = "testing")]
pub(crate) use self::definition::check as check_definition;
use self::settings::Settings;
use crate::config::{ClusterConfig, Config, ROUTE_CLUSTERS};

/// All clusters.
pub(crate) struct Clusters {
    make: Make,
    metrics: Metrics,
    rates: Rates,
    tables: TableLimits,
    consumers: ConsumerLimits,
    /// Cancelled at shutdown, when writes must be answered with what is known.
    writes_due: CancellationToken,
    state: Mutex<State>,
    /// Notified when a cluster of a route is added.
    added: Notify,
}

struct State {
    settings: Arc<Settings>,
    named: BTreeMap<String, Arc<Cluster>>,
    /// Clusters of routes by definition; at most `route_clusters.max`, and at most its share for each client that was
    /// the first to use them.
    defined: HashMap<Box<[u8]>, Entry>,
    places: Arc<Permits>,
    /// No longer configured, while they have clients.
    removed: Vec<Weak<Cluster>>,
}

/// Creates a cluster's backend, from its name, its configuration and whether it can be written to. It does not connect
/// yet.
type Make = Box<dyn Fn(&str, &ClusterConfig, bool) -> Arc<dyn Backend> + Send + Sync>;

/// The cluster of one definition. Its users, and those who wait for it to be created, hold references.
struct Entry {
    cluster: Arc<OnceCell<Arc<Cluster>>>,
    /// When a sweep first found it unused.
    unused_since: Option<Instant>,
    /// The client that was the first to use it.
    source: ClientKey,
    _place: Permit,
}

/// Why a route's cluster cannot be used. Contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RouteClusterError {
    /// Gateways do not authenticate: anyone could have sent the definition.
    #[error(
        "clusters defined by routes need authenticated gateways: set gateway_secret or tls.client_ca in the bridge"
    )]
    UnknownGateway,
    /// The definition is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The configuration does not allow this broker.
    #[error("broker {0} is not allowed: add it to route_clusters.allowed_hosts")]
    Host(String),
    /// The limit is reached, and all clusters are in use.
    #[error("too many clusters defined by routes (route_clusters.max = {max})")]
    TooMany {
        /// `route_clusters.max`.
        max: usize,
    },
    /// The bridge's own properties are invalid; the log has the reason.
    #[error("the bridge cannot use its route_clusters.properties, see its log")]
    Unusable,
}

impl Clusters {
    /// The clusters of `config`.
    pub(crate) fn new(config: &Config, metrics: Metrics, writes_due: CancellationToken, make: Make) -> Self {
        let state = State {
            settings: Arc::new(Settings::of(config)),
            named: BTreeMap::new(),
            defined: HashMap::new(),
            places: Permits::new(Ledger::of_one_cluster(config.route_clusters.max)),
            removed: Vec::new(),
        };
        let cores = available_parallelism().map_or(1, usize::from);
        let per_second = |per_core: usize| per_core.saturating_mul(cores);
        let [requested, scanned, described] =
            [REQUESTED_PER_CORE, SCANNED_PER_CORE, DESCRIBED_PER_CORE].map(per_second);
        let rates = Rates::new(requested, scanned, described, config.limits.new_producers);
        rates.set_has_clusters(config.has_clusters());
        let tables = TableLimits::new(config.read.table_bytes, metrics.tables());
        tables.set_has_clusters(config.has_clusters());
        let consumers = ConsumerLimits::new(config.limits.max_consumers, config.consumers.idle_timeout);
        consumers.set_has_clusters(config.has_clusters());
        let (state, added) = (Mutex::new(state), Notify::new());
        let clusters = Self { make, metrics, rates, tables, consumers, writes_due, state, added };
        for (name, cluster) in &config.clusters {
            clusters.add(name, cluster, config.write.clusters.contains(name));
        }
        clusters
    }

    /// Adds a cluster that is made elsewhere.
    #[cfg(feature = "testing")]
    pub(crate) fn put(&self, name: &str, cluster: Arc<Cluster>) {
        self.state.lock().named.insert(name.to_owned(), cluster);
    }

    /// A cluster of the configuration.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Cluster>> {
        self.state.lock().named.get(name).cloned()
    }

    /// The cluster of the definition in a header, for this client. Concurrent callers create it once.
    ///
    /// # Errors
    /// The definition is invalid or not allowed, or the limit is reached.
    ///
    /// # Cancel safety
    /// A drop leaves creating the cluster to the other callers that wait for it.
    pub(crate) async fn defined(
        &self,
        source: ClientKey,
        header: &[u8],
    ) -> Result<Arc<Cluster>, RouteClusterError> {
        let settings = self.settings();
        if !settings.knows_gateways {
            return Err(RouteClusterError::UnknownGateway);
        }
        let definition = Definition::parse(header).map_err(RouteClusterError::Invalid)?;
        settings.check_hosts(&definition)?;
        let cell = self.cell(source, &definition)?;
        let definition = Arc::new(definition);
        let make = async {
            let config = settings.cluster(&definition).await?;
            Ok(Arc::new(self.cluster(ROUTE_CLUSTERS, &config, settings.routes.write)))
        };
        let cluster = Arc::clone(cell.get_or_try_init(|| make).await?);
        let mut applied = settings;
        loop {
            let newer = self.settings();
            if Arc::ptr_eq(&applied, &newer) {
                return Ok(cluster);
            }
            // It was created while the configuration changed.
            self.update_defined(&definition, &cluster, &newer).await?;
            applied = newer;
        }
    }

    /// Takes up a new configuration. Clusters that it adds are asked in the background, as by [`Clusters::prepare`].
    ///
    /// # Cancel safety
    /// A drop can leave clusters unable to write, so it must be polled to its end.
    pub(crate) async fn apply(&self, config: &Config) {
        let settings = Arc::new(Settings::of(config));
        self.rates.set_has_clusters(config.has_clusters());
        self.tables.set_has_clusters(config.has_clusters());
        self.tables.set_max_bytes(config.read.table_bytes);
        self.consumers.set_has_clusters(config.has_clusters());
        self.consumers.set(config.limits.max_consumers, config.consumers.idle_timeout);
        let (removed, defined) = {
            let mut state = self.state.lock();
            state.settings = Arc::clone(&settings);
            state.places.set_max(settings.routes.max);
            // The commands of one system make no sense in another.
            let is_removed = |name: &String, cluster: &mut Arc<Cluster>| {
                config.clusters.get(name).is_none_or(|new| new.system() != cluster.system)
            };
            let removed = state.named.extract_if(.., is_removed);
            let removed: Vec<Arc<Cluster>> = removed.map(|(_, cluster)| cluster).collect();
            let mut defined: Vec<(Box<[u8]>, Arc<Cluster>)> = Vec::new();
            for (bytes, entry) in &state.defined {
                defined.extend(entry.cluster.get().map(|cluster| (bytes.clone(), Arc::clone(cluster))));
            }
            (removed, defined)
        };
        removed.into_iter().for_each(|cluster| self.remove(cluster, &settings));
        let named = config.clusters.iter().map(async |(name, new)| {
            let is_writable = config.write.clusters.contains(name);
            let cluster = match self.named(name) {
                Some(cluster) => {
                    self.update(name, &cluster, new, is_writable, &settings).await.then_some(cluster)
                }
                None => Some(self.add(name, new, is_writable)),
            };
            if let Some(cluster) = cluster {
                tokio::spawn(async move { cluster.prepare().await });
            }
        });
        let defined = defined.into_iter().map(async |(bytes, cluster)| {
            let Ok(definition) = Definition::of_bytes(&bytes).map(Arc::new) else { return };
            if let Err(error) = self.update_defined(&definition, &cluster, &settings).await {
                tracing::warn!(%error, event = "route_cluster_closed", "a cluster of a route is closed by the new configuration");
                self.state.lock().defined.remove(&bytes);
                self.remove(cluster, &settings);
            }
        });
        join(join_all(named), join_all(defined)).await;
    }

    /// Asks each cluster of the configuration once, so that the log names those that do not answer. Creates the
    /// producers of clusters that can be written to, ahead of their first records.
    ///
    /// # Cancel safety
    /// A drop leaves the rest to the first commands.
    pub(crate) async fn prepare(&self) {
        let named: Vec<Arc<Cluster>> = self.state.lock().named.values().cloned().collect();
        join_all(named.iter().map(|cluster| cluster.prepare())).await;
    }

    /// Closes unused clusters of routes for as long as it is polled.
    pub(crate) async fn close_unused(self: Arc<Self>) {
        loop {
            while self.state.lock().defined.is_empty() {
                self.added.notified().await;
            }
            sleep((self.settings().routes.idle_timeout / SWEEPS).max(MIN_PERIOD)).await;
            self.sweep(Instant::now()).into_iter().for_each(close);
        }
    }

    /// Frees the memory of selected records, soon after they were selected, for as long as it is polled.
    pub(crate) async fn forget_selections(self: Arc<Self>) {
        loop {
            sleep(FORGET_INTERVAL).await;
            self.all().iter().for_each(|cluster| cluster.forget_selections());
        }
    }

    /// Samples the lag of subscriptions for as long as it is polled.
    pub(crate) async fn sample_lag(self: Arc<Self>) {
        loop {
            sleep(LAG_INTERVAL).await;
            self.all().iter().for_each(|cluster| cluster.sample_lag());
        }
    }

    /// Tells the clients of all clusters to go: see [`Drain::begin`](sluicegate_delivery::drain::Drain::begin).
    pub(crate) fn drain(&self, clients: usize, within: Duration) {
        for cluster in self.all() {
            cluster.drain.begin(clients, within);
        }
    }

    /// Calls [`Cluster::end_writes`] for all of them.
    pub(crate) async fn end_writes(&self, by: Instant) {
        join_all(self.all().iter().map(|cluster| cluster.end_writes(by))).await;
    }

    /// All clusters that clients can still use.
    pub(crate) fn all(&self) -> Vec<Arc<Cluster>> {
        let state = self.state.lock();
        let defined = state.defined.values().filter_map(|entry| entry.cluster.get().cloned());
        let removed = state.removed.iter().filter_map(Weak::upgrade);
        state.named.values().cloned().chain(defined).chain(removed).collect()
    }

    fn add(&self, name: &str, config: &ClusterConfig, is_writable: bool) -> Arc<Cluster> {
        let cluster = Arc::new(self.cluster(name, config, is_writable));
        self.state.lock().named.insert(name.to_owned(), Arc::clone(&cluster));
        cluster
    }

    fn cluster(&self, name: &str, config: &ClusterConfig, is_writable: bool) -> Cluster {
        let parts = self.parts(name, config, is_writable, &self.settings());
        Cluster::new(
            config.system(),
            parts,
            self.metrics.cluster(name),
            self.rates.clone(),
            self.tables.clone(),
            self.consumers.clone(),
        )
    }

    fn parts(&self, name: &str, config: &ClusterConfig, is_writable: bool, settings: &Settings) -> Parts {
        let due = self.writes_due.clone();
        let writes = is_writable.then(|| Writes { max_records: settings.max_records, due });
        Parts::new((self.make)(name, config, is_writable), config.version(), settings.reads, writes)
    }

    /// Replaces what differs in the new configuration of a cluster. Returns whether that is its backend.
    async fn update(
        &self,
        name: &str,
        cluster: &Cluster,
        new: &ClusterConfig,
        is_writable: bool,
        settings: &Settings,
    ) -> bool {
        if cluster.is_of(new.version(), is_writable) {
            cluster.set_bounds(settings.reads, settings.max_records);
            return false;
        }
        let parts = self.parts(name, new, is_writable, settings);
        cluster.replace(parts, Instant::now() + REPLACE_TIMEOUT).await;
        tracing::info!(cluster = name, event = "cluster_reconfigured", "cluster reconfigured");
        true
    }

    /// The same for a cluster of a route.
    ///
    /// # Errors
    /// It is not allowed any more.
    async fn update_defined(
        &self,
        definition: &Arc<Definition>,
        cluster: &Cluster,
        settings: &Settings,
    ) -> Result<(), RouteClusterError> {
        if !settings.knows_gateways {
            return Err(RouteClusterError::UnknownGateway);
        }
        settings.check_hosts(definition)?;
        let new = settings.cluster(definition).await?;
        self.update(ROUTE_CLUSTERS, cluster, &new, settings.routes.write, settings).await;
        Ok(())
    }

    /// Ends the sessions of a cluster that is not configured any more. Accepted records are still delivered.
    fn remove(&self, cluster: Arc<Cluster>, settings: &Settings) {
        let timeout = settings.drain_timeout;
        cluster.drain.begin(cluster.metrics.open_sessions(), timeout * 3 / 10);
        let mut state = self.state.lock();
        state.removed.retain(|cluster| cluster.strong_count() > 0);
        state.removed.push(Arc::downgrade(&cluster));
        tokio::spawn(async move {
            sleep(timeout).await;
            cluster.end_writes(Instant::now() + CLOSE_TIMEOUT).await;
        });
    }

    /// The cell for the cluster of a definition. At the limit, the longest unused cluster is closed for it; at the
    /// client's share, the longest unused one of its own.
    fn cell(
        &self,
        source: ClientKey,
        definition: &Definition,
    ) -> Result<Arc<OnceCell<Arc<Cluster>>>, RouteClusterError> {
        let mut state = self.state.lock();
        let max = state.settings.routes.max;
        let State { defined: clusters, places, .. } = &mut *state;
        if let Some(entry) = clusters.get_mut(&definition.bytes) {
            entry.unused_since = None;
            return Ok(Arc::clone(&entry.cluster));
        }
        let place = loop {
            // More than one has to go if the limit was lowered.
            let is_full = clusters.len() >= max;
            if !is_full && let Some(place) = places.try_acquire(source.into(), 1) {
                break place;
            }
            let now = Instant::now();
            let is_closable = |entry: &Entry| !entry.is_used() && (is_full || entry.source == source);
            let unused = clusters.iter().filter(|(_, entry)| is_closable(entry));
            let oldest = unused.min_by_key(|(_, entry)| entry.unused_since.unwrap_or(now));
            let oldest = oldest.map(|(bytes, _)| bytes.clone());
            let oldest = oldest.ok_or(RouteClusterError::TooMany { max })?;
            clusters.remove(&oldest).into_iter().for_each(close);
        };
        let cluster = Arc::default();
        let entry = Entry { cluster: Arc::clone(&cluster), unused_since: None, source, _place: place };
        clusters.insert(definition.bytes.clone(), entry);
        self.added.notify_one();
        Ok(cluster)
    }

    /// Removes clusters of routes that were unused for longer than `idle_timeout`.
    fn sweep(&self, now: Instant) -> Vec<Entry> {
        let mut state = self.state.lock();
        let idle_timeout = state.settings.routes.idle_timeout;
        let over = state.defined.extract_if(|_, entry| {
            if entry.is_used() {
                entry.unused_since = None;
                return false;
            }
            now.saturating_duration_since(*entry.unused_since.get_or_insert(now)) >= idle_timeout
        });
        over.map(|(_, entry)| entry).collect()
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state.lock().settings)
    }
}

impl Entry {
    /// Whether a session or request uses the cluster, or a record is queued or in flight. An unused cluster stays
    /// unused while the lock is held.
    fn is_used(&self) -> bool {
        if Arc::strong_count(&self.cluster) > 1 {
            return true;
        }
        // A caller takes its reference to the cluster before it drops the one to the cell. The fence makes the former
        // visible to the check below.
        fence(Ordering::Acquire);
        let is_used = |cluster: &Arc<Cluster>| Arc::strong_count(cluster) > 1 || cluster.has_queued_records();
        self.cluster.get().is_some_and(is_used)
    }
}

/// Closes the cluster's producer, which blocks, and its connections.
fn close(entry: Entry) {
    if let Some(cluster) = entry.cluster.get().cloned() {
        tokio::spawn(async move { cluster.end_writes(Instant::now() + CLOSE_TIMEOUT).await });
    }
}

/// Requests a second and core that sessions can send; larger ones count several times.
const REQUESTED_PER_CORE: usize = 100_000;
/// Bytes a second and core that filters and rows can leave out, and reads skip.
const SCANNED_PER_CORE: usize = 64 * 1024 * 1024;
/// Partitions a second and core that clients can have described.
const DESCRIBED_PER_CORE: usize = 250_000;
/// Time between two samples of the lag: as often as Prometheus usually looks.
const LAG_INTERVAL: Duration = Duration::from_secs(15);
/// Time between two looks for selected records that are old.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);
/// Sweeps per `idle_timeout`.
const SWEEPS: u32 = 10;
const MIN_PERIOD: Duration = Duration::from_millis(10);
/// Short: an unused cluster has no records left to deliver.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that writes wait for an earlier producer to deliver its records.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(5);
