//! Texts of answers: `{"id": 1, "pong": {…}}`.

use std::io::Write as _;

use bytes::Bytes;
use serde::Serialize;
use sluicegate_backend::{CommandError, System};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    AuthResp, ErrorResp, KafkaListOffsetResp, PongResp, PubSubResp, SessionExpiringResp, SessionResp,
    UnsubscribedResp,
};

use super::error::{Error, MAX_RECORD_ERROR_BYTES, error_resp};

/// The text of an answer that is the same on every system; none for others, which are encoded where they are made, and
/// for control messages, which are protobuf in every codec.
pub(super) fn encode(answer: &PubSubResp) -> Option<Bytes> {
    let body = match answer.resp.as_ref()? {
        Resp::ErrorResp(error) => Body::Error { error: Error::of_command(error) },
        Resp::PongResp(PongResp { state }) => {
            Body::Pong { pong: Pong { state: std::str::from_utf8(state).unwrap_or_default() } }
        }
        Resp::SessionResp(SessionResp { max_message_bytes, expires_in_ms }) => {
            let (max_message_bytes, expires_in_ms) = (*max_message_bytes, *expires_in_ms);
            Body::Session { session: Limits { max_message_bytes, expires_in_ms } }
        }
        Resp::AuthResp(AuthResp { expires_in_ms }) => {
            Body::Auth { auth: Expiry { expires_in_ms: *expires_in_ms } }
        }
        Resp::SessionExpiringResp(SessionExpiringResp { expires_in_ms }) => {
            Body::Expiring { expiring: Expiry { expires_in_ms: Some(*expires_in_ms) } }
        }
        Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }) => Body::Offset { offset: *offset },
        Resp::UnsubscribedResp(UnsubscribedResp {}) => Body::Unsubscribed { unsubscribed: Empty {} },
        _ => return None,
    };
    Some(text(answer.sequence, &body))
}

/// The text of an answer.
pub(crate) fn text(id: i64, body: &impl Serialize) -> Bytes {
    // Cannot fail: all names are strings or numbers.
    shrunk(serde_json::to_vec(&Answer { id, body }).unwrap_or_default())
}

/// The text of an answer with the results of many records or logs, on a cluster of `system`.
pub(crate) fn results<T: Serialize>(
    id: i64,
    system: System,
    results: impl Iterator<Item = Result<T, CommandError>>,
) -> Bytes {
    let bounded = |error| error_resp(error, system, MAX_RECORD_ERROR_BYTES);
    let results: Vec<Result<T, ErrorResp>> = results.map(|result| result.map_err(bounded)).collect();
    let outcomes = results.iter().map(|result| match result {
        Ok(done) => Outcome::Done(done),
        Err(error) => Outcome::Failed { error: Error::of_result(error) },
    });
    text(id, &Results { results: outcomes.collect() })
}

/// Appends an end of the log, if it is known.
pub(crate) fn put_end(text: &mut Vec<u8>, name: &str, offset: i64) {
    if offset >= 0 {
        // Cannot fail: a `Vec` accepts all writes.
        let _ = write!(text, ",\"{name}\":{offset}");
    }
}

/// Gives back the memory that a `Vec` has for its growth: it is not reserved.
pub(crate) fn shrunk(mut text: Vec<u8>) -> Bytes {
    text.shrink_to_fit();
    text.into()
}

/// The result of one record or partition.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome<'a, T> {
    /// The result.
    Done(T),
    /// The error in its place.
    Failed {
        /// The error.
        error: Error<'a>,
    },
}

#[derive(Serialize)]
struct Answer<'a, B> {
    id: i64,
    #[serde(flatten)]
    body: &'a B,
}

#[derive(Serialize)]
struct Results<'a, T> {
    results: Vec<Outcome<'a, T>>,
}

/// The value of `snapshot`, in answers too.
pub(crate) const LATEST_PER_KEY: &str = "latest_per_key";

/// The answer at the end of a snapshot.
#[derive(Serialize)]
pub(crate) struct SnapshotEnd {
    snapshot_end: Skipped,
}

#[derive(Serialize)]
struct Skipped {
    skipped: u64,
}

impl SnapshotEnd {
    /// The end of one that left out so many records without a key.
    pub(crate) fn new(skipped: u64) -> Self {
        Self { snapshot_end: Skipped { skipped } }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Error { error: Error<'a> },
    Pong { pong: Pong<'a> },
    Session { session: Limits },
    Auth { auth: Expiry },
    Expiring { expiring: Expiry },
    Offset { offset: i64 },
    Unsubscribed { unsubscribed: Empty },
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct Pong<'a> {
    state: &'a str,
}

#[derive(Serialize)]
struct Limits {
    max_message_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

#[derive(Serialize)]
struct Expiry {
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::{Close, ControlResp, Reason, control_resp};

    use super::*;

    fn encoded(resp: Resp) -> Option<Bytes> {
        encode(&PubSubResp { sequence: 7, resp: Some(resp) })
    }

    #[test]
    fn answers_leave_out_what_does_not_apply() {
        let (message, reason) = ("\"m\"".into(), Reason::Denied.into());
        let error = ErrorResp { message, reason, ..Default::default() };
        let all = ErrorResp { earliest_offset: Some(0), latest_offset: Some(9), ..error.clone() };
        let all = ErrorResp { code: 1, retriable: true, retry_after_ms: 1000, unknown_outcome: true, ..all };
        let limits = |max_message_bytes, expires_in_ms| SessionResp { max_message_bytes, expires_in_ms };
        let denied = r#""error":{"reason":"DENIED","message":"\"m\"","retriable":"#;
        let told =
            r#""code":1,"retry_after_ms":1000,"unknown_outcome":true,"earliest_offset":0,"latest_offset":9"#;
        let (largest, expiring) = (limits(u32::MAX, Some(5)), SessionExpiringResp { expires_in_ms: 5 });
        for (resp, want) in [
            (Resp::ErrorResp(error), &*format!("{denied}false}}")),
            (Resp::ErrorResp(all), &format!("{denied}true,{told}}}")),
            (Resp::PongResp(PongResp { state: "\0é".into() }), r#""pong":{"state":"\u0000é"}"#),
            (Resp::SessionResp(limits(9, None)), r#""session":{"max_message_bytes":9}"#),
            (Resp::SessionResp(largest), r#""session":{"max_message_bytes":4294967295,"expires_in_ms":5}"#),
            (Resp::AuthResp(AuthResp { expires_in_ms: Some(5) }), r#""auth":{"expires_in_ms":5}"#),
            (Resp::AuthResp(AuthResp { expires_in_ms: None }), r#""auth":{}"#),
            (Resp::SessionExpiringResp(expiring), r#""expiring":{"expires_in_ms":5}"#),
            (Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset: -1 }), r#""offset":-1"#),
            (Resp::UnsubscribedResp(UnsubscribedResp {}), r#""unsubscribed":{}"#),
        ] {
            assert_eq!(encoded(resp).unwrap(), format!(r#"{{"id":7,{want}}}"#));
        }
        let close = control_resp::Control::Close(Close::default());
        assert_eq!(encoded(Resp::Control(ControlResp { control: Some(close) })), None);
    }
}
