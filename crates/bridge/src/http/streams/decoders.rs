//! The decoders of requests for streams, for tests of other crates.

use bytes::Bytes;
use sluicegate_backend::System;
use sluicegate_protocol::HttpStreams;
use sluicegate_protocol::http_streams::Elements;

use super::append::records;
use super::content::Content;
use super::position::Position;
use super::target::{Begin, ReadQuery, Target};

/// Decodes a target.
///
/// # Panics
/// If an offset is another one once it is written and read again.
pub(crate) fn target(target: &str, system: System) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(target) = Target::parse(path, system) else { return };
    if let Ok(ReadQuery { begin: Begin::At(position), .. }) = ReadQuery::parse(query, &target, system) {
        assert_eq!(Position::parse(&position.text()), Some(position));
    }
}

/// Decodes the body of an append, in each form.
pub(crate) fn append(body: &Bytes, system: System) {
    let Ok(target) = Target::parse("/t/0", system) else { return };
    for elements in [Elements::Values, Elements::Envelope, Elements::State] {
        let content_type = "application/json".to_owned();
        let streams = HttpStreams { content_type, elements: elements.into(), ..HttpStreams::default() };
        let _ = records(body, &target, &Content::new(&streams, "t"));
    }
}
