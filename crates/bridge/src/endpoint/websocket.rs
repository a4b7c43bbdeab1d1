//! Sessions of WebSocket clients, either behind a gateway that relays upgrades or without any gateway.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sluicegate_protocol::metadata;
use sluicegate_ws_session::Session;
use sluicegate_ws_session::handshake::{Accepted, Headers, Http, Policy, Refused};
use tonic::body::Body;

use super::Endpoint;
use super::gateway::admission;
use super::refusal::Refusal;
use crate::session::{Granted, Transport};

impl Endpoint {
    /// Checks the page's origin and the WebSocket handshake.
    pub(super) fn check_upgrade<B: http_body::Body>(
        &self,
        request: &Request<B>,
    ) -> Result<Accepted, Refusal> {
        self.check_origin(request.headers())?;
        check_handshake(request)
    }

    /// The refusal of a handshake. That of a plain request, with which a page asks why no session opens, says first that
    /// the client must log in.
    ///
    /// # Cancel safety
    /// A drop abandons the wait for an issuer's keys.
    pub(super) async fn or_login<B>(&self, request: &Request<B>, refusal: Refusal) -> Refusal {
        let Refusal::Handshake(refused @ Refused { status: 426, .. }) = refusal else { return refusal };
        let settings = self.settings.load_full();
        let admission = admission(request.headers(), &settings.believed, None).await;
        let served = admission.and_then(|admission| {
            let holding = admission.holding(&settings.logged_claims);
            holding.iter().try_for_each(|holding| self.serve(holding))
        });
        Refusal::Handshake(match served {
            Err(Refusal::Identity(error)) => refused.or_login(error.text(), error.challenge()),
            _ => refused,
        })
    }

    /// A session over the connection itself, which it owns from the 101 response on.
    ///
    /// # Cancel safety
    /// A drop before the response ends the session.
    pub(super) async fn websocket(
        self: &Arc<Self>,
        request: Request<Incoming>,
        granted: Result<Granted, Refusal>,
        accepted: &Accepted,
    ) -> Result<Response<Body>, Refusal> {
        let granted = granted?;
        let codec = accepted.codec();
        let source = granted.grant.client();
        let session = Session::new(self.settings.load().messages, codec, &self.assembly, source);
        let admitted = self.admit(granted).await?;
        let upgrade = hyper::upgrade::on(request);
        let endpoint = Arc::clone(self);
        self.open.spawn(async move {
            // The client can leave before it gets the response.
            if let Ok(upgraded) = upgrade.await {
                let transport = Transport::websocket(TokioIo::new(upgraded), session, admitted.grant.clone());
                endpoint.run(admitted, codec, transport).await;
            }
        });
        Ok(switch(accepted))
    }
}

fn check_handshake<B: http_body::Body>(request: &Request<B>) -> Result<Accepted, Refusal> {
    let headers = request.headers();
    if request.version() != Version::HTTP_11 {
        return Err(Refusal::Version);
    }
    // RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
    // message that lacks a Host header field and to any request message that contains more than one Host header field
    // line"
    if headers.get_all(header::HOST).iter().count() != 1 {
        return Err(Refusal::Host);
    }
    let [upgrade, connection, key, version, protocol, origin, length, encoding, preflight] = [
        header::UPGRADE,
        header::CONNECTION,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::ORIGIN,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::ACCESS_CONTROL_REQUEST_METHOD,
    ]
    .map(|name| joined(headers, &name));
    let subprotocol = headers.get(metadata::SUBPROTOCOL).and_then(|name| name.to_str().ok());
    // The gateway has checked the origin, or `check_origin` has.
    let policy = Policy { origins: None, subprotocols: subprotocol.map(str::to_owned).into_iter().collect() };
    let accepted = policy.check(&Headers {
        http: Http::Upgrading,
        method: request.method().as_str().as_bytes(),
        upgrade: upgrade.as_deref(),
        connection: connection.as_deref(),
        key: key.as_deref(),
        version: version.as_deref(),
        protocol: protocol.as_deref(),
        origin: origin.as_deref(),
        content_length: length.as_deref(),
        transfer_encoding: encoding.as_deref(),
        preflight: preflight.as_deref(),
    });
    accepted.map_err(Refusal::Handshake)
}

/// RFC 9110, section 5.3: "A recipient MAY combine multiple field lines within a field section that have the same field
/// name into one field line [...] by appending each subsequent field line value to the initial field line value in
/// order, separated by a comma". A field that must not be a list is refused if it becomes one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then(|| lines.join(&b", "[..]))
}

/// RFC 6455, section 4.2.2, item 5.
fn switch(accepted: &Accepted) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    let fields = [
        (header::SEC_WEBSOCKET_ACCEPT, accepted.accept.as_ref()),
        (header::SEC_WEBSOCKET_PROTOCOL, accepted.subprotocol.as_ref()),
    ];
    for (name, value) in fields {
        // Valid in a header: base64, and a value of the client's own header.
        headers.extend(value.and_then(|value| HeaderValue::try_from(value).ok()).map(|value| (name, value)));
    }
    response
}
