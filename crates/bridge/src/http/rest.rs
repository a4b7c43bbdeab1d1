//! The resources of a cluster: topics, their records and their offsets, in the words of the cluster's system. Records
//! are also served as [`events`], and to [`consumers`] in groups. A stream is run as a topic with the one partition 0.
//!
//! 1. [`path`]: finds the resource in the system's table, and parses the query
//! 2. here: checks that the topic can be read, and dispatches by the resource's row and the method

mod batch;
mod clusters;
mod consumers;
#[cfg(feature = "testing")]
pub(super) mod decoders;
mod events;
pub(super) mod filters;
mod offsets;
pub(super) mod path;
mod position;
mod positions;
mod produce;
mod records;
mod stream;
mod topic_records;
mod topics;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::Method;
use path::{Query, Target};
use sluicegate_backend::{Log, System};
use sluicegate_dialect::http::consumers::find;
use sluicegate_dialect::http::resource::{Get, Post};
use sluicegate_telemetry::metrics::Kind;

pub(super) use self::produce::{answer_each, no_results};
use super::Request;
use super::accept::Accept;
use super::problem::{Problem, ProblemKind};
use super::request_permits::RequestPermits;
use super::response::Response;

/// The pattern of a target's path on a cluster of `system`, one of a few; without a resource, [`NO_ROUTE`].
pub(super) fn route(target: &str, system: System) -> &'static str {
    let path = path_of(target);
    if let Some(Ok(target)) = consumers::Target::parse(path, system) {
        return target.resource.path;
    }
    Target::parse(path, system).map_or(NO_ROUTE, |target| target.resource.path)
}

/// The media types with which a target's clients ask for errors of the REST proxies. None: it has no such errors.
pub(super) fn error_types(target: &str) -> &'static [&'static str] {
    path::words_of(path_of(target)).media_types.errors
}

/// Whether a target is of consumers, which only clients of the REST proxies have, whatever its cluster.
pub(super) fn is_of_consumers(target: &str) -> bool {
    let path = path_of(target);
    find(path::words_of(path).consumers, path).is_some()
}

/// Whether requests to a target have a body whatever their method is: those of consumers, in which the proxies' clients
/// list partitions with GET.
pub(super) fn has_body(target: &str, system: System) -> bool {
    consumers::Target::parse(path_of(target), system).is_some()
}

/// Whether a target's path is one of those that name the cluster. Their errors have the REST proxies' members, in JSON.
pub(super) fn names_cluster(target: &str) -> bool {
    path::names_cluster(path_of(target))
}

/// Whether a write to this target is a stream of records.
pub(super) fn streams(target: &str, system: System) -> bool {
    Target::parse(path_of(target), system).is_ok_and(|target| target.resource.posts == Some(Post::Stream))
}

/// The response to a stream of records: see [`stream`].
///
/// # Errors
/// The request fails as a whole. No record was written.
pub(super) async fn write_each(
    request: &Request<'_>,
    target: &str,
    body: BoxStream<'static, Result<Bytes, Problem>>,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Query::none(query)?;
    stream::post(request, Target::parse(path, request.grant.system())?, body, running).await
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
    if let Some(target) = consumers::Target::parse(path, request.grant.system()) {
        return consumers::answer(request, &target?, query, running).await;
    }
    let target = Target::parse(path, request.grant.system())?;
    let allow = target.resource.allow(request.grant.writes());
    match (request.method, target.resource.get) {
        (&Method::OPTIONS, _) => Ok(Response::options(allow)),
        (&Method::GET | &Method::HEAD, Some(get)) => {
            read(request, &target, (get, path), query, running).await
        }
        (&Method::POST, _) if target.resource.posts == Some(Post::Batch) => {
            write(request, &target, query, running).await
        }
        (&Method::POST, _) if target.resource.posts == Some(Post::Stream) => {
            Query::none(query)?;
            let whole = futures_util::stream::iter([Ok(request.body.clone())]);
            stream::post(request, target, whole.boxed(), running).await
        }
        _ => {
            let detail = format!("method not allowed for {}: expected {allow}", target.resource.name);
            Err(Problem::new(ProblemKind::MethodNotAllowed(allow), detail))
        }
    }
}

async fn read(
    request: &Request<'_>,
    target: &Target,
    (get, path): (Get, &str),
    query: &str,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let (grant, accept) = (request.grant, Accept::of(request.headers));
    let system = grant.system();
    if target.resource.parameters.is_empty() {
        Query::none(query)?;
    }
    if let Some(topic) = &target.topic {
        let granted = grant.check_read(topic).inspect_err(|error| grant.count_denied(kind(get), error));
        granted.map_err(|error| Problem::failed(error, system))?;
    }
    // Lists have no topic.
    let topic = target.topic.as_deref().unwrap_or_default();
    let log = Log { topic, partition: target.partition.unwrap_or_default() };
    let query = || target.query(query, system);
    match get {
        Get::List => topics::list(grant, accept.metadata(system)?).await,
        Get::Describe => topics::describe(grant, topic, accept.metadata(system)?).await,
        Get::Partitions => topics::partitions(grant, topic, accept.metadata(system)?).await,
        Get::Partition => topics::partition(grant, log, accept.metadata(system)?).await,
        Get::Brokers => clusters::brokers(grant, accept.metadata(system)?).await,
        Get::Clusters => {
            accept.json()?;
            clusters::list(request, path).await
        }
        Get::Cluster => {
            accept.json()?;
            clusters::describe(request, path, &target.cluster).await
        }
        Get::DescribeLog => topics::describe_log(grant, log, accept.metadata(system)?).await,
        Get::TopicRecords => {
            let elements = accept.elements(system, request.cloudevents)?;
            topic_records::get(grant, topic, &query()?, elements, running).await
        }
        Get::Records => {
            let elements = accept.elements(system, request.cloudevents)?;
            records::get(grant, log, &query()?, elements, running).await
        }
        Get::Offsets => {
            let content_type = accept.metadata(system)?;
            offsets::get(grant, log, &query()?, content_type).await
        }
        Get::Key => {
            let format = accept.records(system)?;
            records::get_key(grant, topic, &target.key, format).await
        }
        Get::TopicEvents => {
            accept.events()?;
            events::get(request, topic, None, &query()?, running).await
        }
        Get::Events => {
            accept.events()?;
            events::get(request, topic, Some(log.partition), &query()?, running).await
        }
    }
}

/// The kind of command that does the same.
fn kind(get: Get) -> Kind {
    match get {
        Get::List
        | Get::Describe
        | Get::Partitions
        | Get::Partition
        | Get::Brokers
        | Get::Clusters
        | Get::Cluster => Kind::Topics,
        Get::TopicRecords => Kind::MultiFetch,
        Get::Records | Get::Key => Kind::Fetch,
        Get::DescribeLog | Get::Offsets => Kind::ListOffset,
        Get::TopicEvents | Get::Events => Kind::Subscribe,
    }
}

async fn write(
    request: &Request<'_>,
    target: &Target,
    query: &str,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let is_async = match Query::parse(query, &["async"])?.text("async") {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("false") => false,
        // Strimzi's bridge takes it in any case.
        Some(text) if text.eq_ignore_ascii_case("true") => true,
        Some(_) => {
            let detail = "query parameter async: expected true or false";
            return Err(Problem::new(ProblemKind::Malformed, detail));
        }
    };
    let content_type = Accept::of(request.headers).metadata(request.grant.system())?;
    // A row without a topic takes no records.
    let topic = target.topic.as_deref().unwrap_or_default();
    produce::post(request, topic, target.partition, content_type, is_async, running).await
}

/// The route of requests to paths that do not exist.
pub(super) const NO_ROUTE: &str = "other";

#[cfg(test)]
mod tests;
