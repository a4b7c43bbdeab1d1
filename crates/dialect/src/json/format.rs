//! The form of keys and values.

use serde::{Deserialize, Serialize};

use super::payload::Payload;

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
