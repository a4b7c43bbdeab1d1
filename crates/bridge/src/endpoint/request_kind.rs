//! Tells kinds of requests apart, and refuses unknown ones.

use http::{Method, Request, Version, header};
use hyper::ext::Protocol;
use sluicegate_delivery::ClientKind;
use sluicegate_protocol::{SERVICE_PATH_PREFIX, SESSION_PATH};

use super::refusal::Refusal;

/// The kind of a request, by its method, path and content type.
pub(super) enum RequestKind {
    Tunnel,
    Session,
    Health,
    WebSocket,
}

impl RequestKind {
    /// A name for the audit log.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Tunnel | Self::Session | Self::WebSocket => ClientKind::Session.label(),
            Self::Health => "health",
        }
    }

    pub(super) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let path = request.uri().path();
        if request.method() == Method::CONNECT {
            let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
            // RFC 9110, section 7.8: "recipients SHOULD use case-insensitive comparison when matching each
            // protocol-name", and gateways keep their clients' spelling.
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
        let kind = match path {
            SESSION_PATH => Self::Session,
            _ if path.starts_with(HEALTH_PATH_PREFIX) => Self::Health,
            _ => return Err(Refusal::NotFound),
        };
        let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        match request.method() {
            &Method::POST if is_grpc(content_type) => match is_http1 {
                true => Err(Refusal::Version),
                false => Ok(kind),
            },
            _ => Err(Refusal::NotGrpc),
        }
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
    fn tunnel_is_a_connect_of_websocket_in_any_case() {
        let kind = |protocol, path| {
            let connect = Request::builder().method(Method::CONNECT).uri(path);
            RequestKind::of(&connect.extension(Protocol::from_static(protocol)).body(()).unwrap())
        };
        for protocol in ["websocket", "WebSocket", "WEBSOCKET"] {
            assert!(matches!(kind(protocol, SESSION_PATH), Ok(RequestKind::Tunnel)));
        }
        assert!(matches!(kind("connect-udp", SESSION_PATH), Err(Refusal::NotFound)));
        let other = kind("websocket", "/pubsub").err().unwrap();
        assert_eq!(other.label(), "path");
        assert!(other.text().contains("rewrite it to /sluicegate.v1.Bridge/Session"), "{other:?}");
    }

    #[test]
    fn grpc_content_types_are_recognised() {
        for parameters in ["", "+proto", ";charset=utf-8", "+proto; charset=utf-8"] {
            assert!(is_grpc(format!("application/grpc{parameters}").as_bytes()), "{parameters}");
        }
        for other in ["", "application/json", "application/grpc-web", "application/grpc+json"] {
            assert!(!is_grpc(other.as_bytes()), "{other}");
        }
    }
}
