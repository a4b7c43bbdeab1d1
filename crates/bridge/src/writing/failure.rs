//! Why a record was not acknowledged, in the client's terms.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_protocol::ErrorResp;
use sluicegate_reader::ReadError;

use crate::kafka_code::{
    self, CLUSTER_AUTHORIZATION_FAILED, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE,
    REQUEST_TIMED_OUT, UNKNOWN_TOPIC_OR_PARTITION,
};

/// Why a record was not acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WriteError {
    /// No room for it until others have been delivered.
    QueueFull,
    /// The producer came to its end, for a reason that concerns all records.
    ProducerEnded { unknown_outcome: bool },
    /// No broker could be asked. Only [`Cluster`](crate::cluster::Cluster) sees a cause in the text; clients are told a reference.
    Unavailable(ErrorResp),
    /// Anything else.
    Failed(ErrorResp),
}

impl From<WriteError> for ErrorResp {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::QueueFull => {
                let full = error_resp(
                    0,
                    "the queue has no room for more of this client's records".to_owned(),
                    true,
                    false,
                );
                Self { retry_after_ms: QUEUE_RETRY_MS, ..full }
            }
            WriteError::ProducerEnded { unknown_outcome } => {
                error_resp(0, "the producer came to its end".to_owned(), true, unknown_outcome)
            }
            WriteError::Unavailable(error) | WriteError::Failed(error) => error,
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
        code => {
            // Codes of Kafka's are positive; librdkafka's own are not.
            let kafka = i32::from(code as i16).max(0);
            (kafka, described(code), kafka_code::is_retriable(kafka))
        }
    };
    WriteError::Failed(error_resp(kafka, message, retriable, unknown_outcome))
}

/// The same, of a record that was alone in its batch: it is the one that the broker does not accept.
pub(super) fn of_alone(error: &KafkaError, unknown_outcome: bool) -> WriteError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::InvalidRecord) => refused(INVALID_RECORD, INVALID.to_owned()),
        Some(RDKafkaErrorCode::InvalidTimestamp) => refused(INVALID_TIMESTAMP, BAD_TIMESTAMP.to_owned()),
        _ => of(error, unknown_outcome),
    }
}

/// A record that can never be written.
pub(crate) fn refused(code: i32, message: String) -> WriteError {
    WriteError::Failed(error_resp(code, message, false, false))
}

/// A record whose topic, or any broker, was not found, as the reader says; clients are told this `message`.
pub(crate) fn of_read(error: &ReadError, message: String) -> WriteError {
    let told = error_resp(error.code().into(), message, error.retriable(), false);
    if error.is_unavailable() { WriteError::Unavailable(told) } else { WriteError::Failed(told) }
}

/// A command for which there is no token to show to brokers.
pub(super) fn no_token(reason: String) -> WriteError {
    WriteError::Unavailable(error_resp(0, reason, true, false))
}

/// A command that came too late to be written.
pub(crate) fn ending() -> WriteError {
    let text = "the bridge is shutting down: nothing is written".to_owned();
    WriteError::Failed(error_resp(0, text, true, false))
}

/// A record whose fate nobody waits for any more.
pub(super) fn late() -> WriteError {
    let text = "the bridge is shutting down: it may or may not be written".to_owned();
    WriteError::Failed(error_resp(0, text, true, true))
}

fn error_resp(code: i32, message: String, retriable: bool, unknown_outcome: bool) -> ErrorResp {
    let message = message.get(..message.floor_char_boundary(MAX_MESSAGE)).unwrap_or_default().to_owned();
    let retry_after_ms = if retriable { RETRY_MS } else { 0 };
    ErrorResp { code, message, retriable, retry_after_ms, unknown_outcome }
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
/// Longest text of a record's error, in bytes.
pub(crate) const MAX_MESSAGE: usize = 200;
/// How soon a queue that was full may have room again.
const QUEUE_RETRY_MS: u32 = 100;
/// After librdkafka has tried for as long as it may, or the reader.
const RETRY_MS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: RDKafkaErrorCode, unknown: bool, want: (i32, bool)) -> String {
        let error = ErrorResp::from(of(&KafkaError::MessageProduction(code), unknown));
        assert_eq!((error.code, error.retriable), want, "{code:?}: {error:?}");
        assert_eq!(error.unknown_outcome, unknown);
        assert_eq!(error.retry_after_ms > 0, error.retriable);
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
            let error = ErrorResp::from(of_alone(&KafkaError::MessageProduction(code), false));
            assert_eq!((error.code, error.retriable), (kafka, false), "{error:?}");
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

    #[test]
    fn a_text_is_short() {
        assert_eq!(ErrorResp::from(refused(1, "é".repeat(MAX_MESSAGE))).message.len(), MAX_MESSAGE);
    }
}
