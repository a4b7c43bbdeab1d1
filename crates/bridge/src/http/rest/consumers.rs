//! Consumers in groups, as the REST proxies' second version has them. A consumer lives at one bridge, and is taken over
//! by the one that its next request reaches.
//!
//! 1. here: finds the resource in the system's table, and dispatches by the row and the method
//! 2. [`records`]: the records since the last read
//! 3. [`offsets`]: commits, what is committed, and positions

mod offsets;
mod records;

use std::sync::Arc;

use futures_util::FutureExt;
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sluicegate_backend::System;
use sluicegate_backend::groups::GroupLog;
use sluicegate_delivery::consumers::ConsumerError;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect as dialect;
use sluicegate_dialect::http::body::BodyError;
use sluicegate_dialect::http::consumers::{
    Call, ConsumerResource, Created, Places, Settings, Subscription, assignments, find, is_body_type,
    subscription,
};
use sluicegate_dialect::json;

use super::super::Request;
use super::super::accept::Accept;
use super::super::base_url::base_url;
use super::super::problem::{ConsumerFault, Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::path::Query;
use crate::percent::decoded;

/// The resource of a request.
pub(super) struct Target {
    pub(super) resource: &'static ConsumerResource,
    group: String,
    /// Empty for resources of the whole group.
    instance: String,
}

impl Target {
    /// Parses a path on a cluster of `system`. None: it is no path of consumers.
    ///
    /// # Errors
    /// Its group or instance is encoded wrongly.
    pub(super) fn parse(path: &str, system: System) -> Option<Result<Self, Problem>> {
        let (resource, names) = find(dialect::of(system).words().consumers, path)?;
        let [group, instance] = names.map(decoded);
        let (Some(group), Some(instance)) = (group, instance) else {
            let detail = "expected the names of a group and a consumer in the path, in percent-encoded UTF-8";
            return Some(Err(Problem::new(ProblemKind::Malformed, detail)));
        };
        Some(Ok(Self { resource, group, instance }))
    }
}

/// The response to a request of a consumer or its group.
///
/// # Errors
/// The request fails.
pub(super) async fn answer(
    request: &Request<'_>,
    target: &Target,
    query: &str,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let row = target.resource;
    let call = match *request.method {
        Method::OPTIONS => return Ok(Response::options(row.allow())),
        Method::GET | Method::HEAD => row.get,
        Method::POST => row.post,
        Method::DELETE => row.delete,
        _ => None,
    };
    let allow = row.allow();
    let call = call.ok_or_else(|| {
        let detail = format!("method not allowed for {}: expected {allow}", row.name);
        Problem::new(ProblemKind::MethodNotAllowed(allow), detail)
    })?;
    let query = Query::parse(query, if request.method == Method::POST { &[] } else { row.parameters })?;
    request.headers.check_content_encoding()?;
    if !request.body.is_empty() && !is_body_type(&request.headers.content_type()?) {
        let detail = "expected Content-Type to be application/vnd.kafka.v2+json or application/json";
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    // Boxed, as its type is deep.
    let call = run(request, target, call, &query, running).boxed();
    call.await.map_err(|failure| failure.into_problem(request.grant.system()))
}

async fn run(
    request: &Request<'_>,
    target: &Target,
    call: Call,
    query: &Query,
    running: &Arc<RequestPermits>,
) -> Result<Response, Failure> {
    let grant = request.grant;
    let Target { group, instance, .. } = target;
    if call == Call::Create {
        return create(request, group).await;
    }
    // Before anything of the consumer is told.
    grant.check_consume(group).map_err(ConsumerError::from)?;
    if instance.is_empty() {
        return match call {
            Call::Commit => offsets::commit(request, group, None).await,
            _ => offsets::committed(request, group, None, query).await,
        };
    }
    let consumer = &grant.consumer(group, instance).await?;
    match call {
        Call::Create => {}
        Call::Delete => grant.delete_consumer(consumer).await?,
        Call::Subscribe => match subscription(body(request)?)? {
            Some(topics) => consumer.subscribe(grant, topics).await?,
            None => consumer.unsubscribe(grant).await?,
        },
        Call::Subscription => {
            grant.count_request().map_err(ConsumerError::from)?;
            let mut topics = consumer.subscription();
            topics.retain(|topic| grant.check_read(topic).is_ok());
            let document = Subscription::of(topics, readable(grant, consumer.assignment()));
            return Ok(told(request, &document));
        }
        Call::Unsubscribe => consumer.unsubscribe(grant).await?,
        Call::Assign => consumer.assign(grant, assignments(body(request)?)?).await?,
        Call::Assignment => {
            grant.count_request().map_err(ConsumerError::from)?;
            return Ok(told(request, &Places::of(readable(grant, consumer.assignment()))));
        }
        Call::Records => return records::get(request, consumer, query, running).await,
        Call::Commit => return offsets::commit(request, group, Some(consumer)).await,
        Call::Committed => return offsets::committed(request, group, Some(consumer), query).await,
        Call::Seek | Call::SeekToBeginning | Call::SeekToEnd => {
            offsets::seek(request, consumer, call).await?
        }
    }
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

/// The logs of topics that the client can read: another client of the group can have subscribed to others.
fn readable(grant: &Grant, mut logs: Vec<GroupLog>) -> Vec<GroupLog> {
    logs.retain(|(topic, _)| grant.check_read(topic).is_ok());
    logs
}

async fn create(request: &Request<'_>, group: &str) -> Result<Response, Failure> {
    let new = Settings::parse(body(request)?).map_err(|error| invalid_settings(error.into()))?;
    let consumer = match request.grant.create_consumer(group, new).await {
        Err(ConsumerError::Invalid(detail)) => return Err(Failure::Problem(settings_problem(detail))),
        created => created?,
    };
    let [group, name] = [group, consumer.instance()].map(|name| utf8_percent_encode(name, ENCODED));
    let base_uri = &*format!("{}/consumers/{group}/instances/{name}", base_url(request));
    Ok(told(request, &Created { instance_id: consumer.instance(), base_uri }))
}

fn settings_problem(detail: String) -> Problem {
    Problem::new(ProblemKind::Consumer(ConsumerFault::Settings), detail)
}

fn invalid_settings(problem: Problem) -> Failure {
    Failure::Problem(problem.of_kind(ProblemKind::Consumer(ConsumerFault::Settings)))
}

/// A document without records. Clients of Strimzi's bridge name no type that it has, or another one.
fn told(request: &Request<'_>, document: &impl Serialize) -> Response {
    let system = request.grant.system();
    let types = &dialect::of(system).words().media_types;
    let named = Accept::of(request.headers).metadata(system).ok();
    let content_type = named.or_else(|| types.errors.first().copied()).unwrap_or(types.json);
    Response::json(StatusCode::OK, content_type, document)
}

/// The text of a body; empty if it has none.
fn body<'a>(request: &Request<'a>) -> Result<&'a str, Failure> {
    if request.body.is_empty() {
        return Ok("");
    }
    json::parse(request.body).map_err(|invalid| Failure::Problem(invalid.into()))
}

/// Why a request fails.
enum Failure {
    Problem(Problem),
    Consumer(ConsumerError),
}

impl From<ConsumerError> for Failure {
    fn from(error: ConsumerError) -> Self {
        Self::Consumer(error)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    fn into_problem(self, system: System) -> Problem {
        let error = match self {
            Self::Problem(problem) => return problem,
            Self::Consumer(error) => error,
        };
        let kind = match &error {
            ConsumerError::Command(error) => return Problem::failed(error.clone(), system),
            ConsumerError::Unknown => ProblemKind::Consumer(ConsumerFault::Unknown),
            ConsumerError::Taken => ProblemKind::Consumer(ConsumerFault::Taken),
            ConsumerError::Conflict
            | ConsumerError::NotSubscribed
            | ConsumerError::NotAssigned(_)
            | ConsumerError::NoPosition(_) => ProblemKind::Consumer(ConsumerFault::State),
            ConsumerError::Invalid(_) => ProblemKind::Unprocessable,
            ConsumerError::Limit { .. } => ProblemKind::Unavailable,
        };
        Problem::new(kind, error.to_string())
    }
}

/// Everything but the unreserved characters (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests;
