//! Causes of failed reads, and their texts for clients.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use serde::Deserialize;
use sluicegate_shared_log::Ends;

use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_telemetry::incidents;

/// Why a read failed. The text is for operators: clients must not see subjects and addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// The request is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The stream has no partition but 0.
    #[error("partition {0} of a stream: expected 0")]
    NoPartition(i32),
    /// The stream does not have this sequence, nor is it the next one.
    #[error("sequence {sequence} is not between {} and {}, the ends of the stream", ends.start, ends.end)]
    OutOfRange { sequence: i64, ends: Ends },
    /// JetStream refuses.
    #[error("{0}")]
    Refused(ApiError),
    /// The server does not let the cluster's user publish to this subject.
    #[error("the cluster's user is not permitted to publish to {subject}")]
    Denied { subject: String },
    /// No server could be connected to.
    #[error("{cause}")]
    Unreachable {
        cause: String,
        retriable: bool,
        /// The key of the configuration to look at.
        key: &'static str,
    },
    #[error("the connection was lost before the answer came")]
    Lost,
    /// No answer came in time to this request.
    #[error("no answer to {subject} in time")]
    Unanswered { subject: String },
    #[error("malformed answer to {subject}: {what}")]
    Malformed { subject: String, what: &'static str },
    #[error("the stream was deleted and created again while it was read")]
    Recreated,
    /// A consumer does not give what the stream has.
    #[error("the consumer has stalled")]
    Stalled,
    /// The leader of a stream does not have what one of its replicas has given.
    #[error("the leader of the stream is behind")]
    Behind,
}

/// An error of JetStream's API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("JetStream refuses: {} (error {err_code})", printable(description))]
pub(super) struct ApiError {
    /// The kind of error, as a status of HTTP.
    #[serde(default)]
    pub(super) code: i32,
    /// The error itself.
    #[serde(default)]
    pub(super) err_code: i32,
    #[serde(default)]
    pub(super) description: String,
}

impl ReadError {
    pub(super) fn is_missing_stream(&self) -> bool {
        matches!(self, Self::Refused(ApiError { err_code: STREAM_NOT_FOUND, .. }))
    }

    /// Whether the servers that answer say that the stream is offline, or have no leader of it.
    pub(super) fn is_of_offline_stream(&self) -> bool {
        matches!(self, Self::Refused(error) if error.fault() == Fault::Transient)
    }

    pub(super) fn is_missing_message(&self) -> bool {
        matches!(self, Self::Refused(ApiError { err_code: NO_MESSAGE_FOUND, .. }))
    }

    /// The key of the configuration to look at if the cluster is not ready.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Unreachable { key, .. } => key,
            Self::Denied { .. } => "user",
            _ => SERVERS,
        }
    }

    /// For clients that named this stream, which has a valid name.
    pub(super) fn into_error_of(self, stream: &str, incidents: &Incidents) -> CommandError {
        let is_missing = self.is_missing_stream();
        let error = self.into_command_error(incidents);
        if is_missing { CommandError { message: System::Nats.missing_topic(stream), ..error } } else { error }
    }

    /// For clients.
    pub(super) fn into_command_error(self, incidents: &Incidents) -> CommandError {
        let hidden = |text, cause| incidents.0.refer(text, cause, || self.to_string());
        match &self {
            Self::Invalid(problem) => CommandError::new(Fault::Invalid, 0, problem),
            Self::NoPartition(_) => CommandError::new(Fault::NotFound, 0, self.to_string()),
            Self::OutOfRange { sequence, ends: Ends::UNKNOWN } => CommandError::new(
                Fault::OffsetOutOfRange,
                0,
                format!("sequence {sequence}: expected 0 or more"),
            ),
            Self::OutOfRange { ends: Ends { start, end, .. }, .. } => {
                let error = CommandError::new(Fault::OffsetOutOfRange, 0, self.to_string());
                CommandError { ends: Some((*start, *end)), ..error }
            }
            Self::Refused(error) => CommandError::new(error.fault(), error.err_code, error.to_string()),
            Self::Denied { subject } => {
                let message = hidden(NOT_AUTHORIZED, Cause::Denied(subject.clone()));
                CommandError::new(Fault::NotAuthorized, 0, message)
            }
            Self::Unreachable { retriable, .. } => {
                let fault = Fault::Unreachable { retriable: *retriable };
                CommandError::new(fault, 0, hidden(UNREACHABLE, Cause::of(&self)))
            }
            Self::Lost | Self::Unanswered { .. } => {
                let fault = Fault::Unreachable { retriable: true };
                CommandError::new(fault, 0, hidden(UNANSWERED, Cause::of(&self)))
            }
            Self::Malformed { .. } => {
                CommandError::new(Fault::Rejected, 0, hidden(UNANSWERED, Cause::of(&self)))
            }
            Self::Recreated | Self::Stalled | Self::Behind => {
                CommandError::new(Fault::Transient, 0, self.to_string())
            }
        }
        .with_retry()
    }
}

impl ApiError {
    fn fault(&self) -> Fault {
        match (self.err_code, self.code) {
            (STREAM_NOT_FOUND | NO_MESSAGE_FOUND, _) => Fault::NotFound,
            // An operator must enable it.
            (NOT_ENABLED | NOT_ENABLED_FOR_ACCOUNT, _) => Fault::Rejected,
            (_, 401 | 403) => Fault::NotAuthorized,
            (_, 408 | 429 | 500..) => Fault::Transient,
            _ => Fault::Rejected,
        }
    }
}

/// The failures of one cluster.
pub(super) struct Incidents(incidents::Incidents<Cause>);

/// The cause of a failure. Failures with equal causes share a reference.
#[derive(PartialEq)]
enum Cause {
    Denied(String),
    Other(Discriminant<ReadError>),
    Silent,
}

impl Cause {
    fn of(error: &ReadError) -> Self {
        Self::Other(discriminant(error))
    }
}

impl Incidents {
    /// For the cluster with this name in the log.
    pub(super) fn new(cluster: &str) -> Self {
        Self(incidents::Incidents::new(cluster))
    }

    /// Logs why the cluster is not ready.
    pub(super) fn not_ready(&self, error: &ReadError) {
        self.0.refer(UNREACHABLE, Cause::of(error), || error.to_string());
    }

    /// Logs that the cluster did not answer within this time, and returns the cause.
    pub(super) fn silent(&self, within: Duration) -> String {
        let cause = format!("JetStream did not answer within {within:?}");
        self.0.refer(UNREACHABLE, Cause::Silent, || cause.clone());
        cause
    }
}

/// A server's text without control characters, shortened: it can repeat a request.
pub(super) fn printable(description: &str) -> String {
    description.chars().filter(|c| !c.is_control()).take(MAX_DESCRIPTION).collect()
}

/// The key that names servers.
pub(super) const SERVERS: &str = "servers";
const UNREACHABLE: &str = "no server of the cluster is reachable";
const UNANSWERED: &str = "no usable answer from the cluster";
const NOT_AUTHORIZED: &str = "the messaging system does not authorize the cluster's user";
const MAX_DESCRIPTION: usize = 200;

// JetStream's error codes.
const STREAM_NOT_FOUND: i32 = 10059;
const NO_MESSAGE_FOUND: i32 = 10037;
const NOT_ENABLED: i32 = 10076;
const NOT_ENABLED_FOR_ACCOUNT: i32 = 10039;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i32, err_code: i32) -> CommandError {
        let description = "stream not found\r\n".to_owned();
        ReadError::Refused(ApiError { code, err_code, description })
            .into_command_error(&Incidents::new("nats"))
    }

    #[test]
    fn errors_of_jetstream_keep_their_code_and_have_a_fault() {
        for (code, err_code, fault) in [
            (404, 10059, Fault::NotFound),
            (404, 10037, Fault::NotFound),
            (503, 10039, Fault::Rejected),
            (503, 10076, Fault::Rejected),
            (503, 10008, Fault::Transient),
            (500, 10118, Fault::Transient),
            (429, 10167, Fault::Transient),
            (400, 10003, Fault::Rejected),
            (0, 0, Fault::Rejected),
        ] {
            let error = refused(code, err_code);
            assert_eq!((error.fault, error.code), (fault, err_code), "{code} {err_code}");
            assert_eq!(error.message, format!("JetStream refuses: stream not found (error {err_code})"));
        }
    }

    #[test]
    fn clients_see_no_subject_and_no_address() {
        let incidents = Incidents::new("nats");
        let subject = "$JS.API.STREAM.INFO.orders".to_owned();
        for (error, fault) in [
            (ReadError::Denied { subject: subject.clone() }, Fault::NotAuthorized),
            (
                ReadError::Unreachable {
                    cause: "10.0.0.1 refused".to_owned(),
                    retriable: false,
                    key: SERVERS,
                },
                Fault::Unreachable { retriable: false },
            ),
            (ReadError::Lost, Fault::Unreachable { retriable: true }),
            (ReadError::Unanswered { subject: subject.clone() }, Fault::Unreachable { retriable: true }),
            (ReadError::Malformed { subject, what: "no state" }, Fault::Rejected),
        ] {
            let error = error.into_command_error(&incidents);
            assert_eq!(error.fault, fault);
            assert!(error.message.contains("(reference "), "{}", error.message);
            assert!(!error.message.contains('$') && !error.message.contains("10.0"), "{}", error.message);
        }
    }

    #[test]
    fn missing_sequence_is_told_with_the_ends() {
        let ends = Ends { start: 3, stable: 9, end: 9 };
        let error = ReadError::OutOfRange { sequence: 1, ends }.into_command_error(&Incidents::new("nats"));
        assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((3, 9))));
    }
}
