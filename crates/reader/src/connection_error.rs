//! Errors of connections to brokers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The failure of a connection, or of the attempt to open one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionError {
    /// The broker's name does not resolve to an address of an allowed family.
    #[error("cannot resolve {address}")]
    Resolve {
        /// `host:port`.
        address: String,
        /// The resolver's error.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The broker or the network refused the connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// `host:port`.
        address: String,
        /// The system's error.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The TLS handshake failed, or only one side uses TLS.
    #[error("no secure connection to {address}: {what}")]
    Tls {
        /// `host:port`.
        address: String,
        /// The problem, and the property to check.
        what: String,
        /// Whether the network can be at fault, rather than a certificate or the configuration.
        retriable: bool,
    },
    /// The broker rejected the credentials, or could not prove its identity. Contains no secrets.
    #[error("authentication with {address} failed: {what}")]
    Authentication {
        /// `host:port`.
        address: String,
        /// The broker's reason.
        what: String,
        /// Whether the credentials are a token, and the broker can accept the next one.
        retriable: bool,
    },
    /// There is no token for the authentication. Contains no secrets.
    #[error("no token for the authentication with {address}: {what}")]
    Token {
        /// `host:port` of the broker.
        address: String,
        /// The failure of the token file or the token endpoint.
        what: String,
        /// Whether the endpoint was unreachable or overloaded, as opposed to a refusal.
        retriable: bool,
    },
    /// An open connection was lost.
    #[error("lost the connection to {address}")]
    Lost {
        /// `host:port`.
        address: String,
        /// The system's error.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The broker sent nothing in time.
    #[error("no response from {address} within {after:.1?}")]
    Silent {
        /// `host:port`.
        address: String,
        /// The time for which the call waited.
        after: Duration,
    },
    /// The response is too long. It was skipped, and the connection remains usable.
    #[error("response of {len} bytes from {address} exceeds the limit (receive.message.max.bytes = {max})")]
    TooLong {
        /// `host:port`.
        address: String,
        /// The response's length in bytes.
        len: usize,
        /// `receive.message.max.bytes`.
        max: usize,
    },
    /// The broker throttles this client because a quota is exceeded (KIP-219).
    #[error("{address} throttles this client for another {:.1} s", left.as_secs_f64())]
    Throttled {
        /// `host:port`.
        address: String,
        /// The remaining throttle time, in which no request is sent.
        left: Duration,
    },
    /// The broker has just started and has no metadata of its cluster.
    #[error("{address} is starting and has no cluster metadata yet")]
    Starting {
        /// `host:port`.
        address: String,
    },
    /// The response is not one of a Kafka broker, or unusable.
    #[error("{address} violated the Kafka protocol: {what}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// The received and the expected content.
        what: String,
    },
}

impl ConnectionError {
    /// Whether a retry can help.
    pub(crate) fn retriable(&self) -> bool {
        match self {
            ConnectionError::Resolve { .. }
            | ConnectionError::Connect { .. }
            | ConnectionError::Lost { .. }
            | ConnectionError::Silent { .. }
            | ConnectionError::Throttled { .. }
            | ConnectionError::Starting { .. } => true,
            ConnectionError::Tls { retriable, .. }
            | ConnectionError::Authentication { retriable, .. }
            | ConnectionError::Token { retriable, .. } => *retriable,
            ConnectionError::TooLong { .. } | ConnectionError::Protocol { .. } => false,
        }
    }

    /// Whether the broker is up and announces that it will answer a little later.
    pub(crate) fn is_temporary(&self) -> bool {
        matches!(self, ConnectionError::Throttled { .. } | ConnectionError::Starting { .. })
    }
}
