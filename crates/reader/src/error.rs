//! Errors of reads: by fault, with Kafka's error code, and whether a retry can help; and those of connections to brokers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, iter};

use kafka_protocol::error::ResponseError;
use sluicegate_records::{Corruption, RecordsError};

/// Why a read failed.
///
/// `Display` is a fragment without the causes; [`std::error::Error::source`] has those. Cheap to clone: one failure can
/// answer many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The request is invalid; no broker was called.
    #[error("{code}: {detail}")]
    Request {
        /// The code that a broker would have returned.
        code: ErrorCode,
        /// The invalid value, and what is expected.
        detail: String,
    },
    /// A broker rejected the request, or its metadata has an error.
    #[error("{code}: {detail}")]
    Broker {
        /// The broker's error code.
        code: ErrorCode,
        /// The subject of the request.
        detail: String,
    },
    /// The log holds data that cannot be delivered: a corrupt batch, or a record over the limit.
    #[error("{code}: {detail}")]
    Log {
        /// Kafka's code for this fault.
        code: ErrorCode,
        /// The offset, and the next readable one if there is one.
        detail: String,
        /// The reason why the batch is corrupt.
        #[source]
        cause: Option<Arc<Corruption>>,
    },
    /// The client has so many reads at the partition's broker that this one had no turn in time; no broker was called.
    #[error("too many reads of this client wait for the partition's broker")]
    Busy,
    /// No broker could be reached. Nothing is known about the topic.
    #[error("no broker of {brokers} could be reached")]
    Unreachable {
        /// The addresses that were tried, comma-separated.
        brokers: String,
        /// The failure of one of them: the most useful one for an operator.
        #[source]
        cause: ConnectionError,
        /// Whether one of them can recover by itself.
        retriable: bool,
    },
    /// The broker of the partition sent no response, or an unusable one.
    #[error("no usable answer from broker {broker}")]
    Unanswered {
        /// Its address.
        broker: String,
        /// The failure of the last request.
        #[source]
        cause: ConnectionError,
    },
}

impl ReadError {
    /// Kafka's error code; if no broker returned one, the code of Kafka's own clients for the same fault.
    pub fn code(&self) -> i16 {
        match self {
            ReadError::Request { code, .. }
            | ReadError::Broker { code, .. }
            | ReadError::Log { code, .. } => code.0.code(),
            ReadError::Unreachable { cause: ConnectionError::Throttled { .. }, .. }
            | ReadError::Unanswered { cause: ConnectionError::Throttled { .. }, .. } => {
                ResponseError::ThrottlingQuotaExceeded.code()
            }
            ReadError::Busy => ResponseError::RequestTimedOut.code(),
            ReadError::Unreachable { .. } => ResponseError::BrokerNotAvailable.code(),
            ReadError::Unanswered { cause: ConnectionError::Silent { .. }, .. } => {
                ResponseError::RequestTimedOut.code()
            }
            ReadError::Unanswered { .. } => ResponseError::NetworkException.code(),
        }
    }

    /// Whether the same call can succeed later without a repair.
    ///
    /// Kafka calls a missing topic retriable, because a producer may be creating it. Here it is not: most missing
    /// topics are wrong names.
    pub fn retriable(&self) -> bool {
        match self {
            ReadError::Request { .. } | ReadError::Log { .. } => false,
            ReadError::Broker { code, .. } => {
                code.0.is_retriable() && code.0 != ResponseError::UnknownTopicOrPartition
            }
            ReadError::Busy => true,
            ReadError::Unreachable { retriable, .. } => *retriable,
            ReadError::Unanswered { cause, .. } => cause.retriable(),
        }
    }

    /// The error and its causes in one line.
    pub fn with_causes(&self) -> String {
        let causes = iter::successors(Some(self as &(dyn Error + 'static)), |error| (**error).source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Whether no broker answered, as opposed to an error that a broker returned.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, ReadError::Unreachable { .. } | ReadError::Unanswered { .. })
    }
}

impl From<RecordsError> for ReadError {
    fn from(error: RecordsError) -> Self {
        let code = match &error {
            RecordsError::Corrupt { .. } => ResponseError::CorruptMessage,
            RecordsError::OldFormat { .. } | RecordsError::UnsupportedVersion { .. } => {
                ResponseError::UnsupportedForMessageFormat
            }
            RecordsError::UnsupportedCodec { .. } => ResponseError::UnsupportedCompressionType,
            RecordsError::BatchTooLarge { .. } => ResponseError::RecordListTooLarge,
            RecordsError::RecordTooLarge { .. } => ResponseError::MessageTooLarge,
        };
        let detail = error.to_string();
        let cause = match error {
            RecordsError::Corrupt { source, .. } => Some(Arc::new(source)),
            _ => None,
        };
        ReadError::Log { code: ErrorCode(code), detail, cause }
    }
}

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

/// An error code of the Kafka protocol. `Display` is Kafka's own name for it, such as `OFFSET_OUT_OF_RANGE`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub(crate) ResponseError);

impl ErrorCode {
    /// `None` if `code` is 0, which means success.
    pub(crate) fn of(code: i16) -> Option<Self> {
        ResponseError::try_from_code(code).map(Self)
    }

    pub(crate) fn is_unsupported_version(self) -> bool {
        self.0 == ResponseError::UnsupportedVersion
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ResponseError::Unknown(code) = self.0 {
            return write!(f, "error code {code}");
        }
        for (at, letter) in self.0.to_string().char_indices() {
            if at > 0 && letter.is_ascii_uppercase() {
                f.write_str("_")?;
            }
            write!(f, "{}", letter.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_leader_is_retriable_and_missing_topic_is_not() {
        let broker = |code| ReadError::Broker { code: ErrorCode(code), detail: String::new() };
        assert!(!broker(ResponseError::UnknownTopicOrPartition).retriable());
        assert!(!broker(ResponseError::OffsetOutOfRange).retriable());
        assert!(broker(ResponseError::LeaderNotAvailable).retriable());
        assert!(broker(ResponseError::NotLeaderOrFollower).retriable());
    }

    #[test]
    fn display_is_kafkas_name_and_zero_is_no_error() {
        for (code, want) in [
            (-1, Some("UNKNOWN_SERVER_ERROR")),
            (0, None),
            (1, Some("OFFSET_OUT_OF_RANGE")),
            (3, Some("UNKNOWN_TOPIC_OR_PARTITION")),
            (17, Some("INVALID_TOPIC_EXCEPTION")),
            (9999, Some("error code 9999")),
        ] {
            assert_eq!(ErrorCode::of(code).map(|code| code.to_string()).as_deref(), want);
        }
    }
}
