//! Causes of messages without an acknowledgement, as clients see them.

use sluicegate_backend::{CommandError, Fault};

use super::answer::{SUBJECT_NOT_READY, fault};
use crate::error::ApiError;

/// A message that was not sent, and is not written.
pub(super) fn not_sent(cause: &str) -> CommandError {
    let message = format!("{cause}: the message was not sent");
    CommandError::new(Fault::Unreachable { retriable: true }, 0, message).with_retry()
}

/// A message that was sent, and may have been written.
pub(super) fn unknown_outcome(code: i32, cause: &str, has_id: bool) -> CommandError {
    let advice = if has_id { SAFE } else { "" };
    let message = format!("{cause}: the message may have been written{advice}");
    CommandError::new(Fault::UnknownOutcome { retriable: true }, code, message).with_retry()
}

/// A message that JetStream refuses.
pub(super) fn refused(error: &ApiError, has_id: bool) -> CommandError {
    match fault(error) {
        Fault::UnknownOutcome { .. } => unknown_outcome(error.err_code, &error.to_string(), has_id),
        fault => CommandError::new(fault, error.err_code, error.to_string()).with_retry(),
    }
}

/// A message that only another stream than its own has acknowledged.
pub(super) fn elsewhere(stream: &str) -> CommandError {
    let message = format!(
        "another stream has stored the message, and stream {stream} has not acknowledged it: check which streams and \
         subject mappings take its subject"
    );
    CommandError::new(Fault::UnknownOutcome { retriable: false }, 0, message)
}

/// A message that no stream has received.
pub(super) fn no_responder() -> CommandError {
    CommandError::new(Fault::NotFound, 0, "no stream listens to the subject: the message was not written")
}

/// A message behind one that has failed.
pub(super) fn behind_another() -> CommandError {
    let message = "a message of the command before this one was not written, nor was this one";
    CommandError::new(Fault::Transient, 0, message).with_retry()
}

/// A message that others were written before, again and again.
pub(super) fn overtaken() -> CommandError {
    let message = "others write to the subject at the same time: the message was not written";
    CommandError::new(Fault::Transient, 0, message).with_retry()
}

/// Whether another message has come to the subject, or is about to, before one that was to follow the last one.
pub(super) fn is_overtaken(error: &CommandError) -> bool {
    [WRONG_LAST_SEQUENCE, WRONG_LAST_SEQUENCE_CONSTANT, SUBJECT_NOT_READY].contains(&error.code)
}

pub(super) const LOST: &str = "the connection to the cluster was lost";
pub(super) const SLOW: &str = "the cluster does not accept messages in time";
pub(super) const SILENT: &str = "not acknowledged in time";
pub(super) const ENDING: &str = "the bridge is shutting down";
// JetStream's error codes.
const WRONG_LAST_SEQUENCE: i32 = 10071;
const WRONG_LAST_SEQUENCE_CONSTANT: i32 = 10164;
const SAFE: &str =
    "; repeating the write with the same message id or producer within its duplicate window is safe";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_with_an_id_can_be_repeated() {
        let [with, without] = [true, false].map(|has_id| unknown_outcome(0, SILENT, has_id));
        assert_eq!(without.message, "not acknowledged in time: the message may have been written");
        let advice = with.message.strip_prefix(&without.message).unwrap();
        assert!(advice.contains("duplicate window is safe"), "{advice}");
        assert!(with.fault == without.fault && with.fault.is_retriable() && !with.retry_after.is_zero());
    }

    #[test]
    fn refusals_keep_their_code() {
        let error = |code, err_code| ApiError { code, err_code, description: "why".to_owned() };
        let sealed = refused(&error(400, 10109), false);
        assert_eq!((sealed.fault, sealed.code), (Fault::Rejected, 10109));
        assert_eq!(sealed.message, "JetStream refuses: why (error 10109)");
        let unknown = refused(&error(503, 10063), false);
        assert_eq!((unknown.fault, unknown.code), (Fault::UnknownOutcome { retriable: true }, 10063));
        assert!(unknown.message.ends_with("the message may have been written"), "{}", unknown.message);
    }
}
