//! Requests of clients, as the bridge decodes them.

use bytes::Bytes;
use sluicegate_bridge::testing;
use sluicegate_protocol::codec::Codec;

use super::{headers, parts};

/// Messages of sessions, in protobuf.
pub(super) fn requests(input: &[u8]) {
    testing::message(&Bytes::copy_from_slice(input), Codec::Protobuf);
}

/// Messages of sessions, in JSON.
pub(super) fn json_commands(input: &[u8]) {
    testing::message(&Bytes::copy_from_slice(input), Codec::Json);
}

/// Paths and queries.
pub(super) fn targets(input: &[u8]) {
    if let Ok(target) = std::str::from_utf8(input) {
        testing::target(target);
    }
}

/// Headers, NUL, a body.
pub(super) fn writes(input: &[u8]) {
    let [lines, body] = parts(input);
    testing::write(&headers(lines), &Bytes::copy_from_slice(body));
}

/// The header `Last-Event-ID`.
pub(super) fn event_ids(input: &[u8]) {
    if let Ok(id) = std::str::from_utf8(input) {
        testing::event_id(id);
    }
}
