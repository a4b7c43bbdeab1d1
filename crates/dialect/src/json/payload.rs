//! Bytes of a record as a JSON value.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::depth;

/// A key, a value or a header's value.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// Embedded unchanged.
    Json(&'a RawValue),
    /// A string.
    Text(&'a str),
    /// A base64 string.
    Base64(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// JSON of at most [`MAX_DEPTH`](depth::MAX_DEPTH) levels. None for other bytes.
    pub fn json(bytes: &'a [u8]) -> Option<Self> {
        if depth::is_exceeded(bytes) {
            return None;
        }
        serde_json::from_slice(bytes).ok().map(Self::Json)
    }

    /// UTF-8. None for other bytes.
    pub fn text(bytes: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(bytes).ok().map(Self::Text)
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(raw) => raw.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}
