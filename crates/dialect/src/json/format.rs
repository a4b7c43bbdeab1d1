//! Keys, values and headers of records in JSON: the form that a client chooses, and its bounds.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::portable::is_portable;

/// The form that a client chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Values are JSON. Keys and headers are text: as JSON, the key `42` would be a number.
    #[default]
    Json,
    /// Strings.
    Text,
    /// Strings in base64.
    Base64,
}

/// Bytes in a form.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Formatted<'a> {
    /// In the format.
    Fits(Payload<'a>),
    /// They do not fit the form.
    Other {
        /// The base64.
        base64: Payload<'a>,
    },
}

impl Format {
    /// Whether values and keys with a schema are given as JSON.
    pub fn decodes(self) -> bool {
        self == Self::Json
    }

    /// A record's value.
    pub fn value(self, bytes: &[u8]) -> Formatted<'_> {
        let fits = match self {
            Self::Json => Payload::json(bytes),
            Self::Text => Payload::text(bytes),
            Self::Base64 => Some(Payload::Base64(bytes)),
        };
        fits.map_or(Formatted::Other { base64: Payload::Base64(bytes) }, Formatted::Fits)
    }

    /// A record's key, or the value of a header.
    pub fn key(self, bytes: &[u8]) -> Formatted<'_> {
        match self {
            Self::Json | Self::Text => Self::Text.value(bytes),
            Self::Base64 => Self::Base64.value(bytes),
        }
    }
}

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
    /// JSON that strict parsers read, as `portable` judges. None for other bytes.
    pub fn json(bytes: &'a [u8]) -> Option<Self> {
        if !is_portable(bytes) {
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
