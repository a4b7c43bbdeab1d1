//! HTTP/1.1 to the admin port of a bridge.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1::handshake;
use hyper::http::{Method, Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use sluicegate_client::{ConnectError, printable_url, refusal_text};
use tokio::io::{AsyncReadExt as _, join};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use crate::failure::{AdminError, Failure};
use crate::header::Header;
use crate::settings::Settings;

/// An admin port. Each request has a connection of its own, as the bridge closes it after the answer.
pub(super) struct Port<'a> {
    settings: &'a Settings,
    uri: Uri,
    /// Time limit of a request, connecting included.
    within: Duration,
}

impl<'a> Port<'a> {
    /// # Errors
    /// The URL is not that of a port.
    pub(super) fn new(settings: &'a Settings, within: Duration) -> Result<Self, Failure> {
        let is_port = |uri: &Uri| {
            let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
            uri.scheme_str() == Some("http") && !has_user && uri.path() == "/" && uri.query().is_none()
        };
        match settings.url.parse() {
            Ok(uri) if is_port(&uri) => Ok(Self { settings, uri, within }),
            _ => Err(Failure::Connect(ConnectError::Url {
                url: printable_url(&settings.url),
                problem: "expected http://HOST:PORT, a bridge's admin port".into(),
            })),
        }
    }

    /// The body of the answer to a request for `target` with these headers, at most [`MAX_BYTES`].
    ///
    /// # Cancel safety
    /// A drop closes the connection. A request that was sent can still take effect.
    ///
    /// # Errors
    /// No connection, no answer in time, a status that is not 200, or a larger body.
    pub(super) async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Bytes, Failure> {
        let request = self.request(method, target, headers)?;
        let answered = timeout(self.within, self.exchange(request)).await;
        answered.map_err(|_| AdminError::Timeout { after: self.within })?
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<Bytes, Failure> {
        let start = Instant::now();
        let stream = self.connect().await.map_err(|cause| {
            Failure::Connect(ConnectError::Network { url: printable_url(&self.settings.url), cause })
        })?;
        // The HTTP library bounds each part of an answer, but not how many interim responses and chunks there are.
        let (received, sent) = stream.into_split();
        let stream = TokioIo::new(join(received.take(MAX_RECEIVED), sent));
        let (mut connection, driver) = handshake(stream).await.map_err(|why| lost(&why))?;
        // It ends with the connection, and its errors reach the request that waits.
        tokio::spawn(driver);
        debug!("sending {} {}", request.method(), request.uri().path());
        let answer = connection.send_request(request).await.map_err(|why| lost(&why))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|why| unread(&*why))?.to_bytes();
        debug!("HTTP {} with {} bytes after {:?}", status.as_u16(), body.len(), start.elapsed());
        if status == StatusCode::OK { Ok(body) } else { Err(refused(status, &body).into()) }
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let path = self.uri.path().trim_end_matches('/');
        let mut request =
            Request::builder().method(method).uri(format!("{path}{target}")).header(header::HOST, host);
        for Header { name, value } in &self.settings.headers {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::new()).map_err(|_| {
            let name = header::AUTHORIZATION.to_string();
            Failure::Connect(ConnectError::Header { name, problem: "invalid header value" })
        })
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        // Brackets mark an IPv6 address in a URL only.
        let host = self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = self.uri.port_u16().unwrap_or(80);
        debug!("connecting to {host} port {port}");
        TcpStream::connect((host, port)).await
    }
}

fn refused(status: StatusCode, body: &[u8]) -> AdminError {
    let text = refusal_text(&String::from_utf8_lossy(body));
    let is_listen = text.contains("gateway_secret");
    let text = if text.is_empty() { text } else { format!(": {text}") };
    let hint = match status {
        _ if is_listen => "; this is `listen`, not `admin_listen`",
        StatusCode::UPGRADE_REQUIRED => "; this is `listen` or a gateway, not `admin_listen`",
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "; is this the admin port of a bridge, and the bridge new enough?"
        }
        _ => "",
    };
    AdminError::Refused { status: status.as_u16(), cause: format!("{text}{hint}") }
}

fn lost(why: &(dyn Error + 'static)) -> AdminError {
    AdminError::Lost { detail: why.to_string() }
}

/// The error of a body that was not read to its end.
fn unread(why: &(dyn Error + Send + Sync + 'static)) -> AdminError {
    if why.is::<LengthLimitError>() {
        return AdminError::Answer { detail: format!("its answer exceeds the limit of {MAX_BYTES} bytes") };
    }
    lost(why)
}

/// Longest answer, in bytes. A command holds one.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The same with all that is around it.
const MAX_RECEIVED: u64 = MAX_BYTES as u64 + 128 * 1024;
