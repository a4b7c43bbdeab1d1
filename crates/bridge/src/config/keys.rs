//! Every key outside `[clusters]`, declared once: the parser takes defaults and ranges from here, and
//! `docs/reference/bridge-configuration.md` is rendered from here, without deprecated keys. `nats::keys` declares those
//! of NATS clusters in the same way.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use sluicegate_backend::suggestion::similar_among;

/// A key, with the words of its row in the reference.
pub(super) struct Key<V> {
    /// With its table, such as `limits.max_sessions`.
    pub(super) name: &'static str,
    /// The kind of value.
    pub(super) value: V,
    /// The meaning of the key.
    #[cfg(test)]
    pub(super) meaning: &'static str,
    /// Worst case in memory, or empty.
    #[cfg(test)]
    pub(super) cost: &'static str,
}

/// A whole number.
pub(super) struct Number {
    pub(super) default: u32,
    pub(super) range: RangeInclusive<u32>,
}

/// An IP address and a port, on loopback by default.
pub(super) struct Address {
    default_port: u16,
}

/// Anything else: its type and its default in words.
pub(super) struct Other {
    #[cfg(test)]
    kind: &'static str,
    #[cfg(test)]
    default: &'static str,
}

impl<V> Key<V> {
    /// Without its table.
    pub(super) fn short(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, key)| key)
    }
}

pub(super) const fn number(default: u32, range: RangeInclusive<u32>) -> Number {
    Number { default, range }
}

impl Address {
    /// On loopback: nobody from outside can connect.
    pub(super) fn default(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.default_port).into()
    }
}

const fn address(default_port: u16) -> Address {
    Address { default_port }
}

#[cfg_attr(not(test), expect(unused_variables, reason = "words for the reference"))]
pub(super) const fn other(kind: &'static str, default: &'static str) -> Other {
    Other {
        #[cfg(test)]
        kind,
        #[cfg(test)]
        default,
    }
}

macro_rules! keys {
    ($($key:ident: $type:ty = $name:literal, $value:expr, $meaning:literal, $cost:literal;)*) => {
        $(pub(super) const $key: Key<$type> = Key {
            name: $name,
            value: $value,
            #[cfg(test)]
            meaning: $meaning,
            #[cfg(test)]
            cost: $cost,
        };)*

        /// All names.
        pub(in crate::config) const NAMES: &[&str] = &[$($name),*];

        /// The rows of the reference, in its order.
        #[cfg(test)]
        pub(in crate::config) fn rows() -> Vec<Vec<String>> {
            vec![$($key.row()),*]
        }
    };
}
pub(super) use keys;

keys! {
    LISTEN: Address = "listen", address(7400),
        "Port for gateways and WebSocket clients; HTTP/1.1 and HTTP/2",
        "";
    ADMIN_LISTEN: Address = "admin_listen", address(7401),
        "Port for `/livez`, `/readyz`, `/metrics`, `/sessions`; plain HTTP/1.1",
        "";
    ADMIN_TOKEN: Other = "admin_token", other("string or file", "none"),
        "Token that lists sessions and ends them, on `admin_listen`",
        "";
    GATEWAY_SECRET: Other = "gateway_secret", other("string or file", "none"),
        "Secret that gateways send; at least 16 visible ASCII characters",
        "";
    SECOND_GATEWAY_SECRET: Other = "second_gateway_secret", other("string or file", "none"),
        "Also valid, while `gateway_secret` is being changed",
        "";
    LOG_FORMAT: Other = "log_format", other("`text` or `json`", "`text`"),
        "Format of log lines on stderr",
        "";
    LOG_LEVEL: Other = "log_level", other("level, or filters", "`RUST_LOG`, or `info`"),
        "Lines to log: `error`, `warn`, `info`, `debug`, or `TARGET=LEVEL,…`",
        "";
    TLS_CERTIFICATE: Other = "tls.certificate", other("path", "none"),
        "PEM certificate chain for `listen`",
        "";
    TLS_KEY: Other = "tls.key", other("path", "none"),
        "PEM private key of the certificate",
        "";
    TLS_CLIENT_CA: Other = "tls.client_ca", other("path", "none"),
        "PEM CA; gateways must present a certificate that it signed",
        "";
    MAX_SESSIONS: Number = "limits.max_sessions", number(10_000, 1..=1_000_000),
        "Open sessions; further upgrades get 503",
        "5 to 10 KiB idle after a fetch; see [memory](#memory-of-a-session)";
    MAX_CALLS: Number = "limits.max_calls", number(1000, 1..=100_000),
        "Concurrent plain HTTP requests; a waiting read counts as a session",
        "2 × `read.max_bytes`, writes 3 × `max_request_bytes` each";
    MAX_CONNECTIONS: Number = "limits.max_connections", number(4096, 1..=100_000),
        "Connections from gateways; the longest idle HTTP/1.1 one makes room",
        "`stream_window_bytes` × `max_streams` each";
    MAX_REQUEST_BYTES: Number = "limits.max_request_bytes", number(MIB, 1024..=64 * MIB),
        "Largest session message or HTTP body, in bytes (1009 or 413)",
        "up to 3 × this for each session";
    MAX_ASSEMBLY_BYTES: Number = "limits.max_assembly_bytes", number(64 * MIB, 1024..=1024 * MIB),
        "Unfinished messages of all clients of the bridge's own endpoint",
        "this in total";
    MAX_COMMANDS: Number = "limits.max_commands_per_session", number(16, 1..=1024),
        "Commands that one session runs concurrently",
        "";
    SESSION_ANSWER_BYTES: Number = "limits.session_answer_bytes", number(MIB, 16 * KIB..=1024 * MIB),
        "Answers of one session in progress or waiting for a slow client",
        "this for each session, plus one larger record";
    STREAM_WINDOW_BYTES: Number = "limits.stream_window_bytes", number(64 * KIB, 16 * KIB..=64 * MIB),
        "HTTP/2 window of one stream",
        "this for each stream";
    MAX_STREAMS: Number = "limits.max_streams", number(1000, 1..=100_000),
        "HTTP/2 streams of one connection; gateways open more connections",
        "`stream_window_bytes` each";
    MAX_HEADER_BYTES: Number = "limits.max_header_bytes", number(160 * KIB, 1024..=MIB),
        "Headers of one request; at least 2.5 × the gateway's own limit",
        "this for each request";
    MAX_SESSION_AGE: Number = "limits.max_session_age_ms", number(0, 0..=30 * DAY),
        "A session or a stream of events ends after this; 0: never",
        "";
    MAX_CONSUMERS: Number = "limits.consumers", number(1000, 1..=100_000),
        "Consumers in groups, of HTTP and sessions; further ones get 503 or an error",
        "[25 KiB each](../how-to/size.md#consumers-in-groups), 100 B a partition";
    NEW_PRODUCERS: Number = "limits.new_producers", number(10_000, 1..=1_000_000),
        "Producers that are new to a log, in an hour; further ones get 429 or an error",
        "250 B each in the broker, for a day: 60 MB for each bridge by default";
    IDENTITY_FROM_GATEWAY: Other = "identity.from_gateway", other("boolean", "`false`"),
        "Whether authenticated gateways tell who clients are",
        "";
    IDENTITY_LEEWAY: Number = "identity.leeway_ms", number(60_000, 0..=HOUR),
        "How long an expired identity is still valid, as clocks differ",
        "";
    ISSUER: Other = "identity.NAME.issuer", other("string", "required"),
        "The claim `iss` of the tokens that it verifies",
        "";
    AUDIENCE: Other = "identity.NAME.audience", other("list of strings", "required"),
        "The claim `aud` of tokens has one of these",
        "";
    ALGORITHMS: Other = "identity.NAME.algorithms", other("list of names", "all with public keys"),
        "Algorithms of signatures, such as `RS256` or `ES256`",
        "";
    JWKS_URL: Other = "identity.NAME.jwks_url", other("URL", "none"),
        "The issuer's keys; this, `jwks_file` or `secret` is required",
        "up to 256 KiB";
    JWKS_FILE: Other = "identity.NAME.jwks_file", other("path", "none"),
        "The issuer's keys, as a JWK Set",
        "";
    ISSUER_SECRET: Other = "identity.NAME.secret", other("string or file", "none"),
        "Shared with the issuer, for `HS256`; at least 32 characters",
        "";
    REVOCATION_FILE: Other = "revocation.list_file", other("path", "none"),
        "Revoked identities, as JSON, one on each line",
        "up to 32 MiB";
    REVOCATION_TOPIC: Other = "revocation.topic", other("string", "none"),
        "A topic with revoked identities, which no client can use",
        "up to 125 MiB";
    REVOCATION_CLUSTER: Other = "revocation.cluster", other("string", "`default`"),
        "The topic's cluster, a `clusters.NAME` of Kafka",
        "";
    AUDIT_FILE: Other = "audit.file", other("path", "none"),
        "The [audit log](logs.md#audit-log) of sessions, refusals and denials",
        "8 MiB";
    AUDIT_CLAIMS: Other = "audit.claims", other("list of names", "none"),
        "Claims at the root in its lines, beside `iss`, `sub` and `jti`",
        "1 KiB for each and each session";
    AUDIT_ON_FULL: Other = "audit.on_full", other("`drop` or `refuse`", "`drop`"),
        "While lines cannot be written: lose them, or refuse clients",
        "";
    PING_INTERVAL: Number = "session.ping_interval_ms", number(30_000, 100..=HOUR),
        "Silence before a ping; a message must be complete within three",
        "";
    DRAIN_TIMEOUT: Number = "session.drain_timeout_ms", number(10_000, 100..=HOUR),
        "Time from SIGTERM to exit; half of it is for commands in flight",
        "";
    READ_MAX_BYTES: Number = "read.max_bytes", number(256 * KIB, 1024..=64 * MIB),
        "Size of a fetch's answer; one larger record is still delivered",
        "this for each fetch in progress";
    READ_CACHE_BYTES: Number = "read.cache_bytes", number(64 * MIB, 0..=2048 * MIB),
        "Recently read records kept for other clients; 0: none",
        "this in total, and 2 MiB for each read of a cluster in progress";
    READ_CACHE: Number = "read.cache_ms", number(30_000, 0..=900_000),
        "How long they are served, even if they have been deleted meanwhile",
        "";
    READ_WAIT: Number = "read.wait_ms", number(100, 0..=30_000),
        "How long a fetch waits at the log end",
        "16 KiB reserved for each waiting fetch";
    READ_TABLE_BYTES: Number = "read.table_bytes", number(256 * MIB, 0..=4095 * MIB),
        "Tables: the newest record of each key of topics that routes list",
        "this in total, a quarter as much for keys of clients, and 8 MiB";
    READ_TABLE_AWAY: Number = "read.table_away_ms", number(HOUR, 1000..=30 * DAY),
        "How long a client can be away from a table before it begins anew",
        "";
    CONSUMERS_IDLE_TIMEOUT: Number = "consumers.idle_timeout_ms", number(300_000, 1000..=DAY),
        "A consumer, or a member that takes no records, leaves its group after this",
        "";
    SCHEMAS_URL: Other = "schemas.NAME.url", other("URL", "required"),
        "A [schema registry](schemas.md), which `clusters.NAME.schemas` names",
        "64 MiB of schemas";
    SCHEMAS_USERNAME: Other = "schemas.NAME.username", other("string", "none"),
        "The bridge's user there, with a `password`",
        "";
    SCHEMAS_PASSWORD: Other = "schemas.NAME.password", other("string or file", "none"),
        "The user's password",
        "";
    SCHEMAS_TOKEN: Other = "schemas.NAME.token", other("string or file", "none"),
        "A bearer token, in place of a user",
        "";
    SCHEMAS_CA: Other = "schemas.NAME.ca", other("path", "the system's"),
        "PEM CA of the registry's certificate",
        "";
    ON_MISSING_SCHEMA: Other = "schemas.NAME.on_missing_schema", other("`wait` or `bytes`", "`wait`"),
        "While it does not answer: wait, or give records as stored",
        "";
    WRITE_CLUSTERS: Other = "write.clusters", other("list of names", "none"),
        "Clusters that routes with write access can write to",
        "a producer each: 64 MiB by default";
    ALLOWED_HOSTS: Other = "route_clusters.allowed_hosts", other("list of `host:port` patterns", "none"),
        "Brokers that routes with their own cluster can name",
        "";
    ROUTE_WRITE: Other = "route_clusters.write", other("boolean", "`false`"),
        "Whether clusters of routes can be written to",
        "a producer for each cluster in use";
    ROUTE_MAX: Number = "route_clusters.max", number(100, 1..=10_000),
        "Clusters of routes in use at the same time; further ones get 503",
        "its connections, and its producer if written to";
    ROUTE_IDLE_TIMEOUT: Number = "route_clusters.idle_timeout_ms", number(60_000, 100..=HOUR),
        "An unused cluster's connections are closed after this",
        "";
    ROUTE_PROPERTIES: Other = "route_clusters.properties", other("table of properties", "none"),
        "Kafka properties for all clusters of routes",
        "";
    TRACES_ENDPOINT: Other = "traces.endpoint", other("`http://HOST:PORT`", "none"),
        "OpenTelemetry collector that takes OTLP over gRPC; see [traces](traces.md)",
        "up to 4,096 spans of about 1 KiB";
    TRACES_SAMPLE_RATIO: Other = "traces.sample_ratio", other("0 to 1", "`0.01`"),
        "Share of requests to trace if the gateway does not decide",
        "";
}

pub(super) const CONNECTION_WINDOW_BYTES: Key<Number> =
    deprecated("limits.connection_window_bytes", number(1024 * MIB, 64 * KIB..=1024 * MIB));
pub(super) const CLOSE_TIMEOUT: Key<Number> =
    deprecated("session.close_timeout_ms", number(5_000, 100..=HOUR));
pub(super) const TRACES_MAX_SPANS: Key<Number> =
    deprecated("traces.max_spans_per_second", number(1000, 1..=100_000));

/// Keys that one more version honours, with the value that the bridge chooses without them.
pub(super) const DEPRECATED: [(&str, &str); 3] = [
    (
        CONNECTION_WINDOW_BYTES.name,
        "1 GiB, the most that limits.stream_window_bytes × limits.max_streams can be",
    ),
    (CLOSE_TIMEOUT.name, "5 s"),
    (TRACES_MAX_SPANS.name, "1000"),
];

/// A key without a row in the reference.
const fn deprecated(name: &'static str, value: Number) -> Key<Number> {
    Key {
        name,
        value,
        #[cfg(test)]
        meaning: "",
        #[cfg(test)]
        cost: "",
    }
}

/// The table of all clusters.
pub(super) const CLUSTERS: &str = "clusters";

/// The keys and tables that stand in no table.
pub(super) fn roots() -> impl Iterator<Item = &'static str> {
    NAMES.iter().filter_map(|name| name.split('.').next()).chain([CLUSTERS])
}

/// The key or table that is meant by `name`: one of a similar name, or the key of that name in another table.
pub(super) fn meant(name: &str) -> Option<String> {
    similar_among(name, NAMES.iter().copied().chain(roots())).or_else(|| {
        let (_, short) = name.rsplit_once('.').unwrap_or(("", name));
        let of_key = |key: &'static str| key.rsplit_once('.').map_or(key, |(_, short)| short);
        let meant = similar_among(short, NAMES.iter().map(|key| of_key(key)))?;
        NAMES.iter().find(|key| of_key(key) == meant).map(|key| (*key).to_owned())
    })
}

const KIB: u32 = 1024;
pub(super) const MIB: u32 = 1024 * KIB;
/// In milliseconds.
const HOUR: u32 = 3_600_000;
const DAY: u32 = 24 * HOUR;

#[cfg(test)]
impl Key<Number> {
    pub(super) fn row(&self) -> Vec<String> {
        let Number { default, range } = &self.value;
        let range = format!("{} to {}", grouped(*range.start()), grouped(*range.end()));
        self.with(range, grouped(*default))
    }
}

#[cfg(test)]
impl Key<Address> {
    pub(super) fn row(&self) -> Vec<String> {
        self.with("IP address and port".to_owned(), self.value.default().to_string())
    }
}

#[cfg(test)]
impl Key<Other> {
    pub(super) fn row(&self) -> Vec<String> {
        self.with(self.value.kind.to_owned(), self.value.default.to_owned())
    }
}

#[cfg(test)]
impl<V> Key<V> {
    fn with(&self, takes: String, default: String) -> Vec<String> {
        let cost = if self.cost.is_empty() { "–" } else { self.cost };
        vec![format!("`{}`", self.name), takes, default, self.meaning.to_owned(), cost.to_owned()]
    }
}

/// With commas between thousands.
#[cfg(test)]
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let grouped: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8(grouped.join(&b',')).unwrap()
}
