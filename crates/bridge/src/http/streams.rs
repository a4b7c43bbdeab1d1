//! Partitions, or streams of NATS, as streams of the [Durable Streams protocol](https://github.com/durable-streams/durable-streams).
//! Where the protocol leaves a choice, the comments name its section in `PROTOCOL.md`.
//!
//! 1. [`target`]: the stream of a path, and the parameters of a query
//! 2. [`position`]: offsets and cursors as clients have them
//! 3. [`content`]: records become the content of a stream
//! 4. [`read`]: the records that are there, or those that come next
//! 5. [`live`]: the same as server-sent events
//! 6. [`append`]: records that a client writes
//! 7. here: dispatches by the method, and gives each answer the headers that protect browsers

mod append;
mod content;
#[cfg(feature = "testing")]
pub(super) mod decoders;
mod live;
mod position;
mod read;
mod target;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, header};
use sluicegate_protocol::HttpStreams;
use sluicegate_protocol::http_streams::Elements;

use self::content::Content;
use self::target::{Live, ReadQuery, Target};
use super::Request;
use super::problem::{Problem, ProblemKind};
use super::request_permits::RequestPermits;
use super::response::{Body, Response};

/// The response to a request on the route. `target` is the path after the route's own, with the query.
///
/// # Errors
/// The request fails.
pub(super) async fn answer(
    request: &Request<'_>,
    settings: &HttpStreams,
    target: &str,
    running: &Arc<RequestPermits>,
) -> Result<Response, Problem> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let grant = request.grant;
    let target = Target::parse(path, grant.system())?;
    let content = Content::new(settings, &target.topic);
    if settings.elements() == Elements::State && !grant.system().has_partitions {
        let detail =
            "`elements` of the route: \"state\" needs a cluster of Kafka, whose records can be removals";
        return Err(Problem::new(ProblemKind::Misconfigured, detail));
    }
    // A message of NATS has a subject.
    let writes = grant.writes() && (grant.system().has_partitions || target.subject.is_some());
    let allow = if writes { "GET, HEAD, PUT, POST, OPTIONS" } else { READ_ONLY };
    match *request.method {
        Method::OPTIONS => Ok(Response::options(allow)),
        Method::GET => {
            let query = ReadQuery::parse(query, &target, grant.system())?;
            match query.live {
                Some(Live::Events) => live::get(request, &target, content, query, running).await,
                _ => read::get(request, &target, &content, settings.public, query, running).await,
            }
        }
        Method::HEAD => {
            let committed = ReadQuery::parse(query, &target, grant.system())?.committed;
            read::head(request, &target, &content, committed).await
        }
        Method::PUT => append::put(request, &target, &content, allow).await,
        Method::POST if writes => append::post(request, &target, &content, running).await,
        _ => {
            let detail = format!("method not allowed for a stream: expected {allow}");
            Err(Problem::new(ProblemKind::MethodNotAllowed(allow), detail))
        }
    }
}

/// The methods of a stream to which the client cannot write, as `Allow` lists them.
const READ_ONLY: &str = "GET, HEAD, PUT, OPTIONS";

/// The methods that pages can use.
pub(super) const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::PUT, Method::POST];

/// Adds the headers of every answer, errors too: caches know that answers are a client's own unless they are public, a
/// browser takes content of clients for nothing else, and pages that isolate themselves can load it (section 12.7).
pub(super) fn protect(response: &mut http::Response<Body>) {
    let headers = response.headers_mut();
    let is_public =
        headers.get(header::CACHE_CONTROL).is_some_and(|kept| kept.as_bytes().starts_with(b"public"));
    if !is_public {
        headers.append(header::VARY, HeaderValue::from_static("authorization, cookie"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

/// The route in metrics and traces.
pub(super) const ROUTE: &str = "stream";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Where a reader goes on, or an append ended.
pub(super) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
/// Whether that is the end of the stream.
pub(super) const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
/// The interval of time, by which caches tell answers to waiting readers apart.
pub(super) const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
/// The encoding of events with bytes.
pub(super) const DATA_ENCODING: HeaderName = HeaderName::from_static("stream-sse-data-encoding");
/// The sequence of a producer's request that does not follow the one before.
pub(super) const RECEIVED: HeaderName = HeaderName::from_static("producer-received-seq");
/// The headers of responses.
pub(super) const TOLD: [HeaderName; 6] =
    [NEXT_OFFSET, UP_TO_DATE, CURSOR, DATA_ENCODING, RECEIVED, header::ETAG];

#[cfg(test)]
mod tests;
