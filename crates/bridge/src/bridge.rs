//! Start and stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use sluicegate_shared_log::{self as shared_log, SharedLog};
use sluicegate_ws_session::budget::Budget;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::admin::Admin;
use crate::cluster::{Cluster, MAX_RECORDS, Reads, Writes};
use crate::config::{self, Config, ROUTE_CLUSTERS};
use crate::drain::Drain;
use crate::endpoint::Endpoint;
use crate::fair_permits::FairPermits;
use crate::kafka::Kafka;
use crate::metrics::Metrics;
use crate::rate_limit::RateLimit;
use crate::route_clusters::RouteClusters;
use crate::server::{self, BindError, Connections, Server};
use crate::session::{self, MAX_RESULT_BYTES};

/// A running bridge. Dropping it stops it at once.
pub struct Bridge {
    address: SocketAddr,
    admin_address: SocketAddr,
    drain_timeout: Duration,
    endpoint: Arc<Endpoint>,
    health: HealthReporter,
    connections: Connections,
    accepting: JoinSet<()>,
}

impl Bridge {
    /// Binds both addresses and starts serving. Does not wait for any cluster: producers for `write.clusters` are
    /// created in the background, and other clusters are not contacted until they are used.
    ///
    /// # Errors
    /// An address cannot be bound.
    ///
    /// # Cancel safety
    /// A drop leaves nothing running.
    pub async fn start(config: Config) -> Result<Self, BindError> {
        let listener = server::bind(config.listen).await?;
        let admin_listener = server::bind(config.admin_listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let admin_address = admin_listener.local_addr().unwrap_or(config.admin_listen);

        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status(SERVICE, ServingStatus::Serving).await;
        let endpoint = Arc::new(Endpoint::new(&config, Routes::new(health_service).prepare()));
        let connections = Connections::default();
        let tls = config.tls.as_ref();
        let server = Server::new(Arc::clone(&endpoint), &config.limits, tls, connections.clone());
        let registry = endpoint.metrics.registry(endpoint.logs.clone());
        let admin = Admin { endpoint: Arc::clone(&endpoint), registry };

        let mut accepting = JoinSet::new();
        accepting.spawn(Arc::new(server).accept(listener));
        accepting.spawn(Arc::new(admin).accept(admin_listener));
        accepting.spawn(Arc::clone(&endpoint.route_clusters).close_unused());
        accepting.spawn(drop_old_records(endpoint.logs.clone(), config.read.cache_age));
        for cluster in endpoint.clusters.values() {
            let cluster = Arc::clone(cluster);
            accepting.spawn(async move { cluster.prepare_writes().await });
        }
        let drain_timeout = config.session.drain_timeout;
        Ok(Self { address, admin_address, drain_timeout, endpoint, health, connections, accepting })
    }

    /// The address that gateways connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of `/livez`, `/readyz` and `/metrics`.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Drains and stops: refuses new requests, answers commands in flight, closes sessions as "going away", delivers
    /// accepted records and closes connections. Cuts off whatever is still open after `drain_timeout`.
    ///
    /// # Cancel safety
    /// A drop cuts everything off at once.
    pub async fn drain(mut self) {
        let by = Instant::now() + self.drain_timeout;
        let writes_due = Instant::now() + self.drain_timeout * 2 / 5;
        // Their commands in flight have half of the time after that.
        self.endpoint.drain.begin(self.endpoint.open.len(), self.drain_timeout * 3 / 10);
        for service in ["", SERVICE] {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        // New requests are refused with a hint to retry until the last session has ended; only then do connections
        // close.
        self.endpoint.open.close();
        let open = &self.endpoint.open;
        if timeout_at(writes_due, open.wait()).await.is_err() {
            // Writes that are still waiting are answered with what is known, while sessions can still send the answers.
            self.endpoint.writes_due.cancel();
        }
        let sessions = timeout_at(by, open.wait()).await;
        let named = join_all(self.endpoint.clusters.values().map(|cluster| cluster.end_writes(by)));
        join(named, self.endpoint.route_clusters.end_writes(by)).await;
        self.connections.close.cancel();
        self.connections.tasks.close();
        // Without sessions, only streams of the health service can keep a connection open.
        let connections =
            timeout_at(by.min(Instant::now() + CLOSE_TIMEOUT), self.connections.tasks.wait()).await;
        if sessions.is_err() || connections.is_err() {
            let (sessions, connections) = (self.endpoint.open.len(), self.connections.tasks.len());
            tracing::warn!(
                sessions,
                connections,
                "drain incomplete, cutting off open sessions and connections"
            );
        }
        self.accepting.shutdown().await;
    }
}

impl Endpoint {
    fn new(config: &Config, health: Routes) -> Self {
        let metrics = Metrics::new();
        let logs = SharedLog::new(shared_log::Limits {
            max_bytes: config.read.cache_bytes,
            max_age: config.read.cache_age,
        });
        let reads = Reads { max_bytes: config.read.max_bytes, wait: config.read.wait };
        let writes_due = CancellationToken::new();
        let answer_bytes = usize::try_from(config.limits.session_answer_bytes).unwrap_or(usize::MAX);
        let max_records = answer_bytes.saturating_div(MAX_RESULT_BYTES).min(MAX_RECORDS);
        let due = writes_due.clone();
        let per_cluster = metrics.clone();
        let shared = logs.clone();
        let new_cluster = move |name: &str, config: &config::ClusterConfig, is_writable: bool| {
            let writes = is_writable.then(|| Writes { max_records, due: due.clone() });
            let writer = is_writable.then(|| per_cluster.writes(name));
            let backend = Kafka::new(name, config, shared.add_cluster(), writer);
            Cluster::new(Box::new(backend), reads, writes, per_cluster.cluster(name))
        };
        let writable = &config.write.clusters;
        let named = |(name, config): (&String, &config::ClusterConfig)| {
            (name.clone(), Arc::new(new_cluster(name, config, writable.contains(name))))
        };
        let clusters: BTreeMap<_, _> = config.clusters.iter().map(named).collect();
        let route_config = &config.route_clusters;
        let is_writable = route_config.write;
        let make =
            Box::new(move |config: &config::ClusterConfig| new_cluster(ROUTE_CLUSTERS, config, is_writable));
        let route_clusters = Arc::new(RouteClusters::new(route_config, config.knows_gateways(), make));
        let limits = session::Limits {
            max_request_bytes: config.limits.max_request_bytes,
            max_commands: config.limits.max_commands_per_session,
            answer_bytes: config.limits.session_answer_bytes,
            ping_interval: config.session.ping_interval,
            close_timeout: config.session.close_timeout,
            drain_grace: config.session.drain_timeout / 2,
        };
        let messages = sluicegate_ws_session::Limits { max_message_bytes: config.limits.max_request_bytes };
        Self {
            secret: config.gateway_secret.clone(),
            authenticated: config.knows_gateways(),
            clusters,
            route_clusters,
            limits,
            messages,
            assembly: Budget::new(config.limits.max_assembly_bytes, config.limits.max_request_bytes),
            max_sessions: config.limits.max_sessions,
            sessions: Arc::new(Semaphore::new(config.limits.max_sessions)),
            calls: FairPermits::new(config.limits.max_calls),
            // A waiting request costs no more than a session.
            waiting: FairPermits::new(config.limits.max_sessions),
            waiting_http1: FairPermits::new(config.limits.max_connections / HTTP1_WAITERS),
            metrics,
            logs,
            warnings: RateLimit::default(),
            health,
            drain: Drain::default(),
            writes_due,
            open: TaskTracker::new(),
        }
    }
}

/// Frees the memory of records that are too old to be served, when nobody reads.
async fn drop_old_records(logs: SharedLog, max_age: Duration) {
    loop {
        sleep((max_age / 4).max(MIN_SWEEP)).await;
        logs.expire(std::time::Instant::now());
    }
}

/// The shortest time between two looks for old records.
const MIN_SWEEP: Duration = Duration::from_secs(1);

/// One of so many connections can be occupied by a request that waits at a log end.
const HTTP1_WAITERS: usize = 2;

/// Time for connections without sessions to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The service's name in gRPC health checks.
const SERVICE: &str = "sluicegate.v1.Bridge";
