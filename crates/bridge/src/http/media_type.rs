//! The media types of requests and responses.

use crate::json::format;
use sluicegate_backend::System;

/// The form of keys and values in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// As embedded JSON.
    Json,
    /// As base64 strings.
    Binary,
}

impl Format {
    /// The media type of a document in this format.
    pub(super) fn content_type(self, system: System) -> &'static str {
        match (system, self) {
            (System::Kafka, Self::Json) => V2_JSON,
            (System::Kafka, Self::Binary) => V2_BINARY,
            (System::Nats, Self::Json) => JSON,
            (System::Nats, Self::Binary) => BINARY,
        }
    }

    /// The form of keys and values.
    pub(super) fn of_values(self) -> format::Format {
        match self {
            Self::Json => format::Format::Json,
            Self::Binary => format::Format::Base64,
        }
    }

    /// The format of a body, by its media type in lower case. `None` if it is neither in [`of_records`] nor a name of
    /// the first version.
    pub(super) fn of_content_type(content_type: &str, system: System) -> Option<Self> {
        match (system, content_type) {
            (_, JSON) | (System::Kafka, V2_JSON | V1_JSON) => Some(Self::Json),
            (System::Kafka, V2_BINARY | V1_BINARY) | (System::Nats, BINARY) => Some(Self::Binary),
            _ => None,
        }
    }
}

pub(super) const JSON: &str = "application/json";
/// Server-sent events (the HTML standard, section 9.2).
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// A problem document (RFC 9457).
pub(super) const PROBLEM: &str = "application/problem+json";
/// The REST proxies' documents without keys and values.
pub(super) const V2: &str = "application/vnd.kafka.v2+json";
pub(super) const V2_JSON: &str = "application/vnd.kafka.json.v2+json";
pub(super) const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";
const V1_JSON: &str = "application/vnd.kafka.json+json";
const V1_BINARY: &str = "application/vnd.kafka.binary+json";
/// Messages of NATS whose data is in base64.
pub(super) const BINARY: &str = "application/vnd.sluicegate.binary+json";

/// The media types of a body with records, as listed to clients.
pub(super) fn of_records(system: System) -> &'static [&'static str] {
    match system {
        System::Kafka => &[V2_JSON, V2_BINARY, JSON],
        System::Nats => &[JSON, BINARY],
    }
}
