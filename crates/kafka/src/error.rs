//! Kafka's errors as clients see them.

use sluicegate_protocol::error_code::{
    BROKER_NOT_AVAILABLE, CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, INVALID_PRODUCER_EPOCH,
    INVALID_RECORD, INVALID_REQUEST, INVALID_TIMESTAMP, INVALID_TOPIC, KAFKA_STORAGE_ERROR,
    LEADER_NOT_AVAILABLE, MESSAGE_TOO_LARGE, NETWORK_EXCEPTION, NOT_ENOUGH_REPLICAS,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND, NOT_LEADER_OR_FOLLOWER, OFFSET_OUT_OF_RANGE,
    OUT_OF_ORDER_SEQUENCE_NUMBER, RECORD_LIST_TOO_LARGE, REPLICA_NOT_AVAILABLE, REQUEST_TIMED_OUT,
    THROTTLING_QUOTA_EXCEEDED, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_PRODUCER_ID, UNKNOWN_TOPIC_OR_PARTITION,
};
use sluicegate_reader::{ConnectionError, ReadError};

use sluicegate_backend::{CommandError, Fault};

/// The error of a failed read, with this `message` for clients.
pub(super) fn of_read(error: &ReadError, message: String) -> CommandError {
    let code = error.code().into();
    let retriable = error.retriable();
    let fault = match error {
        ReadError::Request { .. } if code == OFFSET_OUT_OF_RANGE => Fault::OffsetOutOfRange,
        ReadError::Request { .. } => Fault::Invalid,
        ReadError::Busy => Fault::Transient,
        ReadError::Broker { .. } if retriable => Fault::Transient,
        ReadError::Broker { .. } => by_code(code),
        ReadError::Log { .. } => Fault::Rejected,
        ReadError::Unreachable { .. } | ReadError::Unanswered { .. } => Fault::Unreachable { retriable },
    };
    CommandError::new(fault, code, message)
}

/// The property to look at if no broker answers.
pub(super) fn property(error: &ReadError) -> &'static str {
    let (ReadError::Unreachable { cause, .. } | ReadError::Unanswered { cause, .. }) = error else {
        return SERVERS;
    };
    match cause {
        ConnectionError::Tls { .. } => "security.protocol",
        ConnectionError::Authentication { .. } => "sasl.username",
        ConnectionError::Token { .. } => "sasl.oauthbearer.method",
        ConnectionError::Resolve { .. }
        | ConnectionError::Connect { .. }
        | ConnectionError::Lost { .. }
        | ConnectionError::Silent { .. }
        | ConnectionError::TooLong { .. }
        | ConnectionError::Throttled { .. }
        | ConnectionError::Starting { .. }
        | ConnectionError::Protocol { .. } => SERVERS,
    }
}

/// No broker was reachable for a write.
pub(super) fn unreachable(message: String, retriable: bool) -> CommandError {
    CommandError::new(Fault::Unreachable { retriable }, BROKER_NOT_AVAILABLE, message).with_retry()
}

/// The fault of a permanent error, by Kafka's code.
pub(super) fn by_code(code: i32) -> Fault {
    match code {
        OFFSET_OUT_OF_RANGE => Fault::OffsetOutOfRange,
        UNKNOWN_TOPIC_OR_PARTITION => Fault::NotFound,
        INVALID_TOPIC | INVALID_TIMESTAMP | INVALID_REQUEST => Fault::Invalid,
        TOPIC_AUTHORIZATION_FAILED | GROUP_AUTHORIZATION_FAILED | CLUSTER_AUTHORIZATION_FAILED => {
            Fault::NotAuthorized
        }
        MESSAGE_TOO_LARGE | RECORD_LIST_TOO_LARGE => Fault::TooLarge,
        INVALID_RECORD => Fault::InvalidRecord,
        _ => Fault::Rejected,
    }
}

/// Whether the same record can be accepted later: after a new topic, a moved leader, a missing replica or a quota, and
/// after an error that ends an idempotent producer, which is then replaced.
pub(super) fn is_retriable(code: i32) -> bool {
    matches!(
        code,
        UNKNOWN_TOPIC_OR_PARTITION
            | LEADER_NOT_AVAILABLE
            | NOT_LEADER_OR_FOLLOWER
            | REQUEST_TIMED_OUT
            | BROKER_NOT_AVAILABLE
            | REPLICA_NOT_AVAILABLE
            | NETWORK_EXCEPTION
            | NOT_ENOUGH_REPLICAS
            | NOT_ENOUGH_REPLICAS_AFTER_APPEND
            | OUT_OF_ORDER_SEQUENCE_NUMBER
            | INVALID_PRODUCER_EPOCH
            | KAFKA_STORAGE_ERROR
            | UNKNOWN_PRODUCER_ID
            | THROTTLING_QUOTA_EXCEEDED
    )
}

/// The property that names brokers.
pub(super) const SERVERS: &str = "bootstrap.servers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permanent_codes_have_their_fault() {
        for (code, fault) in [
            (0, Fault::Rejected),
            (-1, Fault::Rejected),
            (1, Fault::OffsetOutOfRange),
            (3, Fault::NotFound),
            (10, Fault::TooLarge),
            (17, Fault::Invalid),
            (18, Fault::TooLarge),
            (29, Fault::NotAuthorized),
            (30, Fault::NotAuthorized),
            (31, Fault::NotAuthorized),
            (32, Fault::Invalid),
            (42, Fault::Invalid),
            (87, Fault::InvalidRecord),
        ] {
            assert_eq!(by_code(code), fault, "{code}");
        }
    }
}
