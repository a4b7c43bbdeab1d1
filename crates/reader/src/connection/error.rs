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
    #[error("{address} was silent for {} s", after.as_secs_f64())]
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
            | ConnectionError::Silent { .. } => true,
            ConnectionError::TooLong { .. } | ConnectionError::Protocol { .. } => false,
        }
    }
}
