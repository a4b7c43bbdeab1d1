//! An HTTP/1.1 connection to the bridge, byte by byte.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::HeaderMap;
use prost::Message;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{PubSubReq, PubSubResp};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The connection.
pub(crate) struct Raw<IO = TcpStream> {
    pub(crate) io: IO,
    unread: BytesMut,
}

/// A response that is not an upgrade's success, or the head of one that is.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Raw {
    pub(crate) async fn connect(bridge: &Bridge) -> Self {
        let io = TcpStream::connect(bridge.address()).await.unwrap();
        io.set_nodelay(true).unwrap();
        Self::over(io)
    }

    /// A session, opened with `headers` besides what an upgrade needs.
    pub(crate) async fn open(bridge: &Bridge, headers: &str) -> Self {
        let mut raw = Self::connect(bridge).await;
        raw.upgrade(headers).await;
        raw
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Raw<IO> {
    pub(crate) fn over(io: IO) -> Self {
        Self { io, unread: BytesMut::new() }
    }

    pub(crate) async fn upgrade(&mut self, headers: &str) {
        self.send(upgrade("/", headers)).await;
        let response = self.response().await;
        assert_eq!(response.status, 101, "{}", response.text());
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> Response {
        self.try_response().await.expect("a response")
    }

    /// The same; `None` at the connection's end.
    pub(crate) async fn try_response(&mut self) -> Option<Response> {
        let mut response = self.head().await?;
        if let Some(len) = response.headers.get("content-length") {
            response.body = self.take(len.to_str().unwrap().parse().unwrap()).await;
        } else if response.headers.contains_key("transfer-encoding") {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    break;
                }
                response.body.extend(chunk);
            }
        }
        Some(response)
    }

    /// The head of the next response, such as that to HEAD; `None` at the connection's end.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        let end = loop {
            match self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !self.read().await => {
                    assert!(self.unread.is_empty(), "{:?}", self.unread);
                    return None;
                }
                None => {}
            }
        };
        let head = String::from_utf8(self.unread.split_to(end).to_vec()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let line = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.parse().unwrap(), value.trim().parse().unwrap())
        };
        Some(Response { status, headers: lines.map(line).collect(), body: Vec::new() })
    }

    /// A chunk of a body (RFC 9112, section 7.1); the last one is empty.
    async fn chunk(&mut self) -> Vec<u8> {
        let end = loop {
            match self.unread.windows(2).position(|bytes| bytes == b"\r\n") {
                Some(at) => break at,
                None => assert!(self.read().await, "the end within a body"),
            }
        };
        let size = String::from_utf8(self.take(end + 2).await).unwrap();
        let mut chunk = self.take(usize::from_str_radix(size.trim(), 16).unwrap() + 2).await;
        chunk.truncate(chunk.len() - 2);
        chunk
    }

    async fn take(&mut self, len: usize) -> Vec<u8> {
        while self.unread.len() < len {
            assert!(self.read().await, "the end within {len} bytes, after {:?}", self.unread);
        }
        self.unread.split_to(len).to_vec()
    }

    async fn read(&mut self) -> bool {
        let read = timeout(PATIENCE, self.io.read_buf(&mut self.unread)).await.expect("bytes, or the end");
        // A connection that is reset has ended.
        read.unwrap_or(0) > 0
    }

    /// Whether the connection ends within `time` without another byte.
    pub(crate) async fn ends(&mut self, time: Duration) -> bool {
        timeout(time, self.io.read_buf(&mut self.unread)).await.is_ok_and(|read| read.unwrap_or(0) == 0)
    }

    pub(crate) async fn ask(&mut self, sequence: i64, req: Req) {
        self.send(frame(0x82, &PubSubReq { sequence, req: Some(req) }.encode_to_vec())).await;
    }

    /// The next frame: its first byte and its payload; `None` at the connection's end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        if self.unread.is_empty() && !self.read().await {
            return None;
        }
        let head = self.take(2).await;
        assert_eq!(head[1] & 0x80, 0, "masked");
        let len = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.take(2).await.try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).await.try_into().unwrap()).try_into().unwrap(),
            len => usize::from(len),
        };
        Some((head[0], self.take(len).await))
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> PubSubResp {
        let (first, payload) = self.frame().await.expect("an answer");
        assert_eq!(first, 0x82);
        PubSubResp::decode(&payload[..]).unwrap()
    }

    /// The code and the reason of the Close that has to come now, and then the end.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let (first, mut payload) = self.frame().await.expect("a Close");
        assert_eq!(first, 0x88, "{payload:?}");
        let reason = String::from_utf8(payload.split_off(2)).unwrap();
        assert_eq!(self.frame().await, None);
        (payload.as_slice().get_u16(), reason)
    }
}

/// An upgrade to `path`, with `headers` besides what it needs.
pub(crate) fn upgrade(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: bridge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// A client's frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// For what has to come at once.
const PATIENCE: Duration = Duration::from_secs(10);
