//! A client on tungstenite, independent of the code under test.

use std::fmt::Debug;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdPing, PongResp, PubSubReq, PubSubResp};
use sluicegate_stack::stack::Stack;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::sessions::within;

/// One open session.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
    pings: i64,
}

impl Peer {
    /// A session on the route that is always there.
    pub(crate) async fn open(stack: &Stack) -> Self {
        Self::open_at(stack.gateway(), "/pubsub").await
    }

    pub(crate) async fn open_at(gateway: SocketAddr, path: &str) -> Self {
        let tcp = TcpStream::connect(gateway).await.unwrap();
        let handshake = client_async(format!("ws://{gateway}{path}"), tcp);
        let (socket, _) = within("the upgrade", handshake).await.unwrap();
        Self { socket, pings: 0 }
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        within("room for a message", self.socket.send(message.into())).await.unwrap();
    }

    /// Sends messages in as few segments as they fit.
    pub(crate) async fn send_together(&mut self, messages: impl IntoIterator<Item = Vec<u8>>) {
        for message in messages {
            within("room for a message", self.socket.feed(message.into())).await.unwrap();
        }
        within("room for messages", self.socket.flush()).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Message {
        let next = within("a message", self.socket.next()).await;
        next.expect("a message before the end").expect("a message by the rules")
    }

    /// The next message, which has to be an answer.
    pub(crate) async fn answer(&mut self) -> PubSubResp {
        match self.next().await {
            Message::Binary(bytes) => PubSubResp::decode(bytes).unwrap(),
            other => panic!("{other:?} came where an answer was expected"),
        }
    }

    /// Sends a request and expects its answer to be the next message.
    pub(crate) async fn expect(&mut self, request: Vec<u8>, want: PubSubResp, what: impl Debug) {
        self.send(request).await;
        assert_eq!(self.answer().await, want, "{what:?}");
    }

    /// A ping's answer is the next message: nothing else was under way, and the session goes on.
    pub(crate) async fn is_idle(&mut self) {
        self.pings += 1;
        let state = format!("ping {}", self.pings).into_bytes();
        let sequence = 1_000_000 + self.pings;
        self.expect(ping(sequence, &state), pong(sequence, &state), "a ping").await;
    }

    /// Expects a close frame, then the end.
    pub(crate) async fn is_closed(&mut self) -> Option<CloseFrame> {
        let Message::Close(close) = self.next().await else { panic!("no close frame") };
        let end = within("the end", self.socket.next()).await;
        assert!(end.is_none(), "{end:?} came after the close frame");
        close
    }
}

pub(crate) fn request(sequence: i64, req: Req) -> Vec<u8> {
    PubSubReq { sequence, req: Some(req) }.encode_to_vec()
}

pub(crate) fn ping(sequence: i64, state: &[u8]) -> Vec<u8> {
    request(sequence, Req::CmdPing(CmdPing { state: state.to_vec().into() }))
}

pub(crate) fn pong(sequence: i64, state: &[u8]) -> PubSubResp {
    let resp = Resp::PongResp(PongResp { state: state.to_vec().into() });
    PubSubResp { sequence, resp: Some(resp) }
}
