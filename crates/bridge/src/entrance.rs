//! Where a request is let in, or told why not.
//!
//! - extended `CONNECT` (RFC 8441) to the session's path: a session over the upgraded stream ([`stream`])
//! - gRPC `POST` to the session's path: a session over the two bodies ([`stream`])
//! - gRPC `POST` to the call's path: one command, or one HTTP request ([`call`])
//! - the same as gRPC-Web, over HTTP/1.1, too ([`grpc_web`])
//! - a WebSocket upgrade of HTTP/1.1 to any other path: a client's own session ([`websocket`])
//! - gRPC health checks (`grpc.health.v1`)

mod call;
mod gateway;
mod grpc_web;
mod origin;
mod refusal;
mod stream;
mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use sluicegate_protocol::{CALL_PATH, SERVICE_PATH_PREFIX, SESSION_PATH};
use sluicegate_session::budget::Budget;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use self::refusal::{Form, Refusal};
use crate::cluster::Cluster;
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::route_clusters::RouteClusters;
use crate::session;

/// What every request finds.
pub(crate) struct Entrance {
    pub(crate) secret: Option<Secret>,
    /// Whoever gets in has shown to be a gateway, by the secret or by a certificate.
    pub(crate) authenticated: bool,
    pub(crate) clusters: BTreeMap<String, Arc<Cluster>>,
    pub(crate) route_clusters: Arc<RouteClusters>,
    pub(crate) limits: session::Limits,
    /// Of what clients of the WebSocket endpoint send.
    pub(crate) messages: sluicegate_session::Limits,
    /// For all their unfinished messages.
    pub(crate) assembly: Arc<Budget>,
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
    GrpcWeb,
    WebSocket,
}

impl Entrance {
    /// The response to `request`.
    ///
    /// # Cancel safety
    /// A drop abandons a call that reads; records are written, all or none, and a session that has begun goes on by itself.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let version = request.version();
        let wanted = match Wanted::by(&request) {
            Ok(wanted) => wanted,
            Err(refusal) => return self.refuse(refusal, Form::Plain, version),
        };
        let form = match wanted {
            Wanted::Tunnel | Wanted::Session | Wanted::WebSocket => Form::Plain,
            Wanted::Call | Wanted::Health => Form::Grpc,
            Wanted::GrpcWeb => Form::GrpcWeb,
        };
        let served = match self.check_gateway(request.headers()) {
            Err(refusal) => Err(refusal),
            Ok(()) => match wanted {
                Wanted::Tunnel => {
                    let cluster = self.cluster(request.headers()).await;
                    self.tunnel(request, cluster)
                }
                Wanted::Session => {
                    let cluster = self.cluster(request.headers()).await;
                    self.session(request, cluster)
                }
                Wanted::WebSocket => match self.judge(&request) {
                    Err(refusal) => Err(refusal),
                    Ok(accepted) => {
                        let cluster = self.cluster(request.headers()).await;
                        self.websocket(request, cluster, &accepted)
                    }
                },
                // Boxed: the task of a stream is as large as the largest of these, and lives as long as the stream.
                Wanted::Call => Box::pin(self.call(request)).await,
                Wanted::GrpcWeb => Box::pin(self.grpc_web(request)).await,
                Wanted::Health => Ok(Box::pin(self.health(request)).await),
            },
        };
        served.unwrap_or_else(|refusal| self.refuse(refusal, form, version))
    }

    fn refuse(&self, refusal: Refusal, form: Form, version: Version) -> Response<Body> {
        tracing::debug!(reason = refusal.label(), "request refused");
        self.metrics.refused(refusal.label());
        refusal.into_response(form, version)
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
            CALL_PATH => Self::Call,
            _ if path.starts_with(HEALTH_PATH_PREFIX) => Self::Health,
            _ => return Err(Refusal::NotFound),
        };
        let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        match (wanted, request.method()) {
            (Self::Call, &Method::POST) if is_grpc(content_type, b"application/grpc-web") => {
                Ok(Self::GrpcWeb)
            }
            (wanted, &Method::POST) if is_grpc(content_type, b"application/grpc") => match is_http1 {
                true => Err(Refusal::Version),
                false => Ok(wanted),
            },
            _ => Err(Refusal::NotGrpc),
        }
    }
}

/// gRPC over HTTP/2, "Content-Type": `"application/grpc" [("+proto" / "+json" / {custom})]`, and parameters. gRPC-Web's are the
/// same but for the name, which is `of`.
fn is_grpc(content_type: &[u8], of: &[u8]) -> bool {
    match content_type.strip_prefix(of) {
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
        for of in ["application/grpc", "application/grpc-web"] {
            for parameters in ["", "+proto", ";charset=utf-8", "+proto; charset=utf-8"] {
                let kind = format!("{of}{parameters}");
                assert!(is_grpc(kind.as_bytes(), of.as_bytes()), "{kind}");
            }
            for other in ["", "application/json", "application/grpc-web-text", "application/grpc+json"] {
                assert!(!is_grpc(other.as_bytes(), of.as_bytes()), "{other}");
            }
        }
        assert!(!is_grpc(b"application/grpc-web", b"application/grpc"));
        assert!(!is_grpc(b"application/grpc", b"application/grpc-web"));
    }
}
