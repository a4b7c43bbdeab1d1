//! Admits plain HTTP requests with a route, a grant and a permit, or refuses them with a problem document.

use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use prost::Message;
use sluicegate_protocol::{HttpRoute, metadata};
use sluicegate_telemetry::audit::HTTP;
use tonic::body::Body;

use super::Endpoint;
use super::refusal::{Refusal, unbuffered};
use super::requester::Requester;
use crate::clusters::{BASE64, RouteClusterError};
use crate::http::{self as plain, AdmittedRequest, Problem, ProblemKind, RequestPermits};
use crate::session::Granted;

impl Endpoint {
    /// The response to a plain HTTP request, marked as the bridge's own.
    ///
    /// # Cancel safety
    /// A drop abandons a read. A request's records are written all or none.
    pub(super) async fn http(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let mut requester = Requester::of(&request, Some(HTTP));
        let (mut response, mark) = match self.check_http(&request, &mut requester) {
            Err(refusal) => self.refuse_http(&HttpRoute::default(), &refusal, request, &requester).await,
            Ok(route) => match self.admit_http(&request, &route, &mut requester).await {
                Ok(admitted) => (plain::respond(&admitted, request).await, None),
                Err(refusal) => self.refuse_http(&route, &refusal, request, &requester).await,
            },
        };
        let headers = response.headers_mut();
        headers.insert(metadata::ANSWERED, mark.unwrap_or(HeaderValue::from_static("1")));
        unbuffered(headers);
        response.map(Body::new)
    }

    /// Checks that a gateway sent the request, and returns its route.
    fn check_http(
        &self,
        request: &Request<Incoming>,
        requester: &mut Requester,
    ) -> Result<HttpRoute, Refusal> {
        let headers = request.headers();
        self.check_gateway(request, requester)?;
        // Browsers speak HTTP/2 only over TLS, whose certificates are for gateways.
        if request.version() < Version::HTTP_2 {
            self.check_origin(headers)?;
            self.check_host(headers)?;
        }
        route(headers)
    }

    async fn admit_http<'a>(
        self: &Arc<Self>,
        request: &Request<Incoming>,
        route: &'a HttpRoute,
        requester: &mut Requester,
    ) -> Result<AdmittedRequest<'a>, Refusal> {
        let Granted { grant, .. } = self.grant(request, requester).await?;
        let waiting = if request.version() < Version::HTTP_2 { &self.waiting_http1 } else { &self.waiting };
        let running =
            RequestPermits::begin(&self.calls, grant.holder(), waiting, grant.drain(), self.open.token())
                .ok_or(self.calls.max());
        Ok(AdmittedRequest {
            grant,
            route,
            running,
            max_body_bytes: self.settings.load().messages.max_message_bytes,
        })
    }

    async fn refuse_http(
        &self,
        route: &HttpRoute,
        refusal: &Refusal,
        request: Request<Incoming>,
        requester: &Requester,
    ) -> (Response<plain::Body>, Option<HeaderValue>) {
        let is_last = request.version() < Version::HTTP_2 && refusal.is_unauthenticated();
        let mut response = plain::refuse(route, problem(refusal), request).await;
        // A page's question whether it may ask carries no identity, and is answered.
        if response.status() != StatusCode::NO_CONTENT {
            self.count(refusal, requester);
        }
        if is_last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        (response, refusal.mark())
    }
}

/// The route that the gateway matched.
fn route(headers: &HeaderMap) -> Result<HttpRoute, Refusal> {
    let header = headers.get(metadata::HTTP).map(|value| value.as_bytes()).unwrap_or_default();
    let bytes = BASE64.decode(header).ok();
    let route = bytes.as_ref().and_then(|bytes| HttpRoute::decode(&bytes[..]).ok());
    // An unknown field can be a restriction of a newer gateway.
    let route = route.filter(|route| route.resource.is_some() && Some(route.encode_to_vec()) == bytes);
    route.ok_or(Refusal::InvalidHeader {
        header: metadata::HTTP,
        expected: "a base64-encoded sluicegate.v1.HttpRoute of this version",
    })
}

/// The problem that clients of plain HTTP see. The bridge's log and the gateway get the details.
fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Draining
        | Refusal::Outdated
        | Refusal::Full { .. }
        | Refusal::NoKeys
        | Refusal::NoRevocations
        | Refusal::NoAudit
        | Refusal::RouteCluster(RouteClusterError::TooMany { .. }) => {
            Problem::new(ProblemKind::Unavailable, refusal.text() + ", try again")
        }
        Refusal::Identity(error) => {
            Problem::new(ProblemKind::Unauthenticated(error.challenge()), error.text())
        }
        Refusal::Origin | Refusal::NotLoopbackHost => Problem::new(ProblemKind::Forbidden, refusal.text()),
        _ => {
            Problem::new(ProblemKind::GatewayMismatch, "gateway and bridge are misconfigured, see their logs")
        }
    }
}
