//! The settings of a NATS cluster.

use std::fmt;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use nkeys::{KeyPair, KeyPairType};
use rustls::ClientConfig;
use sluicegate_tls_faults::{Settings, Shown};

/// The checked settings of one NATS system and its JetStream.
#[derive(Clone)]
pub struct ClusterConfig {
    /// Tried in random order, one at least.
    pub servers: Vec<ServerAddr>,
    /// Whether servers that a connected server announces are tried too.
    pub discover: bool,
    /// The credentials of the bridge.
    pub credentials: Credentials,
    /// If set, every connection uses TLS.
    pub tls: Option<Tls>,
    /// The JetStream domain; `None`: that of the servers.
    pub domain: Option<String>,
    /// Prefix of the subjects for answers.
    pub inbox: String,
    /// The wait of a read or a write for a connection, and for an answer.
    pub request_timeout: Duration,
    /// The most bytes of messages that are written at the same time.
    pub queue_bytes: usize,
    /// The most messages that are written at the same time.
    pub queue_records: usize,
    /// Differs if a value differs, or a file that one of them names.
    pub version: u64,
}

/// The credentials.
#[derive(Clone)]
pub enum Credentials {
    /// No credentials.
    None,
    /// A user's password.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an NKey: see [`Credentials::nkey`].
    NKey(String),
    /// The text of a `.creds` file: see [`Credentials::creds`].
    Creds(String),
}

impl ClusterConfig {
    /// Why TLS to a server failed.
    pub(super) fn explain(&self, fault: &rustls::Error) -> String {
        let client = self.tls.as_ref().map(|tls| &tls.client);
        let has_certificate = client.is_some_and(|client| client.client_auth_cert_resolver.has_certs());
        SETTINGS.explain(fault, Shown { has_certificate, was_asked: false })
    }
}

impl Credentials {
    /// The key that they are from. Without any, the one of user names.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::None | Self::Password { .. } => "user",
            Self::Token(_) => "token",
            Self::NKey(_) => "nkey",
            Self::Creds(_) => "creds",
        }
    }

    /// Takes the seed of a user's NKey.
    pub fn nkey(seed: &str) -> Option<Self> {
        let seed = seed.trim();
        let pair = KeyPair::from_seed(seed).ok()?;
        (pair.key_pair_type() == KeyPairType::User).then(|| Self::NKey(seed.to_owned()))
    }

    /// Takes the text of a `.creds` file: a user's JWT and the seed of its NKey.
    pub fn creds(text: &str) -> Option<Self> {
        // async-nats expects it after the last line too.
        let text = format!("{text}\n");
        ConnectOptions::new().credentials(&text).ok().map(|_| Self::Creds(text))
    }
}

/// The encryption of connections.
#[derive(Clone)]
pub struct Tls {
    /// With the CAs, and the client's certificate if there is one.
    pub client: ClientConfig,
    /// Whether the server expects TLS before it says anything.
    pub handshake_first: bool,
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, discover, credentials, tls, domain, inbox, .. } = self;
        let Self { request_timeout, queue_bytes, queue_records, .. } = self;
        f.debug_struct("ClusterConfig")
            .field("servers", &servers.iter().map(ServerAddr::as_url_str).collect::<Vec<_>>())
            .field("discover", discover)
            .field("credentials", credentials)
            .field("tls", tls)
            .field("domain", domain)
            .field("inbox", inbox)
            .field("request_timeout", request_timeout)
            .field("queue_bytes", queue_bytes)
            .field("queue_records", queue_records)
            .finish_non_exhaustive()
    }
}

/// Shows no secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => {
                f.debug_struct("Password").field("user", user).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token(…)"),
            Self::NKey(_) => f.write_str("NKey(…)"),
            Self::Creds(_) => f.write_str("Creds(…)"),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("handshake_first", &self.handshake_first).finish_non_exhaustive()
    }
}

const SETTINGS: Settings =
    Settings { ca: "tls.ca", certificate: Some(["tls.certificate", "tls.key"]), names: None, revoked: None };
