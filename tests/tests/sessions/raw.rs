//! A client that writes and reads single bytes: what no well-behaved client sends, and exactly what comes back.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use prost::Message as _;
use sluicegate_protocol::PubSubResp;
use sluicegate_tests::stack::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::within;

/// A TCP connection to a gateway.
pub(crate) struct Raw {
    stream: TcpStream,
    /// Read, but not looked at.
    rest: Vec<u8>,
}

/// The head of an HTTP response, and its body where it had a length.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// FIN, reserved bits and opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(gateway: SocketAddr) -> Self {
        let stream = TcpStream::connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, rest: Vec::new() }
    }

    /// An open session on the route that is always there.
    pub(crate) async fn open(stack: &Stack) -> Self {
        let mut raw = Self::connect(stack.gateway()).await;
        let response = raw.ask(&Upgrade::default().bytes()).await;
        assert_eq!(response.status, 101, "{response:?}");
        raw
    }

    /// As [`open`](Self::open), by a client at this address.
    pub(crate) async fn open_from(stack: &Stack, address: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Self::open_over(stack, socket).await
    }

    /// As [`open`](Self::open), by a client that has hardly room for what comes while it does not read.
    pub(crate) async fn open_narrow(stack: &Stack) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::open_over(stack, socket).await
    }

    async fn open_over(stack: &Stack, socket: TcpSocket) -> Self {
        let stream = within("a connection", socket.connect(stack.gateway())).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, rest: Vec::new() };
        let response = raw.ask(&Upgrade::default().bytes()).await;
        assert_eq!(response.status, 101, "{response:?}");
        raw
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within("room for bytes", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Writes while the server takes it; whether it took all.
    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> bool {
        within("room for bytes", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Writes a request and reads its response.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Response {
        self.write(request).await;
        self.response().await
    }

    /// Writes a request and is gone, as a machine that has forgotten the connection.
    pub(crate) async fn ask_and_reset(mut self, request: &[u8]) {
        self.write(request).await;
        self.stream.set_zero_linger().unwrap();
    }

    pub(crate) async fn response(&mut self) -> Response {
        let end = loop {
            match self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.more("a response").await, "the end came before a response"),
            }
        };
        let head: Vec<u8> = self.rest.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status, headers, body: String::new() };
        let length: usize = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        self.fill(length, "a response's body").await;
        response.body = String::from_utf8(self.rest.drain(..length).collect()).unwrap();
        response
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        self.fill(2, "a frame").await;
        assert_eq!(self.rest[1] & 0x80, 0, "RFC 6455, section 5.1: a server must not mask");
        let (head, len) = match self.rest[1] {
            126 => {
                self.fill(4, "a frame's length").await;
                (4, usize::from(u16::from_be_bytes([self.rest[2], self.rest[3]])))
            }
            127 => {
                self.fill(10, "a frame's length").await;
                let len = u64::from_be_bytes(self.rest[2..10].try_into().unwrap());
                (10, usize::try_from(len).unwrap())
            }
            len => (2, usize::from(len)),
        };
        self.fill(head + len, "a frame's payload").await;
        let frame: Vec<u8> = self.rest.drain(..head + len).collect();
        Frame { first: frame[0], payload: frame[head..].to_vec() }
    }

    /// The next frame, which has to hold an answer.
    pub(crate) async fn answer(&mut self) -> PubSubResp {
        let frame = self.frame().await;
        assert_eq!(frame.first, BINARY, "{frame:?}");
        PubSubResp::decode(frame.payload.as_slice()).unwrap()
    }

    /// The next bytes, as they are.
    pub(crate) async fn exactly(&mut self, len: usize) -> Vec<u8> {
        self.fill(len, "an answer").await;
        self.rest.drain(..len).collect()
    }

    /// Expects this frame, and the end of the connection right behind it.
    pub(crate) async fn is_closed(&mut self, want: &Frame, what: &str) {
        let frame = self.frame().await;
        assert_eq!(&frame, want, "{what}: {:?}", String::from_utf8_lossy(&frame.payload));
        self.is_at_the_end(what).await;
    }

    /// Expects the end, which is a reset where the server had not read all that was sent.
    pub(crate) async fn is_at_the_end(&mut self, what: &str) {
        let end = within("the end", self.stream.read_buf(&mut self.rest)).await;
        let ended = end.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |len| len == 0);
        assert!(ended && self.rest.is_empty(), "{what}: {:?} where the end was expected", self.rest);
    }

    /// Leaves, and reads what still comes until the server has noticed.
    pub(crate) async fn leave(&mut self) {
        // A server that was faster has closed it.
        let _ = self.stream.shutdown().await;
        let _ = within("the end", self.stream.read_to_end(&mut self.rest)).await;
    }

    async fn fill(&mut self, len: usize, what: &str) {
        while self.rest.len() < len {
            assert!(self.more(what).await, "the end came where {what} was expected");
        }
    }

    /// Reads what there is; false at the end.
    async fn more(&mut self, what: &str) -> bool {
        within(what, self.stream.read_buf(&mut self.rest)).await.unwrap() > 0
    }
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands there twice: {self:?}");
        first
    }
}

/// A handshake, good unless changed. Values are bytes, and so may be anything.
pub(crate) struct Upgrade {
    pub(crate) target: Vec<u8>,
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
}

impl Default for Upgrade {
    fn default() -> Self {
        let headers = [
            ("host", "gateway.example"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ];
        let headers = headers.map(|(name, value)| (name, value.as_bytes().to_vec())).to_vec();
        Self { target: b"/pubsub".to_vec(), headers }
    }
}

impl Upgrade {
    pub(crate) fn to(target: impl Into<Vec<u8>>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// Sets a header, in the place of one that is there.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = [b"GET ", self.target.as_slice(), b" HTTP/1.1\r\n"].concat();
        for (name, value) in &self.headers {
            out.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// A client's frame with `first` as its first byte.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first, 0x80, payload.len() as u64);
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// A frame's header up to its mask, in the shortest form that holds `len` (RFC 6455, section 5.2).
pub(crate) fn head(first: u8, mask_bit: u8, len: u64) -> Vec<u8> {
    match len {
        0..=125 => vec![first, mask_bit | len as u8],
        126..=0xFFFF => [&[first, mask_bit | 126][..], &(len as u16).to_be_bytes()].concat(),
        _ => [&[first, mask_bit | 127][..], &len.to_be_bytes()].concat(),
    }
}

/// A close frame as the server sends it.
pub(crate) fn close(code: u16, reason: &str) -> Frame {
    Frame { first: CLOSE, payload: [&code.to_be_bytes(), reason.as_bytes()].concat() }
}

/// FIN and the opcodes of section 5.2.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
/// The bit itself: without it, a frame is not its message's last.
pub(crate) const FIN: u8 = 0x80;
