//! The bridge as a route's upstream: nginx's `proxy_pass` over HTTP/1.1, with a connection for each request.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sluicegate_harness::Headers;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::body::{Body, Gone};

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

/// No answer, for which nginx has a page of this status.
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) bytes_sent: usize,
}

impl Upstream {
    /// Sends a request with the headers that the filter left.
    ///
    /// # Cancel safety
    /// The connection is closed.
    pub(super) async fn send(&self, headers: &Headers, body: Bytes) -> Result<Response, Failure> {
        // Once connected, the system accepts at least the request's head.
        let bytes_sent = body.len().saturating_add(1);
        let bad = |bytes_sent| Failure { status: 502, bytes_sent };
        let late = |bytes_sent| Failure { status: 504, bytes_sent };
        let request = request(headers, body).map_err(|_| bad(0))?;
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let stream = stream.map_err(|_| late(0))?.map_err(|_| bad(0))?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| bad(0))?;
        spawn_local(connection);
        let response = timeout(self.read_timeout, sender.send_request(request)).await;
        let (head, body) = response.map_err(|_| late(bytes_sent))?.map_err(|_| bad(bytes_sent))?.into_parts();
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;

    /// The request that an upstream with this answer receives, its connection, and the result.
    async fn exchange(answer: &'static [u8]) -> (String, TcpStream, Result<Response, Failure>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Upstream { address, read_timeout: Duration::from_millis(200) };
        let headers =
            [(":method", "POST"), (":path", "/"), ("host", "gateway.example"), ("x", "1"), ("x", "2")];
        let headers = headers.into_iter().chain(KEPT_FROM_UPSTREAMS.map(|name| (name, "99")));
        let headers = headers.fold(Headers::default(), |headers, (name, value)| headers.and(name, value));
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"body") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
            if CUT.contains(&answer) {
                stream.shutdown().await.unwrap();
            }
            (String::from_utf8(asked).unwrap(), stream)
        };
        let ((asked, stream), response) =
            tokio::join!(peer, upstream.send(&headers, Bytes::from_static(b"body")));
        (asked, stream, response)
    }

    /// Answers after which the connection ends.
    const CUT: [&[u8]; 2] = [b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab"];

    /// An answer that never ends.
    const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";

    async fn run(test: impl Future<Output = ()>) {
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn requests_and_answers_travel_without_what_is_for_one_connection() {
        let answer =
            b"HTTP/1.1 200 OK\r\nx: 1\r\nx-accel-buffering: no\r\nconnection: x\r\nkeep-alive: 5\r\nx: 2\r\n\
            content-length: 4\r\n\r\nwhole";
        run(async {
            let (asked, _open, response) = exchange(answer).await;
            let mut asked: Vec<_> = asked.lines().collect();
            asked[1..5].sort_unstable();
            let head = ["POST / HTTP/1.1", "content-length: 4", "host: gateway.example", "x: 1", "x: 2"];
            assert_eq!(asked, [&head[..], &["", "body"]].concat());
            let response = response.ok().unwrap();
            let want = Headers::default().and("x", "1").and("x", "2").and("content-length", "4");
            assert_eq!((response.status, response.headers), (200, want));
            assert_eq!(response.body.collect().await.unwrap().to_bytes(), "whol");
        })
        .await;
    }

    #[tokio::test]
    async fn bodies_stream_until_the_upstream_cuts_them_or_is_silent() {
        run(async {
            for answer in [CUT[1], CHUNKS] {
                let (_, _open, response) = exchange(answer).await;
                let mut body = response.ok().unwrap().body;
                assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
                assert!(body.frame().await.unwrap().is_err());
            }
        })
        .await;
    }

    #[tokio::test]
    async fn upstreams_without_an_answer_are_told_apart() {
        run(async {
            let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let upstream = Upstream { address: closed, read_timeout: Duration::from_secs(60) };
            let headers = Headers::default().and(":method", "GET").and(":path", "/");
            let refused = upstream.send(&headers, Bytes::new()).await;
            for (response, want) in
                [(refused, (502, 0)), (exchange(CUT[0]).await.2, (502, 5)), (exchange(b"").await.2, (504, 5))]
            {
                let failure = response.err().unwrap();
                assert_eq!((failure.status, failure.bytes_sent), want);
            }
        })
        .await;
    }
}
