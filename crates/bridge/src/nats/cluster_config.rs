//! The settings of a NATS cluster.

use std::time::Duration;

use async_nats::ServerAddr;
use rustls::ClientConfig;

/// How to reach one NATS system and its JetStream. The values were checked.
#[derive(Clone)]
pub(crate) struct ClusterConfig {
    /// Tried in random order, one at least.
    pub(crate) servers: Vec<ServerAddr>,
    /// Whether servers that a connected server announces are tried too.
    pub(crate) discover: bool,
    pub(crate) credentials: Credentials,
    /// If set, every connection uses TLS.
    pub(crate) tls: Option<Tls>,
    /// The JetStream domain; `None`: that of the servers.
    pub(crate) domain: Option<String>,
    /// What subjects for answers begin with.
    pub(crate) inbox: String,
    /// How long a read waits for a connection and an answer.
    pub(crate) request_timeout: Duration,
}

/// How to authenticate.
#[derive(Clone)]
pub(crate) enum Credentials {
    None,
    Password {
        user: String,
        password: String,
    },
    Token(String),
    /// The seed of an NKey.
    NKey(String),
    /// The content of a `.creds` file.
    #[cfg_attr(test, expect(dead_code, reason = "the tests' servers have no operator"))]
    Creds(String),
}

/// How to encrypt connections.
#[derive(Clone)]
pub(crate) struct Tls {
    /// With the CAs, and the client's certificate if there is one.
    pub(crate) client: ClientConfig,
    /// Whether the server expects TLS before it says anything.
    pub(crate) handshake_first: bool,
}
