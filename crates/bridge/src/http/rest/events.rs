//! Records as server-sent events (the HTML standard, section 9.2), as they are written.
//!
//! 1. [`query`]: what the client wants
//! 2. [`id`]: where it is, which every event says
//! 3. here: begins a subscription
//! 4. [`event`]: what the subscription has becomes the text of events
//! 5. [`event_stream`]: events go to the client as fast as it reads

#[cfg(feature = "testing")]
pub(super) mod decoders;
mod event;
mod id;
mod query;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_delivery::cluster::{self, escape_for_message};
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::http::LAST_EVENT_ID as POLYFILL_LAST_EVENT_ID;

use self::event::Events;
use self::id::{Id, MAX_PARTITIONS, Positions, ago};
use self::query::EventsQuery;
use super::super::Request;
use super::super::event_stream;
use super::super::problem::Problem;
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::path::Query;
use super::position::too_many_partitions;

/// The response to GET of the events of a topic, of one of its partitions, or of a stream, which is partition 0. HEAD
/// begins nothing.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn get(
    request: &Request<'_>,
    topic: &str,
    partition: Option<i32>,
    query: &Query,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let Request { grant, method, headers, .. } = *request;
    let system = grant.system();
    let EventsQuery { mut command, format, max_bytes, last_event_id } =
        EventsQuery::parse(query, system, topic, partition)?;
    // A browser repeats the URL when it reconnects: the header is newer. Polyfills add a parameter in place of it.
    let is_id = |id: &&str| !id.is_empty();
    let header = headers.text(LAST_EVENT_ID)?.filter(is_id);
    let last = header.or_else(|| query.text(POLYFILL_LAST_EVENT_ID).filter(is_id));
    let last = last.map(|last| Id::parse(last, partition)).transpose()?;
    if last.as_ref().is_some_and(|last| last.is_over) {
        // The HTML standard, section 9.2.1: "Clients will reconnect if the connection is closed; a client can be told
        // to stop reconnecting using the HTTP 204 No Content response code."
        return Ok(Response::empty(StatusCode::NO_CONTENT));
    }
    let last = match (last, last_event_id) {
        (None, Some(last)) => Some(Id::parse(&last, partition)?),
        (last, _) => last,
    };
    let (response, frames) = event_stream::response("no-store, no-transform");
    if method == Method::HEAD {
        return Ok(response);
    }
    let failed = async |error: CommandError| {
        Problem::failed(error, system).with_missing_log(grant, topic, partition).await
    };
    let is_table = command.table.is_some();
    // An id without a time is of a stream that is no table. A table that cannot go on begins anew.
    let last = last.filter(|last| !is_table || last.positions.at.is_some());
    let checked = last.as_ref().filter(|_| !is_table);
    if let Err(refused) = check_partitions(grant, topic, partition, checked).await {
        return Err(match refused {
            Refused::Bad(problem) => problem,
            Refused::Failed(error) => failed(error).await,
        });
    }
    if let Some(table) = &mut command.table {
        table.away = last.as_ref().and_then(|last| last.positions.away(ago(Duration::ZERO)));
    }
    if let (Some(Id { positions, .. }), Some(source)) = (&last, command.sources.first_mut()) {
        source.next = positions.next();
        source.topic_id = positions.topic_id;
    }
    let subscription = match grant.follow(command).await {
        Ok(subscription) => subscription,
        Err(error) if error.fault == Fault::Recreated => return Err(other_topic(system, topic)),
        Err(error) => return Err(failed(error).await),
    };
    let events = Events::new(system, format, max_bytes, Positions::new(partition), is_table);
    event_stream::begin(subscription, events, grant, running, frames).await?;
    Ok(response)
}

/// Why a stream does not begin.
enum Refused {
    Bad(Problem),
    Failed(CommandError),
}

/// Checks that the topic's partitions fit into an event's `id`, and that it has those of the client's.
async fn check_partitions(
    grant: &Grant,
    topic: &str,
    partition: Option<i32>,
    last: Option<&Id>,
) -> Result<(), Refused> {
    let existing = &grant.describe(topic).await.map_err(Refused::Failed)?.partitions;
    if partition.is_none() && existing.len() > MAX_PARTITIONS {
        return Err(Refused::Bad(too_many_partitions(topic, existing.len(), INSTEAD)));
    }
    let is_known = |partition: i32| existing.iter().any(|existing| existing.partition == partition);
    match last {
        Some(Id { positions, .. }) if !positions.partitions().all(is_known) => {
            Err(Refused::Bad(other_topic(grant.system(), topic)))
        }
        _ => Ok(()),
    }
}

fn other_topic(system: System, name: &str) -> Problem {
    let (topic, name) = (system.topic, escape_for_message(name));
    let detail = format!(
        "the last event is of another {topic}, or of a {topic} {name} that has been deleted since: \
         connect without its id"
    );
    Problem::failed(CommandError::new(Fault::Recreated, 0, detail), system)
}

/// Advice for topics with too many partitions.
const INSTEAD: &str = "request the events of each partition";
// Errors name this limit, and all positions of an `id` can be looked up.
const _: () = assert!(MAX_PARTITIONS == cluster::MAX_PARTITIONS);
const LAST_EVENT_ID: &str = "last-event-id";

#[cfg(test)]
mod tests;
