//! Where a request is let in, or told why not.
//!
//! - extended `CONNECT` (RFC 8441) to the session's path: a session over the upgraded stream ([`stream`])
//! - gRPC `POST` to the session's path: a session over the two bodies ([`stream`])
//! - a request with the header `sluicegate-http`, of HTTP/2 or HTTP/1.1: plain HTTP ([`http`])
//! - a WebSocket upgrade of HTTP/1.1 to any other path: a client's own session ([`websocket`])
//! - gRPC health checks (`grpc.health.v1`)

mod gateway;
mod http;
mod origin;
mod refusal;
mod stream;
mod websocket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use sluicegate_protocol::{SERVICE_PATH_PREFIX, SESSION_PATH, metadata};
use sluicegate_ws_session::budget::Budget;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use self::refusal::{Form, Refusal};
use crate::cluster::Cluster;
use crate::config::Secret;
use crate::fair_permits::FairPermits;
use crate::metrics::Metrics;
use crate::rate_limit::RateLimit;
use crate::route_clusters::RouteClusters;
use crate::session;

/// What every request finds.
pub(crate) struct Endpoint {
    pub(crate) secret: Option<Secret>,
    /// Whoever gets in has shown to be a gateway, by the secret or by a certificate.
    pub(crate) authenticated: bool,
    pub(crate) clusters: BTreeMap<String, Arc<Cluster>>,
    pub(crate) route_clusters: Arc<RouteClusters>,
    pub(crate) limits: session::Limits,
    /// Of what clients of the WebSocket endpoint send.
    pub(crate) messages: sluicegate_ws_session::Limits,
    /// For all their unfinished messages.
    pub(crate) assembly: Arc<Budget>,
    /// Sessions that may still be opened.
    pub(crate) sessions: Arc<Semaphore>,
    /// For plain HTTP requests.
    pub(crate) calls: Arc<FairPermits>,
    /// Plain HTTP requests that can still begin to wait at a log end, without a place.
    pub(crate) waiting: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) warnings: RateLimit,
    pub(crate) health: Routes,
    /// Cancelled when the bridge is shutting down.
    pub(crate) drain: CancellationToken,
    /// Cancelled when commands that write are to be answered with what is known.
    pub(crate) writes_due: CancellationToken,
    /// Sessions and plain HTTP requests that are not over.
    pub(crate) open: TaskTracker,
}

/// Where a request's connection comes from; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What a request wants, by its method, path and kind.
enum Wanted {
    Tunnel,
    Session,
    Health,
    WebSocket,
}

impl Endpoint {
    /// The response to `request`. Boxed parts keep the task of a stream small, which lives as long as the stream.
    ///
    /// # Cancel safety
    /// A drop abandons a plain read; records are written, all or none, and a session that has begun goes on by itself.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if request.headers().contains_key(metadata::HTTP) {
            return Box::pin(self.http(request)).await;
        }
        let version = request.version();
        let wanted = match Wanted::by(&request) {
            Ok(wanted) => wanted,
            Err(refusal) => return self.refuse(refusal, Form::Plain, version),
        };
        let form = match wanted {
            Wanted::Tunnel | Wanted::Session | Wanted::WebSocket => Form::Plain,
            Wanted::Health => Form::Grpc,
        };
        let served = match self.check_gateway(request.headers()) {
            Err(refusal) => Err(refusal),
            Ok(()) => match wanted {
                Wanted::Tunnel => {
                    let grant = self.grant(&request).await;
                    self.tunnel(request, grant)
                }
                Wanted::Session => {
                    let grant = self.grant(&request).await;
                    self.session(request, grant)
                }
                Wanted::WebSocket => match self.judge(&request) {
                    Err(refusal) => Err(refusal),
                    Ok(accepted) => {
                        let grant = self.grant(&request).await;
                        self.websocket(request, grant, &accepted)
                    }
                },
                Wanted::Health => Ok(Box::pin(self.health(request)).await),
            },
        };
        served.unwrap_or_else(|refusal| self.refuse(refusal, form, version))
    }

    fn refuse(&self, refusal: Refusal, form: Form, version: Version) -> Response<Body> {
        self.count(&refusal);
        refusal.into_response(form, version)
    }

    /// Counts a refusal, and warns of one that somebody has to mend: once in a while, as clients can repeat it.
    fn count(&self, refusal: &Refusal) {
        let label = refusal.label();
        self.metrics.refused(label);
        if refusal.is_misconfiguration() && self.warnings.is_due(label) {
            tracing::warn!(reason = label, "request refused: {}", refusal.text());
        } else {
            tracing::debug!(reason = label, "request refused");
        }
    }

    async fn health(&self, request: Request<Incoming>) -> Response<Body> {
        match self.health.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Wanted {
    fn by<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let path = request.uri().path();
        if request.method() == Method::CONNECT {
            let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
            // RFC 9110, section 7.8: "recipients SHOULD use case-insensitive comparison when matching each protocol-name",
            // and gateways pass on their clients' spelling.
            let is_websocket = protocol.is_some_and(|name| name.eq_ignore_ascii_case("websocket"));
            return match (is_websocket, path) {
                (true, SESSION_PATH) => Ok(Self::Tunnel),
                (true, _) => Err(Refusal::OtherConnect),
                (false, _) => Err(Refusal::NotFound),
            };
        }
        let is_http1 = request.version() < Version::HTTP_2;
        if is_http1 && !path.starts_with(SERVICE_PATH_PREFIX) && !path.starts_with(HEALTH_PATH_PREFIX) {
            return Ok(Self::WebSocket);
        }
        let wanted = match path {
            SESSION_PATH => Self::Session,
            _ if path.starts_with(HEALTH_PATH_PREFIX) => Self::Health,
            _ => return Err(Refusal::NotFound),
        };
        let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        match request.method() {
            &Method::POST if is_grpc(content_type) => match is_http1 {
                true => Err(Refusal::Version),
                false => Ok(wanted),
            },
            _ => Err(Refusal::NotGrpc),
        }
    }
}

/// Tells nginx to stream the response instead of buffering it.
fn unbuffered(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// gRPC over HTTP/2, "Content-Type": `"application/grpc" [("+proto" / "+json" / {custom})]`, and parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.strip_prefix(b"application/grpc") {
        Some(rest) => {
            rest.is_empty() || rest == b"+proto" || rest.starts_with(b";") || rest.starts_with(b"+proto;")
        }
        None => false,
    }
}

const HEALTH_PATH_PREFIX: &str = "/grpc.health.v1.Health/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_told_by_its_protocol_in_any_spelling() {
        for protocol in ["websocket", "WebSocket", "WEBSOCKET"] {
            let protocol = Protocol::from_static(protocol);
            let connect = Request::builder().method(Method::CONNECT).uri(SESSION_PATH).extension(protocol);
            assert!(matches!(Wanted::by(&connect.body(()).unwrap()), Ok(Wanted::Tunnel)));
        }
        let other = Protocol::from_static("connect-udp");
        let connect = Request::builder().method(Method::CONNECT).uri(SESSION_PATH).extension(other);
        assert!(matches!(Wanted::by(&connect.body(()).unwrap()), Err(Refusal::NotFound)));
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for parameters in ["", "+proto", ";charset=utf-8", "+proto; charset=utf-8"] {
            assert!(is_grpc(format!("application/grpc{parameters}").as_bytes()), "{parameters}");
        }
        for other in ["", "application/json", "application/grpc-web", "application/grpc+json"] {
            assert!(!is_grpc(other.as_bytes()), "{other}");
        }
    }
}
