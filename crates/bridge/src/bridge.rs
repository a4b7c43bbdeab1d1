//! Start and stop.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{join_all, join3};
use parking_lot::Mutex;
use sluicegate_backend::{Backend, Unready};
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::quota::People;
use sluicegate_fair_share::{Ledger, Permits};
use sluicegate_kafka::{EncoderPool, Kafka};
use sluicegate_nats::Nats;
use sluicegate_schemas::registry::probe;
use sluicegate_shared_log::{self as shared_log, SharedLog};
use sluicegate_telemetry::audit::AuditLog;
use sluicegate_telemetry::metrics::{Metrics, SessionEnd};
use sluicegate_telemetry::rate_limit::RateLimit;
use sluicegate_telemetry::traces::Traces;
use sluicegate_ws_session::budget::Budget;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::admin::Admin;
use crate::clusters::Clusters;
use crate::config::{self, ClusterConfig, Config, Fingerprint, LogFormat, Place, Problem};
use crate::endpoint::identity::verifier;
use crate::endpoint::{Endpoint, Settings};
use crate::registries::Registries;
use crate::revocation::{self, Revoked};
use crate::server::{Connections, Server};

/// A running bridge. Dropping it stops it at once.
pub struct Bridge {
    address: SocketAddr,
    admin_address: SocketAddr,
    fixed: FixedSettings,
    /// Of the configuration in use.
    fingerprint: Mutex<Fingerprint>,
    endpoint: Arc<Endpoint>,
    server: Arc<Server>,
    health: HealthReporter,
    connections: Connections,
    accepting: JoinSet<()>,
}

/// Settings that only a restart can change.
struct FixedSettings {
    listen: SocketAddr,
    admin_listen: SocketAddr,
    log_format: LogFormat,
    traces: config::Traces,
    revocations: Option<config::RevocationTopic>,
    audit_file: Option<PathBuf>,
}

/// The bridge cannot start.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct StartError {
    /// The step that failed, with the key of the configuration, such as `bind 127.0.0.1:7400 (listen)`.
    pub attempt: String,
    /// The system's error.
    pub source: io::Error,
}

impl Bridge {
    /// Binds both addresses and starts serving. Does not wait for any cluster: in the background, each one of the
    /// configuration is asked once, so that the log says if it does not answer, and producers for `write.clusters` are
    /// created.
    ///
    /// # Errors
    /// An address cannot be bound, or the audit log cannot be opened.
    ///
    /// # Cancel safety
    /// A drop leaves nothing running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let listener = bind("listen", config.listen).await?;
        let admin_listener = bind("admin_listen", config.admin_listen).await?;
        let address = listener.local_addr().unwrap_or(config.listen);
        let admin_address = admin_listener.local_addr().unwrap_or(config.admin_listen);

        let (health, health_service) = tonic_health::server::health_reporter();
        let endpoint = Arc::new(Endpoint::new(&config, Routes::new(health_service).prepare())?);
        let is_complete = endpoint.revoked.is_complete();
        let status = if is_complete { ServingStatus::Serving } else { ServingStatus::NotServing };
        set_status(&health, status).await;
        let connections = Connections::default();
        let server = Arc::new(Server::new(Arc::clone(&endpoint), &config, connections.clone()));
        let registry = endpoint.metrics.registry(endpoint.logs.clone(), endpoint.traces.counts());
        let admin = Admin::new(Arc::clone(&endpoint), registry);

        let mut accepting = JoinSet::new();
        accepting.spawn(Arc::clone(&server).accept(listener));
        accepting.spawn(Arc::new(admin).accept(admin_listener));
        accepting.spawn(Arc::clone(&endpoint.clusters).close_unused());
        accepting.spawn(Arc::clone(&endpoint.clusters).sample_lag());
        accepting.spawn(Arc::clone(&endpoint.clusters).forget_selections());
        accepting.spawn(drop_old_records(endpoint.logs.clone()));
        accepting.spawn(serve_when_complete(Arc::clone(&endpoint), health.clone()));
        if let Some(topic) = config.revocation.topic.clone() {
            let (revoked, clusters) = (Arc::clone(&endpoint.revoked), Arc::clone(&endpoint.clusters));
            accepting.spawn(revocation::follow(revoked, clusters, topic));
        }
        let clusters = Arc::clone(&endpoint.clusters);
        accepting.spawn(async move { clusters.prepare().await });
        let Config { listen, admin_listen, log_format, traces, revocation, audit, fingerprint, .. } = config;
        let (revocations, audit_file) = (revocation.topic, audit.file);
        let fixed = FixedSettings { listen, admin_listen, log_format, traces, revocations, audit_file };
        let fingerprint = Mutex::new(fingerprint);
        Ok(Self {
            address,
            admin_address,
            fixed,
            fingerprint,
            endpoint,
            server,
            health,
            connections,
            accepting,
        })
    }

    /// Takes up a new configuration without ending a session, except those of clusters that are removed or of another
    /// kind. Open sessions keep their limits; the rights of the bridge's configuration, and a cluster's properties,
    /// apply to them too. If it is invalid, or would let anybody use the address that is open, nothing changes.
    ///
    /// # Cancel safety
    /// A drop can leave clusters unable to write: only do so at the end.
    pub async fn reload(&self, loaded: Result<Config, Vec<Problem>>) {
        // Log rotation sends the same signal.
        self.endpoint.audit.iter().for_each(|log| log.reopen());
        let config = match loaded.and_then(|config| config.check_open(self.address)) {
            Ok(config) => config,
            Err(problems) => {
                self.endpoint.metrics.reloaded(false);
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                let problems = problems.join("; ");
                return tracing::error!(
                    problems,
                    event = "config_rejected",
                    "new configuration rejected, the earlier one stays in use"
                );
            }
        };
        self.server.apply(&config);
        self.endpoint.apply(&config).await;
        self.endpoint.metrics.reloaded(true);
        let need_restart = self.fixed.changed(&config);
        let changed = {
            let mut current = self.fingerprint.lock();
            let changed = current.changes(&config.fingerprint);
            *current = config.fingerprint;
            changed
        };
        match &need_restart[..] {
            [] => tracing::info!(changed, event = "config_reloaded", "configuration reloaded"),
            keys => tracing::warn!(
                changed,
                keys = keys.join(", "),
                event = "config_reloaded_in_part",
                "configuration reloaded, except keys that need a restart"
            ),
        }
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
        let drain_timeout = self.endpoint.settings.load().drain_timeout;
        let by = Instant::now() + drain_timeout;
        let writes_due = Instant::now() + drain_timeout * 2 / 5;
        // Their commands in flight have half of the time after that.
        let (clients, within) = (self.endpoint.open.len(), drain_timeout * 3 / 10);
        self.endpoint.drain.begin(clients, within);
        self.endpoint.clusters.drain(clients, within);
        set_status(&self.health, ServingStatus::NotServing).await;
        // New requests are refused with a hint to retry until the last session has ended; only then do connections
        // close.
        self.endpoint.open.close();
        let open = &self.endpoint.open;
        if timeout_at(writes_due, open.wait()).await.is_err() {
            // Writes that are still waiting are answered with what is known, while sessions can still send the answers.
            self.endpoint.writes_due.cancel();
        }
        let sessions = timeout_at(by, open.wait()).await;
        self.endpoint.clusters.end_writes(by).await;
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
                event = "drain_incomplete",
                "drain incomplete, cutting off open sessions and connections"
            );
        }
        // Spans that are not exported by then are lost.
        let _ = timeout_at(by, self.endpoint.traces.end()).await;
        self.accepting.shutdown().await;
        if let Some(log) = &self.endpoint.audit {
            // They are cut off with the process.
            let open = self.endpoint.clusters.all().into_iter().flat_map(|cluster| cluster.open_clients());
            open.for_each(|client| client.log_end(SessionEnd::Drained.label()));
            log.flush().await;
        }
    }
}

impl FixedSettings {
    /// The keys that differ in `config`.
    fn changed(&self, config: &Config) -> Vec<&'static str> {
        let changed = [
            ("listen", self.listen != config.listen),
            ("admin_listen", self.admin_listen != config.admin_listen),
            ("log_format", self.log_format != config.log_format),
            ("traces", self.traces != config.traces),
            ("audit.file", self.audit_file != config.audit.file),
            ("revocation.topic", self.revocations != config.revocation.topic),
        ];
        changed.into_iter().filter_map(|(key, is_changed)| is_changed.then_some(key)).collect()
    }
}

impl Endpoint {
    pub(crate) fn new(config: &Config, health: Routes) -> Result<Self, StartError> {
        let metrics = Metrics::default();
        let audit = config.audit.file.as_deref().map(|path| audit_log(path, &metrics)).transpose()?;
        let logs = SharedLog::new(kept_records(config));
        let writes_due = CancellationToken::new();
        let (shared, per_cluster) = (Shared { logs: logs.clone(), ..Shared::default() }, metrics.clone());
        let make = Box::new(move |name: &str, config: &ClusterConfig, is_writable: bool| {
            backend(name, config, is_writable, &shared, &per_cluster)
        });
        let limits = &config.limits;
        let permits = |max| {
            let permits = Permits::new(Ledger::new(max));
            permits.set_has_clusters(config.has_clusters());
            permits
        };
        Ok(Self {
            settings: ArcSwap::from_pointee(Settings::of(config, None)),
            clusters: Arc::new(Clusters::new(config, metrics.clone(), writes_due.clone(), make)),
            assembly: Budget::new(limits.max_assembly_bytes, limits.max_request_bytes),
            sessions: permits(limits.max_sessions),
            calls: permits(limits.max_calls),
            // A waiting request costs no more than a session.
            waiting: permits(limits.max_sessions),
            waiting_http1: permits(limits.max_connections / HTTP1_WAITERS),
            people: People::default(),
            revoked: Arc::new(Revoked::new(
                &config.revocation.listed,
                config.revocation.topic.is_some(),
                metrics.revocations(),
            )),
            audit,
            metrics,
            traces: {
                let config::Traces { endpoint, sample_ratio, max_spans_per_second } = &config.traces;
                Traces::new(endpoint.as_deref(), *sample_ratio, *max_spans_per_second)
            },
            logs,
            warnings: RateLimit::default(),
            health,
            drain: Drain::default(),
            writes_due,
            open: TaskTracker::new(),
        })
    }

    /// Takes up a new configuration: for new sessions and requests, and for the clusters of all.
    async fn apply(&self, config: &Config) {
        let limits = &config.limits;
        let settings = Settings::of(config, Some(&self.settings.load()));
        self.settings.store(Arc::new(settings));
        self.assembly.set(limits.max_assembly_bytes, limits.max_request_bytes);
        for (permits, max) in [
            (&self.sessions, limits.max_sessions),
            (&self.calls, limits.max_calls),
            (&self.waiting, limits.max_sessions),
            (&self.waiting_http1, limits.max_connections / HTTP1_WAITERS),
        ] {
            permits.set_max(max);
            permits.set_has_clusters(config.has_clusters());
        }
        self.logs.set_limits(kept_records(config));
        self.revoked.list(&config.revocation.listed);
        self.clusters.apply(config).await;
    }
}

/// Asks each cluster of a configuration once, for at most `within`, and each schema registry and URL with the keys of an
/// issuer. Gives, by key, what answered in words, or why nothing did.
///
/// # Cancel safety
/// A drop has no effect.
pub async fn connect(config: &Config, within: Duration) -> Vec<(String, Result<String, Problem>)> {
    let (metrics, shared) = (Metrics::default(), Shared::default());
    let asked = config.clusters.iter().map(async |(name, cluster)| {
        let backend = backend(name, cluster, false, &shared, &metrics);
        let ready = backend.ready(within).await;
        let problem = |Unready { key, cause }| Problem {
            place: Place::Key(format!("clusters.{name}.{key}")),
            problem: cause,
        };
        let mut connected = ready.map(|answered| format!("connected to {answered}"));
        if let Ok(text) = &mut connected
            && config.write.clusters.contains(name)
            && let Ok(Ok(Some(recognition))) = timeout(within, backend.recognition()).await
        {
            text.push_str("; ");
            text.push_str(&recognition);
        }
        (format!("clusters.{name}"), connected.map_err(problem))
    });
    let fetched = config.identity.issuers.iter().map(async |(name, issuer)| {
        let key = format!("identity.{name}.jwks_url");
        let keys = verifier(issuer).fetch().await?;
        let told = keys.map(|keys| {
            let skipped: String = keys.refused().iter().map(|key| format!("; skipped {key}")).collect();
            format!("usable keys: {}{skipped}", keys.count())
        });
        let problem = |problem| Problem { place: Place::Key(key.clone()), problem };
        Some((key.clone(), told.map_err(problem)))
    });
    let registries = config.schemas.iter().map(async |(name, schemas)| {
        let key = format!("schemas.{name}");
        let answered = probe(&*schemas.http).await;
        let problem = |problem| Problem { place: Place::Key(key.clone()), problem };
        (key.clone(), answered.map_err(problem))
    });
    let (mut answers, registries, keys) =
        join3(join_all(asked), join_all(registries), join_all(fetched)).await;
    answers.extend(registries);
    answers.extend(keys.into_iter().flatten());
    answers
}

/// Listens on the address of a key of the configuration.
async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |source| StartError { attempt: format!("bind {address} ({key})"), source };
    TcpListener::bind(address).await.map_err(failed)
}

/// The audit log in the file at `path`.
fn audit_log(path: &Path, metrics: &Metrics) -> Result<Arc<AuditLog>, StartError> {
    let failed = |source| StartError { attempt: format!("open {} (audit.file)", path.display()), source };
    AuditLog::open(path, metrics.audit_lines_dropped.clone()).map(Arc::new).map_err(failed)
}

/// Memory, threads and registries of all clusters.
#[derive(Default)]
struct Shared {
    logs: SharedLog,
    encoders: EncoderPool,
    registries: Registries,
}

/// The backend of a cluster, with what all clusters share.
fn backend(
    name: &str,
    config: &ClusterConfig,
    is_writable: bool,
    shared: &Shared,
    metrics: &Metrics,
) -> Arc<dyn Backend> {
    let (logs, writes) = (shared.logs.add_cluster(), is_writable.then(|| metrics.writes(name)));
    match config {
        ClusterConfig::Kafka(config, schemas) => {
            let kept = (logs, shared.encoders.clone());
            let kafka = Kafka::new(name, config, kept, metrics.brokers(name), writes);
            Arc::new(match schemas {
                None => kafka,
                Some(schemas) => {
                    let registry = shared.registries.of(schemas, metrics);
                    kafka.with_schemas(registry, shared.logs.add_cluster(), metrics.decodes(name))
                }
            })
        }
        ClusterConfig::Nats(config) => Arc::new(Nats::new(name, config, logs, metrics.nats(name), writes)),
    }
}

fn kept_records(config: &Config) -> shared_log::Limits {
    shared_log::Limits { max_bytes: config.read.cache_bytes, max_age: config.read.cache_age }
}

async fn set_status(health: &HealthReporter, status: ServingStatus) {
    for service in ["", SERVICE] {
        health.set_service_status(service, status).await;
    }
}

/// Tells health checks that the bridge serves, once it knows all revoked identities.
async fn serve_when_complete(endpoint: Arc<Endpoint>, health: HealthReporter) {
    endpoint.revoked.completed().await;
    if !endpoint.drain.has_begun() {
        set_status(&health, ServingStatus::Serving).await;
    }
}

/// Frees the memory of records that are too old to be served, when nobody reads.
async fn drop_old_records(logs: SharedLog) {
    loop {
        sleep((logs.limits().max_age / 4).max(MIN_SWEEP)).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_that_needs_a_restart_is_named() {
        let load = |keys: &str| {
            let text = format!("{keys}\n[clusters.default]\nbootstrap.servers = \"127.0.0.1:1\"");
            Config::load(&text, std::iter::empty()).expect("a configuration")
        };
        let Config { listen, admin_listen, log_format, traces, revocation, audit, .. } = load("");
        let (revocations, audit_file) = (revocation.topic, audit.file);
        let fixed = FixedSettings { listen, admin_listen, log_format, traces, revocations, audit_file };
        assert_eq!(fixed.changed(&load("limits.max_sessions = 1")), [""; 0]);
        for (keys, want) in [
            ("listen = \"127.0.0.1:1\"", "listen"),
            ("admin_listen = \"127.0.0.1:1\"", "admin_listen"),
            ("log_format = \"json\"", "log_format"),
            ("traces.endpoint = \"http://127.0.0.1:4317\"", "traces"),
            ("audit.file = \"audit.jsonl\"", "audit.file"),
            ("revocation.topic = \"revoked\"", "revocation.topic"),
        ] {
            assert_eq!(fixed.changed(&load(keys)), [want], "{keys}");
        }
    }
}
