//! The configuration: one TOML file and environment overrides become checked values, or all of their problems.
//!
//! 1. `tree`: the file and the environment, as one tree of keys
//! 2. `section`: keys are taken out of it one by one; what is wrong or left over is a problem
//! 3. here: defaults, bounds, and what must fit together

mod cluster;
mod hosts;
mod keys;
mod route_clusters;
mod secret;
mod section;
mod tls;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

pub use self::cluster::Cluster;
pub use self::route_clusters::RouteClusters;
pub(crate) use self::route_clusters::{Defined, NAME as ROUTE_CLUSTERS, is_of_definition};
pub use self::secret::Secret;
pub use self::tls::Tls;

use self::section::{Problems, Section};

/// All that can be configured.
#[derive(Debug)]
pub struct Config {
    /// Where gateways connect: HTTP/2 or HTTP/1.1, over TLS with `tls`. Default 127.0.0.1:7400; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are, over plain HTTP/1.1. Default 127.0.0.1:7401. It shows the names of
    /// clusters and counters, nothing of what is read, and may be bound beyond loopback.
    pub admin_listen: SocketAddr,
    /// What a gateway must send in `sluicegate-gateway-secret` with every request, health checks included: 16 or more
    /// printable ASCII characters, or `{ file = "…" }`. Default: nothing is asked for, which is accepted on loopback
    /// only.
    pub gateway_secret: Option<Secret>,
    /// TLS on `listen`.
    pub tls: Option<Tls>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is bounded.
    pub limits: Limits,
    /// When sessions end.
    pub session: Session,
    /// How fetches are made.
    pub read: Read,
    /// What may be written.
    pub write: Write,
    /// What becomes of clusters that gateways' routes carry.
    pub route_clusters: RouteClusters,
    /// `[clusters.NAME]`: what may be read from and written to.
    pub clusters: BTreeMap<String, Cluster>,
    /// `SLUICEGATE_…` variables without a meaning here: another program's, or misspelt.
    pub ignored_variables: Vec<String>,
}

/// `log_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[limits]`.
#[derive(Debug)]
pub struct Limits {
    /// Open sessions. Default 10,000; one costs some 20 KiB after a fetch, and at most `session_answer_bytes` and three times
    /// `max_request_bytes` besides, seven times for a peer of HTTP/2 that is not the gateway's filter.
    pub max_sessions: usize,
    /// Plain HTTP requests that run at the same time. Default 1,000; one costs at most `read.max_bytes`
    /// twice, or `max_request_bytes` three times where it writes. Those that wait at the log end do not count: as many as
    /// `max_sessions` may, and one more does not wait; one of them costs at most 32 KiB.
    pub max_calls: usize,
    /// Gateways' connections. Default 4,096; one costs at most `stream_window_bytes` × `max_streams`. A further one takes the place of
    /// the HTTP/1.1 connection that has been idle for longest, or waits. An HTTP/1.1 connection that has become a session counts as
    /// that alone.
    pub max_connections: usize,
    /// Largest request, in bytes: of a session, or as the body of a plain HTTP request, which may have headers of
    /// `max_header_bytes` besides. Default 1 MiB.
    pub max_request_bytes: usize,
    /// Bytes of messages that clients of the WebSocket endpoint have begun and not finished, all of them together. Default 64 MiB; at
    /// least `max_request_bytes`. One address can hold an eighth, or one message if that is more; clients behind one proxy have
    /// one address. An address above its share, or the one that holds most when all is taken, loses its oldest message: that
    /// session is closed with 1013. A message that takes three times `ping_interval` is closed with 1008.
    pub max_assembly_bytes: usize,
    /// Kafka commands that one session runs at the same time. Default 16.
    pub max_commands_per_session: usize,
    /// Bytes of answers that one session may have in the making or waiting for a slow client. Default 1 MiB. Each fetch
    /// reserves `read.max_bytes` before it reads; a single record that is larger exceeds its reservation by its size. No other
    /// session loses anything when it is full.
    pub session_answer_bytes: u32,
    /// Bytes that a gateway may send on one stream before the bridge has used them. Default 64 KiB.
    pub stream_window_bytes: u32,
    /// The same for one connection. Default 1 GiB, which takes no memory: its streams are bounded already. Never less than
    /// `stream_window_bytes` × `max_streams`: sessions that the bridge does not read would stop all others. HTTP/2's
    /// library ends a connection whose unread frames are shorter than 256 bytes by half of this together; so the filter pads, and
    /// other peers are always read.
    pub connection_window_bytes: u32,
    /// Streams of one connection. Default 1,000; gateways open more connections when they need more.
    pub max_streams: u32,
    /// Size of a request's headers, in bytes. Default 160 KiB: a list that is larger may end its connection, and with it
    /// the sessions of other clients. So this stays above two and a half times what the gateway lets through (a path travels twice,
    /// once in base64), and 32 bytes for each header.
    pub max_header_bytes: u32,
}

/// `[session]`.
#[derive(Debug)]
pub struct Session {
    /// `ping_interval_ms`: silence before a ping; after two without an answer the session ends. A connection that takes nothing for four
    /// times this is cut off. Default 30 s.
    pub ping_interval: Duration,
    /// `close_timeout_ms`: how long the last message may take on its way. Default 5 s.
    pub close_timeout: Duration,
    /// `drain_timeout_ms`: from SIGTERM to the end, half of it for the commands in flight. Default 10 s.
    pub drain_timeout: Duration,
}

/// `[read]`.
#[derive(Debug)]
pub struct Read {
    /// Size of a fetch's answer, in bytes. Default 256 KiB; at most `limits.session_answer_bytes`. One record is delivered
    /// even if it is larger.
    pub max_bytes: usize,
    /// `wait_ms`: how long a fetch at the log end waits for a record. Default 100 ms.
    pub wait: Duration,
}

/// `[write]`.
#[derive(Debug)]
pub struct Write {
    /// The clusters that may be written to, where a gateway's route allows it too. Default: none.
    pub clusters: BTreeSet<String>,
}

/// Something in the configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// What it is and what was expected. Never a secret.
    pub problem: String,
}

/// What a problem is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A key of the file, dotted. Empty where the whole file is meant.
    Key(String),
    /// An environment variable.
    Variable(String),
}

impl Config {
    /// Checks the text of a file (empty: none) with overrides from `environment`.
    ///
    /// A variable is `SLUICEGATE_` and the key in capitals, with `__` for the dot of a table: `SLUICEGATE_LISTEN`,
    /// `SLUICEGATE_LIMITS__MAX_SESSIONS`. In a cluster's table every other `_` is a dot of the property's name:
    /// `SLUICEGATE_CLUSTERS__DEFAULT__BOOTSTRAP_SERVERS`. The cluster's name is found whatever its case, and `_` stands for
    /// its '-' and '.'. With `__FILE` behind it a variable is the path of a file that holds the value. One whose first part is
    /// no key of the root is left alone: other programs have such variables, and Kubernetes sets some for each Service.
    ///
    /// # Errors
    /// Every problem, in the order of the keys.
    pub fn load(
        file: &str,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let (tree, ignored_variables) = tree::read(file, environment, &mut problems);
        let mut root = Section::root(tree);
        let clusters = root.table_or_empty("clusters", &mut problems);
        let has_secret = root.has("gateway_secret");
        let of_routes = root.table_or_empty("route_clusters", &mut problems);
        let route_clusters = route_clusters::parse(of_routes, &mut problems);
        let config = Self {
            listen: root.address(&keys::LISTEN, &mut problems),
            admin_listen: root.address(&keys::ADMIN_LISTEN, &mut problems),
            gateway_secret: root.secret(keys::GATEWAY_SECRET.short(), &mut problems),
            tls: root.table("tls", &mut problems).and_then(|table| tls::parse(table, &mut problems)),
            log_format: log_format(&mut root, &mut problems),
            limits: limits(root.table_or_empty("limits", &mut problems), &mut problems),
            session: session(root.table_or_empty("session", &mut problems), &mut problems),
            read: read(root.table_or_empty("read", &mut problems), &mut problems),
            write: write(root.table_or_empty("write", &mut problems), &clusters, &mut problems),
            clusters: cluster::all(clusters, !route_clusters.allows_any(), &mut problems),
            route_clusters,
            ignored_variables,
        };
        root.end(&mut problems);
        config.check_together(has_secret, &mut problems);
        problems.into_result(config)
    }

    /// Whether every gateway has to show who it is.
    pub(crate) fn knows_gateways(&self) -> bool {
        self.gateway_secret.is_some() || self.tls.as_ref().is_some_and(|tls| tls.mutual)
    }

    /// A secret that cannot be read is a problem by itself, and no other one.
    fn check_together(&self, has_secret: bool, problems: &mut Problems) {
        let knows_gateways = has_secret || self.knows_gateways();
        for (name, cluster) in self.clusters.iter().filter(|(name, _)| self.write.clusters.contains(*name)) {
            if let Err(problem) = cluster.writer.check_together() {
                problems.add(format!("clusters.{name}"), format!("cannot be written to: {problem}"));
            }
        }
        if !self.listen.ip().is_loopback() && !knows_gateways {
            let problem = "is not a loopback address: expected `gateway_secret` or `tls.client_ca` with it";
            problems.add("listen", format!("{} {problem}", self.listen));
        }
        if self.route_clusters.allows_any() {
            if !knows_gateways {
                let problem = "is for gateways that show who they are: expected `gateway_secret` or `tls.client_ca` with it";
                problems.add("route_clusters.allowed_hosts", problem);
            }
            if self.clusters.contains_key(ROUTE_CLUSTERS) {
                let problem = "has the name under which clusters of routes are counted: expected another one";
                problems.add(format!("clusters.{ROUTE_CLUSTERS}"), problem);
            }
        }
        if self.admin_listen == self.listen && self.listen.port() != 0 {
            let problem = format!("is {}, which `listen` is too: expected another port", self.listen);
            problems.add("admin_listen", problem);
        }
        let Limits { max_request_bytes, max_assembly_bytes, .. } = self.limits;
        if max_assembly_bytes < max_request_bytes {
            let expected = "expected at least limits.max_request_bytes";
            problems.add(
                "limits.max_assembly_bytes",
                format!("is {max_assembly_bytes}, {expected}, {max_request_bytes}"),
            );
        }
        let (max_bytes, answer_bytes) = (self.read.max_bytes, self.limits.session_answer_bytes);
        if usize::try_from(answer_bytes).is_ok_and(|answer_bytes| answer_bytes < max_bytes) {
            let expected = "expected at most limits.session_answer_bytes";
            problems.add("read.max_bytes", format!("is {max_bytes}, {expected}, {answer_bytes}"));
        }
        let Limits { stream_window_bytes, connection_window_bytes, max_streams, .. } = self.limits;
        let needed = u64::from(stream_window_bytes).saturating_mul(max_streams.into());
        if needed > connection_window_bytes.into() {
            let expected = "expected at least limits.stream_window_bytes times limits.max_streams";
            problems.add(
                "limits.connection_window_bytes",
                format!("is {connection_window_bytes}, {expected}, {needed}"),
            );
        }
    }
}

fn log_format(root: &mut Section, problems: &mut Problems) -> LogFormat {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    root.one_of(keys::LOG_FORMAT.short(), &formats, problems).unwrap_or(LogFormat::Text)
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
        wait: table.millis(&keys::READ_WAIT, problems),
    };
    table.end(problems);
    read
}

fn write(mut table: Section, known: &Section, problems: &mut Problems) -> Write {
    let clusters = table.names(keys::WRITE_CLUSTERS.short(), problems);
    for name in clusters.iter().filter(|name| !known.has(name)) {
        let problem = format!("has \"{}\", expected the NAME of a [clusters.NAME]", name.escape_debug());
        problems.add("write.clusters", problem);
    }
    table.end(problems);
    Write { clusters }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Place::Key(name) | Place::Variable(name)) = &self.place;
        if !name.is_empty() {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.problem)
    }
}

impl From<String> for Place {
    fn from(key: String) -> Self {
        Self::Key(key)
    }
}

impl From<&str> for Place {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

/// Where nothing else is configured, nobody from outside gets in.
const DEFAULT_HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
