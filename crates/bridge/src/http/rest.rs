//! The resources of the REST proxies: topics, their records and their offsets. Records are also served as [`events`].
//!
//! 1. [`path`]: parses the resource and the query
//! 2. here: dispatches by resource and method

mod batch;
mod events;
mod offsets;
mod partition;
mod path;
pub(super) mod positions;
mod produce;
mod records;
mod topic_records;
mod topics;

use std::sync::Arc;

use http::Method;

use super::accept::Accept;
use super::problem::{Problem, ProblemKind};
use super::request::{Request, check_readable};
use super::request_permits::RequestPermits;
use super::response::Response;
use crate::backend::Log;
use path::{Query, Resource};

/// The pattern of a target's path, one of a few; without a resource, [`NO_ROUTE`].
pub(super) fn route(target: &str) -> &'static str {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    Resource::parse(path).map_or(NO_ROUTE, |resource| resource.route())
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
    let resource = Resource::parse(path)?;
    let accept = Accept::of(request.headers);
    let Request { grant, method, .. } = *request;
    let allow = resource.allow(grant.writes());
    let cluster = &*grant.cluster;
    let reads = method == Method::GET || method == Method::HEAD;
    match &resource {
        _ if method == Method::OPTIONS => Ok(Response::options(allow)),
        Resource::Topics if reads => {
            Query::none(query)?;
            topics::list(grant, accept.metadata()?).await
        }
        Resource::Topic { topic } if reads => {
            Query::none(query)?;
            check_readable(grant, topic)?;
            topics::describe(cluster, topic, accept.metadata()?).await
        }
        Resource::TopicRecords { topic } if reads => {
            check_readable(grant, topic)?;
            topic_records::get(cluster, topic, query, accept.records()?, running).await
        }
        Resource::Records { topic, partition } if reads => {
            check_readable(grant, topic)?;
            let log = Log { topic, partition: *partition };
            records::get(cluster, log, query, accept.records()?, running).await
        }
        Resource::Offsets { topic, partition } if reads => {
            check_readable(grant, topic)?;
            let log = Log { topic, partition: *partition };
            offsets::get(cluster, log, query, accept.metadata()?).await
        }
        Resource::TopicEvents { topic } if reads => events::get(request, topic, None, query, running).await,
        Resource::Events { topic, partition } if reads => {
            events::get(request, topic, Some(*partition), query, running).await
        }
        Resource::Topic { topic } if method == Method::POST => {
            Query::none(query)?;
            produce::post(request, topic, None, accept.metadata()?).await
        }
        Resource::Partition { topic, partition } if method == Method::POST => {
            Query::none(query)?;
            produce::post(request, topic, Some(*partition), accept.metadata()?).await
        }
        _ => {
            let detail = format!("method not allowed for {}: expected {allow}", resource.name());
            Err(Problem::new(ProblemKind::MethodNotAllowed(allow), detail))
        }
    }
}

/// The route of requests to paths that do not exist.
pub(super) const NO_ROUTE: &str = "other";
