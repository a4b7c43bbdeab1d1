//! Where a request is let in, or told why not.
//!
//! - extended `CONNECT` (RFC 8441) to the session's path: a session over the upgraded stream ([`stream`])
//! - gRPC `POST` to the session's path: a session over the two bodies ([`stream`])
//! - gRPC `POST` to the call's path: one command, or one HTTP request ([`call`])
//! - gRPC health checks (`grpc.health.v1`)

mod call;
mod refusal;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use sluicegate_protocol::{CALL_PATH, SESSION_PATH, metadata};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use self::refusal::Refusal;
use crate::cluster::Cluster;
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::session;

/// What every request finds.
pub(crate) struct Entrance {
    pub(crate) secret: Option<Secret>,
    pub(crate) clusters: BTreeMap<String, Arc<Cluster>>,
    pub(crate) limits: session::Limits,
    /// Largest message of a call.
    pub(crate) max_call_bytes: usize,
    /// Sessions that may still be opened.
    pub(crate) sessions: Arc<Semaphore>,
    /// Calls that may still be started.
    pub(crate) calls: Arc<Semaphore>,
    /// Those that may still begin to wait at a log end, which are no calls to the others then.
    pub(crate) waiting: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Routes,
    /// Cancelled when the bridge is shutting down.
    pub(crate) drain: CancellationToken,
    /// Cancelled when commands that write are to be answered with what is known.
    pub(crate) writes_due: CancellationToken,
    /// Sessions and calls that are not over.
    pub(crate) open: TaskTracker,
}

/// What a request wants, by its method, path and kind.
enum Wanted {
    Tunnel,
    Session,
    Call,
    Health,
}

impl Entrance {
    /// The response to `request`.
    ///
    /// # Cancel safety
    /// A drop abandons a call that reads; records are written, all or none, and a session that has begun goes on by itself.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let wanted = match Wanted::by(&request) {
            Ok(wanted) => wanted,
            Err(refusal) => return self.refuse(refusal, false),
        };
        let is_call = matches!(wanted, Wanted::Call | Wanted::Health);
        let served = match self.check_secret(request.headers()) {
            Err(refusal) => Err(refusal),
            Ok(()) => match wanted {
                Wanted::Tunnel => self.tunnel(request),
                Wanted::Session => self.session(request),
                // Boxed: the task of a stream is as large as the largest of these, and lives as long as the stream.
                Wanted::Call => Box::pin(self.call(request)).await,
                Wanted::Health => Ok(Box::pin(self.health(request)).await),
            },
        };
        served.unwrap_or_else(|refusal| self.refuse(refusal, is_call))
    }

    fn refuse(&self, refusal: Refusal, is_call: bool) -> Response<Body> {
        tracing::debug!(reason = refusal.label(), "request refused");
        self.metrics.refused(refusal.label());
        if is_call { refusal.into_grpc() } else { refusal.into_http() }
    }

    fn check_secret(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else { return Ok(()) };
        match headers.get(metadata::GATEWAY_SECRET) {
            None => Err(Refusal::SecretMissing),
            Some(given) if secret.is(given.as_bytes()) => Ok(()),
            Some(_) => Err(Refusal::SecretWrong),
        }
    }

    /// The cluster that `headers` name.
    fn cluster(&self, headers: &HeaderMap) -> Result<&Arc<Cluster>, Refusal> {
        if self.drain.is_cancelled() {
            return Err(Refusal::Draining);
        }
        let name = headers.get(metadata::CLUSTER).map_or(&b"default"[..], |name| name.as_bytes());
        let found = std::str::from_utf8(name).ok().and_then(|name| self.clusters.get(name));
        found.ok_or_else(|| Refusal::unknown_cluster(name))
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
        let wanted = match path {
            SESSION_PATH => Self::Session,
            CALL_PATH => Self::Call,
            _ if path.starts_with(HEALTH_PATH_PREFIX) => Self::Health,
            _ => return Err(Refusal::NotFound),
        };
        let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        if request.method() != Method::POST || !is_grpc(content_type) {
            return Err(Refusal::NotGrpc);
        }
        Ok(wanted)
    }
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
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert!(is_grpc(grpc.as_bytes()), "{grpc}");
        }
        for other in ["", "application/json", "application/grpc-web", "application/grpc+json"] {
            assert!(!is_grpc(other.as_bytes()), "{other}");
        }
    }
}
