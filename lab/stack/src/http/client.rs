//! A client of the gateway's plain HTTP, on hyper: whole, split or slow bodies, over HTTP/1.1 or HTTP/2.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// One connection to a gateway, with one request at a time.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    address: SocketAddr,
}

#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    pieces: Option<Pieces>,
}

/// Split of a body.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Bytes of each piece; the last can be shorter.
    pub length: usize,
    /// Whether there is a `content-length`.
    pub declared: bool,
    /// Whether to pause until each piece has been sent.
    pub slow: bool,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// All headers, in order.
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer that is read as it arrives. A drop closes its connection.
#[derive(Debug)]
pub struct Streamed {
    /// The answer without its body.
    pub head: Response,
    body: Incoming,
    _client: Client,
}

/// Sends a request on a new HTTP/1.1 connection. Panics without a complete response within 30 s.
pub async fn ask(gateway: SocketAddr, request: Request) -> Response {
    Client::connect(gateway).await.unwrap().ask(request).await.unwrap()
}

impl Client {
    pub async fn connect(gateway: SocketAddr) -> Result<Self, String> {
        let (sender, connection) = http1::handshake(dial(gateway).await?).await.map_err(text)?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http1(sender), address: gateway })
    }

    /// Connects for HTTP/2 with prior knowledge (RFC 9113, section 3.3).
    pub async fn connect_http2(gateway: SocketAddr) -> Result<Self, String> {
        let handshake = http2::handshake(TokioExecutor::new(), dial(gateway).await?);
        let (sender, connection) = handshake.await.map_err(text)?;
        tokio::spawn(connection);
        Ok(Self { sender: Sender::Http2(sender), address: gateway })
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&mut self, request: Request) -> Result<Response, String> {
        let exchange = async {
            let (head, body) = self.begin(request).await?.into_parts();
            let body = body.collect().await.map_err(text)?.to_bytes();
            Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
        };
        timeout(WITHIN, exchange).await.unwrap_or_else(|_| Err("no whole answer within 30 s".to_owned()))
    }

    /// Sends a request, and reads the head of the answer.
    pub async fn stream(mut self, request: Request) -> Result<Streamed, String> {
        let answer = timeout(WITHIN, self.begin(request)).await;
        let (head, body) = answer.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()))?.into_parts();
        let head = Response { status: head.status.as_u16(), headers: head.headers, body: Bytes::new() };
        Ok(Streamed { head, body, _client: self })
    }

    async fn begin(&mut self, request: Request) -> Result<http::Response<Incoming>, String> {
        let Self { sender, address } = self;
        match sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(text)?;
                let mut asked = request.build("");
                let host = HeaderValue::from_str(&address.to_string()).unwrap();
                asked.headers_mut().entry(HOST).or_insert(host);
                sender.send_request(asked).await.map_err(text)
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(text)?;
                let asked = request.build(&format!("http://{address}"));
                sender.send_request(asked).await.map_err(text)
            }
        }
    }
}

impl Streamed {
    /// The next part of the body, within 30 s. None at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let frame = timeout(WITHIN, self.body.frame()).await.map_err(|_| "nothing within 30 s".to_owned())?;
        let frame = frame.transpose().map_err(text)?;
        Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }
}

impl Request {
    /// A request of any method, without a body.
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Self { method, target: target.into(), headers: HeaderMap::new(), body: Bytes::new(), pieces: None }
    }

    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target) }
    }

    /// Adds a header, even if the name repeats.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// Gives it a body, whatever its method is.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Splits the body.
    pub fn cut(mut self, pieces: Pieces) -> Self {
        if pieces.declared {
            self.headers.insert(CONTENT_LENGTH, self.body.len().into());
        }
        Self { pieces: Some(pieces), ..self }
    }

    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    fn build(self, origin: &str) -> http::Request<Body> {
        let Self { method, target, headers, body, pieces } = self;
        let body = match pieces {
            None => Full::new(body).boxed_unsync(),
            Some(pieces) => {
                StreamBody::new(stream::unfold((body, true), move |(mut rest, first)| async move {
                    if pieces.slow && !first {
                        // With nothing else to send, hyper writes the previous piece.
                        sleep(PAUSE).await;
                    }
                    if rest.is_empty() {
                        return None;
                    }
                    let piece = rest.split_to(pieces.length.min(rest.len()));
                    Some((Ok(Frame::data(piece)), (rest, false)))
                }))
                .boxed_unsync()
            }
        };
        let mut request =
            http::Request::builder().method(method).uri(format!("{origin}{target}")).body(body).unwrap();
        *request.headers_mut() = headers;
        request
    }
}

impl Response {
    /// The value of a header that occurs at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all(name).iter();
        let first = all.next().map(|value| value.to_str().unwrap());
        assert!(all.next().is_none(), "{name} is repeated: {self:?}");
        first
    }

    /// The body as text. Panics if it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("no text: {self:?}"))
    }

    /// The body as JSON. Panics if it is invalid.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

async fn dial(gateway: SocketAddr) -> Result<TokioIo<TcpStream>, String> {
    let stream = timeout(WITHIN, TcpStream::connect(gateway)).await.expect("a connection").map_err(text)?;
    stream.set_nodelay(true).map_err(text)?;
    Ok(TokioIo::new(stream))
}

fn text(error: impl std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

const WITHIN: Duration = Duration::from_secs(30);
/// Longer than the gateway needs to read a piece.
const PAUSE: Duration = Duration::from_millis(2);
