//! A client on tokio-tungstenite: one WebSocket, requests out, answers in.

use std::time::Duration;

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
use tokio_tungstenite::tungstenite::Message;
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

    /// The next answer of any sequence.
    pub(crate) async fn receive(&mut self) -> (i64, Resp) {
        match timeout(WITHIN, self.stream.next()).await.expect("an answer within 30 s") {
            Some(Ok(Message::Binary(bytes))) => {
                let PubSubResp { sequence, resp } = PubSubResp::decode(bytes).unwrap();
                (sequence, resp.expect("an answer has content"))
            }
            other => panic!("{other:?} instead of an answer"),
        }
    }

    pub(crate) async fn ask(&mut self, req: Req) -> Resp {
        let asked = self.send(req).await;
        let (sequence, resp) = self.receive().await;
        assert_eq!(sequence, asked);
        resp
    }

    pub(crate) async fn ping(&mut self) {
        let state = bytes::Bytes::from_static(b"still there");
        match self.ask(Req::CmdPing(CmdPing { state: state.clone() })).await {
            Resp::PongResp(pong) => assert_eq!(pong.state, state),
            other => panic!("{other:?} instead of a pong"),
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Vec<KafkaMessage>, ErrorResp> {
        messages(self.ask(fetch(topic, partition, offset)).await)
    }

    pub(crate) async fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<i64, ErrorResp> {
        match self.ask(list_offset(topic, partition, timestamp)).await {
            Resp::KafkaListOffsetResp(answer) => Ok(answer.offset),
            Resp::ErrorResp(error) => Err(error),
            other => panic!("{other:?} instead of an offset"),
        }
    }

    /// What is there from `offset` on, asked for at the last offset + 1 until an answer is empty.
    pub(crate) async fn walk(&mut self, topic: &str, partition: i32, mut offset: i64) -> Vec<KafkaMessage> {
        let mut walked = Vec::new();
        loop {
            let batch = self.fetch(topic, partition, offset).await.unwrap();
            let Some(last) = batch.last() else { return walked };
            offset = last.offset + 1;
            walked.extend(batch);
        }
    }
}

pub(crate) fn fetch(topic: &str, partition: i32, offset: i64) -> Req {
    Req::CmdKafkaFetch(CmdKafkaFetch { topic: topic.to_owned(), partition, offset })
}

pub(crate) fn list_offset(topic: &str, partition: i32, timestamp: i64) -> Req {
    Req::CmdKafkaListOffset(CmdKafkaListOffset { topic: topic.to_owned(), partition, timestamp })
}

pub(crate) fn messages(resp: Resp) -> Result<Vec<KafkaMessage>, ErrorResp> {
    match resp {
        Resp::KafkaFetchResp(answer) => Ok(answer.messages),
        Resp::ErrorResp(error) => Err(error),
        other => panic!("{other:?} instead of messages"),
    }
}

const WITHIN: Duration = Duration::from_secs(30);
