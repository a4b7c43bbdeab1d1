//! A session in plain bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use prost::Message as _;
use sluicegate_protocol::PubSubReq;
use sluicegate_protocol::pub_sub_req::Req;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Upgrades a connection whose kernel buffer for unread answers is small.
pub(crate) async fn open(gateway: SocketAddr) -> TcpStream {
    open_from(gateway, Ipv4Addr::LOCALHOST).await
}

/// The same of a client at this address.
pub(crate) async fn open_from(gateway: SocketAddr, address: Ipv4Addr) -> TcpStream {
    let upgrade = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        let mut stream = socket.connect(gateway).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(UPGRADE).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        stream
    };
    timeout(Duration::from_secs(60), upgrade).await.expect("an upgrade within 60 s")
}

/// A binary message of one frame.
pub(crate) fn binary(sequence: i64, req: Req) -> Vec<u8> {
    let request = PubSubReq { sequence, req: Some(req) }.encode_to_vec();
    [&head(0x82, request.len())[..], &request].concat()
}

/// A frame's head, masked with zeros: its payload stands as it is.
pub(crate) fn head(first: u8, len: usize) -> Vec<u8> {
    let mut head = vec![first];
    match len {
        0..=125 => head.push(0x80 | u8::try_from(len).unwrap()),
        126..=0xFFFF => {
            head.push(0xFE);
            head.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        _ => {
            head.push(0xFF);
            head.extend(u64::try_from(len).unwrap().to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// The next frame: its first byte and its payload.
pub(crate) async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let len = match stream.read_u8().await? {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        len => u64::from(len),
    };
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut payload).await?;
    Ok((first, payload))
}

pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
const UPGRADE: &[u8] =
    b"GET /pubsub HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
