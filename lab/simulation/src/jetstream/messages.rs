//! Messages as servers send them.

use async_nats::{HeaderMap, Message, StatusCode};
use bytes::Bytes;
use serde_json::Value;

/// An answer in JSON.
pub(super) fn json(reply: &str, answer: &Value) -> Message {
    Message { payload: answer.to_string().into(), ..empty(reply) }
}

/// A message without payload that has a status; 503: nobody listens.
pub(super) fn status(reply: &str, code: u16, description: &str) -> Message {
    let description = (!description.is_empty()).then(|| description.to_owned());
    Message { status: StatusCode::from_u16(code).ok(), description, ..empty(reply) }
}

/// Headers by name and value.
pub(super) fn headers<const N: usize>(lines: [(&'static str, String); N]) -> HeaderMap {
    lines.into_iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
        headers.insert(name, value);
        headers
    })
}

/// A message to a subject, with nothing in it.
pub(super) fn empty(subject: &str) -> Message {
    Message {
        subject: subject.into(),
        reply: None,
        payload: Bytes::new(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    }
}
