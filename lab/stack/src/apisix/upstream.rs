//! The bridge as a route's upstream: nginx's `proxy_pass` over HTTP/1.1, with a connection for each request.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sluicegate_harness::Headers;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// An answer's body as it comes.
pub(super) type Body = UnsyncBoxBody<Bytes, Gone>;
pub(super) type Gone = Box<dyn StdError + Send + Sync>;

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) read_timeout: Duration,
}

/// The head of an answer, and its streamed body.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Body,
}

impl Upstream {
    /// Sends a request with the headers that the filter left. Without an answer, gives the status of nginx's page, and
    /// the number of bytes that were sent.
    pub(super) async fn send(&self, headers: &Headers, body: Bytes) -> Result<Response, (u16, usize)> {
        // Once connected, the system accepts at least the request's head.
        let bytes_sent = body.len().saturating_add(1);
        let request = request(headers, body).map_err(|_| (502, 0))?;
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let stream = stream.map_err(|_| (504, 0))?.map_err(|_| (502, 0))?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| (502, 0))?;
        spawn_local(connection);
        let response = timeout(self.read_timeout, sender.send_request(request)).await;
        let (head, body) =
            response.map_err(|_| (504, bytes_sent))?.map_err(|_| (502, bytes_sent))?.into_parts();
        let passed = head.headers.iter().filter(|(name, _)| !KEPT_FROM_CLIENTS.contains(&name.as_str()));
        let headers = passed.fold(Headers::default(), |headers, (name, value)| headers.and(name, value));
        Ok(Response { status: head.status.as_u16(), headers, body: streamed(body, self.read_timeout) })
    }
}

fn request(headers: &Headers, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
    let pseudo = |name| headers.get(name).unwrap_or_default();
    let request = Request::builder().method(pseudo(":method")).uri(pseudo(":path"));
    let is_passed = |name: &[u8]| {
        !name.starts_with(b":") && !KEPT_FROM_UPSTREAMS.iter().any(|kept| kept.as_bytes() == name)
    };
    let passed = headers.iter().filter(|(name, _)| is_passed(name));
    passed.fold(request, |request, (name, value)| request.header(name, value)).body(Full::new(body))
}

/// Cuts the client's connection when the upstream's is cut or silent for too long.
fn streamed(body: Incoming, read_timeout: Duration) -> Body {
    let frames = stream::unfold(body, move |mut body| async move {
        let frame = match timeout(read_timeout, body.frame()).await {
            Ok(frame) => frame?.map_err(Gone::from),
            Err(elapsed) => Err(elapsed.into()),
        };
        Some((frame, body))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// nginx, `ngx_http_proxy_headers`, and `apisix/cli/ngx_tpl.lua` for a route without `enable_websocket`. The length is
/// the body's.
const KEPT_FROM_UPSTREAMS: [&str; 7] =
    ["connection", "content-length", "expect", "keep-alive", "te", "transfer-encoding", "upgrade"];

/// nginx, `ngx_http_proxy_hide_headers` and `ngx_http_upstream_headers_in`, as far as the bridge sends them.
const KEPT_FROM_CLIENTS: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "x-accel-buffering"];

/// nginx's `proxy_connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
