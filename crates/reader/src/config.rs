//! What a cluster is, told under librdkafka's property names.

mod pem;
mod properties;
mod property_error;
mod sasl;
mod secret;
mod security;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use crate::address::{Address, AddressFamily};
use crate::sasl::Sasl;
use crate::security_protocol::SecurityProtocol;
use properties::Properties;

pub use property_error::PropertyError;
pub use secret::is_secret;
pub(crate) use security::Security;

/// How to reach and read one cluster.
///
/// | property | default | meaning |
/// |---|---|---|
/// | `bootstrap.servers` | required | `host:port,…`, asked a quarter of a second one after the other until one answers; `metadata.broker.list` is the same |
/// | `client.id` | `sluicegate` | shown in the brokers' logs and quotas |
/// | `client.rack` | none | where this reader is, in the words of the brokers' `broker.rack`: records are fetched from the replica that the leader finds nearest (KIP-392) |
/// | `security.protocol` | `plaintext` | `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`; see below |
/// | `socket.timeout.ms` | 5000 | the longest a call may take, connecting and retries included, besides the wait it asks for; what a broker is silent on for half of it is asked again, of whoever leads by then; a connection that is silent for all of it is closed |
/// | `socket.connection.setup.timeout.ms` | 3000 | the longest one connection may take to stand |
/// | `socket.keepalive.enable` | true | TCP keep-alive |
/// | `socket.nagle.disable` | true | send small requests at once |
/// | `socket.send.buffer.bytes` | 0 | the system's buffer of a connection, SO_SNDBUF; 0: as the system has it |
/// | `socket.receive.buffer.bytes` | 0 | likewise SO_RCVBUF |
/// | `connections.max.idle.ms` | 180000 | close a connection that was not used so long; 0: leave that to the broker |
/// | `reconnect.backoff.ms` | 100 | after a failed connect, calls to that broker fail at once for this long, doubling |
/// | `reconnect.backoff.max.ms` | 1000 | up to this |
/// | `metadata.max.age.ms` | 900000 | ask for the leaders again after this |
/// | `broker.address.family` | `any` | `v4` and `v6` use only such addresses |
/// | `receive.message.max.bytes` | 67108864 | the largest response, 16384 at least; a batch larger than this cannot be read. Worst case in memory: this for each of up to 20 connections to a broker, and of those that were given up or have reached the end of their authentication and are still being answered |
/// | `message.max.bytes` | 8388608 | the largest record, each header with 32 bytes more than it has; a larger one is an error that names its offset |
/// | `client.dns.lookup` | `use_all_dns_ips` | all addresses of a name are tried: nothing else is supported |
/// | `api.version.request` | true | brokers are asked which versions they speak: nothing else is supported |
/// | `isolation.level` | `read_uncommitted` | nothing else is supported by this version |
///
/// With `ssl` and `sasl_ssl`. PEM is read once, when the configuration is: a renewed certificate needs a new one.
///
/// | property | default | meaning |
/// |---|---|---|
/// | `ssl.ca.location` | the system's | PEM file, or directory of such, with the CAs to trust; `probe` is the default. A broker's certificate that is its own CA is not taken |
/// | `ssl.ca.pem` | | the CAs themselves |
/// | `ssl.certificate.location`, `ssl.certificate.pem` | | the client's certificate and its chain, for brokers that ask for one |
/// | `ssl.key.location`, `ssl.key.pem` | | its private key: PKCS#8, encrypted or not, PKCS#1 or SEC1 |
/// | `ssl.key.password` | | of an encrypted PKCS#8 key; not used where the key is not encrypted |
/// | `ssl.crl.location` | | PEM file of revocation lists, one for each CA: of several only the first counts. The broker's certificate must then be covered by one that is in force |
/// | `enable.ssl.certificate.verification` | true | false: any certificate is taken, and `ssl.ca.*` is not used |
/// | `ssl.endpoint.identification.algorithm` | `https` | the certificate must be for the host that is connected to; `none`: for any |
///
/// With `sasl_plaintext` and `sasl_ssl`.
///
/// | property | default | meaning |
/// |---|---|---|
/// | `sasl.mechanism` | required | `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`; `sasl.mechanisms` is the same |
/// | `sasl.username`, `sasl.password` | required | for all but OAUTHBEARER |
/// | `sasl.oauthbearer.method` | `default` | `default`: the token is in a file; `oidc`: an endpoint gives it for client credentials |
/// | `sasl.oauthbearer.token.endpoint.url` | required | `file:///path`, read for each authentication (KIP-768); with `oidc`, the endpoint's `https:` URL, or an `http:` one of this host (`localhost`, 127.0.0.0/8, `[::1]`): the secret is sent to it |
/// | `sasl.oauthbearer.client.id`, `sasl.oauthbearer.client.secret` | required | with `oidc`, sent as HTTP Basic credentials; `sasl.oauthbearer.client.credentials.client.id` and `….secret` are the same |
/// | `sasl.oauthbearer.scope` | | with `oidc`: what to ask for |
/// | `sasl.oauthbearer.grant.type` | `client_credentials` | with `oidc`: nothing else is honoured |
/// | `sasl.oauthbearer.metadata.authentication.type` | `none` | with `oidc`: nothing else is honoured |
/// | `sasl.oauthbearer.extensions` | | `name=value,…` for the broker (RFC 7628) |
/// | `https.ca.location`, `https.ca.pem` | the system's | with `oidc`: the CAs to trust for the endpoint |
///
/// Other names are accepted and mean nothing here, but for those that secure a connection (`ssl.*`, `sasl.*`, …):
/// ignoring them would send in the clear what was meant to be protected, so what has no effect is refused, unless it is
/// said above that it is not used.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the log calls the cluster; empty unless it was given a name.
    pub(crate) name: String,
    /// Never empty.
    pub(crate) bootstrap: Vec<Address>,
    pub(crate) client_id: String,
    pub(crate) rack: StrBytes,
    pub(crate) request_timeout: Duration,
    pub(crate) setup_timeout: Duration,
    pub(crate) keepalive: bool,
    pub(crate) nodelay: bool,
    /// 0: the system's.
    pub(crate) send_buffer: u32,
    /// 0: the system's.
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

impl Config {
    /// The same cluster under a name, by which log lines tell it from others at the same brokers.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Reads a cluster's properties.
    ///
    /// # Errors
    /// Every property that cannot be used, not only the first one.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<Self, Vec<PropertyError>> {
        // A password may begin or end with a space.
        let trimmed = |key, value| if is_secret(key) { value } else { str::trim(value) };
        let unread =
            properties.iter().map(|(key, value)| (key.as_str(), trimmed(key, value.as_str()))).collect();
        let mut read = Properties { unread, problems: Vec::new() };
        let security = read.security();
        read.refuse_isolation();
        read.refuse_connections();
        let config = Self {
            name: String::new(),
            bootstrap: read.bootstrap(security.protocol),
            client_id: read.name("client.id", "sluicegate"),
            rack: StrBytes::from_string(read.name("client.rack", "")),
            request_timeout: read.millis("socket.timeout.ms", 10, 300_000, 5_000),
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

    /// Whether brokers are shown tokens, and nothing else: SASL with OAUTHBEARER, without extensions.
    pub fn has_tokens(&self) -> bool {
        self.security.sasl.as_ref().is_some_and(|sasl| sasl.tokens().is_some())
    }

    /// The token that brokers are shown now, a secret, for another client of the same cluster.
    ///
    /// # Errors
    /// Why there is none, without a secret; within `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call lets the next one ask.
    pub async fn token(&self) -> Result<String, String> {
        let tokens = self.security.sasl.as_ref().and_then(Sasl::tokens);
        let tokens = tokens.ok_or_else(|| "brokers are shown no tokens".to_owned())?;
        let now = Instant::now();
        let deadline = now.checked_add(self.request_timeout).unwrap_or(now);
        tokens.get(deadline).await.map(|token| token.expose().to_owned()).map_err(|fault| fault.what)
    }

    /// How long a broker can be silent on a request that it could answer at once.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.request_timeout.checked_div(2).unwrap_or_default()
    }
}

impl Properties<'_> {
    /// Who asks for read_committed must not be given records of transactions that were aborted.
    fn refuse_isolation(&mut self) {
        match self.take("isolation.level") {
            None => {}
            Some(level) if level.eq_ignore_ascii_case("read_uncommitted") => {}
            Some(level) if level.eq_ignore_ascii_case("read_committed") => self.problem(
                "isolation.level",
                "expected `read_uncommitted`; `read_committed` is not supported by this version",
            ),
            Some(level) => {
                self.problem("isolation.level", format!("expected `read_uncommitted`, got `{level}`"));
            }
        }
    }

    /// Ways to connect that reads do not have.
    fn refuse_connections(&mut self) {
        if !self.boolean("api.version.request", true) {
            self.problem("api.version.request", "cannot be honoured by reads: expected `true`");
        }
        match self.take("client.dns.lookup") {
            None | Some("use_all_dns_ips") => {}
            Some(other) => self.problem(
                "client.dns.lookup",
                format!("cannot be honoured by reads: expected `use_all_dns_ips`, got `{other}`"),
            ),
        }
    }

    fn bootstrap(&mut self, protocol: SecurityProtocol) -> Vec<Address> {
        let (name, alias) = ("bootstrap.servers", "metadata.broker.list");
        // The one that was given.
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

/// Far above what anyone uses, far below what a request can carry.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[track_caller]
    fn config(pairs: &[(&str, &str)]) -> Config {
        Config::from_properties(&properties(pairs)).expect("a usable configuration")
    }

    #[track_caller]
    fn refused(pairs: &[(&str, &str)], want: &[&str]) {
        let problems = Config::from_properties(&properties(pairs)).expect_err("a configuration to refuse");
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, want);
    }

    #[test]
    fn bootstrap_servers_are_enough() {
        let config = config(&[("bootstrap.servers", "a:1, b")]);
        let addresses: Vec<String> = config.bootstrap.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["a:1", "b:9092"]);
        assert_eq!(config.client_id, "sluicegate");
        assert_eq!(config.request_timeout, Duration::from_secs(5));
    }

    #[test]
    fn librdkafkas_older_name_for_the_servers_works() {
        assert_eq!(
            config(&[("metadata.broker.list", "a:1")]).bootstrap,
            config(&[("bootstrap.servers", "a:1")]).bootstrap
        );
    }

    #[test]
    fn properties_that_concern_others_are_accepted() {
        config(&[("bootstrap.servers", "a:1"), ("queued.min.messages", "x")]);
    }

    #[test]
    fn every_property_of_the_table_is_read() {
        let long = "x".repeat(MAX_NAME + 1);
        for (property, wrong) in [
            ("metadata.broker.list", "b:1"),
            ("client.id", &long),
            ("client.rack", &long),
            ("security.protocol", "x"),
            ("socket.timeout.ms", "9"),
            ("socket.connection.setup.timeout.ms", "9"),
            ("socket.keepalive.enable", "x"),
            ("socket.nagle.disable", "x"),
            ("socket.send.buffer.bytes", "x"),
            ("socket.receive.buffer.bytes", "x"),
            ("connections.max.idle.ms", "x"),
            ("reconnect.backoff.ms", "x"),
            ("reconnect.backoff.max.ms", "x"),
            ("metadata.max.age.ms", "0"),
            ("broker.address.family", "x"),
            ("receive.message.max.bytes", "16383"),
            ("message.max.bytes", "999"),
            ("isolation.level", "x"),
            ("api.version.request", "x"),
            ("client.dns.lookup", "x"),
        ] {
            let properties = properties(&[("bootstrap.servers", "a:1"), (property, wrong)]);
            let problems = Config::from_properties(&properties).expect_err(property);
            let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
            assert_eq!(keys, [property]);
        }
    }

    #[test]
    fn an_isolation_that_reads_do_not_have_is_refused() {
        let servers = ("bootstrap.servers", "a:1");
        refused(
            &[servers, ("isolation.level", "read_committed")],
            &[
                "`isolation.level`: expected `read_uncommitted`; `read_committed` is not supported by this version",
            ],
        );
        refused(
            &[servers, ("isolation.level", "2")],
            &["`isolation.level`: expected `read_uncommitted`, got `2`"],
        );
    }

    #[test]
    fn an_idle_limit_of_zero_is_none() {
        let config = config(&[("bootstrap.servers", "a:1"), ("connections.max.idle.ms", "0")]);
        assert_eq!(config.max_idle, None);
    }

    #[test]
    fn ways_to_connect_that_reads_do_not_have_are_refused() {
        let servers = ("bootstrap.servers", "a:1");
        refused(
            &[servers, ("api.version.request", "false")],
            &["`api.version.request`: cannot be honoured by reads: expected `true`"],
        );
        refused(
            &[servers, ("client.dns.lookup", "resolve_canonical_bootstrap_servers_only")],
            &["`client.dns.lookup`: cannot be honoured by reads: expected `use_all_dns_ips`, got \
               `resolve_canonical_bootstrap_servers_only`"],
        );
        config(&[servers, ("api.version.request", "true"), ("client.dns.lookup", "use_all_dns_ips")]);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        refused(
            &[
                ("bootstrap.servers", "a:x,b:70000"),
                ("security.protocol", "SASL_SSL"),
                ("ssl.ca.location", "/nowhere"),
                ("ssl.keystore.password", "secret"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.password", "secret"),
                ("socket.timeout.ms", "soon"),
                ("socket.keepalive.enable", "maybe"),
                ("broker.address.family", "ipx"),
            ],
            &[
                "`ssl.ca.location`: cannot read `/nowhere`: No such file or directory (os error 2)",
                "`sasl.username`: is required: expected the name of a user",
                "`ssl.keystore.password`: cannot be honoured by reads: expected PEM: `openssl pkcs12 -in KEYSTORE -out \
                 client.pem` writes what `ssl.certificate.location`, `ssl.key.location` (with `ssl.key.password`) and \
                 `ssl.ca.location` read; of a JKS file `keytool -importkeystore -srckeystore OLD -destkeystore KEYSTORE \
                 -deststoretype pkcs12` makes such a KEYSTORE",
                "`bootstrap.servers`: expected a port from 1 to 65535 in `a:x`",
                "`bootstrap.servers`: expected a port from 1 to 65535 in `b:70000`",
                "`socket.timeout.ms`: expected 10 to 300000 milliseconds, got `soon`",
                "`socket.keepalive.enable`: expected `true` or `false`, got `maybe`",
                "`broker.address.family`: expected `any`, `v4` or `v6`, got `ipx`",
            ],
        );
    }

    #[test]
    fn servers_are_required_and_not_empty() {
        refused(&[], &["`bootstrap.servers`: is required: expected `host:port[,host:port…]`"]);
        refused(
            &[("bootstrap.servers", " , ")],
            &["`bootstrap.servers`: is empty: expected `host:port[,host:port…]`"],
        );
    }
}
