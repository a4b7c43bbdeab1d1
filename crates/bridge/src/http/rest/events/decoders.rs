//! The decoders of requests for events, for tests of other crates.

use sluicegate_backend::System;

use super::id::Id;
use super::query::EventsQuery;
use crate::http::rest::path::Query;

/// Decodes a query of events.
pub(crate) fn query(query: &Query, system: System, partition: Option<i32>) {
    let _ = EventsQuery::parse(query, system, "t", partition);
}

/// The topic of the `id` of an event of a whole topic or stream, and the next offset of each partition.
pub(crate) fn positions(text: &str) -> Option<(u128, Vec<(i32, i64)>)> {
    let Id { positions, .. } = Id::parse(text, None).or_else(|_| Id::parse(text, Some(0))).ok()?;
    Some((positions.topic_id?, positions.next()))
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
