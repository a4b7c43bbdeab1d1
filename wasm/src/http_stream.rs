//! A plain HTTP request: forwarded to the bridge with its route's settings, answered here only if the bridge does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message;
use sluicegate_protocol::{HttpCors, HttpRoute, http_route, metadata};

use crate::config::Route;
use crate::filter::Filter;
use crate::host::{self, Map, Status};
use crate::pairs::{self, Header};
use crate::unanswered_request::{UnansweredRequest, is_grpc, is_safe};

/// A request that was forwarded to the bridge.
pub(crate) struct HttpStream {
    is_write: bool,
    is_rest: bool,
    /// The origin that can read the answer, and whether with credentials.
    page: Option<(String, bool)>,
}

/// Why a request is not forwarded.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

impl HttpStream {
    /// Turns the client's request into the bridge's. `rest` is the part of its path after the route's, in ASCII.
    pub(crate) fn forward(
        filter: &Filter,
        route: &Route,
        http: &HttpRoute,
        rest: &[u8],
        headers: &[Header],
    ) -> Result<Result<Self, Refused>, Status> {
        filter.stats.http_requested();
        let header = |name: &str| pairs::last(headers, name);
        // The gateway would switch protocols, and the body would never end.
        if header("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket")) {
            return Ok(Err(refused(filter, "this path takes plain HTTP requests, without Upgrade")));
        }
        // For gRPC clients, Envoy turns its own errors into 200: a lost write would look like a success.
        if header("content-type").is_some_and(is_grpc) {
            return Ok(Err(refused(filter, "this path takes plain HTTP requests, not gRPC")));
        }
        let is_write = !is_safe(header(":method").unwrap_or_default());
        // RFC 9113, section 8.2.2: HTTP/2 allows only `trailers` in `te`.
        if header("te").is_some() {
            host::remove_header(Map::Request, b"te")?;
        }
        for (name, value) in filter.config.metadata(route) {
            host::set_header(Map::Request, name, value.as_bytes())?;
        }
        // RFC 9110, section 4.2.5: a fragment is for the client only.
        let path = rest.split(|byte| *byte == b'#').next().unwrap_or_default();
        let is_rest = matches!(http.resource, Some(http_route::Resource::Rest(_)));
        if let Some(group) = group(path).filter(|_| is_rest) {
            host::set_header(Map::Request, metadata::GROUP, group)?;
        }
        let path = String::from_utf8_lossy(path).into_owned();
        let settings = HttpRoute { path, ..http.clone() }.encode_to_vec();
        host::set_header(Map::Request, metadata::HTTP, STANDARD_NO_PAD.encode(settings).as_bytes())?;
        filter.gateway.forward(is_write)?;
        Ok(Ok(Self {
            is_write,
            is_rest,
            page: http.cors.as_ref().and_then(|cors| page(cors, header("origin")?)),
        }))
    }

    /// Passes the bridge's answer. The gateway's own errors are replaced by a document that says whether to retry, or
    /// that the gateway has no route.
    pub(crate) fn response(&self, filter: &Filter) -> Result<(), Status> {
        if filter.take_mark()? {
            return Ok(());
        }
        let status = host::header(Map::Response, ":status")?.unwrap_or_default();
        if status == b"404" {
            return filter.gateway.replace_unrouted(&self.page_headers());
        }
        if !status.starts_with(b"5") {
            return Ok(());
        }
        filter.stats.http_answer_lost();
        let unanswered = UnansweredRequest {
            is_write: self.is_write,
            is_unsent: filter.gateway.is_unsent(),
            is_late: status == b"504",
            is_rest: self.is_rest,
        };
        let mut headers = vec![("content-type", "application/problem+json")];
        headers.extend(unanswered.retry_after().map(|seconds| ("retry-after", seconds)));
        headers.extend(self.page_headers());
        filter.gateway.replace_answer(unanswered, &headers)
    }

    /// The headers with which the page can read an answer.
    fn page_headers(&self) -> Vec<(&str, &str)> {
        let Some((origin, credentials)) = &self.page else { return Vec::new() };
        let mut headers = vec![("access-control-allow-origin", origin.as_str()), ("vary", "origin")];
        headers.extend(credentials.then_some(("access-control-allow-credentials", "true")));
        headers
    }
}

/// The group of a path of consumers, as it was sent.
fn group(path: &[u8]) -> Option<&[u8]> {
    let group = path.strip_prefix(b"/consumers/")?.split(|byte| b"/?".contains(byte)).next()?;
    (!group.is_empty()).then_some(group)
}

fn refused(filter: &Filter, reason: &'static str) -> Refused {
    filter.stats.http_refused();
    Refused { status: 400, reason }
}

/// The request's origin, if the route allows it.
fn page(cors: &HttpCors, origin: &[u8]) -> Option<(String, bool)> {
    let origin = std::str::from_utf8(origin).ok()?;
    let origin = if cors.origins.iter().any(|listed| listed == "*") {
        "*"
    } else {
        cors.origins.iter().find(|listed| listed.eq_ignore_ascii_case(origin)).map(|_| origin)?
    };
    Some((origin.to_owned(), cors.credentials))
}
