//! The configuration: one TOML file and environment overrides become checked values, or all of their problems.
//!
//! 1. `tree`: merges the file and the environment into one tree of keys
//! 2. `section`: takes keys out of it one by one, or `flat` all at once; invalid values and unknown keys are a
//!    `problem`
//! 3. here: checks that the values fit together; `keys` has defaults and ranges

mod cluster;
mod fingerprint;
mod flat;
mod hosts;
mod identity;
mod keys;
mod kind;
mod nats;
mod problem;
mod revocation;
mod route_clusters;
mod schemas;
mod secret;
mod section;
mod source;
pub(crate) mod tls;
mod traces;
mod tree;
mod unnamed_cluster;
mod value_file;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use sluicegate_kafka::PropertyError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub use self::cluster::ClusterConfig;
pub(crate) use self::fingerprint::Fingerprint;
pub use self::identity::Identity;
use self::problem::Problems;
pub use self::problem::{Place, Problem};
pub use self::revocation::{Revocation, Topic as RevocationTopic};
pub use self::route_clusters::RouteClusters;
pub(crate) use self::route_clusters::{DefinedCluster, NAME as ROUTE_CLUSTERS, is_of_definition};
pub use self::schemas::Schemas;
pub use self::secret::Secret;
use self::section::{Section, expected_name};
pub use self::source::Source;
pub use self::tls::Tls;
pub use self::traces::Traces;

/// The bridge's configuration.
#[derive(Debug)]
pub struct Config {
    /// Where gateways connect: HTTP/2 or HTTP/1.1, over TLS with `tls`. Default 127.0.0.1:7400; port 0 takes a free
    /// one.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz`, `/metrics` and `/sessions` are served over plain HTTP/1.1. Default 127.0.0.1:7401. Without
    /// `admin_token` it shows cluster names and counters, but no people and no records, so it can be bound beyond loopback.
    pub admin_listen: SocketAddr,
    /// The token of operators who list sessions on `admin_listen` and end them: 16 or more printable ASCII characters, or
    /// `{ file = "…" }`. Default: none, and nobody can.
    pub admin_token: Option<Secret>,
    /// The secret that a gateway has to send in `sluicegate-gateway-secret` with every request, health checks included:
    /// 16 or more printable ASCII characters, or `{ file = "…" }`. Default: none, which is accepted only if `listen` is
    /// loopback.
    pub gateway_secret: Option<Secret>,
    /// A second secret that is also valid, while the first one is being changed.
    pub second_gateway_secret: Option<Secret>,
    /// TLS on `listen`.
    pub tls: Option<Tls>,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// The lines to log, as in `RUST_LOG`. Default: that variable, or `info`.
    pub log_level: Option<String>,
    /// The identities of clients that are believed.
    pub identity: Identity,
    /// Identities that are over before they expire.
    pub revocation: Revocation,
    /// The log of sessions, refusals and denied commands.
    pub audit: Audit,
    /// Bounds on memory and connections.
    pub limits: Limits,
    /// Timeouts of sessions.
    pub session: Session,
    /// Size and wait of fetches.
    pub read: Read,
    /// Consumers in groups.
    pub consumers: Consumers,
    /// The clusters that can be written to.
    pub write: Write,
    /// Clusters that gateways' routes carry.
    pub route_clusters: RouteClusters,
    /// Where traces are exported.
    pub traces: Traces,
    /// `[clusters.NAME]`: the named clusters.
    pub clusters: BTreeMap<String, ClusterConfig>,
    /// `[schemas.NAME]`: the registries of schemas.
    pub schemas: BTreeMap<String, Arc<Schemas>>,
    /// Unknown `SLUICEGATE_…` variables, another program's or misspelt, each with a suggestion if there is one.
    pub ignored_variables: Vec<String>,
    /// A warning for each deprecated key that is set: its name, and the value that the bridge chooses without it.
    pub deprecations: Vec<String>,
    /// Tells which keys another configuration changes.
    pub(crate) fingerprint: Fingerprint,
    /// Mistakes in files of lists, whose other entries count.
    pub warnings: Vec<Problem>,
}

/// `log_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[limits]`.
#[derive(Debug)]
pub struct Limits {
    /// Open sessions. Default 10,000. An idle one costs 5 KiB after a fetch. The worst case adds `session_answer_bytes`
    /// and three times `max_request_bytes`, or seven times for an HTTP/2 peer that is not the gateway's filter.
    pub max_sessions: usize,
    /// Plain HTTP requests in progress. Default 1,000. One costs at most twice `read.max_bytes`, or three times
    /// `max_request_bytes` if it writes. Requests that wait at the end of a log do not count: up to `max_sessions` of
    /// them wait, at most 32 KiB each, and over HTTP/1.1 half of `max_connections`. A further one does not wait.
    pub max_calls: usize,
    /// Gateways' connections. Default 4,096. One costs at most `stream_window_bytes` × `max_streams`. A further one
    /// closes the HTTP/1.1 connection that has been idle longest, or waits. An HTTP/1.1 connection that became a
    /// session counts only as a session.
    pub max_connections: usize,
    /// The largest request in bytes: a session's message, or the body of a plain HTTP request, not counting its headers
    /// (`max_header_bytes`). Default 1 MiB.
    pub max_request_bytes: usize,
    /// Bytes of unfinished messages of all clients of the WebSocket endpoint together. Default 64 MiB; at least
    /// `max_request_bytes`. One address can hold an eighth, or one message if that is more; clients behind one proxy
    /// share one address. An address above its share loses its oldest message. If the total is reached, the address
    /// that holds most does. That session is closed with 1013. A session whose message takes three times
    /// `ping_interval` is closed with 1008.
    pub max_assembly_bytes: usize,
    /// Commands that one session runs concurrently. Default 16.
    pub max_commands_per_session: usize,
    /// Bytes of answers that one session can prepare or hold for a slow client. Default 1 MiB. Each fetch reserves
    /// `read.max_bytes` before it reads; a single larger record exceeds the reservation by its size. A full session
    /// waits, and no other session loses anything.
    pub session_answer_bytes: u32,
    /// Bytes that a gateway can send on one stream before the bridge reads them. Default 64 KiB.
    pub stream_window_bytes: u32,
    /// The same for one connection: 1 GiB, which takes no memory of its own, because the streams are bounded already.
    /// `stream_window_bytes` × `max_streams` is at most this, or unread sessions would stop all others. The HTTP/2
    /// library charges each unread frame below 256 bytes for the difference, and ends the connection above half of
    /// this. So the filter pads its writes, and other peers are always read. Its key is deprecated.
    pub connection_window_bytes: u32,
    /// Streams of one connection. Default 1,000; gateways open further connections if they need more.
    pub max_streams: u32,
    /// The size of a request's headers in bytes. Default 160 KiB. A larger list can end its connection, and with it the
    /// sessions of other clients. So keep this above two and a half times what the gateway accepts (a path travels
    /// twice, once in base64), plus 32 bytes for each header.
    pub max_header_bytes: u32,
    /// `max_session_age_ms`: how long a session or a stream of events lasts. Clients continue where they were, on a new
    /// one. Default: none.
    pub max_session_age: Option<Duration>,
    /// `consumers`: consumers in groups, over all clusters. Default 1,000. One costs about 1 KiB, and 100 bytes for each
    /// of its partitions, of which it can have 4,096.
    pub max_consumers: usize,
    /// `new_producers`: producers that a cluster's logs do not know yet, in an hour, over all clusters. Default 10,000. One
    /// costs the broker 250 bytes for as long as it keeps a producer's account, a day by default.
    pub new_producers: usize,
}

/// `[audit]`.
#[derive(Debug, Default)]
pub struct Audit {
    /// The file that lines are appended to. Default: none, and nothing is logged.
    pub file: Option<PathBuf>,
    /// Names of claims in lines, beside `iss`, `sub` and `jti`. Default: none.
    pub claims: BTreeSet<String>,
    /// `on_full`: whether clients are refused while lines cannot be written. Default: lines are dropped.
    pub refuses: bool,
}

/// `[session]`.
#[derive(Debug)]
pub struct Session {
    /// `ping_interval_ms`: how long a session is quiet before a ping. It ends after two unanswered pings. A connection
    /// that makes no progress for four times this is closed. Default 30 s.
    pub ping_interval: Duration,
    /// How long the last message can take: 5 s. Its key, `close_timeout_ms`, is deprecated.
    pub close_timeout: Duration,
    /// `drain_timeout_ms`: from SIGTERM to the exit. Clients are told to go within three tenths of it, and then have
    /// half of it for commands in flight. Default 10 s.
    pub drain_timeout: Duration,
}

/// `[read]`.
#[derive(Debug)]
pub struct Read {
    /// The size of a fetch's answer in bytes. Default 256 KiB; at most `limits.session_answer_bytes`. One record is
    /// delivered even if it is larger.
    pub max_bytes: usize,
    /// Recently read records that are kept in memory for other clients, in bytes over all clusters; 0: none. Default 64
    /// MiB.
    pub cache_bytes: usize,
    /// `cache_ms`: how long they are served after they were read, even if Kafka has deleted or compacted them
    /// meanwhile. Default 30 s.
    pub cache_age: Duration,
    /// `wait_ms`: how long a fetch at the end of a log waits for a record. Default 100 ms.
    pub wait: Duration,
    /// The tables of all clusters, in bytes. Default 256 MiB.
    pub table_bytes: usize,
    /// `table_away_ms`: how long a client can be away from a table and go on with it. Default one hour.
    pub table_away: Duration,
}

/// `[consumers]`.
#[derive(Debug)]
pub struct Consumers {
    /// `idle_timeout_ms`: how long a client can leave its consumer alone before it leaves its group. Default 5 min.
    pub idle_timeout: Duration,
}

/// `[write]`.
#[derive(Debug)]
pub struct Write {
    /// The clusters that can be written to, if the gateway's route allows it too. Default: none.
    pub clusters: BTreeSet<String>,
}

impl Config {
    /// Checks the text of a file (empty: none) with overrides from `environment`.
    ///
    /// A variable is `SLUICEGATE_` and the key in capitals, with `__` for the dot of a table: `SLUICEGATE_LISTEN`,
    /// `SLUICEGATE_LIMITS__MAX_SESSIONS`. In a cluster's table, every other `_` is a dot of the property's name:
    /// `SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS`. The cluster's name matches in any case, and `_` matches '-'
    /// and '.'. A variable that ends in `__FILE` is the path of a file with the value. A variable whose first part is
    /// not a root key or table is ignored: other programs have such variables, and Kubernetes sets some for each
    /// Service.
    ///
    /// # Errors
    /// Every problem, in the order of the keys.
    pub fn load(
        file: &str,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let (tree, ignored_variables) = tree::read(file, environment, &mut problems);
        let deprecated = keys::DEPRECATED.into_iter().filter(|(name, _)| tree::is_set(&tree, name));
        let deprecations = deprecated
            .map(|(name, instead)| format!("deprecated: {name}; without it the bridge uses {instead}"));
        let deprecations = deprecations.collect();
        let fingerprint = Fingerprint::of(&tree);
        let mut root = Section::root(tree);
        let clusters = root.table_or_empty(keys::CLUSTERS, &mut problems);
        let schemas = schemas::parse(root.table_or_empty("schemas", &mut problems), &mut problems);
        let has_secret = root.has("gateway_secret");
        let has_second = root.has("second_gateway_secret");
        let of_routes = root.table_or_empty("route_clusters", &mut problems);
        let route_clusters = route_clusters::parse(of_routes, &mut problems);
        let config = Self {
            listen: root.address(&keys::LISTEN, &mut problems),
            admin_listen: root.address(&keys::ADMIN_LISTEN, &mut problems),
            admin_token: root.secret(keys::ADMIN_TOKEN.short(), &mut problems),
            gateway_secret: root.secret(keys::GATEWAY_SECRET.short(), &mut problems),
            second_gateway_secret: root.secret(keys::SECOND_GATEWAY_SECRET.short(), &mut problems),
            tls: root.table("tls", &mut problems).and_then(|table| tls::parse(table, &mut problems)),
            log_format: log_format(&mut root, &mut problems),
            log_level: root.text_like(keys::LOG_LEVEL.short(), is_log_level, LOG_LEVELS, &mut problems),
            identity: identity::parse(root.table_or_empty("identity", &mut problems), &mut problems),
            revocation: revocation::parse(root.table_or_empty("revocation", &mut problems), &mut problems),
            audit: audit(root.table_or_empty("audit", &mut problems), &mut problems),
            limits: limits(root.table_or_empty("limits", &mut problems), &mut problems),
            session: session(root.table_or_empty("session", &mut problems), &mut problems),
            read: read(root.table_or_empty("read", &mut problems), &mut problems),
            consumers: consumers(root.table_or_empty("consumers", &mut problems), &mut problems),
            write: write(root.table_or_empty("write", &mut problems), &clusters, &mut problems),
            clusters: cluster::all(clusters, &schemas, !route_clusters.allows_any(), &mut problems),
            schemas: schemas.into_iter().filter_map(|(name, registry)| Some((name, registry?))).collect(),
            route_clusters,
            traces: traces::parse(root.table_or_empty("traces", &mut problems), &mut problems),
            ignored_variables,
            deprecations,
            fingerprint,
            warnings: problems.take_warnings(),
        };
        root.end(&mut problems);
        if has_second && !has_secret {
            problems.add("second_gateway_secret", "is set without `gateway_secret`: set that one, or both");
        }
        config.check_together(has_secret, &mut problems);
        problems.into_result(config)
    }

    /// Whether every gateway has to authenticate.
    pub(crate) fn knows_gateways(&self) -> bool {
        self.gateway_secret.is_some() || self.needs_certificate()
    }

    /// Whether every gateway has to present a certificate.
    pub(crate) fn needs_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.mutual)
    }

    /// Whether clients can use several clusters, which then share the bridge's limits.
    pub(crate) fn has_clusters(&self) -> bool {
        self.clusters.len() > 1 || self.route_clusters.allows_any()
    }

    /// Checks the configuration for a bridge that is running: its socket stays where it is until a restart, whatever
    /// `listen` says.
    ///
    /// # Errors
    /// `open` is beyond loopback, and gateways would not have to authenticate there.
    pub(crate) fn check_open(self, open: SocketAddr) -> Result<Self, Vec<Problem>> {
        if open.ip().is_loopback() || self.knows_gateways() {
            return Ok(self);
        }
        let problem = "until a restart: set `gateway_secret` or `tls.client_ca`";
        Err(vec![Problem { place: keys::LISTEN.name.into(), problem: format!("is still {open} {problem}") }])
    }

    /// Adds the problems of values that do not fit together. An unreadable secret is reported elsewhere, and causes no
    /// further problem here.
    fn check_together(&self, has_secret: bool, problems: &mut Problems) {
        let knows_gateways = has_secret || self.knows_gateways();
        for (name, cluster) in self.clusters.iter().filter(|(name, _)| self.write.clusters.contains(*name)) {
            if let Err(problem) = cluster.check_writable() {
                problems.add(format!("clusters.{name}"), format!("cannot be written to: {problem}"));
            }
        }
        if !self.listen.ip().is_loopback() && !knows_gateways {
            let problem = "is not a loopback address: set `gateway_secret` or `tls.client_ca`";
            problems.add("listen", format!("{} {problem}", self.listen));
        }
        if self.route_clusters.allows_any() {
            if !knows_gateways {
                let problem = "needs authenticated gateways: set `gateway_secret` or `tls.client_ca`";
                problems.add("route_clusters.allowed_hosts", problem);
            }
            if self.clusters.contains_key(ROUTE_CLUSTERS) {
                let problem = "is the name that metrics use for clusters of routes: choose another";
                problems.add(format!("clusters.{ROUTE_CLUSTERS}"), problem);
            }
        }
        if self.identity.from_gateway && !knows_gateways {
            let problem = "needs authenticated gateways: set `gateway_secret` or `tls.client_ca`";
            problems.add(keys::IDENTITY_FROM_GATEWAY.name, problem);
        }
        if let Some(topic) = &self.revocation.topic
            && !matches!(self.clusters.get(&topic.cluster), Some(ClusterConfig::Kafka(..)))
        {
            let problem = format!(
                "is \"{}\", expected the NAME of a [clusters.NAME] of Kafka",
                topic.cluster.escape_debug()
            );
            problems.add(keys::REVOCATION_CLUSTER.name, problem);
        }
        if self.admin_listen == self.listen && self.listen.port() != 0 {
            let problem = format!("is {}, as is `listen`: expected another port", self.listen);
            problems.add("admin_listen", problem);
        }
        let Limits { max_request_bytes, max_assembly_bytes, .. } = self.limits;
        if max_assembly_bytes < max_request_bytes {
            let expected = "expected at least limits.max_request_bytes";
            problems.add(
                "limits.max_assembly_bytes",
                format!("is {max_assembly_bytes}, {expected} ({max_request_bytes})"),
            );
        }
        let (max_bytes, answer_bytes) = (self.read.max_bytes, self.limits.session_answer_bytes);
        if usize::try_from(answer_bytes).is_ok_and(|answer_bytes| answer_bytes < max_bytes) {
            let expected = "expected at most limits.session_answer_bytes";
            problems.add("read.max_bytes", format!("is {max_bytes}, {expected} ({answer_bytes})"));
        }
        let Limits { stream_window_bytes, connection_window_bytes, max_streams, .. } = self.limits;
        let needed = u64::from(stream_window_bytes).saturating_mul(max_streams.into());
        if needed > connection_window_bytes.into() {
            let expected = "expected limits.stream_window_bytes times limits.max_streams to be at most";
            problems.add(
                "limits.max_streams",
                format!("is {max_streams}, {expected} {connection_window_bytes}, not {needed}"),
            );
        }
    }
}

fn log_format(root: &mut Section, problems: &mut Problems) -> LogFormat {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    root.one_of(keys::LOG_FORMAT.short(), &formats, problems).unwrap_or(LogFormat::Text)
}

/// Whether each of its filters names a level. Any other word would be the name of a target, and nothing else would be
/// logged.
pub(crate) fn is_log_level(text: &str) -> bool {
    let has_level = |filter: &str| {
        let level = filter.rsplit_once('=').map_or(filter, |(_, level)| level);
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    };
    text.split(',').all(has_level) && EnvFilter::try_new(text).is_ok()
}

pub(crate) const LOG_LEVELS: &str =
    "expected error, warn, info, debug, trace or off, or filters such as \"info,sluicegate=debug\"";

fn audit(mut table: Section, problems: &mut Problems) -> Audit {
    let has_file = table.has(keys::AUDIT_FILE.short());
    let file = table.path(keys::AUDIT_FILE.short(), problems);
    let claims = table.names(keys::AUDIT_CLAIMS.short(), problems);
    let ways = [("drop", false), ("refuse", true)];
    let refuses = table.one_of(keys::AUDIT_ON_FULL.short(), &ways, problems).unwrap_or(false);
    table.end(problems);
    let folder = file.as_deref().and_then(Path::parent).filter(|folder| *folder != Path::new(""));
    if let Some((folder, Err(error))) = folder.map(|folder| (folder, std::fs::metadata(folder))) {
        problems.add(keys::AUDIT_FILE.name, format!("{}: {error}", folder.display()));
    }
    for (key, is_set) in [(&keys::AUDIT_CLAIMS, !claims.is_empty()), (&keys::AUDIT_ON_FULL, refuses)] {
        if is_set && !has_file {
            problems.add(key.name.to_owned(), "is set without audit.file: set both");
        }
    }
    Audit { file, claims, refuses }
}

fn limits(mut table: Section, problems: &mut Problems) -> Limits {
    let limits = Limits {
        max_sessions: table.size(&keys::MAX_SESSIONS, problems),
        max_calls: table.size(&keys::MAX_CALLS, problems),
        max_connections: table.size(&keys::MAX_CONNECTIONS, problems),
        max_request_bytes: table.size(&keys::MAX_REQUEST_BYTES, problems),
        max_assembly_bytes: table.size(&keys::MAX_ASSEMBLY_BYTES, problems),
        max_commands_per_session: table.size(&keys::MAX_COMMANDS, problems),
        session_answer_bytes: table.number(&keys::SESSION_ANSWER_BYTES, problems),
        stream_window_bytes: table.number(&keys::STREAM_WINDOW_BYTES, problems),
        connection_window_bytes: table.number(&keys::CONNECTION_WINDOW_BYTES, problems),
        max_streams: table.number(&keys::MAX_STREAMS, problems),
        max_header_bytes: table.number(&keys::MAX_HEADER_BYTES, problems),
        max_session_age: Some(table.millis(&keys::MAX_SESSION_AGE, problems)).filter(|age| !age.is_zero()),
        max_consumers: table.size(&keys::MAX_CONSUMERS, problems),
        new_producers: table.size(&keys::NEW_PRODUCERS, problems),
    };
    table.end(problems);
    limits
}

fn session(mut table: Section, problems: &mut Problems) -> Session {
    let session = Session {
        ping_interval: table.millis(&keys::PING_INTERVAL, problems),
        close_timeout: table.millis(&keys::CLOSE_TIMEOUT, problems),
        drain_timeout: table.millis(&keys::DRAIN_TIMEOUT, problems),
    };
    table.end(problems);
    session
}

fn read(mut table: Section, problems: &mut Problems) -> Read {
    let read = Read {
        max_bytes: table.size(&keys::READ_MAX_BYTES, problems),
        cache_bytes: table.size(&keys::READ_CACHE_BYTES, problems),
        cache_age: table.millis(&keys::READ_CACHE, problems),
        wait: table.millis(&keys::READ_WAIT, problems),
        table_bytes: table.size(&keys::READ_TABLE_BYTES, problems),
        table_away: table.millis(&keys::READ_TABLE_AWAY, problems),
    };
    table.end(problems);
    read
}

fn consumers(mut table: Section, problems: &mut Problems) -> Consumers {
    let consumers = Consumers { idle_timeout: table.millis(&keys::CONSUMERS_IDLE_TIMEOUT, problems) };
    table.end(problems);
    consumers
}

fn write(mut table: Section, known: &Section, problems: &mut Problems) -> Write {
    let clusters = table.names(keys::WRITE_CLUSTERS.short(), problems);
    for name in clusters.iter().filter(|name| !known.has(name)) {
        let expected = expected_name(name, known.set_keys(), "clusters");
        problems.add("write.clusters", format!("has \"{}\", {expected}", name.escape_debug()));
    }
    table.end(problems);
    Write { clusters }
}
