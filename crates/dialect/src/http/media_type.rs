//! The media types of requests and responses.

use sluicegate_protocol::SchemaType;

use crate::json::format;

/// The form of keys and values in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As embedded JSON.
    Json,
    /// As base64 strings.
    Binary,
    /// As strings.
    Text,
    /// As embedded JSON of values with schemas in this language.
    Schema(SchemaType),
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Json, Self::Binary, Self::Text, Self::Schema(SchemaType::Avro)];

    /// The form of keys and values.
    pub fn of_values(self) -> format::Format {
        match self {
            Self::Json | Self::Schema(_) => format::Format::Json,
            Self::Binary => format::Format::Base64,
            Self::Text => format::Format::Text,
        }
    }
}

/// The media types of a messaging system.
pub struct MediaTypes {
    /// Offers for documents without keys and values.
    pub documents: &'static [Offer<&'static str>],
    /// Offers for records.
    pub records: &'static [Offer<Format>],
    /// The type of records as embedded JSON.
    pub json: &'static str,
    /// The type of records in base64.
    pub binary: &'static str,
    /// The type of records as strings.
    pub text: &'static str,
    /// The types of records with schemas; none if the system has none.
    pub schemas: &'static [(&'static str, SchemaType)],
    /// The types of a body with records, as listed to clients.
    pub bodies: &'static [(&'static str, Format)],
    /// Types of a body that are accepted, and not listed.
    pub other_bodies: &'static [(&'static str, Format)],
    /// The types whose clients get errors of the first one, with the members of the REST proxies' errors. Without any,
    /// errors do not have these members.
    pub errors: &'static [&'static str],
}

impl MediaTypes {
    /// The type of records in a format.
    pub fn of(&self, format: Format) -> &'static str {
        match format {
            Format::Json => self.json,
            Format::Binary => self.binary,
            Format::Text => self.text,
            Format::Schema(kind) => {
                self.schemas.iter().find(|(_, of)| *of == kind).map_or(self.json, |(name, _)| *name)
            }
        }
    }

    /// The format of a body, by its type; none if it is unknown.
    pub fn format_of(&self, content_type: &str) -> Option<Format> {
        let content_type = second_version(content_type);
        let mut types = self.bodies.iter().chain(self.other_bodies);
        types.find(|(known, _)| *known == content_type).map(|(_, format)| *format)
    }
}

/// The name in lower case, and of the REST proxies' types that of the second version: also of those of the first
/// version, and of those without a version.
pub fn second_version(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let kind = name.strip_prefix(REST_TYPE).and_then(|rest| rest.strip_suffix("+json"));
    let kind = kind.map(|kind| kind.strip_suffix(".v1").or(kind.strip_suffix(".v2")).unwrap_or(kind));
    match kind.filter(|kind| kind.is_empty() || kind.starts_with('.')) {
        Some(kind) => format!("{REST_TYPE}{kind}.v2+json"),
        None => name,
    }
}

/// The beginning of the REST proxies' types.
const REST_TYPE: &str = "application/vnd.kafka";

/// An offer to clients, by its names, the most precise one first.
pub type Offer<T> = (&'static [Name], T);

/// A name of an offer, and its precision.
pub type Name = (&'static str, u8);

/// The precision of an offer's own name.
pub const EXACT: u8 = 4;
/// JSON that embeds other JSON.
pub const PLAIN: u8 = 3;
/// The REST proxies' second version in any format.
pub const ANY_FORMAT: u8 = 2;

/// Plain JSON.
pub const JSON: &str = "application/json";
/// A CloudEvent (its JSON format, 1.0.2, section 3).
pub const CLOUDEVENT: &str = "application/cloudevents+json";
/// An array of CloudEvents (section 4.2).
pub const CLOUDEVENTS: &str = "application/cloudevents-batch+json";
/// Server-sent events (the HTML standard, section 9.2).
pub const EVENT_STREAM: &str = "text/event-stream";
/// A problem document (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";
