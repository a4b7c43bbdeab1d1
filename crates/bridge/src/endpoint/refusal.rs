//! Refusals of requests, as HTTP and gRPC responses.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use http_body_util::Full;
use sluicegate_delivery::grant::{IDENTITY_EXPIRED, IDENTITY_REVOKED};
use sluicegate_identity::TokenError;
use sluicegate_protocol::{SESSION_PATH, metadata};
use sluicegate_telemetry::traces;
use sluicegate_ws_session::handshake::Refused;
use tonic::body::Body;
use tonic::{Code, Status};

use super::identity_error::IdentityError;
use crate::clusters::RouteClusterError;

/// Tells nginx to stream the response instead of buffering it.
pub(super) fn unbuffered(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}

/// The cause of a refusal.
#[derive(Debug)]
pub(crate) enum Refusal {
    NotFound,
    /// An extended CONNECT to another path than the session's: the gateway did not rewrite the client's path.
    OtherConnect,
    NotGrpc,
    SecretMissing,
    SecretWrong,
    /// A gateway's header that this version does not know: it can be a newer gateway's restriction.
    UnknownHeader {
        /// Cut to [`MAX_NAME_BYTES`].
        name: String,
    },
    /// A gateway's header that was sent more than once: one of them can be the client's.
    Repeated {
        name: &'static str,
    },
    UnknownCluster {
        /// Escaped, and cut to [`MAX_NAME_BYTES`].
        name: String,
    },
    /// The route's own cluster cannot be used.
    RouteCluster(RouteClusterError),
    /// One header names a cluster and another one defines it.
    TwoClusters,
    Draining,
    /// The connection was accepted with TLS that was replaced since.
    Outdated,
    /// The limit on sessions is reached, or the client holds its share.
    Full {
        max_sessions: usize,
    },
    /// The person has as many sessions as the route's quota allows.
    Quota {
        max_sessions: u32,
    },
    /// An HTTP/1.1 request without `Host`, or with several.
    Host,
    /// An invalid WebSocket handshake.
    Handshake(Refused),
    /// A page from another machine, and no authenticated gateway that has checked it.
    Origin,
    /// A `Host` that is not loopback, and no authenticated gateway that has checked the page.
    NotLoopbackHost,
    /// A gateway's header with an invalid value.
    InvalidHeader {
        header: &'static str,
        expected: &'static str,
    },
    /// The route's policy is invalid, for this reason.
    Policy(String),
    /// The request needs another version of HTTP.
    Version,
    /// A gateway tells an identity, and the configuration does not say that gateways can.
    IdentityFromGateway,
    /// The route asks for an identity, and the client has no valid one.
    Identity(IdentityError),
    /// The route names an issuer that the configuration does not have.
    UnknownIssuer {
        /// Escaped, and cut to [`MAX_NAME_BYTES`].
        name: String,
    },
    /// The keys of an issuer are not known.
    NoKeys,
    /// The topic with revoked identities was not read yet.
    NoRevocations,
    /// The audit log takes no lines, and the configuration wants no client to be served then.
    NoAudit,
}

/// The form of a refusal.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResponseFormat {
    /// A plain response, which a gateway can forward to its client.
    Plain,
    /// gRPC's "Trailers-Only".
    Grpc,
}

impl Refusal {
    pub(super) fn unknown_cluster(name: &[u8]) -> Self {
        Self::UnknownCluster { name: escaped(name) }
    }

    pub(super) fn unknown_issuer(name: &str) -> Self {
        Self::UnknownIssuer { name: escaped(name.as_bytes()) }
    }

    pub(super) fn unknown_header(name: &HeaderName) -> Self {
        let name = name.as_str();
        Self::UnknownHeader { name: name.get(..MAX_NAME_BYTES).unwrap_or(name).to_owned() }
    }

    pub(super) fn into_response(self, form: ResponseFormat, version: Version) -> Response<Body> {
        // An intermediary that takes every response to an upgrade for success would forward its client's frames as
        // further requests.
        let is_last = version < Version::HTTP_2 && matches!(form, ResponseFormat::Plain);
        let mark = self.mark();
        let mut response = match form {
            ResponseFormat::Plain => self.into_http(),
            ResponseFormat::Grpc => self.into_status().into_http(),
        };
        if is_last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        unbuffered(response.headers_mut());
        response.headers_mut().extend(mark.map(|mark| (HeaderName::from_static(metadata::ANSWERED), mark)));
        response
    }

    /// The reason for the gateway's log, if the gateway or the bridge is misconfigured.
    pub(super) fn mark(&self) -> Option<HeaderValue> {
        self.is_misconfiguration().then(|| HeaderValue::try_from(self.text()).ok()).flatten()
    }

    /// Whether an operator must correct a configuration.
    pub(super) fn is_misconfiguration(&self) -> bool {
        match self {
            Self::SecretMissing
            | Self::SecretWrong
            | Self::UnknownHeader { .. }
            | Self::Repeated { .. }
            | Self::InvalidHeader { .. }
            | Self::Policy(_)
            | Self::UnknownCluster { .. }
            | Self::RouteCluster(_)
            | Self::TwoClusters
            | Self::IdentityFromGateway
            | Self::UnknownIssuer { .. } => true,
            Self::NotFound
            | Self::OtherConnect
            | Self::NotGrpc
            | Self::Draining
            | Self::Outdated
            | Self::Full { .. }
            | Self::Quota { .. }
            | Self::Host
            | Self::Handshake(_)
            | Self::Origin
            | Self::NotLoopbackHost
            | Self::Version
            | Self::Identity(_)
            | Self::NoKeys
            | Self::NoRevocations
            | Self::NoAudit => false,
        }
    }

    /// Fault of the identity that the client shows, if it shows one. It repeats no part of a token.
    pub(super) fn invalid_identity(&self) -> Option<&'static str> {
        match self {
            Self::Identity(error) if *error != IdentityError::Missing => Some(error.text()),
            _ => None,
        }
    }

    /// Whether the peer failed to authenticate: it must not keep a connection that gateways need.
    pub(super) fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::SecretMissing | Self::SecretWrong | Self::Repeated { .. })
    }

    fn into_http(self) -> Response<Body> {
        let (status, _) = self.codes();
        let challenge = self.challenge();
        let (body, fields) = match self.refused_handshake() {
            Some(refused) => (refused.document_of(&traces::current_id()), refused.headers()),
            None => {
                let text = [("content-type", "text/plain; charset=utf-8".to_owned())];
                (self.public_text() + "\n", text.into())
            }
        };
        let mut response = Response::new(Body::new(Full::new(Bytes::from(body))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        headers.extend(challenge.map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
        for (name, value) in fields {
            // Valid in a header: our own texts, and a value of the request's own header.
            headers.extend(HeaderValue::try_from(value).map(|value| (HeaderName::from_static(name), value)));
        }
        response
    }

    /// The refusal of a handshake, which is told as a gateway's filter tells it.
    fn refused_handshake(&self) -> Option<Refused> {
        match self {
            Self::Handshake(refused) => Some(refused.clone()),
            Self::Identity(error) => Some(Refused::new(401, error.text())),
            Self::Origin => Some(Refused::new(403, ORIGIN)),
            Self::Quota { .. } => Some(Refused::new(429, QUOTA)),
            _ => None,
        }
    }

    /// The value of `WWW-Authenticate`, which 401 has for clients (RFC 9110, section 15.5.2).
    fn challenge(&self) -> Option<HeaderValue> {
        match self {
            Self::Identity(error) => Some(HeaderValue::from_static(error.challenge())),
            _ => None,
        }
    }

    fn into_status(self) -> Status {
        let (_, code) = self.codes();
        Status::new(code, self.public_text())
    }

    /// The `reason` label of the metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NotFound | Self::OtherConnect => "path",
            Self::NotGrpc => "content_type",
            Self::SecretMissing | Self::SecretWrong => "secret",
            Self::UnknownHeader { .. }
            | Self::Repeated { .. }
            | Self::InvalidHeader { .. }
            | Self::Policy(_) => "metadata",
            Self::UnknownCluster { .. } => "cluster",
            Self::RouteCluster(RouteClusterError::UnknownGateway | RouteClusterError::Host(_)) => {
                "route_cluster_forbidden"
            }
            Self::RouteCluster(RouteClusterError::Invalid(_)) | Self::TwoClusters => "route_cluster_invalid",
            Self::RouteCluster(RouteClusterError::Unusable) => "route_cluster_unusable",
            Self::RouteCluster(RouteClusterError::TooMany { .. }) => "route_clusters_full",
            Self::Draining => "draining",
            Self::Outdated => "outdated",
            Self::Full { .. } => "full",
            Self::Quota { .. } => "quota",
            Self::Host | Self::Handshake(_) => "handshake",
            Self::Origin | Self::NotLoopbackHost => "origin",
            Self::Version => "version",
            Self::IdentityFromGateway => "identity_from_gateway",
            Self::Identity(IdentityError::Missing) => "identity_missing",
            Self::Identity(IdentityError::Expired) => IDENTITY_EXPIRED,
            Self::Identity(IdentityError::Revoked) => IDENTITY_REVOKED,
            Self::Identity(IdentityError::NotATime | IdentityError::NotText | IdentityError::Token(_)) => {
                "identity_invalid"
            }
            Self::Identity(IdentityError::Other) => "identity_other",
            Self::UnknownIssuer { .. } => "identity_unknown",
            Self::NoKeys => "identity_keys",
            Self::NoRevocations => "identity_revocations",
            Self::NoAudit => "audit",
        }
    }

    /// The status of a plain response.
    pub(super) fn status(&self) -> StatusCode {
        self.codes().0
    }

    fn codes(&self) -> (StatusCode, Code) {
        match self {
            Self::NotFound | Self::OtherConnect => (StatusCode::NOT_FOUND, Code::Unimplemented),
            Self::NotGrpc => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::SecretMissing | Self::SecretWrong | Self::Identity(_) => {
                (StatusCode::UNAUTHORIZED, Code::Unauthenticated)
            }
            Self::UnknownCluster { .. } | Self::UnknownIssuer { .. } => {
                (StatusCode::NOT_FOUND, Code::NotFound)
            }
            Self::RouteCluster(RouteClusterError::UnknownGateway | RouteClusterError::Host(_)) => {
                (StatusCode::FORBIDDEN, Code::PermissionDenied)
            }
            Self::RouteCluster(RouteClusterError::Invalid(_)) | Self::TwoClusters => {
                (StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::RouteCluster(RouteClusterError::Unusable) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Code::FailedPrecondition)
            }
            // Not UNAVAILABLE, which gateways also report for lost connections: this request was certainly not started.
            Self::Draining | Self::Outdated | Self::NoKeys | Self::NoRevocations | Self::NoAudit => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::Aborted)
            }
            Self::Full { .. } | Self::RouteCluster(RouteClusterError::TooMany { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::ResourceExhausted)
            }
            Self::Quota { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            Self::Handshake(refused) => {
                let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
                (status, Code::InvalidArgument)
            }
            Self::UnknownHeader { .. }
            | Self::Repeated { .. }
            | Self::InvalidHeader { .. }
            | Self::Policy(_)
            | Self::Host => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Origin | Self::NotLoopbackHost | Self::IdentityFromGateway => {
                (StatusCode::FORBIDDEN, Code::PermissionDenied)
            }
            Self::Version => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, Code::Internal),
        }
    }

    /// The reason for clients, which names no broker.
    fn public_text(&self) -> String {
        match self {
            Self::RouteCluster(RouteClusterError::Host(_)) => {
                "a broker of this route is not allowed, see the bridge's log".to_owned()
            }
            Self::Policy(_) => format!("invalid header {}: expected {POLICY}", metadata::ACCESS),
            Self::NotFound
            | Self::OtherConnect
            | Self::NotGrpc
            | Self::SecretMissing
            | Self::SecretWrong
            | Self::UnknownHeader { .. }
            | Self::Repeated { .. }
            | Self::UnknownCluster { .. }
            | Self::RouteCluster(
                RouteClusterError::UnknownGateway
                | RouteClusterError::Invalid(_)
                | RouteClusterError::TooMany { .. }
                | RouteClusterError::Unusable,
            )
            | Self::TwoClusters
            | Self::Draining
            | Self::Outdated
            | Self::Full { .. }
            | Self::Quota { .. }
            | Self::Host
            | Self::Handshake(_)
            | Self::Origin
            | Self::NotLoopbackHost
            | Self::InvalidHeader { .. }
            | Self::Version
            | Self::IdentityFromGateway
            | Self::Identity(_)
            | Self::UnknownIssuer { .. }
            | Self::NoKeys
            | Self::NoRevocations
            | Self::NoAudit => self.text(),
        }
    }

    /// The reason for the logs of the bridge and the gateway.
    pub(super) fn text(&self) -> String {
        match self {
            Self::NotFound => format!("unknown path, sessions are at {SESSION_PATH}"),
            Self::OtherConnect => {
                format!("unknown path: rewrite it to {SESSION_PATH} in the gateway's route")
            }
            Self::NotGrpc => {
                "expected POST with content-type application/grpc".to_owned()
            }
            Self::SecretMissing => {
                format!("header {} is missing: expected the bridge's gateway_secret", metadata::GATEWAY_SECRET)
            }
            Self::SecretWrong => {
                format!("header {} does not match the bridge's gateway_secret", metadata::GATEWAY_SECRET)
            }
            Self::UnknownHeader { name } => {
                format!("unknown header {name}: upgrade the bridge to the version of the gateway's filter")
            }
            Self::Repeated { name } => format!("repeated header {name}: expected it once"),
            Self::InvalidHeader { header, expected } => {
                format!("invalid header {header}: expected {expected}")
            }
            Self::Policy(reason) => {
                let reason: String = reason.chars().filter(|letter| !letter.is_control()).take(MAX_REASON).collect();
                format!("invalid header {}: {reason}: expected {POLICY}", metadata::ACCESS)
            }
            Self::UnknownCluster { name } => {
                format!("unknown cluster {name} (header {}): expected one of [clusters]", metadata::CLUSTER)
            }
            Self::RouteCluster(error) => error.to_string(),
            Self::TwoClusters => {
                format!("expected one of the headers {} and {}", metadata::CLUSTER, metadata::CLUSTER_DEFINITION)
            }
            Self::Draining => "the bridge is shutting down".to_owned(),
            Self::Outdated => "the bridge's certificates have changed: use a new connection".to_owned(),
            Self::Full { max_sessions } => {
                format!("bridge at capacity for this client (limits.max_sessions = {max_sessions})")
            }
            Self::Quota { max_sessions } => format!("{QUOTA} (the route's quota.sessions = {max_sessions})"),
            Self::Host => "expected exactly one Host header".to_owned(),
            Self::Handshake(refused) => refused.reason.to_owned(),
            Self::Origin => ORIGIN.to_owned(),
            Self::NotLoopbackHost => {
                "Host not allowed: without gateway_secret or tls.client_ca the bridge serves loopback names only"
                    .to_owned()
            }
            Self::IdentityFromGateway => {
                format!("unexpected header {}: set identity.from_gateway, and authenticate gateways", metadata::IDENTITY)
            }
            Self::Identity(error) => error.text().to_owned(),
            Self::UnknownIssuer { name } => {
                format!("unknown identity {name} (header {}): expected an [identity.NAME]", metadata::ACCESS)
            }
            Self::NoKeys => TokenError::NoKeys.text().to_owned(),
            Self::NoRevocations => "the revoked identities are not known yet".to_owned(),
            Self::NoAudit => "the audit log cannot be written".to_owned(),
            Self::Version => {
                "expected HTTP/2 for application/grpc, or HTTP/1.1 for a WebSocket upgrade".to_owned()
            }
        }
    }
}

/// The beginning of a name for a message.
fn escaped(name: &[u8]) -> String {
    name.get(..MAX_NAME_BYTES).unwrap_or(name).escape_ascii().to_string()
}

/// The longest part of a name that a message repeats.
const MAX_NAME_BYTES: usize = 100;
/// The characters of an invalid policy's reason in the log.
const MAX_REASON: usize = 200;
const POLICY: &str = "a policy of this version as JSON, in at most 8192 bytes";
const ORIGIN: &str =
    "Origin not allowed: without gateway_secret or tls.client_ca the bridge serves loopback origins only";
const QUOTA: &str = "too many sessions of this identity: close one of them first";
const RETRY_AFTER_SECONDS: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::check_causes;

    fn all() -> Vec<Refusal> {
        let refused = |status| Refused::new(status, "");
        vec![
            Refusal::NotFound,
            Refusal::NotGrpc,
            Refusal::SecretWrong,
            Refusal::UnknownHeader { name: String::new() },
            Refusal::UnknownCluster { name: String::new() },
            Refusal::RouteCluster(RouteClusterError::UnknownGateway),
            Refusal::TwoClusters,
            Refusal::RouteCluster(RouteClusterError::Unusable),
            Refusal::RouteCluster(RouteClusterError::TooMany { max: 1 }),
            Refusal::Draining,
            Refusal::Outdated,
            Refusal::Full { max_sessions: 1 },
            Refusal::Quota { max_sessions: 1 },
            Refusal::Handshake(refused(400)),
            Refusal::Handshake(refused(401)),
            Refusal::Handshake(refused(403)),
            Refusal::Handshake(refused(426)),
            Refusal::Origin,
            Refusal::Version,
            Refusal::IdentityFromGateway,
            Refusal::Identity(IdentityError::Missing),
            Refusal::Identity(IdentityError::Expired),
            Refusal::Identity(IdentityError::NotATime),
            Refusal::Identity(IdentityError::Revoked),
            Refusal::Identity(IdentityError::Other),
            Refusal::UnknownIssuer { name: String::new() },
            Refusal::NoKeys,
            Refusal::NoRevocations,
            Refusal::NoAudit,
        ]
    }

    #[test]
    fn reference_lists_every_refusal() {
        let row =
            |refusal: Refusal| vec![format!("`{}`", refusal.label()), refusal.codes().0.as_u16().to_string()];
        check_causes("refusals", &["reason", "status", "cause"], all().into_iter().map(row));
    }
}
