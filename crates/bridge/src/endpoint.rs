//! Admits requests, or refuses them with a reason.
//!
//! - extended `CONNECT` (RFC 8441) to the session path: a session over the upgraded stream ([`stream`])
//! - gRPC `POST` to the session path: a session over the request and response bodies ([`stream`])
//! - a request with the header `sluicegate-http`, over HTTP/2 or HTTP/1.1: plain HTTP ([`http`])
//! - an HTTP/1.1 WebSocket upgrade to any other path: a client's own session ([`websocket`])
//! - gRPC health checks (`grpc.health.v1`)

mod explain;
pub(crate) mod gateway;
mod http;
pub(crate) mod identity;
mod identity_error;
mod origin;
mod refusal;
mod renewal;
mod request_kind;
mod requester;
pub(crate) mod rights;
mod settings;
mod stream;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{Request, Response, Version};
use arc_swap::ArcSwap;
use hyper::body::Incoming;
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::quota::People;
use sluicegate_fair_share::Permits;
use sluicegate_protocol::metadata;
use sluicegate_shared_log::SharedLog;
use sluicegate_telemetry::audit::AuditLog;
use sluicegate_telemetry::metrics::Metrics;
use sluicegate_telemetry::rate_limit::RateLimit;
use sluicegate_telemetry::traces::{self, Context, Traces};
use sluicegate_ws_session::budget::Budget;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use self::refusal::{Refusal, ResponseFormat};
use self::request_kind::RequestKind;
use self::requester::Requester;
pub(crate) use self::settings::Settings;
use crate::clusters::Clusters;
use crate::revocation::Revoked;

/// The state that all requests share.
pub(crate) struct Endpoint {
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) clusters: Arc<Clusters>,
    /// Memory for unfinished messages of all WebSocket clients.
    pub(crate) assembly: Arc<Budget>,
    /// `limits.max_sessions`.
    pub(crate) sessions: Arc<Permits>,
    /// For plain HTTP requests.
    pub(crate) calls: Arc<Permits>,
    /// For plain HTTP requests that wait at a log end, without a call permit.
    pub(crate) waiting: Arc<Permits>,
    /// The same over HTTP/1.1, where each of them occupies a connection.
    pub(crate) waiting_http1: Arc<Permits>,
    /// Each person's use of a route's quota.
    pub(crate) people: People,
    /// Identities that are over before they expire.
    pub(crate) revoked: Arc<Revoked>,
    /// None: the configuration has none.
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
    /// Recently read records of all clusters.
    pub(crate) logs: SharedLog,
    pub(crate) warnings: RateLimit,
    pub(crate) health: Routes,
    pub(crate) drain: Drain,
    /// Cancelled at shutdown, when writes must be answered with what is known.
    pub(crate) writes_due: CancellationToken,
    /// Sessions and plain HTTP requests in progress.
    pub(crate) open: TaskTracker,
}

/// The peer of a request's connection, as a request extension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// Whether it presented a certificate that `tls.client_ca` signed.
    pub(crate) has_certificate: bool,
}

impl Endpoint {
    /// The response to `request`.
    ///
    /// # Cancel safety
    /// A drop abandons a plain read. A request's records are written all or none, and a session that was opened
    /// continues.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let context = Context::of(request.headers(), &self.traces);
        context.scope(self.answer(request)).await
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if request.headers().contains_key(metadata::HTTP) {
            return self.http(request).await;
        }
        let version = request.version();
        let kind = RequestKind::of(&request);
        let mut requester = Requester::of(&request, kind.as_ref().ok().map(RequestKind::label));
        let kind = match kind {
            Ok(kind) => kind,
            Err(refusal) => return self.refuse(refusal, ResponseFormat::Plain, version, &requester),
        };
        let form = match kind {
            RequestKind::Tunnel | RequestKind::Session | RequestKind::WebSocket => ResponseFormat::Plain,
            RequestKind::Health => ResponseFormat::Grpc,
        };
        let served = match self.check_gateway(&request, &mut requester) {
            Err(refusal) => Err(refusal),
            Ok(()) => match kind {
                RequestKind::Tunnel => {
                    let grant = self.grant(&request, &mut requester).await;
                    self.tunnel(request, grant).await
                }
                RequestKind::Session => {
                    let grant = self.grant(&request, &mut requester).await;
                    self.session(request, grant).await
                }
                RequestKind::WebSocket => match self.check_upgrade(&request) {
                    Err(refusal) => Err(self.or_login(&request, refusal).await),
                    Ok(accepted) => {
                        let grant = self.grant(&request, &mut requester).await;
                        self.websocket(request, grant, &accepted).await
                    }
                },
                RequestKind::Health => Ok(self.health(request).await),
            },
        };
        served.unwrap_or_else(|refusal| self.refuse(refusal, form, version, &requester))
    }

    /// The response to a request on a connection whose TLS was replaced.
    pub(crate) fn refuse_outdated<B>(&self, request: &Request<B>) -> Response<Body> {
        let requester = Requester::of(request, None);
        self.refuse(Refusal::Outdated, ResponseFormat::Plain, request.version(), &requester)
    }

    fn refuse(
        &self,
        refusal: Refusal,
        form: ResponseFormat,
        version: Version,
        requester: &Requester,
    ) -> Response<Body> {
        self.count(&refusal, requester);
        refusal.into_response(form, version)
    }

    fn count(&self, refusal: &Refusal, requester: &Requester) {
        let label = refusal.label();
        self.metrics.refused(label);
        self.audit.iter().for_each(|log| requester.refused(log, label));
        self.log_refused(refusal, requester.route());
    }

    /// Logs a refusal: of a misconfiguration as a warning, of an identity for information. Both are rate-limited, because
    /// clients can repeat them.
    fn log_refused(&self, refusal: &Refusal, route: Option<&str>) {
        let (reason, trace_id, cause) = (refusal.label(), traces::current_id(), refusal.text());
        if refusal.is_misconfiguration() && self.warnings.is_due(reason) {
            tracing::warn!(reason, route, trace_id, event = "request_refused", "request refused: {cause}");
        } else if refusal.invalid_identity().is_some_and(|cause| self.warnings.is_due(cause)) {
            tracing::info!(reason, route, trace_id, event = "request_refused", "request refused: {cause}");
        } else {
            tracing::debug!(reason, route, trace_id, event = "request_refused", "request refused: {cause}");
        }
    }

    async fn health(&self, request: Request<Incoming>) -> Response<Body> {
        match self.health.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}
