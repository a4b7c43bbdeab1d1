//! The decoders of requests for events, for tests of other crates.

use sluicegate_backend::System;

use super::id::Id;
use super::query::EventsQuery;
use crate::http::rest::path::Query;

/// Decodes a query of events.
pub(crate) fn query(query: &Query, system: System, partition: Option<i32>) {
    let _ = EventsQuery::parse(query, system, "t", partition);
}

/// Decodes the `id` of an event.
///
/// # Panics
/// If the positions of a valid `id` are others once they are written and read again.
pub(crate) fn id(text: &str, partition: Option<i32>) {
    let Ok(id) = Id::parse(text, partition) else { return };
    let again = Id::parse(&id.positions.encode(), partition);
    assert_eq!(again.ok().map(|again| again.positions), Some(id.positions));
}
