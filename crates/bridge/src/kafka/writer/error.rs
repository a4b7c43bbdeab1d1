//! Why a record was not acknowledged, in the client's terms.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::super::code::{
    self, CLUSTER_AUTHORIZATION_FAILED, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE,
    REQUEST_TIMED_OUT, UNKNOWN_TOPIC_OR_PARTITION,
};
use super::super::error::{by_code, with_retry};
use crate::backend::{CommandError, Fault};

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WriteError {
    /// The producer ended, for a reason that concerns all its records.
    ProducerEnded { unknown_outcome: bool },
    /// Anything else.
    Failed(CommandError),
}

/// Why there is no producer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::kafka) enum NoProducer {
    /// No token, or no broker that passed the reader's handshake.
    Unreachable {
        /// For the log only: it can name brokers, files and endpoints.
        cause: String,
        retriable: bool,
    },
    /// Anything else, fit for clients.
    Refused(CommandError),
}

impl From<WriteError> for CommandError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ProducerEnded { unknown_outcome } => {
                failed(0, "the producer ended".to_owned(), true, unknown_outcome)
            }
            WriteError::Failed(error) => error,
        }
    }
}

/// The error of a record that `error` kept from being acknowledged; `unknown_outcome` where it may be in the log all the
/// same.
pub(super) fn of(error: &KafkaError, unknown_outcome: bool) -> WriteError {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    let (kafka, message, retriable) = match code {
        RDKafkaErrorCode::MessageTimedOut => {
            let fate = if unknown_outcome { "it may or may not be written" } else { "it is not written" };
            (REQUEST_TIMED_OUT, format!("no acknowledgement within the delivery timeout: {fate}"), true)
        }
        // librdkafka's metadata may be older than the reader's, which has found them.
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition => {
            (UNKNOWN_TOPIC_OR_PARTITION, "no such topic or partition".to_owned(), true)
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => (
            CLUSTER_AUTHORIZATION_FAILED,
            "not authorized: the cluster's user may write to no topic".to_owned(),
            false,
        ),
        RDKafkaErrorCode::MessageSizeTooLarge => (MESSAGE_TOO_LARGE, TOO_LARGE.to_owned(), false),
        // librdkafka does not tell which record of a batch it is: the others may be written when they are sent again.
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
            // Codes of Kafka's are positive; librdkafka's own are not.
            let kafka = i32::from(other as i16).max(0);
            (kafka, described(other), code::is_retriable(kafka))
        }
    };
    WriteError::Failed(failed(kafka, message, retriable, unknown_outcome))
}

/// The same, of a record that was alone in its batch: it is the one that the broker does not accept.
pub(super) fn of_alone(error: &KafkaError, unknown_outcome: bool) -> WriteError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::InvalidRecord) => {
            WriteError::Failed(refused(INVALID_RECORD, INVALID.to_owned()))
        }
        Some(RDKafkaErrorCode::InvalidTimestamp) => {
            WriteError::Failed(refused(INVALID_TIMESTAMP, BAD_TIMESTAMP.to_owned()))
        }
        _ => of(error, unknown_outcome),
    }
}

/// A record that can never be written.
pub(super) fn refused(code: i32, message: String) -> CommandError {
    failed(code, message, false, false)
}

/// No room for a record until others have been delivered.
pub(super) fn queue_full() -> CommandError {
    let message = "the queue has no room for more of this client's records";
    CommandError { retry_after: QUEUE_RETRY, ..CommandError::new(Fault::QueueFull, 0, message) }
}

/// A command that came too late to be written.
pub(super) fn ending() -> CommandError {
    failed(0, "the bridge is shutting down, nothing was written".to_owned(), true, false)
}

/// A record whose report nobody waits for any more.
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
    with_retry(CommandError::new(fault, code, message))
}

fn described(code: RDKafkaErrorCode) -> String {
    // librdkafka tells whose error it is in front of it.
    let text = KafkaError::MessageProduction(code).to_string();
    text.rsplit_once('(').map_or(text.clone(), |(_, reason)| reason.trim_end_matches(')').to_owned())
}

const TOO_LARGE: &str =
    "larger than the topic takes, or in a batch that is: `batch.size` of the section has to fit it";
const INVALID: &str = "not accepted by the broker, as none is without a key in a compacted topic";
const BAD_TIMESTAMP: &str = "not accepted by the broker with this timestamp";
const OR_ANOTHER: &str = ", or another one in its batch is not: sent again, it may be accepted";
/// How soon a full queue may have room again.
const QUEUE_RETRY: Duration = Duration::from_millis(100);

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
    fn codes_of_kafka_stay_and_those_of_librdkafka_are_translated() {
        use RDKafkaErrorCode as Code;
        check(Code::TopicAuthorizationFailed, false, (29, false));
        check(Code::TransactionalIdAuthorizationFailed, false, (53, false));
        check(Code::MessageSizeTooLarge, false, (10, false));
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
    fn what_was_alone_is_what_is_invalid() {
        for (code, kafka) in [(RDKafkaErrorCode::InvalidRecord, 87), (RDKafkaErrorCode::InvalidTimestamp, 32)]
        {
            let error = CommandError::from(of_alone(&KafkaError::MessageProduction(code), false));
            assert_eq!((error.code, error.fault.is_retriable()), (kafka, false), "{error:?}");
        }
        let other = KafkaError::MessageProduction(RDKafkaErrorCode::NotEnoughReplicas);
        assert_eq!(of_alone(&other, true), of(&other, true));
    }

    #[test]
    fn a_timeout_says_what_is_known() {
        let not = check(RDKafkaErrorCode::MessageTimedOut, false, (7, true));
        let maybe = check(RDKafkaErrorCode::MessageTimedOut, true, (7, true));
        assert!(not.contains("is not written") && maybe.contains("may or may not"), "{not}; {maybe}");
    }
}
