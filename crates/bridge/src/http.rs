//! Plain HTTP requests that a gateway forwards, answered in HTTP's own terms.
//!
//! 1. here: a request is checked for web pages ([`cors`]), its body is read, and its resource answers the [`request`]
//! 2. [`produce`]: a body becomes one record, with its key where [`jsonkey`] finds it
//! 3. [`rest`]: the REST proxies' resources, in the type that [`accept`] chooses
//! 4. [`problem`]: every failure, as a document
//! 5. [`response`]: the answer, sent as fast as the client takes it

mod accept;
mod body;
mod cors;
mod headers;
mod json;
mod jsonkey;
mod media_type;
mod number;
mod problem;
mod produce;
mod request;
mod response;
mod rest;
mod running;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::body::Incoming;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{HttpRest, HttpRoute};

pub(crate) use self::problem::{Fault, Problem};
pub(crate) use self::response::Body;
pub(crate) use self::running::Running;

use self::accept::Accept;
use self::headers::Headers;
use self::request::Request;
use self::response::Response;
use crate::grant::Grant;

/// A request that was let in.
pub(crate) struct Admitted<'a> {
    pub(crate) grant: Grant,
    pub(crate) route: &'a HttpRoute,
    /// None: the bridge is at capacity.
    pub(crate) running: Option<Arc<Running>>,
    /// Bytes that a body can have.
    pub(crate) max_body_bytes: usize,
}

/// The response to a request, whatever is wrong with it.
///
/// # Cancel safety
/// A drop abandons a read. Records are written, all or none of a request.
pub(crate) async fn respond(
    admitted: &Admitted<'_>,
    request: http::Request<Incoming>,
) -> http::Response<Body> {
    let methods: &[Method] = match &admitted.route.resource {
        Some(Resource::Produce(_)) => &[Method::POST],
        _ if admitted.grant.writes() => &ALL_METHODS,
        _ => &[Method::GET, Method::HEAD],
    };
    let (parts, body) = request.into_parts();
    let response = match judge_page(admitted.route, methods, &parts).await {
        Page::Answered(response) => {
            body::skip(body, &parts).await;
            response
        }
        Page::Passes(headers) => {
            let mut response = answer(admitted, &parts, body).await;
            response.headers_mut().extend(headers);
            response
        }
    };
    admitted.grant.cluster.metrics.http(response.status().as_u16().into());
    response
}

/// The response to a request that was not let in.
pub(crate) async fn refuse(
    route: &HttpRoute,
    problem: Problem,
    request: http::Request<Incoming>,
) -> http::Response<Body> {
    let (parts, body) = request.into_parts();
    body::skip(body, &parts).await;
    match judge_page(route, &ALL_METHODS, &parts).await {
        Page::Answered(response) => response,
        Page::Passes(headers) => {
            let mut response = refusal(route, problem, &parts.headers).into_http(&parts.method, None);
            response.headers_mut().extend(headers);
            response
        }
    }
}

/// What a web page's request comes to before its resource is asked.
enum Page {
    Answered(http::Response<Body>),
    /// The answer has these headers.
    Passes(HeaderMap),
}

async fn judge_page(route: &HttpRoute, methods: &[Method], parts: &Parts) -> Page {
    let Some(cors) = &route.cors else { return Page::Passes(HeaderMap::new()) };
    if let Err(problem) = cors::check(cors, &parts.headers) {
        let mut response = refusal(route, problem, &parts.headers).into_http(&parts.method, None);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
        return Page::Answered(response);
    }
    let headers = cors::headers(cors, methods, parts).await;
    if cors::is_preflight(parts) {
        let mut response = Response::empty(StatusCode::NO_CONTENT).into_http(&parts.method, None);
        response.headers_mut().extend(headers);
        return Page::Answered(response);
    }
    Page::Passes(headers)
}

/// A failure in the form that the route's clients read.
fn refusal(route: &HttpRoute, problem: Problem, headers: &HeaderMap) -> Response {
    match &route.resource {
        Some(Resource::Rest(_)) => problem.rest(Accept::of(Headers(headers)).errors()),
        Some(Resource::Produce(_)) | None => problem.plain(),
    }
}

async fn answer(admitted: &Admitted<'_>, parts: &Parts, body: Incoming) -> http::Response<Body> {
    let response = match &admitted.running {
        Some(running) => run(admitted, parts, body, running).await,
        None => {
            body::skip(body, parts).await;
            Err(Problem::new(Fault::Unavailable, "the bridge is at capacity (limits.max_calls), try again"))
        }
    };
    let response = response.unwrap_or_else(|problem| refusal(admitted.route, problem, &parts.headers));
    response.into_http(&parts.method, admitted.running.clone())
}

async fn run(
    admitted: &Admitted<'_>,
    parts: &Parts,
    body: Incoming,
    running: &Arc<Running>,
) -> Result<Response, Problem> {
    let answer = async |body: Bytes| {
        let Admitted { grant, route, .. } = admitted;
        let request = Request { grant, method: &parts.method, headers: Headers(&parts.headers), body: &body };
        match &route.resource {
            Some(Resource::Produce(produce)) => Box::pin(produce::answer(&request, produce, running)).await,
            Some(Resource::Rest(HttpRest {})) => Box::pin(rest::answer(&request, &route.path, running)).await,
            None => {
                Err(Problem::new(Fault::Mismatched, "the gateway named no resource that this bridge has"))
            }
        }
    };
    match parts.method {
        // RFC 9110, section 9.3.1: "content received in a GET request has no generally defined semantics".
        Method::GET | Method::HEAD | Method::OPTIONS => body::ignore(body, answer(Bytes::new())).await,
        _ => answer(body::read(body, parts, admitted.max_body_bytes).await?).await,
    }
}

const ALL_METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
