//! Why a read failed: by whose fault, with Kafka's code, and whether asking again can help.

use std::error::Error;
use std::sync::Arc;
use std::{fmt, iter};

use kafka_protocol::error::ResponseError;
use sluicegate_records::{Corruption, RecordsError};

use crate::connection::ConnectionError;

/// Why a read failed.
///
/// `Display` is a fragment without the causes; [`std::error::Error::source`] has those. Cheap to clone: one failure can
/// answer many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The caller asked for something that no cluster could answer; no broker was asked.
    #[error("{code}: {detail}")]
    Request {
        /// What a broker would have called it.
        code: ErrorCode,
        /// What was given and what is expected.
        detail: String,
    },
    /// A broker refused the request, or its metadata did.
    #[error("{code}: {detail}")]
    Broker {
        /// The broker's error code.
        code: ErrorCode,
        /// What was asked.
        detail: String,
    },
    /// The log holds something that cannot be delivered: a damaged batch, or a record over the limit.
    #[error("{code}: {detail}")]
    Log {
        /// Kafka's code for the same fault.
        code: ErrorCode,
        /// The offset concerned, and, where it can be passed by, the next one.
        detail: String,
        /// How a batch is damaged.
        #[source]
        cause: Option<Arc<Corruption>>,
    },
    /// No broker could be asked. Nothing is known about the topic.
    #[error("no broker of {brokers} could be reached")]
    Unreachable {
        /// The addresses that were tried, comma-separated.
        brokers: String,
        /// What one of them said: of several causes, that which says most.
        #[source]
        cause: ConnectionError,
        /// Whether any of them may answer later without anyone repairing anything.
        retriable: bool,
    },
    /// The broker that leads the partition did not answer, or not with what was asked.
    #[error("no usable answer from broker {broker}")]
    Unanswered {
        /// Its address.
        broker: String,
        /// What happened to the last request.
        #[source]
        cause: ConnectionError,
    },
}

impl ReadError {
    /// Kafka's error code; if no broker gave one, that of Kafka's own clients for the same fault.
    pub fn code(&self) -> i16 {
        match self {
            ReadError::Request { code, .. }
            | ReadError::Broker { code, .. }
            | ReadError::Log { code, .. } => code.0.code(),
            ReadError::Unreachable { cause: ConnectionError::Throttled { .. }, .. }
            | ReadError::Unanswered { cause: ConnectionError::Throttled { .. }, .. } => {
                ResponseError::ThrottlingQuotaExceeded.code()
            }
            ReadError::Unreachable { .. } => ResponseError::BrokerNotAvailable.code(),
            ReadError::Unanswered { cause: ConnectionError::Silent { .. }, .. } => {
                ResponseError::RequestTimedOut.code()
            }
            ReadError::Unanswered { .. } => ResponseError::NetworkException.code(),
        }
    }

    /// Whether the same call may succeed later without anyone repairing anything.
    ///
    /// Kafka calls a missing topic retriable, because a producer may be creating it. Here it is not: a name that is wrong
    /// stays wrong.
    pub fn retriable(&self) -> bool {
        match self {
            ReadError::Request { .. } | ReadError::Log { .. } => false,
            ReadError::Broker { code, .. } => {
                code.0.is_retriable() && code.0 != ResponseError::UnknownTopicOrPartition
            }
            ReadError::Unreachable { retriable, .. } => *retriable,
            ReadError::Unanswered { cause, .. } => cause.retriable(),
        }
    }

    /// The error and its causes in one line.
    pub fn with_causes(&self) -> String {
        let causes = iter::successors(Some(self as &(dyn Error + 'static)), |error| (**error).source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// Whether the cluster could not be asked at all, as opposed to having given an answer that is an error.
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

/// An error code of the Kafka protocol. `Display` is Kafka's own name for it, such as `OFFSET_OUT_OF_RANGE`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub(crate) ResponseError);

impl ErrorCode {
    /// `None` where `code` is 0, which means success.
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

    #[track_caller]
    fn check(code: i16, want: &str) {
        assert_eq!(ErrorCode::of(code).map(|code| code.to_string()).as_deref(), Some(want));
    }

    #[test]
    fn a_code_is_shown_under_kafkas_own_name() {
        check(-1, "UNKNOWN_SERVER_ERROR");
        check(1, "OFFSET_OUT_OF_RANGE");
        check(3, "UNKNOWN_TOPIC_OR_PARTITION");
        check(6, "NOT_LEADER_OR_FOLLOWER");
        check(17, "INVALID_TOPIC_EXCEPTION");
        check(29, "TOPIC_AUTHORIZATION_FAILED");
        check(9999, "error code 9999");
    }

    #[test]
    fn success_is_no_error() {
        assert_eq!(ErrorCode::of(0), None);
    }

    #[test]
    fn a_missing_topic_is_not_worth_a_retry_but_a_missing_leader_is() {
        let broker = |code| ReadError::Broker { code: ErrorCode(code), detail: String::new() };
        assert!(!broker(ResponseError::UnknownTopicOrPartition).retriable());
        assert!(!broker(ResponseError::OffsetOutOfRange).retriable());
        assert!(broker(ResponseError::LeaderNotAvailable).retriable());
        assert!(broker(ResponseError::NotLeaderOrFollower).retriable());
    }
}
