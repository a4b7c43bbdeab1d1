//! An upgrade in plain bytes, and the TCP connection that it leaves.

use std::time::Duration;

use prost::Message as _;
use sluicegate_protocol::PubSubReq;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_tests::stack::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What an upgrade was answered with.
pub(crate) struct Upgrade {
    pub(crate) status: u16,
    /// In lower case, with a line end before and behind each header.
    pub(crate) headers: String,
    pub(crate) body: String,
    pub(crate) stream: TcpStream,
}

impl Upgrade {
    pub(crate) async fn ask(stack: &Stack) -> Self {
        let mut stream = TcpStream::connect(stack.gateway()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("an answer to the upgrade", stream.read_u8()).await.unwrap());
        }
        let headers = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        within("the body", stream.read_exact(&mut body)).await.unwrap();
        Self { status, headers, body: String::from_utf8(body).unwrap(), stream }
    }

    /// A session's TCP connection.
    pub(crate) async fn open(stack: &Stack) -> TcpStream {
        let Self { status, body, stream, .. } = Self::ask(stack).await;
        assert_eq!(status, 101, "{body}");
        stream
    }
}

/// A request as one binary frame, masked with zeros.
pub(crate) fn frame(sequence: i64, req: Req) -> Vec<u8> {
    let request = PubSubReq { sequence, req: Some(req) }.encode_to_vec();
    let len = u8::try_from(request.len()).ok().filter(|len| *len < 126).expect("a short request");
    [&[0x82, 0x80 | len, 0, 0, 0, 0], request.as_slice()].concat()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within 30 s"),
    }
}

const REQUEST: &[u8] =
    b"GET /pubsub HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
