//! A client on tokio-tungstenite: one WebSocket, requests out, answers in.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdPing, ErrorResp, KafkaMessage, PubSubReq, PubSubResp,
};
use sluicegate_tests::stack::Stack;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sequence: i64,
}

impl Socket {
    pub(crate) async fn open(stack: &Stack) -> Self {
        let (stream, _) = timeout(WITHIN, connect_async(stack.url())).await.expect("an upgrade").unwrap();
        Self { stream, sequence: 0 }
    }

    /// Sends a request and gives its sequence.
    pub(crate) async fn send(&mut self, req: Req) -> i64 {
        self.sequence += 1;
        let request = PubSubReq { sequence: self.sequence, req: Some(req) };
        self.stream.send(Message::binary(request.encode_to_vec())).await.unwrap();
        self.sequence
    }

    /// The next answer of any sequence; pings on the way are answered.
    pub(crate) async fn receive(&mut self) -> (i64, Resp) {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Binary(bytes))) => return bytes,
                    Some(Ok(Message::Ping(_))) => {}
                    other => panic!("{other:?} instead of an answer"),
                }
            }
        };
        let bytes = timeout(WITHIN, next).await.expect("an answer within 30 s");
        let PubSubResp { sequence, resp } = PubSubResp::decode(bytes).unwrap();
        (sequence, resp.expect("an answer has content"))
    }

    pub(crate) async fn ask(&mut self, req: Req) -> Resp {
        let asked = self.send(req).await;
        let (sequence, resp) = self.receive().await;
        assert_eq!(sequence, asked);
        resp
    }

    pub(crate) async fn ping(&mut self) {
        match self.ask(ping()).await {
            Resp::PongResp(pong) => assert_eq!(pong.state, "still there"),
            other => panic!("{other:?} instead of a pong"),
        }
    }

    pub(crate) async fn fetch(&mut self, topic: &str, offset: i64) -> Result<Vec<KafkaMessage>, ErrorResp> {
        match self.ask(fetch(topic, offset)).await {
            Resp::KafkaFetchResp(answer) => Ok(answer.messages),
            Resp::ErrorResp(error) => Err(error),
            other => panic!("{other:?} instead of messages"),
        }
    }

    /// Answers pings, and otherwise says nothing, until the stream ends or something else comes.
    pub(crate) async fn listen(&mut self) -> Option<Result<Message, Error>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Ping(_))) => {}
                other => return other,
            }
        }
    }
}

pub(crate) fn ping() -> Req {
    Req::CmdPing(CmdPing { state: Bytes::from_static(b"still there") })
}

pub(crate) fn fetch(topic: &str, offset: i64) -> Req {
    Req::CmdKafkaFetch(CmdKafkaFetch { topic: topic.to_owned(), partition: 0, offset })
}

pub(crate) fn list_offset(topic: &str, timestamp: i64) -> Req {
    Req::CmdKafkaListOffset(CmdKafkaListOffset { topic: topic.to_owned(), partition: 0, timestamp })
}

const WITHIN: Duration = Duration::from_secs(30);
