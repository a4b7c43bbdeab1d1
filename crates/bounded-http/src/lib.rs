//! Requests to servers that operators name, such as issuers and schema registries, with bounds of bytes and time.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod bounded_stream;

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use sluicegate_tls_faults::{Settings, Shown, cause, find};
use thiserror::Error;
use tokio::time::timeout;

use self::bounded_stream::{BoundedConnector, ReceivedTooMuch};

/// A client of HTTP/1.1 and HTTP/2. It follows no redirects, and each request has its own connection.
pub struct Client {
    client: legacy::Client<HttpsConnector<BoundedConnector>, Full<Bytes>>,
    limits: Limits,
    settings: Settings,
    shown: Shown,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of an answer's content. A connection receives an eighth more, at least 128 KiB, for headers, framing and TLS.
    pub max_body: usize,
    /// The time from the connection's beginning to the answer's end.
    pub within: Duration,
}

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The answer did not end in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The answer has more than this many bytes, of content alone or with what is around it.
    #[error("an answer of more than {0} bytes")]
    TooLarge(usize),
    /// No connection, or one that failed: in words for operators.
    #[error("{0}")]
    Connection(String),
}

impl Client {
    /// A client that trusts by `tls`, whose settings have these names in errors. `tls` must leave ALPN to the client.
    pub fn new(tls: ClientConfig, settings: Settings, limits: Limits) -> Self {
        let has_certificate = tls.client_auth_cert_resolver.has_certs();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(BoundedConnector::new(limits.max_received()));
        let client = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, limits, settings, shown: Shown { has_certificate, was_asked: false } }
    }

    /// The answer, whatever its status.
    ///
    /// # Errors
    /// There is none within the limits.
    ///
    /// # Cancel safety
    /// A drop closes the connection.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Failure> {
        let Limits { max_body, within } = self.limits;
        let answer = async {
            let response = self.client.request(request).await.map_err(|error| self.failure(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, max_body).collect().await;
            Ok(Response::from_parts(head, body.map_err(|error| self.failure(&*error))?.to_bytes()))
        };
        timeout(within, answer).await.unwrap_or(Err(Failure::Late(within)))
    }

    fn failure(&self, error: &(dyn StdError + 'static)) -> Failure {
        if cause::<LengthLimitError>(error).is_some() || cause::<ReceivedTooMuch>(error).is_some() {
            return Failure::TooLarge(self.limits.max_body);
        }
        let fault = find(error).map(|fault| self.settings.explain(fault, self.shown));
        Failure::Connection(fault.unwrap_or_else(|| causes(error)))
    }
}

impl Limits {
    fn max_received(self) -> usize {
        self.max_body.saturating_add((self.max_body / 8).max(128 * 1024))
    }
}

/// A URL for the log: a query can be a secret, as can what stands before the host.
pub fn shown(url: &Uri) -> String {
    let authority =
        url.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    format!("{}{}", authority.unwrap_or_default(), url.path())
}

/// An error and its causes, in one line.
fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
