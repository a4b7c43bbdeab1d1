//! The decoders of requests for resources, for tests of other crates.

use sluicegate_backend::System;
use sluicegate_delivery::cluster::MAX_RECORDS;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::media_type::Format;

use super::super::accept::Elements;
use super::batch;
use super::events::decoders as events;
use super::path::Target;
use super::position::position;
use super::records::bounds;
use super::topic_records;

pub(crate) use events::{id, positions};

/// Decodes a target of GET.
pub(crate) fn target(target: &str, system: System) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(target) = Target::parse(path, system) else { return };
    let Ok(query) = target.query(query, system) else { return };
    events::query(&query, system, target.partition);
    let _ = bounds(&query, system, Elements::Records(Format::Json));
    let _ = (position(&query, dialect::of(system).words().offset), topic_records::begin(&query));
    if let Some(offsets) = query.time("offsets") {
        let _ = topic_records::places("t", &offsets);
    }
}

/// Decodes the body of a write.
///
/// # Panics
/// If there are more records than a request can have, or none.
pub(crate) fn batch(body: &[u8], system: System, format: Format, partition: Option<i32>) {
    if let Ok(records) = batch::parse(body, system, format, "t", partition) {
        assert!((1..=MAX_RECORDS).contains(&records.len()), "{} records", records.len());
    }
}
