//! Sessions that a gateway opens, over either of two kinds of HTTP/2 streams.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::{ClientKind, Listed};
use sluicegate_fair_share::Permit;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::metadata;
use sluicegate_telemetry::traces::{self, Context};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

use super::Endpoint;
use super::refusal::Refusal;
use crate::executor;
use crate::session::{self, Granted, Overload, Renew, Transport};

/// An admitted session. It is counted until it is dropped.
pub(super) struct AdmittedSession {
    pub(super) grant: Grant,
    renewal: Option<Arc<dyn Renew>>,
    /// The trace in which the session was opened.
    context: Context,
    /// Cancelled to reset its HTTP/2 stream. Nothing listens if the session has taken over an HTTP/1.1 connection.
    stream: CancellationToken,
    _slot: Permit,
    /// One of the person's sessions.
    _place: Option<OwnedSemaphorePermit>,
    listed: Listed,
}

impl Endpoint {
    /// A session over the stream of an extended CONNECT.
    ///
    /// # Cancel safety
    /// A drop before the response ends the session.
    pub(super) async fn tunnel(
        self: &Arc<Self>,
        request: Request<Incoming>,
        granted: Result<Granted, Refusal>,
    ) -> Result<Response<Body>, Refusal> {
        let admitted = self.admit(granted?).await?;
        let (codec, overload) = (codec(request.headers()), overload(request.headers()));
        let gateway_max_bytes = max_message_bytes(request.headers());
        let upgrade = hyper::upgrade::on(request);
        let endpoint = Arc::clone(self);
        self.open.spawn(async move {
            // The client can leave before it gets the response.
            if let Ok(upgraded) = upgrade.await {
                let transport = Transport::stream(TokioIo::new(upgraded), overload);
                endpoint.run(admitted, codec, transport.behind(gateway_max_bytes)).await;
            }
        });
        Ok(opened(Body::empty()))
    }

    /// A session over the bodies of a request and its response.
    ///
    /// # Cancel safety
    /// A drop before the response ends the session.
    pub(super) async fn session(
        self: &Arc<Self>,
        request: Request<Incoming>,
        granted: Result<Granted, Refusal>,
    ) -> Result<Response<Body>, Refusal> {
        let admitted = self.admit(granted?).await?;
        let (codec, overload) = (codec(request.headers()), overload(request.headers()));
        let gateway_max_bytes = max_message_bytes(request.headers());
        let (transport, body) = Transport::bodies(request.into_body(), overload);
        let endpoint = Arc::clone(self);
        let transport = transport.behind(gateway_max_bytes);
        self.open.spawn(async move { endpoint.run(admitted, codec, transport).await });
        Ok(opened(Body::new(body)))
    }

    /// Admits a session on the current task's stream.
    ///
    /// # Cancel safety
    /// A drop admits none.
    pub(super) async fn admit(
        &self,
        Granted { grant, renewal }: Granted,
    ) -> Result<AdmittedSession, Refusal> {
        let full = || Refusal::Full { max_sessions: self.sessions.max() };
        let slot = self.sessions.try_acquire(grant.holder(), 1).ok_or_else(full)?;
        let (grant, place) = grant.into_session().map_err(|max_sessions| Refusal::Quota { max_sessions })?;
        grant.metrics().sessions.inc();
        let listed = grant.list(ClientKind::Session);
        let (context, stream) = (traces::current(), executor::current().unwrap_or_default());
        let admitted =
            AdmittedSession { grant, renewal, context, stream, _slot: slot, _place: place, listed };
        if admitted.grant.is_logged().await { Ok(admitted) } else { Err(Refusal::NoAudit) }
    }

    pub(super) async fn run(&self, mut admitted: AdmittedSession, codec: Codec, transport: Transport) {
        let settings = self.settings.load_full();
        let drain = admitted.grant.drain().clone();
        let client = Granted { grant: admitted.grant.clone(), renewal: admitted.renewal.clone() };
        let session = session::run(transport, codec, client, &settings.limits, drain);
        let end = admitted.context.clone().scope(session).await;
        // Frees what the peer did not read in time.
        admitted.stream.cancel();
        admitted.grant.metrics().ended(end.kind());
        admitted.listed.set_reason(end.kind().label());
        tracing::debug!(end = end.kind().label(), event = "session_ended", "session ended");
    }
}

impl Drop for AdmittedSession {
    fn drop(&mut self) {
        self.grant.metrics().sessions.dec();
    }
}

fn codec(headers: &HeaderMap) -> Codec {
    Codec::of(headers.get(metadata::SUBPROTOCOL).map(HeaderValue::as_bytes))
}

fn overload(headers: &HeaderMap) -> Overload {
    match headers.get(metadata::PADDED).is_some_and(|value| value == "true") {
        true => Overload::StopReading,
        false => Overload::CloseSession,
    }
}

/// None also if it is not a number: it is only repeated to the client.
fn max_message_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(metadata::MAX_MESSAGE_BYTES)?.to_str().ok()?.parse().ok()
}

fn opened(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
