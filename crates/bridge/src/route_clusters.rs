//! Clusters that gateways' routes define: checked, created on first use, and closed when unused.
//!
//! Clusters are pooled by their whole definition, including the password: routes with different definitions never share
//! a connection.

mod definition;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

pub(crate) use self::definition::BASE64;
use self::definition::Definition;
use crate::cluster::Cluster;
use crate::config::{self, PropertyError, is_of_definition};

/// The clusters of routes.
pub(crate) struct RouteClusters {
    config: Arc<config::RouteClusters>,
    /// Whether every gateway has authenticated.
    knows_gateways: bool,
    make: Make,
    /// By definition; at most `route_clusters.max` entries.
    clusters: Mutex<HashMap<Box<[u8]>, Entry>>,
    /// Notified when a cluster is added.
    added: Notify,
}

/// Creates a cluster from its properties. It does not connect yet.
type Make = Box<dyn Fn(&config::ClusterConfig) -> Cluster + Send + Sync>;

/// The cluster of one definition. Its users, and those who wait for it to be created, hold references.
struct Entry {
    cluster: Arc<OnceCell<Arc<Cluster>>>,
    /// When a sweep first found it unused.
    unused_since: Option<Instant>,
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

impl RouteClusters {
    pub(crate) fn new(config: &config::RouteClusters, knows_gateways: bool, make: Make) -> Self {
        let config = Arc::new(config.clone());
        Self { config, knows_gateways, make, clusters: Mutex::default(), added: Notify::new() }
    }

    /// The cluster of the definition in a header. Concurrent callers create it once.
    ///
    /// # Errors
    /// The definition is invalid or not allowed, or the limit is reached.
    ///
    /// # Cancel safety
    /// A drop leaves creating the cluster to the other callers that wait for it.
    pub(crate) async fn get(&self, header: &[u8]) -> Result<Arc<Cluster>, RouteClusterError> {
        if !self.knows_gateways {
            return Err(RouteClusterError::UnknownGateway);
        }
        let definition = Definition::parse(header).map_err(RouteClusterError::Invalid)?;
        if let Some(node) = definition.nodes.iter().find(|node| !self.config.allows(node)) {
            return Err(RouteClusterError::Host(node.to_string()));
        }
        let cell = self.cell(&definition)?;
        let cluster = cell.get_or_try_init(|| self.make(definition)).await?;
        Ok(Arc::clone(cluster))
    }

    /// Closes unused clusters for as long as it is polled.
    pub(crate) async fn close_unused(self: Arc<Self>) {
        let period = (self.config.idle_timeout / SWEEPS).max(MIN_PERIOD);
        loop {
            while self.clusters().is_empty() {
                self.added.notified().await;
            }
            sleep(period).await;
            self.sweep(Instant::now()).into_iter().for_each(close);
        }
    }

    /// Calls [`Cluster::end_writes`] for all of them.
    pub(crate) async fn end_writes(&self, by: Instant) {
        let all: Vec<_> = self.clusters().values().filter_map(|entry| entry.cluster.get().cloned()).collect();
        join_all(all.iter().map(|cluster| cluster.end_writes(by))).await;
    }

    /// The cell for the cluster of a definition. At the limit, the longest unused cluster is closed for it.
    fn cell(&self, definition: &Definition) -> Result<Arc<OnceCell<Arc<Cluster>>>, RouteClusterError> {
        let mut clusters = self.clusters();
        if let Some(entry) = clusters.get_mut(&definition.bytes) {
            entry.unused_since = None;
            return Ok(Arc::clone(&entry.cluster));
        }
        let max = self.config.max;
        if clusters.len() >= max {
            let now = Instant::now();
            let unused = clusters.iter().filter(|(_, entry)| !entry.is_used());
            let oldest = unused.min_by_key(|(_, entry)| entry.unused_since.unwrap_or(now));
            let oldest = oldest.map(|(bytes, _)| bytes.clone());
            let oldest = oldest.ok_or(RouteClusterError::TooMany { max })?;
            clusters.remove(&oldest).into_iter().for_each(close);
        }
        let cluster = Arc::default();
        let entry = Entry { cluster: Arc::clone(&cluster), unused_since: None };
        clusters.insert(definition.bytes.clone(), entry);
        self.added.notify_one();
        Ok(cluster)
    }

    async fn make(&self, definition: Definition) -> Result<Arc<Cluster>, RouteClusterError> {
        let config = Arc::clone(&self.config);
        // Blocks: certificates are read from files.
        let parsed = spawn_blocking(move || config.cluster(&definition.properties())).await;
        match parsed.map_err(|_| RouteClusterError::Unusable)? {
            Ok(cluster) => Ok(Arc::new((self.make)(&cluster))),
            Err(errors) => Err(property_error(&errors)),
        }
    }

    /// Removes clusters that were unused for longer than `idle_timeout`.
    fn sweep(&self, now: Instant) -> Vec<Entry> {
        let idle_timeout = self.config.idle_timeout;
        let mut clusters = self.clusters();
        let over = clusters.extract_if(|_, entry| {
            if entry.is_used() {
                entry.unused_since = None;
                return false;
            }
            now.saturating_duration_since(*entry.unused_since.get_or_insert(now)) >= idle_timeout
        });
        over.map(|(_, entry)| entry).collect()
    }

    fn clusters(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Entry>> {
        // No code under the lock can panic and leave it inconsistent.
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Clients see errors in the route's own definition. Others are only logged: they can name the bridge's files.
fn property_error(errors: &[PropertyError]) -> RouteClusterError {
    let (own, others): (Vec<_>, Vec<_>) = errors.iter().partition(|error| is_of_definition(&error.key));
    if others.is_empty() {
        let own: Vec<_> = own.iter().map(ToString::to_string).collect();
        return RouteClusterError::Invalid(own.join(", "));
    }
    for PropertyError { key, problem } in others {
        tracing::warn!(property = key, problem, "invalid route_clusters.properties");
    }
    RouteClusterError::Unusable
}

/// Sweeps per `idle_timeout`.
const SWEEPS: u32 = 10;
const MIN_PERIOD: Duration = Duration::from_millis(10);
/// Short: an unused cluster has no records left to deliver.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
