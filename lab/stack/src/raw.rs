//! A client that reads and writes raw bytes, including those that no well-behaved client sends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failure is a panic"
)]

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use http::HeaderMap;
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{PubSubReq, PubSubResp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::http::client::Response;

/// A connection. A call that takes a minute, or meets an early end, panics.
#[derive(Debug)]
pub struct Raw<IO = TcpStream> {
    /// The connection, for other operations.
    pub io: IO,
    /// Received but not consumed.
    unread: BytesMut,
}

impl Raw {
    pub async fn connect(to: SocketAddr) -> Self {
        Self::dial(to, TcpSocket::new_v4().unwrap()).await
    }

    /// Opens a session on `/pubsub`.
    pub async fn open(to: SocketAddr) -> Self {
        Self::connect(to).await.upgraded(&Upgrade::default()).await
    }

    /// As [`open`](Self::open), from this client address.
    pub async fn open_from(to: SocketAddr, address: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Self::dial(to, socket).await.upgraded(&Upgrade::default()).await
    }

    /// As [`open_from`](Self::open_from), with a receive buffer of `buffer` bytes in the kernel.
    pub async fn open_narrow(to: SocketAddr, address: Ipv4Addr, buffer: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
        Self::dial(to, socket).await.upgraded(&Upgrade::default()).await
    }

    async fn dial(to: SocketAddr, socket: TcpSocket) -> Self {
        let io = within("a connection", socket.connect(to)).await.unwrap();
        io.set_nodelay(true).unwrap();
        Self::over(io)
    }

    /// Writes a request and resets the connection.
    pub async fn ask_and_reset(mut self, request: &[u8]) {
        self.write(request).await;
        self.io.set_zero_linger().unwrap();
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Raw<IO> {
    pub fn over(io: IO) -> Self {
        Self { io, unread: BytesMut::new() }
    }

    /// Sends an upgrade, and expects it to be accepted.
    pub async fn upgraded(mut self, upgrade: &Upgrade) -> Self {
        let response = self.ask(&upgrade.bytes()).await;
        assert_eq!(response.status, 101, "{}{response:?}", String::from_utf8_lossy(&upgrade.bytes()));
        self
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within("room for bytes", self.io.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Writes as much as the server accepts; returns whether that is everything.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within("room for bytes", self.io.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Writes a request and reads its response.
    pub async fn ask(&mut self, request: &[u8]) -> Response {
        self.write(request).await;
        self.response().await
    }

    /// The next response, with its body if the length is known or the body is chunked.
    pub async fn response(&mut self) -> Response {
        self.try_response().await.expect("a response before the end")
    }

    /// As [`response`](Self::response); `None` at the connection's end.
    pub async fn try_response(&mut self) -> Option<Response> {
        let mut response = self.head().await?;
        if let Some(len) = response.header("content-length") {
            let len = len.parse().unwrap();
            response.body = self.exactly(len).await.into();
        } else if response.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
            response.body = body.into();
        }
        Some(response)
    }

    /// The head of the next response; `None` at the connection's end.
    pub async fn head(&mut self) -> Option<Response> {
        let end = loop {
            match self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.more("a response").await => {}
                None => {
                    assert!(self.unread.is_empty(), "the end within a head: {:?}", self.unread);
                    return None;
                }
            }
        };
        let head = String::from_utf8(self.unread.split_to(end).to_vec()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.parse().unwrap(), value.trim().parse().unwrap())
        };
        Some(Response { status, headers: lines.map(header).collect::<HeaderMap>(), body: Default::default() })
    }

    /// A chunk of a body (RFC 9112, section 7.1); the last one is empty.
    async fn chunk(&mut self) -> Vec<u8> {
        let end = loop {
            match self.unread.windows(2).position(|two| two == b"\r\n") {
                Some(at) => break at + 2,
                None => assert!(self.more("a chunk").await, "the end within a body"),
            }
        };
        let size = String::from_utf8(self.exactly(end).await).unwrap();
        let mut chunk = self.exactly(usize::from_str_radix(size.trim(), 16).unwrap() + 2).await;
        chunk.truncate(chunk.len() - 2);
        chunk
    }

    pub async fn frame(&mut self) -> Frame {
        self.try_frame().await.expect("a frame before the end")
    }

    /// As [`frame`](Self::frame); `None` at the connection's end.
    pub async fn try_frame(&mut self) -> Option<Frame> {
        if self.unread.is_empty() && !self.more("a frame").await {
            return None;
        }
        let [first, second] = self.exactly(2).await[..] else { unreachable!("two bytes") };
        assert_eq!(second & 0x80, 0, "RFC 6455, section 5.1: a server must not mask");
        let len = match second {
            126 => u64::from(u16::from_be_bytes(self.exactly(2).await.try_into().unwrap())),
            127 => u64::from_be_bytes(self.exactly(8).await.try_into().unwrap()),
            len => u64::from(len),
        };
        Some(Frame { first, payload: self.exactly(usize::try_from(len).unwrap()).await })
    }

    /// The next frame, which must be an answer.
    pub async fn answer(&mut self) -> PubSubResp {
        let frame = self.frame().await;
        assert_eq!(frame.first, BINARY, "{frame:?}");
        PubSubResp::decode(frame.payload.as_slice()).unwrap()
    }

    pub async fn exactly(&mut self, len: usize) -> Vec<u8> {
        while self.unread.len() < len {
            assert!(self.more("an answer").await, "the end within {len} bytes, behind {:?}", self.unread);
        }
        self.unread.split_to(len).to_vec()
    }

    /// Expects a close frame and then the end of the connection; returns the code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        let Frame { first, payload } = self.frame().await;
        assert_eq!(first, CLOSE, "{payload:?}");
        self.is_at_the_end("behind a close frame").await;
        let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
        (u16::from_be_bytes([payload[0], payload[1]]), reason)
    }

    /// Expects this frame, and then the end of the connection.
    pub async fn is_closed(&mut self, want: &Frame, what: impl Display) {
        let frame = self.frame().await;
        assert_eq!(&frame, want, "{what}: {:?}", String::from_utf8_lossy(&frame.payload));
        self.is_at_the_end(what).await;
    }

    /// Expects the end of the connection, or a reset if the server had not read everything.
    pub async fn is_at_the_end(&mut self, what: impl Display) {
        let ended = !self.more("the end").await;
        assert!(ended && self.unread.is_empty(), "{what}: {:?} where the end was expected", self.unread);
    }

    /// Whether the connection ends within `time` without another byte.
    pub async fn ends(&mut self, time: Duration) -> bool {
        timeout(time, self.io.read_buf(&mut self.unread)).await.is_ok_and(|read| read.unwrap_or(0) == 0)
    }

    /// Disconnects, and discards input until the server has closed too.
    pub async fn leave(&mut self) {
        // Fails if the server has already closed.
        let _ = self.io.shutdown().await;
        let _ = within("the end", copy(&mut self.io, &mut sink())).await;
    }

    /// Reads once; false at the end.
    async fn more(&mut self, what: &str) -> bool {
        self.unread.reserve(READ);
        match within(what, self.io.read_buf(&mut self.unread)).await {
            Ok(len) => len > 0,
            // TLS without a close_notify has ended too.
            Err(error) if ENDS.contains(&error.kind()) => false,
            Err(error) => panic!("{error} where {what} was expected"),
        }
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {} s", PATIENCE.as_secs()),
    }
}

const READ: usize = 64 * 1024;
const ENDS: [ErrorKind; 2] = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
/// Far longer than any step takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The request for an upgrade: a handshake, valid by default. Header values can be any bytes.
#[derive(Clone, Debug)]
pub struct Upgrade {
    target: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self::to("/pubsub")
    }
}

impl Upgrade {
    pub fn to(target: impl Into<Vec<u8>>) -> Self {
        let headers = [
            ("host", "gateway.example"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            // RFC 6455, section 1.3, has this key and its answer.
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        Self { target: target.into(), headers }
    }

    /// Sets a header, and replaces others of its name.
    pub fn with(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.without(name).and(name, value)
    }

    /// Adds a header, even if the name repeats.
    pub fn and(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = [b"GET ", self.target.as_slice(), b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// RFC 6455, section 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// Without a mask.
    pub payload: Vec<u8>,
}

/// A client's frame with `first` as its first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first, 0x80, payload.len() as u64);
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A client's frame with a request.
pub fn request(sequence: i64, req: Req) -> Vec<u8> {
    masked(BINARY, &PubSubReq { sequence, req: Some(req) }.encode_to_vec())
}

/// A frame's header up to its mask, in the shortest form that holds `len`.
pub fn head(first: u8, mask_bit: u8, len: u64) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask_bit | len as u8],
        126..=0xFFFF => [&[first, mask_bit | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask_bit | 127][..], &len.to_be_bytes()].concat(),
    }
}

/// A close frame as the server sends it.
pub fn close(code: u16, reason: &str) -> Frame {
    Frame { first: CLOSE, payload: [&code.to_be_bytes(), reason.as_bytes()].concat() }
}

pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8A;
/// The FIN bit: a frame without it is not the last of its message.
pub const FIN: u8 = 0x80;
