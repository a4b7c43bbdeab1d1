//! A registry over HTTP.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Uri};
use rustls::ClientConfig;
use sluicegate_bounded_http::{Client, Failure, Limits, shown};
use sluicegate_tls_faults::Settings;
use thiserror::Error;

use super::transport::{MAX_ANSWER, Request, Response, Transport, Unanswered};

/// A registry behind a URL. Each request has its own connection and ends within 5 s; redirects are not followed.
pub struct Http {
    client: Client,
    scheme: Scheme,
    authority: Authority,
    /// The path of the URL, without a slash at its end.
    prefix: String,
    authorization: Option<HeaderValue>,
    shown: String,
}

/// The bridge's identity at a registry.
pub enum Credentials {
    /// A user and a password (RFC 7617).
    Basic(String, String),
    /// A token (RFC 6750).
    Bearer(String),
}

/// Settings that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidHttp {
    /// Of the URL.
    #[error("expected http:// or https:// with a host, without user, password and query")]
    Url,
    /// Of the token.
    #[error("expected a token without spaces and control characters")]
    Token,
}

impl Http {
    /// The registry at `url`, such as `https://registry.example/apis/ccompat/v7`. `settings` names the settings of `tls`
    /// in the log.
    ///
    /// # Errors
    /// See [`InvalidHttp`].
    pub fn new(
        url: &Uri,
        credentials: Option<&Credentials>,
        tls: ClientConfig,
        settings: Settings,
    ) -> Result<Self, InvalidHttp> {
        let scheme = url.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let authority = url.authority().filter(|authority| !authority.as_str().contains('@'));
        let (Some(scheme), Some(authority), None) = (scheme, authority, url.query()) else {
            return Err(InvalidHttp::Url);
        };
        Ok(Self {
            client: Client::new(tls, settings, LIMITS),
            scheme: scheme.clone(),
            authority: authority.clone(),
            prefix: url.path().trim_end_matches('/').to_owned(),
            authorization: credentials.map(Credentials::header).transpose()?,
            shown: shown(url),
        })
    }

    async fn answer(&self, Request { path, body }: Request) -> Result<Response, Unanswered> {
        let failed = |error: http::Error| Unanswered::Failed(error.to_string());
        let url = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        let url = url.path_and_query(format!("{}{path}", self.prefix)).build().map_err(failed)?;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = http::Request::builder().method(method).uri(url).header(ACCEPT, ACCEPTED);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body.unwrap_or_default().into()).map_err(failed)?;
        let response = self.client.send(request).await.map_err(|failure| match failure {
            Failure::TooLarge(max) => Unanswered::TooLarge(max),
            Failure::Late(_) | Failure::Connection(_) => Unanswered::Failed(failure.to_string()),
        })?;
        Ok(Response { status: response.status().as_u16(), body: response.into_body() })
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, Unanswered>> {
        self.answer(request).boxed()
    }

    fn shown(&self) -> &str {
        &self.shown
    }
}

impl Credentials {
    fn header(&self) -> Result<HeaderValue, InvalidHttp> {
        let text = match self {
            Self::Basic(user, password) => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Self::Bearer(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                format!("Bearer {token}")
            }
            Self::Bearer(_) => return Err(InvalidHttp::Token),
        };
        let mut header = HeaderValue::try_from(text).map_err(|_| InvalidHttp::Token)?;
        header.set_sensitive(true);
        Ok(header)
    }
}

const LIMITS: Limits = Limits { max_body: MAX_ANSWER, within: Duration::from_secs(5) };
const JSON: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json";
