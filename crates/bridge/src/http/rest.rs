//! The resources of the REST proxies: topics, their records and their offsets. Records are also served as [`events`].
//! Clusters of NATS have streams, messages and sequences in their place; a stream is run as a topic with the one
//! partition 0.
//!
//! 1. [`path`]: parses the resource and the query
//! 2. here: dispatches by resource and method

mod batch;
mod events;
mod offsets;
mod partition;
mod path;
mod position;
pub(super) mod positions;
mod produce;
mod records;
mod topic_records;
mod topics;

use std::sync::Arc;

use http::Method;
use path::{Query, Resource};
use sluicegate_backend::{Log, System};

use super::accept::Accept;
use super::problem::{Problem, ProblemKind};
use super::request::Request;
use super::request_permits::RequestPermits;
use super::response::Response;

/// The pattern of a target's path on a cluster of `system`, one of a few; without a resource, [`NO_ROUTE`].
pub(super) fn route(target: &str, system: System) -> &'static str {
    Resource::parse(path_of(target), system).map_or(NO_ROUTE, |resource| resource.route())
}

/// Whether clients expect a target's errors as those of the REST proxies, which have no streams.
pub(super) fn has_proxy_errors(target: &str) -> bool {
    !path::is_of_streams(path_of(target))
}

fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// The response to a request on the route. `target` is the path after the route's own, with the query.
///
/// # Errors
/// The request fails.
pub(super) async fn answer(
    request: &Request<'_>,
    target: &str,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let system = request.grant.system();
    let resource = Resource::parse(path, system)?;
    let accept = Accept::of(request.headers);
    let Request { grant, method, .. } = *request;
    let allow = resource.allow(grant.writes());
    let check_readable =
        |topic: &str| grant.check_read(topic).map_err(|error| Problem::failed(error, system));
    let reads = method == Method::GET || method == Method::HEAD;
    match &resource {
        _ if method == Method::OPTIONS => Ok(Response::options(allow)),
        Resource::Topics | Resource::Streams if reads => {
            Query::none(query)?;
            topics::list(grant, accept.metadata(system)?).await
        }
        Resource::Topic { topic } if reads => {
            Query::none(query)?;
            check_readable(topic)?;
            topics::describe(grant, topic, accept.metadata(system)?).await
        }
        Resource::Stream { stream } if reads => {
            Query::none(query)?;
            check_readable(stream)?;
            topics::describe_stream(grant, stream, accept.metadata(system)?).await
        }
        Resource::TopicRecords { topic } if reads => {
            check_readable(topic)?;
            topic_records::get(grant, topic, query, accept.records(system)?, running).await
        }
        Resource::Records { topic, partition } if reads => {
            check_readable(topic)?;
            let log = Log { topic, partition: *partition };
            records::get(grant, log, query, accept.records(system)?, running).await
        }
        Resource::Messages { stream } if reads => {
            check_readable(stream)?;
            records::get(grant, Log::of_stream(stream), query, accept.records(system)?, running).await
        }
        Resource::Offsets { topic, partition } if reads => {
            check_readable(topic)?;
            let log = Log { topic, partition: *partition };
            offsets::get(grant, log, query, accept.metadata(system)?).await
        }
        Resource::Sequences { stream } if reads => {
            check_readable(stream)?;
            offsets::get(grant, Log::of_stream(stream), query, accept.metadata(system)?).await
        }
        Resource::TopicEvents { topic } if reads => events::get(request, topic, None, query, running).await,
        Resource::Events { topic, partition } if reads => {
            events::get(request, topic, Some(*partition), query, running).await
        }
        Resource::StreamEvents { stream } if reads => {
            events::get(request, stream, Some(Log::of_stream(stream).partition), query, running).await
        }
        Resource::Topic { topic: log } | Resource::Stream { stream: log } if method == Method::POST => {
            Query::none(query)?;
            produce::post(request, log, None, accept.metadata(system)?).await
        }
        Resource::Partition { topic, partition } if method == Method::POST => {
            Query::none(query)?;
            produce::post(request, topic, Some(*partition), accept.metadata(system)?).await
        }
        _ => {
            let detail = format!("method not allowed for {}: expected {allow}", resource.name());
            Err(Problem::new(ProblemKind::MethodNotAllowed(allow), detail))
        }
    }
}

/// The route of requests to paths that do not exist.
pub(super) const NO_ROUTE: &str = "other";

#[cfg(test)]
mod tests;
