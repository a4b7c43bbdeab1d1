//! The resources of the REST proxies: topics, their records and their offsets.
//!
//! 1. [`path`]: which resource, asked for what
//! 2. here: which method, and who answers

mod batch;
mod offsets;
mod partition;
mod path;
mod produce;
mod records;
mod topics;

use http::Method;
use sluicegate_protocol::HttpRest;

use super::accept::Accept;
use super::problem::{Fault, Problem};
use super::response::Response;
use super::{Request, Running};
use path::{Query, Resource};

/// The answer to a request of the route, for the part of its path that follows the route's.
pub(super) async fn answer(request: Request<'_>, route: &HttpRest, running: &Running) -> Response {
    let accept = Accept::of(request.headers);
    let answered = dispatch(&request, route, &accept, running).await;
    answered.unwrap_or_else(|problem| problem.rest(accept.errors()))
}

async fn dispatch(
    request: &Request<'_>,
    route: &HttpRest,
    accept: &Accept<'_>,
    running: &Running,
) -> Result<Response, Problem> {
    let (path, query) = route.path.split_once('?').unwrap_or((&route.path, ""));
    let resource = Resource::parse(path)?;
    let allow = resource.allow(route.write);
    let cluster = request.cluster;
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    match &resource {
        _ if request.method == Method::OPTIONS => Ok(Response::options(allow)),
        Resource::Topics if reads => {
            Query::none(query)?;
            topics::list(cluster, accept.metadata()?).await
        }
        Resource::Topic { topic } if reads => {
            Query::none(query)?;
            topics::describe(cluster, topic, accept.metadata()?).await
        }
        Resource::Records { topic, partition } if reads => {
            records::get(cluster, topic, *partition, query, accept.records()?, running).await
        }
        Resource::Offsets { topic, partition } if reads => {
            offsets::get(cluster, topic, *partition, query, accept.metadata()?).await
        }
        Resource::Topic { topic } if request.method == Method::POST => {
            Query::none(query)?;
            produce::post(request, route.write, topic, None, accept.metadata()?).await
        }
        Resource::Partition { topic, partition } if request.method == Method::POST => {
            Query::none(query)?;
            produce::post(request, route.write, topic, Some(*partition), accept.metadata()?).await
        }
        _ => {
            let detail = format!("{topic} takes {allow} only", topic = resource.name());
            Err(Problem::new(Fault::MethodNotAllowed(allow), detail))
        }
    }
}
