//! Causes of records without an acknowledgement, as clients see them.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_protocol::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, REQUEST_TIMED_OUT,
    UNKNOWN_TOPIC_OR_PARTITION,
};
use sluicegate_telemetry::metrics::WriteFailure;

use super::super::error::{by_code, is_retriable, unreachable};
use super::super::incidents::UNREACHABLE;

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WriteError {
    /// The producer had a fatal error, which fails all its records.
    ProducerEnded { unknown_outcome: bool },
    /// Another error of the record.
    Failed(CommandError),
}

/// Why there is no producer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NoProducer {
    /// No token, or no broker that passed the reader's handshake.
    Unreachable {
        /// Only for the log: it can name brokers, files and endpoints.
        cause: String,
        retriable: bool,
    },
    /// Another error, safe to show to clients.
    Refused(CommandError),
}

impl WriteError {
    /// The queue had no room.
    pub(super) fn queue_full() -> Self {
        Self::Failed(CommandError::queue_full())
    }

    /// Whether the queue had no room.
    pub(super) fn is_queue_full(&self) -> bool {
        matches!(self, Self::Failed(error) if error.fault == Fault::QueueFull)
    }

    /// For metrics. A record that is refused for what it is can have a neighbour in its batch that can be retried.
    pub(super) fn failure(&self) -> WriteFailure {
        match self {
            Self::ProducerEnded { .. } => WriteFailure::Failed,
            Self::Failed(error) => match error.code {
                INVALID_RECORD | INVALID_TIMESTAMP | UNKNOWN_TOPIC_OR_PARTITION => WriteFailure::Refused,
                _ => WriteFailure::of(error.fault),
            },
        }
    }
}

impl From<NoProducer> for WriteError {
    fn from(error: NoProducer) -> Self {
        Self::Failed(match error {
            NoProducer::Unreachable { retriable, .. } => unreachable(UNREACHABLE.to_owned(), retriable),
            NoProducer::Refused(error) => error,
        })
    }
}

impl From<WriteError> for CommandError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ProducerEnded { unknown_outcome } => {
                failed(0, "the producer failed".to_owned(), true, unknown_outcome)
            }
            WriteError::Failed(error) => error,
        }
    }
}

/// The error of a record that was not acknowledged because of `error`. With `unknown_outcome`, it may have been
/// written.
pub(super) fn of(error: &KafkaError, unknown_outcome: bool) -> WriteError {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    let (kafka, message, retriable) = match code {
        RDKafkaErrorCode::MessageTimedOut => {
            let outcome = if unknown_outcome { "may have been written" } else { "was not written" };
            let message = format!("not acknowledged within `message.timeout.ms`, the record {outcome}");
            (REQUEST_TIMED_OUT, message, true)
        }
        // librdkafka's metadata can be older than the reader's, which has found them.
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition => {
            (UNKNOWN_TOPIC_OR_PARTITION, "no such topic or partition".to_owned(), true)
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => (
            CLUSTER_AUTHORIZATION_FAILED,
            "not authorized: the cluster's user may not write to any topic".to_owned(),
            false,
        ),
        // The broker does not tell which record of a batch is the cause. A retry can succeed for the others.
        RDKafkaErrorCode::MessageSizeTooLarge => (MESSAGE_TOO_LARGE, TOO_LARGE.to_owned() + OR_ANOTHER, true),
        RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidDifferentRecord => {
            (INVALID_RECORD, INVALID.to_owned() + OR_ANOTHER, true)
        }
        RDKafkaErrorCode::InvalidTimestamp => {
            (INVALID_TIMESTAMP, BAD_TIMESTAMP.to_owned() + OR_ANOTHER, true)
        }
        RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight => {
            return WriteError::ProducerEnded { unknown_outcome };
        }
        RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::OperationTimedOut => (0, described(code), true),
        other => {
            // Kafka's codes are positive; librdkafka's own are negative.
            let kafka = i32::from(other as i16).max(0);
            (kafka, described(other), is_retriable(kafka))
        }
    };
    WriteError::Failed(failed(kafka, message, retriable, unknown_outcome))
}

/// The same for a record that was alone in its batch: it must be the one that the broker rejected.
pub(super) fn of_alone(error: &KafkaError, unknown_outcome: bool) -> WriteError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => WriteError::Failed(too_large_for_topic()),
        Some(RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::InvalidDifferentRecord) => {
            WriteError::Failed(invalid_record())
        }
        Some(RDKafkaErrorCode::InvalidTimestamp) => WriteError::Failed(invalid_timestamp()),
        _ => of(error, unknown_outcome),
    }
}

/// Whether a broker rejected a record's batch, and the record can be the cause.
pub(super) fn can_be_cause(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTimestamp
        )
    )
}

/// Whether the producer gave up on a record.
pub(super) fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

/// A record that can never be written.
pub(super) fn refused(code: i32, message: String) -> CommandError {
    failed(code, message, false, false)
}

/// A record that the topic never takes, because of its size.
pub(crate) fn too_large_for_topic() -> CommandError {
    refused(MESSAGE_TOO_LARGE, TOO_LARGE.to_owned())
}

/// A record that the topic never takes.
pub(crate) fn invalid_record() -> CommandError {
    refused(INVALID_RECORD, INVALID.to_owned())
}

/// A record whose timestamp the topic does not take.
pub(crate) fn invalid_timestamp() -> CommandError {
    refused(INVALID_TIMESTAMP, BAD_TIMESTAMP.to_owned())
}

/// A record whose report is still missing at shutdown.
pub(super) fn late() -> WriteError {
    WriteError::Failed(failed(
        0,
        "the bridge is shutting down: the record may have been written".to_owned(),
        true,
        true,
    ))
}

fn failed(code: i32, message: String, retriable: bool, unknown_outcome: bool) -> CommandError {
    let fault = match (unknown_outcome, retriable) {
        (true, retriable) => Fault::UnknownOutcome { retriable },
        (false, true) => Fault::Transient,
        (false, false) => by_code(code),
    };
    CommandError::new(fault, code, message).with_retry()
}

fn described(code: RDKafkaErrorCode) -> String {
    // librdkafka's reason is the last part, in parentheses.
    let text = KafkaError::MessageProduction(code).to_string();
    text.rsplit_once('(').map_or(text.clone(), |(_, reason)| reason.trim_end_matches(')').to_owned())
}

const TOO_LARGE: &str = "the record exceeds the topic's `max.message.bytes`";
const INVALID: &str = "the broker rejected the record, for example because a compacted topic needs a key";
const BAD_TIMESTAMP: &str = "the broker rejected the record's timestamp";
const OR_ANOTHER: &str = "; if another record of its batch is the cause, a retry succeeds";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: RDKafkaErrorCode, unknown: bool, want: (i32, bool)) -> String {
        let error = CommandError::from(of(&KafkaError::MessageProduction(code), unknown));
        let retriable = error.fault.is_retriable();
        assert_eq!((error.code, retriable), want, "{code:?}: {error:?}");
        assert_eq!(matches!(error.fault, Fault::UnknownOutcome { .. }), unknown);
        assert_eq!(error.retry_after.is_zero(), !retriable);
        error.message
    }

    #[test]
    fn kafka_codes_are_kept_and_librdkafka_codes_are_translated() {
        use RDKafkaErrorCode as Code;
        check(Code::TopicAuthorizationFailed, false, (29, false));
        check(Code::TransactionalIdAuthorizationFailed, false, (53, false));
        check(Code::MessageSizeTooLarge, false, (10, true));
        check(Code::NotEnoughReplicas, false, (19, true));
        check(Code::UnknownTopic, false, (3, true));
        check(Code::UnknownPartition, false, (3, true));
        check(Code::UnknownTopicOrPartition, false, (3, true));
        check(Code::InvalidRecord, false, (87, true));
        check(Code::InvalidDifferentRecord, false, (87, true));
        check(Code::InvalidTimestamp, false, (32, true));
        check(Code::Fatal, true, (0, true));
    }

    #[test]
    fn record_alone_in_its_batch_is_the_invalid_one() {
        for (code, kafka) in [
            (RDKafkaErrorCode::MessageSizeTooLarge, 10),
            (RDKafkaErrorCode::InvalidRecord, 87),
            (RDKafkaErrorCode::InvalidTimestamp, 32),
        ] {
            let error = CommandError::from(of_alone(&KafkaError::MessageProduction(code), false));
            assert_eq!((error.code, error.fault.is_retriable()), (kafka, false), "{error:?}");
        }
        let other = KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas);
        assert_eq!(of_alone(&other, true), of(&other, true));
    }

    #[test]
    fn timeout_tells_whether_the_record_was_written() {
        let not = check(RDKafkaErrorCode::MessageTimedOut, false, (7, true));
        let maybe = check(RDKafkaErrorCode::MessageTimedOut, true, (7, true));
        assert!(not.contains("was not written") && maybe.contains("may have been written"), "{not}; {maybe}");
    }
}
