//! Clusters that gateways' routes carry: judged, made when one is first asked for, kept while it is used.
//!
//! One cluster is of one whole definition, its password included: whoever has another one shares none of its connections.

mod definition;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_reader::PropertyError;
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

pub(crate) use self::definition::BASE64;
use self::definition::Definition;
use crate::cluster::Cluster;
use crate::config::{self, is_of_definition};

/// The clusters of routes.
pub(crate) struct RouteClusters {
    config: Arc<config::RouteClusters>,
    /// Whether every gateway has shown who it is.
    knows_gateways: bool,
    make: Make,
    /// Never more than the configuration allows.
    clusters: Mutex<HashMap<Box<[u8]>, Entry>>,
    /// Told when there is one again.
    added: Notify,
}

/// Makes a cluster of its properties. It is connected to nothing yet.
type Make = Box<dyn Fn(&config::Cluster) -> Cluster + Send + Sync>;

/// Of one definition. Whoever uses the cluster, or waits for it to be made, has a reference of its own.
struct Entry {
    cluster: Arc<OnceCell<Arc<Cluster>>>,
    /// When it was found to be unused.
    unused_since: Option<Instant>,
}

/// Why there is no cluster. None shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// Anybody could have sent this definition.
    #[error(
        "a cluster that a route carries is taken from gateways that show who they are: expected gateway_secret or \
         tls.client_ca in the bridge's configuration"
    )]
    UnknownGateway,
    /// The definition cannot be read: what was expected.
    #[error("{0}")]
    Unreadable(String),
    /// The configuration does not allow this broker.
    #[error("the bridge's configuration does not allow {0}: expected it in route_clusters.allowed_hosts")]
    Host(String),
    /// As many as are allowed are used.
    #[error("as many clusters of routes are used as the bridge may have")]
    TooMany,
    /// What is wrong is not the route's, and in the log.
    #[error("the bridge cannot use its route_clusters.properties: its log says why")]
    Unusable,
}

impl RouteClusters {
    pub(crate) fn new(config: &config::RouteClusters, knows_gateways: bool, make: Make) -> Self {
        let config = Arc::new(config.clone());
        Self { config, knows_gateways, make, clusters: Mutex::default(), added: Notify::new() }
    }

    /// The cluster of a definition as it travels in a header. However many ask at the same time, it is made once.
    ///
    /// # Errors
    /// The definition cannot be read or is not allowed, or there is no room for it.
    ///
    /// # Cancel safety
    /// A drop leaves the making to whoever waits for the same cluster.
    pub(crate) async fn get(&self, header: &[u8]) -> Result<Arc<Cluster>, NotTaken> {
        if !self.knows_gateways {
            return Err(NotTaken::UnknownGateway);
        }
        let definition = Definition::parse(header).map_err(NotTaken::Unreadable)?;
        if let Some(node) = definition.nodes.iter().find(|node| !self.config.allows(node)) {
            return Err(NotTaken::Host(node.to_string()));
        }
        let cell = self.cell(&definition)?;
        let cluster = cell.get_or_try_init(|| self.make(definition)).await?;
        Ok(Arc::clone(cluster))
    }

    /// Closes the connections of clusters that are not used, as long as it is polled.
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

    /// As [`Cluster::end_writes`], for all of them.
    pub(crate) async fn end_writes(&self, by: Instant) {
        let all: Vec<_> = self.clusters().values().filter_map(|entry| entry.cluster.get().cloned()).collect();
        join_all(all.iter().map(|cluster| cluster.end_writes(by))).await;
    }

    /// Where the cluster of a definition is, or will be. Where there is no room, one that is not used makes it.
    fn cell(&self, definition: &Definition) -> Result<Arc<OnceCell<Arc<Cluster>>>, NotTaken> {
        let mut clusters = self.clusters();
        if let Some(entry) = clusters.get_mut(&definition.bytes) {
            entry.unused_since = None;
            return Ok(Arc::clone(&entry.cluster));
        }
        if clusters.len() >= self.config.max {
            let now = Instant::now();
            let unused = clusters.iter().filter(|(_, entry)| !entry.is_used());
            let oldest = unused.min_by_key(|(_, entry)| entry.unused_since.unwrap_or(now));
            let oldest = oldest.map(|(bytes, _)| bytes.clone()).ok_or(NotTaken::TooMany)?;
            clusters.remove(&oldest).into_iter().for_each(close);
        }
        let cluster = Arc::default();
        let entry = Entry { cluster: Arc::clone(&cluster), unused_since: None };
        clusters.insert(definition.bytes.clone(), entry);
        self.added.notify_one();
        Ok(cluster)
    }

    async fn make(&self, definition: Definition) -> Result<Arc<Cluster>, NotTaken> {
        let config = Arc::clone(&self.config);
        // Certificates are read from files, and parsed.
        let parsed = spawn_blocking(move || config.cluster(&definition.properties())).await;
        match parsed.map_err(|_| NotTaken::Unusable)? {
            Ok(cluster) => Ok(Arc::new((self.make)(&cluster))),
            Err(errors) => Err(not_taken(&errors)),
        }
    }

    /// Takes out what has not been used for too long.
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
        // Nothing is done under the lock that could panic half-way.
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether there is a session or a request, or a record on its way. Only who holds the lock can add one to none.
    fn is_used(&self) -> bool {
        if Arc::strong_count(&self.cluster) > 1 {
            return true;
        }
        // Whoever gave up the second one has taken a reference to the cluster before: it is to be seen below.
        fence(Ordering::Acquire);
        let is_used = |cluster: &Arc<Cluster>| Arc::strong_count(cluster) > 1 || cluster.has_queued_records();
        self.cluster.get().is_some_and(is_used)
    }
}

/// Ends the producer, which blocks, and the connections.
fn close(entry: Entry) {
    if let Some(cluster) = entry.cluster.get().cloned() {
        tokio::spawn(async move { cluster.end_writes(Instant::now() + CLOSE_TIMEOUT).await });
    }
}

/// What is wrong with the route's own words is told, and anything else logged: it may name the bridge's files.
fn not_taken(errors: &[PropertyError]) -> NotTaken {
    let (own, others): (Vec<_>, Vec<_>) = errors.iter().partition(|error| is_of_definition(&error.key));
    if others.is_empty() {
        return NotTaken::Unreadable(own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }
    for PropertyError { key, problem } in others {
        tracing::warn!(property = key, problem, "route_clusters.properties cannot be used");
    }
    NotTaken::Unusable
}

/// How often in the time that a cluster may be unused it is looked at.
const SWEEPS: u32 = 10;
const MIN_PERIOD: Duration = Duration::from_millis(10);
/// There is nothing left to deliver.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
