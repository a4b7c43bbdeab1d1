//! Responses that nginx must not buffer.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Tells nginx to stream the response instead of buffering it.
pub(super) fn unbuffered(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}
