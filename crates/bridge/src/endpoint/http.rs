//! Plain HTTP requests: let in with a route, a grant and a place, or refused as a problem document.

use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use prost::Message;
use sluicegate_protocol::{HttpRoute, metadata};
use tonic::body::Body;

use super::{Endpoint, Refusal, unbuffered};
use crate::http::{self as plain, Admitted, Fault, Problem, Running};
use crate::route_clusters::{BASE64, NotTaken};

impl Endpoint {
    /// The response to a plain HTTP request, marked as the bridge's own.
    ///
    /// # Cancel safety
    /// A drop abandons a read. Records are written, all or none of a request.
    pub(super) async fn http(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut response, mark) = match self.check_http(&request) {
            Err(refusal) => self.refuse_http(&HttpRoute::default(), &refusal, request).await,
            Ok(route) => match self.admit_http(&request, &route).await {
                Ok(admitted) => (plain::respond(&admitted, request).await, None),
                Err(refusal) => self.refuse_http(&route, &refusal, request).await,
            },
        };
        let headers = response.headers_mut();
        headers.insert(metadata::ANSWERED, mark.unwrap_or(HeaderValue::from_static("1")));
        unbuffered(headers);
        response.map(Body::new)
    }

    /// The route of a request that comes from a gateway.
    fn check_http(&self, request: &Request<Incoming>) -> Result<HttpRoute, Refusal> {
        let headers = request.headers();
        self.check_gateway(headers)?;
        // A browser speaks HTTP/2 over TLS alone, where gateways have certificates.
        if request.version() < Version::HTTP_2 {
            self.check_origin(headers)?;
            self.check_host(headers)?;
        }
        route(headers)
    }

    async fn admit_http<'a>(
        &self,
        request: &Request<Incoming>,
        route: &'a HttpRoute,
    ) -> Result<Admitted<'a>, Refusal> {
        let grant = self.grant(request).await?;
        let cluster = Arc::as_ptr(&grant.cluster).addr();
        let running =
            Running::begin(&self.calls, cluster, grant.client, &self.waiting, &self.drain, self.open.token());
        Ok(Admitted { grant, route, running, max_body_bytes: self.messages.max_message_bytes })
    }

    async fn refuse_http(
        &self,
        route: &HttpRoute,
        refusal: &Refusal,
        request: Request<Incoming>,
    ) -> (Response<plain::Body>, Option<HeaderValue>) {
        self.count(refusal);
        let is_last = request.version() < Version::HTTP_2 && refusal.is_strangers();
        let mut response = plain::refuse(route, problem(refusal), request).await;
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
    // A field that is not known here can be a newer gateway's restriction.
    let route = route.filter(|route| route.resource.is_some() && Some(route.encode_to_vec()) == bytes);
    route.ok_or(Refusal::Unreadable {
        header: metadata::HTTP,
        expected: "a sluicegate.v1.HttpRoute of this version in base64",
    })
}

/// A refusal as clients of plain HTTP are told. The log and the gateway learn more.
fn problem(refusal: &Refusal) -> Problem {
    match refusal {
        Refusal::Draining | Refusal::Full | Refusal::RouteCluster(NotTaken::TooMany) => {
            Problem::new(Fault::Unavailable, refusal.text() + ", try again")
        }
        Refusal::Origin | Refusal::ForeignHost => Problem::new(Fault::Forbidden, refusal.text()),
        _ => Problem::new(Fault::Mismatched, "the gateway and the bridge are not set up for each other"),
    }
}
