//! Answers to a published message.

use std::borrow::Cow;

use async_nats::{Message, StatusCode};
use serde::Deserialize;
use sluicegate_backend::Fault;

use crate::error::ApiError;

/// The answer of the stream that a message was written to.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// It has the message.
    Stored {
        sequence: i64,
        /// It had a message with this id before.
        is_duplicate: bool,
    },
    /// It has not stored the message, unless the error says otherwise: see [`fault`].
    Refused(ApiError),
    /// Another stream has it.
    Elsewhere,
    /// No stream listens to the subject.
    NoResponder,
}

#[derive(Deserialize)]
struct AckReply<'a> {
    error: Option<ApiError>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    domain: Option<Cow<'a, str>>,
    #[serde(default)]
    seq: i64,
    #[serde(default)]
    duplicate: bool,
}

/// `None` if something else has answered: subscribers that are no streams see messages too, and so do streams of other
/// domains. That says nothing about the stream in question, nor does [`Answer::Elsewhere`] for sure.
pub(crate) fn parse(message: &Message, stream: &str, domain: Option<&str>) -> Option<Answer> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Some(Answer::NoResponder);
    }
    let reply: AckReply<'_> = serde_json::from_slice(&message.payload).ok()?;
    let is_own = reply.stream == stream;
    if let Some(error) = reply.error {
        return is_own.then_some(Answer::Refused(error));
    }
    // Only servers with a domain name it, and errors never do.
    let is_elsewhere = domain.is_some_and(|domain| reply.domain.is_some_and(|actual| actual != domain));
    let is_stored = reply.seq > 0 && !is_elsewhere;
    let own = Answer::Stored { sequence: reply.seq, is_duplicate: reply.duplicate };
    is_stored.then_some(if is_own { own } else { Answer::Elsewhere })
}

/// The fault of a refused message. [`Fault::UnknownOutcome`] unless the server certainly has not stored it.
pub(super) fn fault(error: &ApiError) -> Fault {
    match (error.err_code, error.code) {
        (TOO_LARGE | HEADERS_TOO_LARGE, _) => Fault::TooLarge,
        (STORE_FAILED, _) if error.description == RECORD_TOO_LARGE => Fault::TooLarge,
        // The subject has its messages until somebody takes one: the same write does not help.
        (STORE_FAILED, _) if error.description == SUBJECT_FULL => Fault::InvalidRecord,
        // Checked before a message is proposed to the other servers of the stream.
        (
            ACCOUNT_FULL
            | NOT_AVAILABLE
            | INSUFFICIENT_RESOURCES
            | MEMORY_FULL
            | STORAGE_FULL
            | SUBJECT_NOT_READY,
            _,
        )
        | (_, 408 | 429) => Fault::Transient,
        // The stream has reached its limits, and all its servers decide alike.
        (STORE_FAILED, _) if error.description.starts_with(LIMIT_REACHED) => Fault::Transient,
        // Another message with this id is being stored. It can fail.
        (DUPLICATE_IN_PROCESS, _) => Fault::UnknownOutcome { retriable: true },
        (SEALED, _) => Fault::Rejected,
        // Such as a counter without an increment: other messages can be accepted.
        (_, 400..=499) => Fault::InvalidRecord,
        _ => Fault::UnknownOutcome { retriable: true },
    }
}

// JetStream's error codes.
const ACCOUNT_FULL: i32 = 10002;
const NOT_AVAILABLE: i32 = 10008;
const INSUFFICIENT_RESOURCES: i32 = 10023;
const MEMORY_FULL: i32 = 10028;
const STORAGE_FULL: i32 = 10047;
const TOO_LARGE: i32 = 10054;
const STORE_FAILED: i32 = 10077;
const HEADERS_TOO_LARGE: i32 = 10097;
const SEALED: i32 = 10109;
const DUPLICATE_IN_PROCESS: i32 = 10158;
pub(super) const SUBJECT_NOT_READY: i32 = 10163;
// Descriptions of STORE_FAILED.
/// Prefix of those where a stream discards new messages: "maximum messages exceeded", "maximum bytes exceeded".
const LIMIT_REACHED: &str = "maximum ";
const SUBJECT_FULL: &str = "maximum messages per subject exceeded";
const RECORD_TOO_LARGE: &str = "message too large";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(status: Option<u16>, payload: &str) -> Message {
        Message {
            subject: "_INBOX.a.1".into(),
            reply: None,
            payload: payload.to_owned().into(),
            headers: None,
            status: status.map(|status| StatusCode::from_u16(status).unwrap()),
            description: None,
            length: 0,
        }
    }

    #[test]
    fn acknowledgements_are_read() {
        for (payload, domain, expected) in [
            (r#"{"stream":"S","seq":5}"#, None, Some((5, false))),
            (r#"{"stream":"S","seq":5}"#, Some("hub"), Some((5, false))),
            (r#"{"stream":"S","domain":"hub","seq":5,"duplicate": true}"#, None, Some((5, true))),
            (r#"{"stream":"S","domain":"hub","seq":5}"#, Some("hub"), Some((5, false))),
            (r#"{"stream":"S","domain":"leaf","seq":5}"#, Some("hub"), None),
            (r#"{"stream":"S","seq":0}"#, None, None),
            (r#"{"stream":"S"}"#, None, None),
            (r#"{"seq":5}"#, None, None),
            ("", None, None),
            ("ok", None, None),
        ] {
            let expected = expected.map(|(sequence, is_duplicate)| Answer::Stored { sequence, is_duplicate });
            assert_eq!(parse(&message(None, payload), "S", domain), expected, "{payload}");
        }
        let elsewhere = parse(&message(None, r#"{"stream":"T","seq":5}"#), "S", None);
        assert_eq!(elsewhere, Some(Answer::Elsewhere));
        assert_eq!(parse(&message(Some(503), ""), "S", None), Some(Answer::NoResponder));
    }

    #[test]
    fn errors_count_if_they_are_the_streams() {
        let refused = |stream| {
            let error = r#"{"code":429,"err_code":10167,"description":"too many requests"}"#;
            let payload = format!(r#"{{"error":{error},"stream":"{stream}","seq":0}}"#);
            parse(&message(Some(429), &payload), "S", None)
        };
        assert!(matches!(refused("S"), Some(Answer::Refused(ApiError { code: 429, err_code: 10167, .. }))));
        assert_eq!(refused("T"), None);
    }

    #[test]
    fn outcome_is_known_only_if_nothing_was_proposed() {
        let unknown = Fault::UnknownOutcome { retriable: true };
        for (code, err_code, description, expected) in [
            (400, 10054, "message size exceeds maximum allowed", Fault::TooLarge),
            (400, 10097, "header size exceeds maximum allowed of 64k", Fault::TooLarge),
            (400, 10109, "invalid operation on sealed stream", Fault::Rejected),
            (400, 10169, "message counter increment is missing", Fault::InvalidRecord),
            (400, 10071, "wrong last sequence: 7", Fault::InvalidRecord),
            (503, 10163, "expected last sequence per subject temporarily unavailable", Fault::Transient),
            (400, 10002, "resource limits exceeded for account", Fault::Transient),
            (429, 10167, "too many requests", Fault::Transient),
            (503, 10008, "JetStream system temporarily unavailable", Fault::Transient),
            (503, 10023, "insufficient resources", Fault::Transient),
            (500, 10028, "insufficient memory resources available", Fault::Transient),
            (500, 10047, "insufficient storage resources available", Fault::Transient),
            (503, 10077, "maximum messages exceeded", Fault::Transient),
            (503, 10077, "maximum messages per subject exceeded", Fault::InvalidRecord),
            (503, 10077, "message too large", Fault::TooLarge),
            (503, 10077, "store is closed", unknown),
            (409, 10158, "duplicate message id is in process", unknown),
            (503, 10063, "expected stream sequence does not match", unknown),
            (503, 0, "raft: not leader", unknown),
            (500, 19999, "", unknown),
            (0, 0, "", unknown),
        ] {
            let error = ApiError { code, err_code, description: description.to_owned() };
            assert_eq!(fault(&error), expected, "{error}");
        }
    }
}
