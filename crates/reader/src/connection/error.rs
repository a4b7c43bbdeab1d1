//! Why a broker could not be asked, or did not answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What happened to a connection, or why there is none.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionError {
    /// The name of the broker could not be resolved to an address that may be used.
    #[error("resolve {address}")]
    Resolve {
        /// `host:port`.
        address: String,
        /// What the resolver said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The broker refused, or the network did.
    #[error("connect to {address}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The connection could not be secured, or what answered does not speak TLS, or speaks it unasked.
    #[error("no secure connection to {address}: {what}")]
    Tls {
        /// `host:port`.
        address: String,
        /// What is wrong, and which property concerns it.
        what: String,
        /// Whether the network may be at fault, rather than a certificate or the configuration.
        retriable: bool,
    },
    /// The broker did not take the credentials, or could not prove itself. Secrets do not appear in it.
    #[error("not authenticated to {address}: {what}")]
    Authentication {
        /// `host:port`.
        address: String,
        /// What the broker said.
        what: String,
        /// Whether it was a token, and the next one may be taken.
        retriable: bool,
    },
    /// There is no token to authenticate with. Secrets do not appear in it.
    #[error("no token to authenticate to {address} with: {what}")]
    Token {
        /// `host:port` of the broker.
        address: String,
        /// What happened to the file or the endpoint that gives tokens.
        what: String,
        /// Whether the endpoint could not be reached or was overloaded, as opposed to having refused.
        retriable: bool,
    },
    /// The connection stood, and was lost.
    #[error("read from or write to {address}")]
    Lost {
        /// `host:port`.
        address: String,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Nothing came in time.
    #[error("{address} was silent for {after:.1?}")]
    Silent {
        /// `host:port`.
        address: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer is longer than is taken in. The connection goes on without it.
    #[error("{address} answered with {len} bytes, which exceeds the limit of {max}")]
    TooLong {
        /// `host:port`.
        address: String,
        /// The response's length in bytes.
        len: usize,
        /// `receive.message.max.bytes`.
        max: usize,
    },
    /// The broker wants to be left alone: a client quota is used up (KIP-219).
    #[error("{address} throttles this client for another {:.1} s", left.as_secs_f64())]
    Throttled {
        /// `host:port`.
        address: String,
        /// How long no request is sent to it.
        left: Duration,
    },
    /// The broker has just started and knows no broker of its cluster.
    #[error("{address} knows no broker of its cluster yet")]
    Starting {
        /// `host:port`.
        address: String,
    },
    /// What came is no answer of a Kafka broker, or not one that can be used.
    #[error("{address} broke the protocol: {what}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// What came and what was expected.
        what: String,
    },
}

impl ConnectionError {
    /// Whether another try may end otherwise.
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

    /// Whether the broker is there and says that it will answer a little later.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, ConnectionError::Throttled { .. } | ConnectionError::Starting { .. })
    }
}
