//! Messages in JSON documents.

use std::borrow::Cow;

use serde::Serialize;
use sluicegate_protocol::KafkaMessage;

use crate::json::record::{HeaderOf, headers};
use crate::session::error::Error;

/// A message whose data and headers are in the form that the client chose.
#[derive(Serialize)]
pub(super) struct Message<'a, D, H> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    sequence: i64,
    timestamp: i64,
    subject: Cow<'a, str>,
    /// None: the error stands in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<D>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderOf<'a, H>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

impl<'a, D, H> Message<'a, D, H> {
    /// The message of a stream in this format.
    pub(super) fn new(
        stream: Option<&'a str>,
        message: &'a KafkaMessage,
        data: D,
        header: impl Fn(&'a [u8]) -> H,
    ) -> Self {
        Self {
            stream,
            sequence: message.offset,
            timestamp: message.timestamp,
            subject: String::from_utf8_lossy(message.key.as_deref().unwrap_or_default()),
            data: message.error.is_none().then_some(data),
            headers: headers(message, header),
            error: message.error.as_deref().map(Error::of_result),
        }
    }
}
