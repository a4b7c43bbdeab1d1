//! The decoders of plain HTTP requests, for tests of other crates.

use bytes::Bytes;
use http::HeaderMap;
use sluicegate_backend::System;
use sluicegate_dialect::http::media_type::Format;
use sluicegate_protocol::{Header, HttpProduce, KafkaMessage};

use super::accept::Accept;
use super::cloudevents::{self, Events};
use super::headers::Headers;
use super::produce;
use super::rest::decoders;
use super::rest::decoders::batch;
pub(crate) use super::rest::decoders::{id, positions};
use super::streams::decoders as streams;

/// Decodes the headers of a request.
pub(crate) fn headers(headers: &HeaderMap, system: System) {
    let accept = Accept::of(Headers(headers));
    let _ = (accept.metadata(system), accept.records(system), accept.events());
}

/// Decodes a target of GET, on routes of both kinds.
pub(crate) fn target(target: &str, system: System) {
    decoders::target(target, system);
    streams::target(target, system);
}

/// Decodes a request that writes: in each format, and as one record whose key is in the body.
pub(crate) fn write(headers: &HeaderMap, body: &Bytes, system: System) {
    for format in Format::ALL {
        batch(body, system, format, None);
        batch(body, system, format, Some(0));
    }
    streams::append(body, system);
    let jsonkey = |path: &str| HttpProduce {
        jsonkey: Some(path.to_owned()),
        header_prefix: "k-".to_owned(),
        record_header_prefix: "r-".to_owned(),
        topic_override: true,
        partition_override: true,
        key_override: true,
        ..HttpProduce::default()
    };
    if let Ok(Some(events)) = cloudevents::of_request(Headers(headers), body, system) {
        check_events(events, system);
    }
    for path in ["a", "a.0.b"] {
        let _ = produce::record(Headers(headers), body, &jsonkey(path), system);
        let _ = produce::events_of(Headers(headers), body, &jsonkey(path), system);
    }
}

/// Reads what was written.
///
/// # Panics
/// If that is no event, or not JSON. JSON that strict parsers refuse is left out.
fn check_events(events: Events, system: System) {
    let records = match events {
        Events::One(record) => vec![record],
        Events::Batch(records) => records,
    };
    for record in records {
        let is_structured = record.headers.iter().any(|header| {
            header.value.as_deref().is_some_and(|value| value.starts_with(b"application/cloudevents+json;"))
        });
        let headers =
            record.headers.into_iter().map(|header| Header { key: header.key, value: header.value });
        let message =
            KafkaMessage { value: record.value, headers: headers.collect(), ..KafkaMessage::default() };
        let mut text = Vec::new();
        let is_put = cloudevents::put(&mut text, &message, system);
        assert!(is_put || is_structured, "{message:?}");
        assert!(!is_put || serde_json::from_slice::<serde_json::Value>(&text).is_ok(), "{text:?}");
    }
}
