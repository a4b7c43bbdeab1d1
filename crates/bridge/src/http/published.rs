//! Messages of NATS: their ids, and where they were written.

use serde::Serialize;
use sluicegate_backend::command::Header;
use sluicegate_backend::{Dedup, Written};
use sluicegate_protocol::MESSAGE_ID_HEADER;

use super::headers::Headers;
use super::problem::{Problem, ProblemKind};

/// The place of a written message in its stream.
#[derive(Serialize)]
pub(super) struct Published {
    sequence: i64,
    /// Present if the message has an id. If true, the stream already had the message, and the place is that one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_window_ms: Option<u64>,
}

impl From<Written> for Published {
    fn from(Written { offset, dedup, .. }: Written) -> Self {
        let millis = |window: std::time::Duration| u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let (duplicate, window) =
            dedup.map(|Dedup { is_duplicate, window }| (is_duplicate, millis(window))).unzip();
        Self { sequence: offset, duplicate, duplicate_window_ms: window }
    }
}

/// The request's `Idempotency-Key`: the id of its only message. The value is opaque, quotes included.
///
/// # Errors
/// The header is repeated, empty or not UTF-8.
pub(super) fn idempotency_key(headers: Headers<'_>) -> Result<Option<Header>, Problem> {
    match headers.text(IDEMPOTENCY_KEY)? {
        None => Ok(None),
        Some("") => {
            let detail = format!("header {IDEMPOTENCY_KEY}: expected a value");
            Err(Problem::new(ProblemKind::Malformed, detail))
        }
        Some(id) => Ok(Some(message_id(id))),
    }
}

/// The record header that carries a message's id.
pub(super) fn message_id(id: &str) -> Header {
    Header { key: MESSAGE_ID_HEADER.to_owned(), value: Some(id.to_owned().into()) }
}

pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn keys(values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn idempotency_key_is_the_message_id_unchanged() {
        for (given, want) in [("a-1", "a-1"), ("\"a 1\"", "\"a 1\""), (" a ", "a")] {
            let header = idempotency_key(Headers(&keys(&[given.as_bytes()]))).unwrap().unwrap();
            assert_eq!(
                (header.key.as_str(), header.value.unwrap().as_ref()),
                ("Nats-Msg-Id", want.as_bytes())
            );
        }
        assert_eq!(idempotency_key(Headers(&HeaderMap::new())).unwrap(), None);
    }

    #[test]
    fn invalid_idempotency_keys_are_refused() {
        for (values, want) in [
            (&[&b"a"[..], b"a"][..], "header idempotency-key is repeated"),
            (&[b""], "header idempotency-key: expected a value"),
            (&[b"\xFF"], "header idempotency-key: expected UTF-8"),
        ] {
            let problem = idempotency_key(Headers(&keys(values))).unwrap_err().plain();
            assert_eq!(problem.status.as_u16(), 400, "{values:?}");
            let text = std::str::from_utf8(&problem.body).unwrap();
            assert!(text.contains(want), "{text}");
        }
    }
}
