//! The admin port: `/livez`, `/readyz`, `/metrics`, over HTTP/1.1; for operators, [`sessions`] and `POST /explain` too: what
//! a client could do, with the headers that its gateway sends.
//!
//! Anybody who reaches it can open connections, so each has little time and none keeps a probe out ([`places`]). Long
//! answers are made in [`turns`], so that sessions do not wait for them.

mod places;
mod sessions;
mod turns;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::time::timeout;

use self::places::Places;
use self::sessions::json;
use self::turns::Turns;
use crate::endpoint::Endpoint;
use crate::percent::parameters;

/// Serves health checks and metrics.
pub(crate) struct Admin {
    endpoint: Arc<Endpoint>,
    registry: Registry,
    turns: Turns,
}

impl Admin {
    pub(crate) fn new(endpoint: Arc<Endpoint>, registry: Registry) -> Self {
        Self { endpoint, registry, turns: Turns::default() }
    }

    /// Accepts until dropped.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let places = Places::new(MAX_CONNECTIONS);
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Some(place) = places.take(peer.ip().into()).await else { return };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let admin = Arc::clone(&admin);
                    async move { Ok::<_, Infallible>(admin.handle(&request).await) }
                });
                let mut http = http1::Builder::new();
                // One request per connection, so that none is idle between two.
                http.timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .keep_alive(false)
                    .max_buf_size(MAX_BUFFER);
                let served = timeout(ANSWER_TIMEOUT, http.serve_connection(TokioIo::new(stream), service));
                // A client that leaves early or never reads is ignored.
                let _ = place.close.run_until_cancelled(served).await;
            });
        }
    }

    async fn handle<B>(&self, request: &Request<B>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default();
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        if request.uri().path() == "/sessions" && (is_read || request.method() == Method::DELETE) {
            return self.sessions(request.method(), request.headers(), query).await;
        }
        if request.uri().path() == "/explain" && request.method() == Method::POST {
            return self.explain(request, query).await;
        }
        if !is_read {
            return text(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(query).await,
            "/metrics" => self.metrics().await,
            _ => text(
                StatusCode::NOT_FOUND,
                "expected /livez, /readyz, /readyz?cluster=NAME, /metrics, /sessions or POST /explain\n",
            ),
        }
    }

    /// Without a cluster: whether sessions are accepted, which takes all revoked identities. With one: whether a broker of it answers. Reports nothing
    /// else, because gateways can expose it.
    async fn ready(&self, query: &str) -> Response<Body> {
        if self.endpoint.drain.has_begun() || !self.endpoint.revoked.is_complete() {
            return text(StatusCode::SERVICE_UNAVAILABLE, NOT_READY);
        }
        let Some(name) = cluster_name(query) else {
            return text(StatusCode::OK, "ok\n");
        };
        match self.endpoint.clusters.named(name) {
            Some(cluster) if cluster.is_ready(READY_TIMEOUT).await => text(StatusCode::OK, "ok\n"),
            Some(_) => text(StatusCode::SERVICE_UNAVAILABLE, NOT_READY),
            None => text(StatusCode::NOT_FOUND, NOT_READY),
        }
    }

    async fn metrics(&self) -> Response<Body> {
        let _turn = self.turns.take().await;
        let mut body = String::new();
        if encode(&mut body, &self.registry).is_err() {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "failed to encode metrics\n");
        }
        let mut response = text(StatusCode::OK, body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
        response
    }
}

type Body = Full<Bytes>;

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The first `cluster=NAME`. A proxy that rewrites the path can append its client's query after another `?`: it is not
/// part of the name and cannot choose another cluster.
fn cluster_name(query: &str) -> Option<&str> {
    query.split(['&', '?']).find_map(|pair| pair.strip_prefix("cluster="))
}

const NOT_READY: &str = "not ready\n";
/// Connections at the same time. Each probe uses one.
const MAX_CONNECTIONS: usize = 64;
/// For a request's headers: a probe sends them at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// For a request and its response; longer than [`READY_TIMEOUT`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers: those that a gateway sends for the longest token and policy.
const MAX_BUFFER: usize = 48 * 1024;
/// For a broker's answer.
const READY_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed accept: usually, the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Admin {
    /// The answer to a request about a client and the topics of `query`. Tokens are in headers, which nothing logs.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for an issuer's keys.
    async fn explain<B>(&self, request: &Request<B>, query: &str) -> Response<Body> {
        if let Some(refused) = self.refuse_others(request.headers()) {
            return refused;
        }
        match topics(query) {
            Some(topics) => json(&self.endpoint.explain(request, topics).await),
            None => text(StatusCode::BAD_REQUEST, EXPECTED),
        }
    }
}

fn topics(query: &str) -> Option<Vec<String>> {
    let topic = |pair: Option<(String, String)>| {
        let (name, topic) = pair?;
        (name == "topic" && !topic.is_empty()).then_some(topic)
    };
    let topics: Option<Vec<String>> = parameters(query).map(topic).collect();
    topics.filter(|topics| topics.len() <= MAX_TOPICS)
}

/// Topics of a request. The rows of each can be 32 KiB.
const MAX_TOPICS: usize = 20;
const EXPECTED: &str = "expected topic=NAME, at most 20 times\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_name_ends_at_the_next_query() {
        for (query, name) in [
            ("", None),
            ("clusters=x", None),
            ("cluster=", Some("")),
            ("x=1&cluster=default&x=1", Some("default")),
            ("cluster=default?cluster=other", Some("default")),
            ("cluster=default&cluster=other", Some("default")),
        ] {
            assert_eq!(cluster_name(query), name, "{query}");
        }
    }
}
