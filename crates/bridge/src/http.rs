//! Plain HTTP requests that a gateway forwards.
//!
//! 1. here: checks the page's origin ([`cors`]), reads the body and passes the request to its resource
//! 2. [`produce`]: a body becomes one record, with a key that [`jsonkey`] can find in it
//! 3. [`rest`]: the resources of the cluster's system, in the media type that [`accept`] chooses
//! 4. [`cloudevents`]: records of both as CloudEvents, if the route has them
//! 5. [`streams`]: the same records in the Durable Streams protocol; [`event_stream`] sends events of both
//! 6. [`problem`]: every failure, as a problem document
//! 7. [`record_id`]: the id of a request's only record
//! 8. [`response`]: the response, sent as fast as the client reads
//!
//! Paths, words, media types and documents are those of the system's
//! [`HttpDialect`](sluicegate_dialect::http::HttpDialect).

mod accept;
mod base_url;
mod body;
mod cloudevents;
mod cors;
#[cfg(feature = "testing")]
pub(crate) mod decoders;
mod event_stream;
mod headers;
mod jsonkey;
mod problem;
mod produce;
mod producer;
mod record_id;
mod request_permits;
mod response;
mod rest;
mod streams;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use sluicegate_backend::System;
use sluicegate_delivery::grant::Grant;
use sluicegate_dialect::http::media_type::JSON;
use sluicegate_protocol::HttpRoute;
use sluicegate_protocol::http_route::Resource;
use sluicegate_telemetry::traces;
use tokio::time::Instant;

use self::accept::Accept;
use self::headers::Headers;
pub(crate) use self::problem::{INVALID_TOKEN, Problem, ProblemKind};
pub(crate) use self::request_permits::RequestPermits;
pub(crate) use self::response::Body;
use self::response::Response;

/// An admitted request.
pub(crate) struct AdmittedRequest<'a> {
    pub(crate) grant: Grant,
    pub(crate) route: &'a HttpRoute,
    /// The request's permit, or the limit that is reached (`limits.max_calls`).
    pub(crate) running: Result<Arc<RequestPermits>, usize>,
    /// The largest body, in bytes.
    pub(crate) max_body_bytes: usize,
}

/// A request to a resource.
struct Request<'a> {
    grant: &'a Grant,
    method: &'a Method,
    headers: Headers<'a>,
    body: &'a Bytes,
    /// The host and port of the request's URL, if it has them.
    authority: Option<&'a str>,
    /// The largest body, in bytes.
    max_body_bytes: usize,
    /// Whether the route takes and gives CloudEvents.
    cloudevents: bool,
}

/// The response to a request.
///
/// # Cancel safety
/// A drop abandons a read. A request's records are written all or none.
pub(crate) async fn respond(
    admitted: &AdmittedRequest<'_>,
    request: http::Request<Incoming>,
) -> http::Response<Body> {
    let methods: &[Method] = match &admitted.route.resource {
        Some(Resource::Produce(_)) => &[Method::POST],
        Some(Resource::Streams(_)) => &streams::METHODS,
        _ if admitted.grant.consumes() => &[Method::GET, Method::HEAD, Method::POST, Method::DELETE],
        _ if admitted.grant.writes() => &[Method::GET, Method::HEAD, Method::POST],
        _ => &[Method::GET, Method::HEAD],
    };
    let (parts, body) = request.into_parts();
    let system = admitted.grant.system();
    let (route, started) = (route(admitted.route, system), Instant::now());
    let mut context = traces::current();
    let mut span = context.sample(route, admitted.grant.client());
    let mut response = context.scope(answer_page(admitted, methods, &parts, body)).await;
    if let Some(Resource::Streams(_)) = &admitted.route.resource {
        streams::protect(&mut response);
    }
    if let Some(connection) = parts.extensions.get() {
        response.body_mut().sent_over(connection);
    }
    let status = response.status().as_u16();
    admitted.grant.metrics().http(route, status.into(), started.elapsed());
    if let Some(span) = &mut span {
        span.http(parts.method.as_str(), route, status);
    }
    response
}

async fn answer_page(
    admitted: &AdmittedRequest<'_>,
    methods: &[Method],
    parts: &Parts,
    body: Incoming,
) -> http::Response<Body> {
    match check_page(admitted.route, methods, parts).await {
        Page::Answered(response) => {
            if response.status() == StatusCode::FORBIDDEN {
                admitted.grant.log_refused("origin");
            }
            body::skip(body, parts).await;
            response
        }
        Page::Passes(headers) => {
            let mut response = answer(admitted, parts, body).await;
            response.headers_mut().extend(headers);
            response
        }
    }
}

/// The pattern of the path, for metrics and traces: clients cannot make new ones.
fn route(route: &HttpRoute, system: System) -> &'static str {
    match &route.resource {
        Some(Resource::Produce(_)) => PRODUCE_ROUTE,
        Some(Resource::Rest(_)) => rest::route(&route.path, system),
        Some(Resource::Streams(_)) => streams::ROUTE,
        None => rest::NO_ROUTE,
    }
}

/// The response to a refused request.
pub(crate) async fn refuse(
    route: &HttpRoute,
    problem: Problem,
    request: http::Request<Incoming>,
) -> http::Response<Body> {
    let (parts, body) = request.into_parts();
    body::skip(body, &parts).await;
    let mut response = match check_page(route, &ALL_METHODS, &parts).await {
        Page::Answered(response) => response,
        Page::Passes(headers) => {
            let mut response = refusal(route, problem, &parts.headers).into_http(&parts.method, None);
            response.headers_mut().extend(headers);
            response
        }
    };
    if let Some(Resource::Streams(_)) = &route.resource {
        streams::protect(&mut response);
    }
    response
}

/// The result of checking a web page's request.
enum Page {
    /// A preflight or a refused request.
    Answered(http::Response<Body>),
    /// The request passes, and its response gets these headers.
    Passes(HeaderMap),
}

async fn check_page(route: &HttpRoute, methods: &[Method], parts: &Parts) -> Page {
    let Some(cors) = &route.cors else { return Page::Passes(HeaderMap::new()) };
    if let Err(problem) = cors::check(cors, &parts.headers) {
        let mut response = refusal(route, problem, &parts.headers).into_http(&parts.method, None);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
        return Page::Answered(response);
    }
    let shared = matches!(&route.resource, Some(Resource::Streams(streams)) if streams.public);
    let headers = cors::headers(cors, methods, parts, shared).await;
    if cors::is_preflight(parts) {
        let mut response = Response::empty(StatusCode::NO_CONTENT).into_http(&parts.method, None);
        response.headers_mut().extend(headers);
        return Page::Answered(response);
    }
    Page::Passes(headers)
}

/// A failure in the form that the route's clients expect.
fn refusal(route: &HttpRoute, problem: Problem, headers: &HeaderMap) -> Response {
    let types = match &route.resource {
        Some(Resource::Rest(_)) if rest::names_cluster(&route.path) => return problem.rest(JSON),
        Some(Resource::Rest(_)) => rest::error_types(&route.path),
        _ => &[],
    };
    match types {
        [] => problem.plain(),
        types => {
            let by_default = rest::is_of_consumers(&route.path);
            problem.rest(Accept::of(Headers(headers)).errors(types, by_default))
        }
    }
}

async fn answer(admitted: &AdmittedRequest<'_>, parts: &Parts, body: Incoming) -> http::Response<Body> {
    let before = commands(&admitted.grant);
    let response = match &admitted.running {
        Ok(running) => run(admitted, parts, body, running).await,
        Err(max_calls) => {
            admitted.grant.log_refused("calls");
            body::skip(body, parts).await;
            let detail =
                format!("bridge at capacity for this client (limits.max_calls = {max_calls}), try again");
            Err(Problem::new(ProblemKind::Unavailable, detail))
        }
    };
    let response = counted(&admitted.grant, before, response).unwrap_or_else(|problem| {
        problem.log(&admitted.grant, route(admitted.route, admitted.grant.system()));
        refusal(admitted.route, problem, &parts.headers)
    });
    response.into_http(&parts.method, admitted.running.clone().ok())
}

/// Counts a request that ran no command as one: each is in the person's quota. `before` are the commands before it.
fn counted(grant: &Grant, before: u64, answered: Result<Response, Problem>) -> Result<Response, Problem> {
    if commands(grant) == before {
        grant.count_request().map_err(|error| Problem::failed(error, grant.system()))?;
    }
    answered
}

fn commands(grant: &Grant) -> u64 {
    grant.activity().counts().commands
}

async fn run(
    admitted: &AdmittedRequest<'_>,
    parts: &Parts,
    body: Incoming,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let AdmittedRequest { grant, route, max_body_bytes, .. } = admitted;
    let none = Bytes::new();
    let request = request(admitted, parts, &none);
    let answer = async |body: Bytes| dispatch(&Request { body: &body, ..request }, route, running).await;
    let has_body = is_rest(route) && rest::has_body(&route.path, grant.system());
    match parts.method {
        Method::GET | Method::HEAD if has_body => {
            answer(body::read(body, parts, *max_body_bytes).await?).await
        }
        // RFC 9110, section 9.3.1: "content received in a GET request has no generally defined semantics".
        Method::GET | Method::HEAD | Method::OPTIONS => body::ignore(body, answer(Bytes::new())).await,
        Method::POST if is_rest(route) && rest::streams(&route.path, grant.system()) => {
            let parts = body::parts(body, parts.version);
            Box::pin(rest::write_each(&request, &route.path, parts, running)).await
        }
        _ => answer(body::read(body, parts, *max_body_bytes).await?).await,
    }
}

fn request<'a>(admitted: &'a AdmittedRequest<'_>, parts: &'a Parts, body: &'a Bytes) -> Request<'a> {
    Request {
        grant: &admitted.grant,
        method: &parts.method,
        headers: Headers(&parts.headers),
        body,
        authority: parts.uri.authority().map(Authority::as_str),
        max_body_bytes: admitted.max_body_bytes,
        cloudevents: has_cloudevents(admitted.route),
    }
}

fn is_rest(route: &HttpRoute) -> bool {
    matches!(&route.resource, Some(Resource::Rest(_)))
}

fn has_cloudevents(route: &HttpRoute) -> bool {
    match &route.resource {
        Some(Resource::Produce(produce)) => produce.cloudevents,
        Some(Resource::Rest(rest)) => rest.cloudevents,
        Some(Resource::Streams(_)) | None => false,
    }
}

async fn dispatch(
    request: &Request<'_>,
    route: &HttpRoute,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    match &route.resource {
        Some(Resource::Produce(produce)) => Box::pin(produce::answer(request, produce, running)).await,
        Some(Resource::Rest(_)) => Box::pin(rest::answer(request, &route.path, running)).await,
        Some(Resource::Streams(streams)) => {
            Box::pin(streams::answer(request, streams, &route.path, running)).await
        }
        None => {
            let detail = "the gateway's route has no resource that this bridge knows, upgrade the bridge";
            Err(Problem::new(ProblemKind::GatewayMismatch, detail))
        }
    }
}

const ALL_METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];

/// The route of the resource `produce`, whatever its path is in the gateway.
const PRODUCE_ROUTE: &str = "produce";

/// The answer to an admitted request.
#[cfg(test)]
pub(crate) async fn ask(
    grant: &Grant,
    route: &HttpRoute,
    method: Method,
    headers: &HeaderMap,
    body: &str,
) -> Response {
    use sluicegate_fair_share::{Ledger, Permits};

    let (calls, waiting) = (Permits::new(Ledger::new(1)), Permits::new(Ledger::new(1)));
    let open = tokio_util::task::TaskTracker::new();
    let running = RequestPermits::begin(&calls, grant.holder(), &waiting, grant.drain(), open.token());
    let body = Bytes::copy_from_slice(body.as_bytes());
    let request = Request {
        grant,
        method: &method,
        headers: Headers(headers),
        body: &body,
        authority: None,
        max_body_bytes: 1 << 20,
        cloudevents: has_cloudevents(route),
    };
    let (running, before) = (running.expect("a permit"), commands(grant));
    let answered = dispatch(&request, route, &running).await;
    counted(grant, before, answered).unwrap_or_else(|problem| refusal(route, problem, headers))
}

#[cfg(test)]
pub(crate) mod tests;
