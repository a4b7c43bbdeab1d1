//! Records as the content of a stream: elements of a JSON array, or bytes one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use sluicegate_backend::System;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::media_type::JSON;
use sluicegate_dialect::json::format::{Format, Formatted, Payload};
use sluicegate_protocol::http_streams::Elements;
use sluicegate_protocol::{HttpStreams, KafkaMessage};

/// The content of a stream.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// In lower case and without parameters.
    pub(super) media_type: String,
    pub(super) kind: Kind,
    /// Whether messages of a producer's request are one record.
    pub(super) packs: bool,
    /// The type of changes.
    topic: String,
}

/// The kind of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Values as they are, one after the other.
    Bytes,
    /// The same, which events have as text.
    Text,
    /// An array of elements.
    Json(Elements),
}

impl Content {
    /// The content of the stream of a topic, on a route with these settings.
    pub(super) fn new(settings: &HttpStreams, topic: &str) -> Self {
        let kind = match settings.content_type.as_str() {
            JSON => Kind::Json(settings.elements()),
            text if text.starts_with("text/") => Kind::Text,
            _ => Kind::Bytes,
        };
        let (media_type, packs) = (settings.content_type.clone(), settings.pack);
        Self { media_type, kind, packs, topic: topic.to_owned() }
    }

    /// Whether values and keys with a schema are given as JSON.
    pub(super) fn decodes(&self) -> bool {
        matches!(self.kind, Kind::Json(_))
    }

    /// Begins a body.
    pub(super) fn begin(&self, body: &mut Vec<u8>) {
        if self.decodes() {
            body.push(b'[');
        }
    }

    /// Ends a body.
    pub(super) fn end(&self, body: &mut Vec<u8>) {
        if self.decodes() {
            body.push(b']');
        }
    }

    /// Appends a record to a body that has begun.
    pub(super) fn put(&self, body: &mut Vec<u8>, system: System, partition: i32, message: &KafkaMessage) {
        let Kind::Json(elements) = self.kind else {
            return body.extend_from_slice(message.value.as_deref().unwrap_or_default());
        };
        let change = self.change(message);
        if elements == Elements::State && change.is_none() {
            return;
        }
        if body.len() > 1 {
            body.push(b',');
        }
        // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
        match elements {
            Elements::Values => match packed(message) {
                Some(elements) => body.extend_from_slice(elements),
                None => {
                    let _ = serde_json::to_writer(body, &value(message));
                }
            },
            Elements::Envelope => dialect::of(system).put_message(body, partition, message, Format::Json),
            Elements::State => {
                let _ = serde_json::to_writer(body, &change);
            }
        }
    }

    /// A record as a change of the State Protocol, which knows no other name for a new value of a key that may be there. None:
    /// the record has no key that is a text.
    fn change<'a>(&'a self, message: &'a KafkaMessage) -> Option<Change<'a>> {
        let key = str::from_utf8(message.key.as_deref()?).ok()?;
        let operation = if message.value.is_some() { "insert" } else { "delete" };
        let value = value(message).map(|value| match &value {
            Formatted::Fits(Payload::Json(json)) if !json.get().starts_with('{') => Row::Wrapped { value },
            _ => Row::Object(value),
        });
        let txid = message.headers.iter().find(|header| header.key == TXID);
        let txid = txid.and_then(|header| str::from_utf8(header.value.as_deref()?).ok());
        let headers = ChangeHeaders { operation, txid, offset: message.offset.to_string() };
        Some(Change { r#type: &self.topic, key, value, headers })
    }

    /// Writes the data of an event. Lines of a text are lines of data, whichever characters end them: a client's text cannot
    /// begin another field (section 5.8).
    pub(super) fn put_data(&self, text: &mut Vec<u8>, body: &[u8]) {
        let encoded;
        let body = match self.kind {
            Kind::Bytes => {
                encoded = BASE64.encode(body);
                encoded.as_bytes()
            }
            Kind::Text | Kind::Json(_) => body,
        };
        let mut rest = Some(body);
        while let Some(line) = rest {
            let end = line.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, behind) = line.split_at_checked(end.unwrap_or(line.len())).unwrap_or((line, &[]));
            text.extend_from_slice(b"data:");
            // The HTML standard, section 9.2.6: one space behind the colon is no part of the line.
            if line.first() == Some(&b' ') {
                text.push(b' ');
            }
            text.extend_from_slice(line);
            text.push(b'\n');
            rest = end.map(|_| behind.strip_prefix(b"\r\n").or_else(|| behind.get(1..)).unwrap_or_default());
        }
    }
}

/// The elements of an array that is one record.
fn packed(message: &KafkaMessage) -> Option<&[u8]> {
    message.headers.iter().find(|header| header.key == PACKED)?;
    let Formatted::Fits(Payload::Json(array)) = value(message)? else { return None };
    Some(array.get().strip_prefix('[')?.strip_suffix(']')?.trim_ascii())
        .filter(|elements| !elements.is_empty())
        .map(str::as_bytes)
}

fn value(message: &KafkaMessage) -> Option<Formatted<'_>> {
    message.value.as_deref().map(|value| Format::Json.value(value))
}

/// The header of a record with the transaction of its change.
pub(super) const TXID: &str = "txid";
/// The header of a record that is an array of messages; its value is their number.
pub(super) const PACKED: &str = "stream-messages";

/// A change of the State Protocol.
#[derive(Serialize)]
struct Change<'a> {
    r#type: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Row<'a>>,
    headers: ChangeHeaders<'a>,
}

/// A value as an object: the protocol's clients end at others.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Object(Formatted<'a>),
    Wrapped { value: Formatted<'a> },
}

#[derive(Serialize)]
struct ChangeHeaders<'a> {
    operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    txid: Option<&'a str>,
    offset: String,
}
