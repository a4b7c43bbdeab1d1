//! Places of written messages in JSON.

use serde::Serialize;

use sluicegate_backend::{Dedup, Written};

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
