//! Why a request is turned away, in HTTP's terms and in gRPC's.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use sluicegate_protocol::{SESSION_PATH, metadata};
use tonic::body::Body;
use tonic::{Code, Status};

/// Why a request is turned away.
#[derive(Debug)]
pub(super) enum Refusal {
    NotFound,
    /// An extended CONNECT to a path of the client's.
    OtherConnect,
    NotGrpc,
    SecretMissing,
    SecretWrong,
    UnknownCluster {
        /// As it may be shown.
        name: String,
    },
    Draining,
    /// As many as are allowed are open.
    Full,
}

impl Refusal {
    pub(super) fn unknown_cluster(name: &[u8]) -> Self {
        let name = name.get(..MAX_NAME_BYTES).unwrap_or(name).escape_ascii().to_string();
        Self::UnknownCluster { name }
    }

    /// For a session: a plain response, which a gateway can pass on to its client.
    pub(super) fn into_http(self) -> Response<Body> {
        let (status, _) = self.codes();
        let mut response = Response::new(Body::new(Full::new(Bytes::from(self.text() + "\n"))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }

    /// For a single command: gRPC's "Trailers-Only".
    pub(super) fn into_grpc(self) -> Response<Body> {
        let (_, code) = self.codes();
        Status::new(code, self.text()).into_http()
    }

    /// A name for metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NotFound | Self::OtherConnect => "path",
            Self::NotGrpc => "content_type",
            Self::SecretMissing | Self::SecretWrong => "secret",
            Self::UnknownCluster { .. } => "cluster",
            Self::Draining => "draining",
            Self::Full => "full",
        }
    }

    fn codes(&self) -> (StatusCode, Code) {
        match self {
            Self::NotFound | Self::OtherConnect => (StatusCode::NOT_FOUND, Code::Unimplemented),
            Self::NotGrpc => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
            Self::SecretMissing | Self::SecretWrong => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
            Self::UnknownCluster { .. } => (StatusCode::NOT_FOUND, Code::NotFound),
            // Not UNAVAILABLE, which gateways make of a lost connection, too: this was surely not begun.
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, Code::Aborted),
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, Code::ResourceExhausted),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::NotFound => format!("nothing is served at this path, sessions are at {SESSION_PATH}"),
            Self::OtherConnect => {
                format!(
                    "nothing is served at this path: the gateway's route should rewrite it to {SESSION_PATH}"
                )
            }
            Self::NotGrpc => "expected POST with content-type application/grpc".to_owned(),
            Self::SecretMissing => format!("header {} is missing", metadata::GATEWAY_SECRET),
            Self::SecretWrong => format!("header {} is not the bridge's secret", metadata::GATEWAY_SECRET),
            Self::UnknownCluster { name } => {
                format!("no cluster {name} is configured, header {} names one", metadata::CLUSTER)
            }
            Self::Draining => "the bridge is shutting down".to_owned(),
            Self::Full => "the bridge serves as many as it may".to_owned(),
        }
    }
}

/// How much of a cluster's name is repeated.
const MAX_NAME_BYTES: usize = 100;
const RETRY_AFTER_SECONDS: &str = "1";
