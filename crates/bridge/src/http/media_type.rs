//! The media types of bodies and answers.

/// How keys and values are put into JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// As the JSON that they are.
    Json,
    /// As strings in base64.
    Binary,
}

impl Format {
    /// The type of a document with such keys and values.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => V2_JSON,
            Self::Binary => V2_BINARY,
        }
    }

    /// The format of a body, by its type in lower case; `None` where that is none of [`OF_RECORDS`] or of the names from before
    /// the second version.
    pub(super) fn of_content_type(content_type: &str) -> Option<Self> {
        match content_type {
            V2_JSON | V1_JSON | JSON => Some(Self::Json),
            V2_BINARY | V1_BINARY => Some(Self::Binary),
            _ => None,
        }
    }
}

pub(super) const JSON: &str = "application/json";
/// Of a problem document (RFC 9457).
pub(super) const PROBLEM: &str = "application/problem+json";
/// Of the REST proxies' documents without keys and values.
pub(super) const V2: &str = "application/vnd.kafka.v2+json";
pub(super) const V2_JSON: &str = "application/vnd.kafka.json.v2+json";
pub(super) const V2_BINARY: &str = "application/vnd.kafka.binary.v2+json";
const V1_JSON: &str = "application/vnd.kafka.json+json";
const V1_BINARY: &str = "application/vnd.kafka.binary+json";
/// The types of a body with records, as they are named to a client.
pub(super) const OF_RECORDS: [&str; 3] = [V2_JSON, V2_BINARY, JSON];
