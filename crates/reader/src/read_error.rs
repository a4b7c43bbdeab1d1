//! Errors of reads: by fault, with Kafka's error code, and whether a retry can help.

use std::error::Error;
use std::iter;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use sluicegate_records::{Corruption, RecordsError};

use crate::connection_error::ConnectionError;
use crate::error_code::ErrorCode;

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
}
