//! Why a request is turned away, in HTTP's terms and in gRPC's.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};
use http_body_util::Full;
use sluicegate_protocol::{SESSION_PATH, metadata};
use sluicegate_ws_session::handshake::Refused;
use tonic::body::Body;
use tonic::{Code, Status};

use super::unbuffered;
use crate::route_clusters::NotTaken;

/// Why a request is turned away.
#[derive(Debug)]
pub(super) enum Refusal {
    NotFound,
    /// An extended CONNECT to a path of the client's.
    OtherConnect,
    NotGrpc,
    SecretMissing,
    SecretWrong,
    /// A gateway's header that means nothing here: a newer gateway's, which may restrict what is let in.
    UnknownHeader {
        /// As it may be shown.
        name: String,
    },
    /// A gateway's header that was sent more than once: by whom is not certain then.
    Repeated {
        name: &'static str,
    },
    UnknownCluster {
        /// As it may be shown.
        name: String,
    },
    /// The cluster that a route carries is not taken.
    RouteCluster(NotTaken),
    /// Two headers say what one of them should.
    TwoClusters,
    Draining,
    /// As many as are allowed are open.
    Full,
    /// An HTTP/1.1 request without `Host`, or with several.
    Host,
    /// No WebSocket handshake.
    Handshake(Refused),
    /// An upgrade with a body.
    Body,
    /// A page of another machine, and no gateway that has judged it.
    Origin,
    /// A name of another machine, and no gateway that has judged it.
    ForeignHost,
    /// A gateway's header of a value that this version does not read.
    Unreadable {
        header: &'static str,
        expected: &'static str,
    },
    /// What only a newer version of HTTP can carry.
    Version,
}

/// In whose terms a request is turned away.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// A plain response, which a gateway can pass on to its client.
    Plain,
    /// gRPC's "Trailers-Only".
    Grpc,
}

impl Refusal {
    pub(super) fn unknown_cluster(name: &[u8]) -> Self {
        let name = name.get(..MAX_NAME_BYTES).unwrap_or(name).escape_ascii().to_string();
        Self::UnknownCluster { name }
    }

    pub(super) fn unknown_header(name: &HeaderName) -> Self {
        let name = name.as_str();
        Self::UnknownHeader { name: name.get(..MAX_NAME_BYTES).unwrap_or(name).to_owned() }
    }

    pub(super) fn into_response(self, form: Form, version: Version) -> Response<Body> {
        // An intermediary that takes any answer to an upgrade for its success would pass on what its client says as further
        // requests.
        let is_last = version < Version::HTTP_2 && matches!(form, Form::Plain);
        let mark = self.mark();
        let mut response = match form {
            Form::Plain => self.into_http(),
            Form::Grpc => self.into_status().into_http(),
        };
        if is_last {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        unbuffered(response.headers_mut());
        response.headers_mut().extend(mark.map(|mark| (HeaderName::from_static(metadata::ANSWERED), mark)));
        response
    }

    /// The reason for the gateway's log, if somebody set up the gateway or the bridge in a way that does not work.
    pub(super) fn mark(&self) -> Option<HeaderValue> {
        self.is_misconfiguration().then(|| HeaderValue::try_from(self.text()).ok()).flatten()
    }

    /// Whether an operator has to mend something.
    pub(super) fn is_misconfiguration(&self) -> bool {
        match self {
            Self::SecretMissing
            | Self::SecretWrong
            | Self::UnknownHeader { .. }
            | Self::Repeated { .. }
            | Self::Unreadable { .. }
            | Self::UnknownCluster { .. }
            | Self::RouteCluster(_)
            | Self::TwoClusters => true,
            Self::NotFound
            | Self::OtherConnect
            | Self::NotGrpc
            | Self::Draining
            | Self::Full
            | Self::Host
            | Self::Handshake(_)
            | Self::Body
            | Self::Origin
            | Self::ForeignHost
            | Self::Version => false,
        }
    }

    /// Whether the peer has not shown to be a gateway: it must not keep a gateway's place among the connections.
    pub(super) fn is_strangers(&self) -> bool {
        matches!(self, Self::SecretMissing | Self::SecretWrong | Self::Repeated { .. })
    }

    fn into_http(self) -> Response<Body> {
        let (status, _) = self.codes();
        let mut response = Response::new(Body::new(Full::new(Bytes::from(self.public_text() + "\n"))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if let Self::Handshake(Refused { header: Some((name, value)), .. }) = self {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    fn into_status(self) -> Status {
        let (_, code) = self.codes();
        Status::new(code, self.public_text())
    }

    /// A name for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NotFound | Self::OtherConnect => "path",
            Self::NotGrpc => "content_type",
            Self::SecretMissing | Self::SecretWrong => "secret",
            Self::UnknownHeader { .. } | Self::Repeated { .. } | Self::Unreadable { .. } => "metadata",
            Self::UnknownCluster { .. } => "cluster",
            Self::RouteCluster(NotTaken::UnknownGateway | NotTaken::Host(_)) => "route_cluster_forbidden",
            Self::RouteCluster(NotTaken::Unreadable(_)) | Self::TwoClusters => "route_cluster_invalid",
            Self::RouteCluster(NotTaken::Unusable) => "route_cluster_unusable",
            Self::RouteCluster(NotTaken::TooMany) => "route_clusters_full",
            Self::Draining => "draining",
            Self::Full => "full",
            Self::Host | Self::Handshake(_) => "handshake",
            Self::Body => "body",
            Self::Origin | Self::ForeignHost => "origin",
            Self::Version => "version",
        }
    }

    fn codes(&self) -> (StatusCode, Code) {
        match self {
            Self::NotFound | Self::OtherConnect => (StatusCode::NOT_FOUND, Code::Unimplemented),
            Self::NotGrpc => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::SecretMissing | Self::SecretWrong => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::UnknownCluster { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::RouteCluster(NotTaken::UnknownGateway | NotTaken::Host(_)) => {
                (StatusCode::FORBIDDEN, Code::PermissionDenied)
            }
            Self::RouteCluster(NotTaken::Unreadable(_)) | Self::TwoClusters => {
                (StatusCode::BAD_REQUEST, Code::InvalidArgument)
            }
            Self::RouteCluster(NotTaken::Unusable) => {
                (StatusCode::INTERNAL_SERVER_ERROR, Code::FailedPrecondition)
            }
            // Not UNAVAILABLE, which gateways make of a lost connection, too: this was surely not begun.
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, Code::Aborted),
            Self::Full | Self::RouteCluster(NotTaken::TooMany) => {
                (StatusCode::SERVICE_UNAVAILABLE, Code::ResourceExhausted)
            }
            Self::Handshake(refused) => {
                let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::BAD_REQUEST);
                (status, Code::InvalidArgument)
            }
            Self::UnknownHeader { .. }
            | Self::Repeated { .. }
            | Self::Unreadable { .. }
            | Self::Host
            | Self::Body => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            Self::Origin | Self::ForeignHost => (StatusCode::FORBIDDEN, Code::PermissionDenied),
            Self::Version => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, Code::Internal),
        }
    }

    /// What clients are told: no broker.
    fn public_text(&self) -> String {
        match self {
            Self::RouteCluster(NotTaken::Host(_)) => {
                "the bridge's configuration does not allow a broker of this route: its log says which"
                    .to_owned()
            }
            _ => self.text(),
        }
    }

    /// What the logs of the bridge and the gateway say.
    pub(super) fn text(&self) -> String {
        match self {
            Self::NotFound => format!("nothing is served at this path, sessions are at {SESSION_PATH}"),
            Self::OtherConnect => {
                format!(
                    "nothing is served at this path: the gateway's route should rewrite it to {SESSION_PATH}"
                )
            }
            Self::NotGrpc => {
                "expected POST with content-type application/grpc".to_owned()
            }
            Self::SecretMissing => format!("header {} is missing", metadata::GATEWAY_SECRET),
            Self::SecretWrong => format!("header {} is not the bridge's secret", metadata::GATEWAY_SECRET),
            Self::UnknownHeader { name } => {
                format!(
                    "header {name} is not one that this bridge knows: expected a gateway of its version or older"
                )
            }
            Self::Repeated { name } => format!("expected header {name} once"),
            Self::Unreadable { header, expected } => format!("header {header}: expected {expected}"),
            Self::UnknownCluster { name } => {
                format!("no cluster {name} is configured, header {} names one", metadata::CLUSTER)
            }
            Self::RouteCluster(not_taken) => not_taken.to_string(),
            Self::TwoClusters => {
                format!("expected one header of {} and {}", metadata::CLUSTER, metadata::CLUSTER_DEFINITION)
            }
            Self::Draining => "the bridge is shutting down".to_owned(),
            Self::Full => "the bridge is at capacity".to_owned(),
            Self::Host => "expected one header Host".to_owned(),
            Self::Handshake(refused) => refused.reason.to_owned(),
            Self::Body => "an upgrade has no body".to_owned(),
            Self::Origin => {
                "this Origin may not ask here: without gateway_secret or tls.client_ca the bridge \
                             answers pages of this machine only"
                    .to_owned()
            }
            Self::ForeignHost => {
                "this Host is not of this machine: without gateway_secret or tls.client_ca the bridge answers \
                 plain HTTP under loopback names only"
                    .to_owned()
            }
            Self::Version => {
                "expected HTTP/2 for application/grpc, HTTP/1.1 for a WebSocket upgrade".to_owned()
            }
        }
    }
}

/// How much of a name is repeated.
const MAX_NAME_BYTES: usize = 100;
const RETRY_AFTER_SECONDS: &str = "1";
