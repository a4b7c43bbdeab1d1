//! The configuration of a cluster, in librdkafka's properties.

mod pem;
mod properties;
mod sasl;
mod security;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use properties::Properties;
pub use properties::is_secret;
pub(crate) use security::Security;
#[cfg(test)]
pub(crate) use security::tests as security_tests;
use sluicegate_records::Limits;
use tokio::time::Instant;

use crate::address::{Address, AddressFamily, SecurityProtocol};
use crate::network::Network;
use crate::observer::Observer;
use crate::sasl::Sasl;

/// The configuration of reads from one cluster.
///
/// | property | default | meaning |
/// |---|---|---|
/// | `bootstrap.servers` | required | `host:port,…`, contacted a quarter of a second apart until one answers; `metadata.broker.list` is an alias |
/// | `client.id` | `sluicegate` | the client's name in the brokers' logs and quotas |
/// | `client.rack` | none | the rack of this client, as in the brokers' `broker.rack`: records are fetched from the leader's preferred replica (KIP-392) |
/// | `security.protocol` | `plaintext` | `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; see below |
/// | `socket.timeout.ms` | 5000 | the timeout of a call, including connections and retries, on top of its requested wait. A request without a response for half of it is retried; a connection that is silent for all of it is closed |
/// | `fetch.wait.max.ms` | 2000 | the longest that a broker may hold a request for records that calls wait for |
/// | `socket.connection.setup.timeout.ms` | 3000 | the timeout for opening a connection |
/// | `socket.keepalive.enable` | true | TCP keep-alive |
/// | `socket.nagle.disable` | true | sends small requests at once |
/// | `socket.send.buffer.bytes` | 0 | the system's send buffer of a connection (SO_SNDBUF); 0: the system's default |
/// | `socket.receive.buffer.bytes` | 0 | likewise the receive buffer (SO_RCVBUF) |
/// | `connections.max.idle.ms` | 180000 | closes connections that are idle for this long; 0: leaves that to the broker |
/// | `reconnect.backoff.ms` | 100 | the back-off after a failed connection, during which calls to that broker fail at once; it doubles with each failure |
/// | `reconnect.backoff.max.ms` | 1000 | the maximum back-off |
/// | `metadata.max.age.ms` | 900000 | the age at which metadata is refreshed |
/// | `broker.address.family` | `any` | `v4` and `v6` use only addresses of that family |
/// | `receive.message.max.bytes` | 67108864 | the largest response, at least 16384; larger batches cannot be read. Worst case in memory: this for each of up to 20 connections to a broker, and for each retired connection that still has a response to receive |
/// | `message.max.bytes` | 8388608 | the largest record, counting 32 extra bytes per header; larger records are an error with their offset |
/// | `client.dns.lookup` | `use_all_dns_ips` | all addresses of a name are tried; no other value is supported |
/// | `api.version.request` | true | brokers are asked for their API versions; no other value is supported |
/// | `isolation.level` | `read_uncommitted` | each fetch can choose `read_committed` for itself |
///
/// With `ssl` and `sasl_ssl`. PEM is read once, with the configuration: a renewed certificate requires a new
/// configuration.
///
/// | property | default | meaning |
/// |---|---|---|
/// | `ssl.ca.location` | the system's | PEM file, or directory of PEM files, with the trusted CAs; `probe` is the default. A broker certificate that is its own CA is rejected |
/// | `ssl.ca.pem` | | the CAs themselves, in PEM |
/// | `ssl.certificate.location`, `ssl.certificate.pem` | | the client's certificate chain, for brokers that request one |
/// | `ssl.key.location`, `ssl.key.pem` | | its private key: PKCS#8, encrypted or not, PKCS#1 or SEC1 |
/// | `ssl.key.password` | | the password of an encrypted PKCS#8 key; ignored for other keys |
/// | `ssl.crl.location` | | PEM file of revocation lists, one per CA; only the first of several for one CA is used. A current list must then cover the broker's certificate |
/// | `enable.ssl.certificate.verification` | true | `false` accepts any certificate and ignores `ssl.ca.*` |
/// | `ssl.endpoint.identification.algorithm` | `https` | the certificate must match the broker's host name; `none` accepts any name |
///
/// With `sasl_plaintext` and `sasl_ssl`.
///
/// | property | default | meaning |
/// |---|---|---|
/// | `sasl.mechanism` | required | `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`; `sasl.mechanisms` is an alias |
/// | `sasl.username`, `sasl.password` | required | for all mechanisms but OAUTHBEARER |
/// | `sasl.oauthbearer.method` | `default` | `default` reads the token from a file; `oidc` requests it from an endpoint with client credentials |
/// | `sasl.oauthbearer.token.endpoint.url` | required | `file:///path`, read for each authentication (KIP-768); with `oidc`, the endpoint's `https:` URL, or an `http:` URL of this host (`localhost`, 127.0.0.0/8, `[::1]`), because it receives the secret |
/// | `sasl.oauthbearer.client.id`, `sasl.oauthbearer.client.secret` | required | with `oidc`, sent as HTTP Basic credentials; `sasl.oauthbearer.client.credentials.client.id` and `….secret` are aliases |
/// | `sasl.oauthbearer.scope` | | with `oidc`: the requested scope |
/// | `sasl.oauthbearer.grant.type` | `client_credentials` | with `oidc`; no other value is supported |
/// | `sasl.oauthbearer.metadata.authentication.type` | `none` | with `oidc`; no other value is supported |
/// | `sasl.oauthbearer.extensions` | | `name=value,…` for the broker (RFC 7628) |
/// | `https.ca.location`, `https.ca.pem` | the system's | with `oidc`: the trusted CAs of the endpoint |
///
/// Other properties are ignored, except those that secure a connection (`ssl.*`, `sasl.*`, …). Ignoring these could
/// send plaintext that was meant to be protected, so any without an effect is an error, unless it is documented as
/// ignored above.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name in log lines; empty if it has none.
    pub(crate) name: String,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    /// None: TCP.
    pub(crate) network: Option<Arc<dyn Network>>,
    /// Never empty.
    pub(crate) bootstrap: Vec<Address>,
    pub(crate) client_id: String,
    pub(crate) rack: StrBytes,
    pub(crate) request_timeout: Duration,
    pub(crate) max_fetch_wait: Duration,
    pub(crate) setup_timeout: Duration,
    pub(crate) keepalive: bool,
    pub(crate) nodelay: bool,
    /// 0: the system's default.
    pub(crate) send_buffer: u32,
    /// 0: the system's default.
    pub(crate) receive_buffer: u32,
    pub(crate) security: Security,
    pub(crate) max_idle: Option<Duration>,
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) family: AddressFamily,
    pub(crate) max_response_bytes: usize,
    pub(crate) max_record_bytes: usize,
}

/// An invalid property.
///
/// It shows no value that can be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct PropertyError {
    /// The property's name.
    pub key: String,
    /// The problem, and the expected value.
    pub problem: String,
}

impl Config {
    /// The same cluster with a name for log lines, which tells it from others at the same brokers.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The same cluster, whose reader tells `observer` of its requests.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The same cluster, reached over `network` in place of TCP.
    #[must_use]
    pub fn over(self, network: Arc<dyn Network>) -> Self {
        Self { network: Some(network), ..self }
    }

    /// Reads a cluster's properties.
    ///
    /// # Errors
    /// All invalid properties, not only the first one.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self, Vec<PropertyError>> {
        // A password can begin or end with a space.
        let trimmed = |key, value| if is_secret(key) { value } else { str::trim(value) };
        let unread =
            properties.iter().map(|(key, value)| (key.as_str(), trimmed(key, value.as_str()))).collect();
        let mut read = Properties { unread, problems: Vec::new() };
        let security = read.security();
        read.reject_isolation();
        read.reject_connections();
        let config = Self {
            name: String::new(),
            observer: None,
            network: None,
            bootstrap: read.bootstrap(security.protocol),
            client_id: read.name("client.id", "sluicegate"),
            rack: StrBytes::from_string(read.name("client.rack", "")),
            request_timeout: read.millis("socket.timeout.ms", 10, 300_000, 5_000),
            max_fetch_wait: read.millis("fetch.wait.max.ms", 10, 300_000, 2_000),
            setup_timeout: read.millis("socket.connection.setup.timeout.ms", 10, 300_000, 3_000),
            keepalive: read.boolean("socket.keepalive.enable", true),
            nodelay: read.boolean("socket.nagle.disable", true),
            send_buffer: read.buffer("socket.send.buffer.bytes"),
            receive_buffer: read.buffer("socket.receive.buffer.bytes"),
            max_idle: Some(read.millis(
                "connections.max.idle.ms",
                0,
                i32::MAX.unsigned_abs().into(),
                180_000,
            ))
            .filter(|idle| !idle.is_zero()),
            backoff: read.millis("reconnect.backoff.ms", 0, 3_600_000, 100),
            backoff_max: read.millis("reconnect.backoff.max.ms", 0, 3_600_000, 1_000),
            metadata_max_age: read.millis("metadata.max.age.ms", 1, 86_400_000, 900_000),
            family: read.family(),
            max_response_bytes: read.bytes("receive.message.max.bytes", 16_384, 64 << 20),
            max_record_bytes: read.bytes("message.max.bytes", 1_000, 8 << 20),
            security,
        };
        if read.problems.is_empty() { Ok(config) } else { Err(read.problems) }
    }

    /// The limits for encoding records into `max_bytes`.
    pub(crate) fn record_limits(&self, max_bytes: usize) -> Limits {
        Limits {
            max_bytes,
            max_record_bytes: self.max_record_bytes,
            max_batch_bytes: self.max_response_bytes,
        }
    }

    /// Whether brokers receive tokens and nothing else: SASL with OAUTHBEARER, without extensions.
    pub fn has_tokens(&self) -> bool {
        self.security.sasl.as_ref().is_some_and(|sasl| sasl.tokens().is_some())
    }

    /// The current token for brokers, a secret, for another client of the same cluster.
    ///
    /// # Errors
    /// Why there is no token, without secrets; within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call lets the next one request a token.
    pub async fn token(&self) -> Result<String, String> {
        let tokens = self.security.sasl.as_ref().and_then(Sasl::tokens);
        let tokens = tokens.ok_or_else(|| {
            "this cluster is not configured for tokens (sasl.mechanism = OAUTHBEARER without extensions)"
                .to_owned()
        })?;
        let now = Instant::now();
        let deadline = now.checked_add(self.request_timeout).unwrap_or(now);
        tokens.get(deadline).await.map(|token| token.expose().to_owned()).map_err(|fault| fault.what)
    }

    /// The time for which a broker can be silent on a request that it could answer at once.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.request_timeout.checked_div(2).unwrap_or_default()
    }
}

impl Properties<'_> {
    /// A client that requires read_committed must not receive records of aborted transactions.
    fn reject_isolation(&mut self) {
        match self.take("isolation.level") {
            None => {}
            Some(level) if level.eq_ignore_ascii_case("read_uncommitted") => {}
            Some(level) if level.eq_ignore_ascii_case("read_committed") => self.problem(
                "isolation.level",
                "expected `read_uncommitted`; each fetch chooses `read_committed` for itself",
            ),
            Some(level) => {
                self.problem("isolation.level", format!("expected `read_uncommitted`, got `{level}`"));
            }
        }
    }

    /// Rejects unsupported ways to connect.
    fn reject_connections(&mut self) {
        if !self.boolean("api.version.request", true) {
            self.problem("api.version.request", "expected `true`, no other value is supported");
        }
        match self.take("client.dns.lookup") {
            None | Some("use_all_dns_ips") => {}
            Some(other) => self.problem(
                "client.dns.lookup",
                format!("expected `use_all_dns_ips`, no other value is supported, got `{other}`"),
            ),
        }
    }

    fn bootstrap(&mut self, protocol: SecurityProtocol) -> Vec<Address> {
        let (name, alias) = ("bootstrap.servers", "metadata.broker.list");
        // The key that is set.
        let key = if self.unread.contains_key(name) { name } else { alias };
        let Some(value) = self.either(name, alias) else {
            self.problem(name, "is required: expected `host:port[,host:port…]`");
            return Vec::new();
        };
        let mut addresses = Vec::new();
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match Address::parse(part, protocol) {
                Ok(address) if addresses.contains(&address) => {}
                Ok(address) => addresses.push(address),
                Err(problem) => self.problem(key, problem),
            }
        }
        if addresses.is_empty() && !self.problems.iter().any(|problem| problem.key == key) {
            self.problem(key, "is empty: expected `host:port[,host:port…]`");
        }
        addresses
    }

    fn name(&mut self, key: &str, default: &str) -> String {
        let name = self.take(key).unwrap_or(default).to_owned();
        if name.len() > MAX_NAME {
            self.problem(key, format!("has {} bytes: expected at most {MAX_NAME}", name.len()));
        }
        name
    }

    fn family(&mut self) -> AddressFamily {
        match self.take("broker.address.family") {
            None | Some("any") => AddressFamily::Any,
            Some("v4") => AddressFamily::V4,
            Some("v6") => AddressFamily::V6,
            Some(other) => {
                self.problem("broker.address.family", format!("expected `any`, `v4` or `v6`, got `{other}`"));
                AddressFamily::Any
            }
        }
    }
}

/// Far above real names, far below the limit of a request.
const MAX_NAME: usize = 255;

#[cfg(test)]
pub(crate) mod tests;
