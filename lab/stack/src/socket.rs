//! A client on tokio-tungstenite, so that the code under test does not judge itself.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure is a panic"
)]

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaProduce, CmdPing, ErrorResp, KafkaMessage, ProduceRecord,
    Produced, PubSubReq, PubSubResp,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::stack::Stack;

/// One open session. A violation of the protocol, or 30 s without an answer, panics.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    sequence: i64,
}

impl Socket {
    pub async fn open(stack: &Stack) -> Self {
        Self::open_with(stack.url()).await
    }

    pub async fn open_with(request: impl IntoClientRequest + Unpin) -> Self {
        // Small requests leave at once.
        let upgrade = connect_async_with_config(request, None, true);
        let (stream, _) = timeout(WITHIN, upgrade).await.expect("an upgrade").unwrap();
        Self { stream, sequence: 0 }
    }

    /// Sends a request and returns its sequence.
    pub async fn send(&mut self, req: Req) -> i64 {
        self.sequence = self.sequence.wrapping_add(1);
        let request = PubSubReq { sequence: self.sequence, req: Some(req) };
        self.stream.send(Message::binary(request.encode_to_vec())).await.unwrap();
        self.sequence
    }

    /// The next answer of any sequence; pings on the way are answered.
    pub async fn receive(&mut self) -> (i64, Resp) {
        let bytes = match timeout(WITHIN, self.listen()).await.expect("an answer within 30 s") {
            Some(Ok(Message::Binary(bytes))) => bytes,
            other => panic!("{other:?} instead of an answer"),
        };
        let PubSubResp { sequence, resp } = PubSubResp::decode(bytes).unwrap();
        (sequence, resp.expect("an answer has content"))
    }

    /// Answers pings until another message arrives, or the stream ends.
    pub async fn listen(&mut self) -> Option<Result<Message, Error>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Ping(_))) => {}
                other => return other,
            }
        }
    }

    /// Sends a request and expects its answer next.
    pub async fn ask(&mut self, req: Req) -> Resp {
        let asked = self.send(req).await;
        let (sequence, resp) = self.receive().await;
        assert_eq!(sequence, asked);
        resp
    }

    /// Sends [`ping`] and expects the pong.
    pub async fn ping(&mut self) {
        match self.ask(ping()).await {
            Resp::PongResp(pong) => assert_eq!(pong.state, STATE),
            other => panic!("{other:?} instead of a pong"),
        }
    }

    /// Sends [`fetch`] and returns its messages.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<Vec<KafkaMessage>, ErrorResp> {
        messages(self.ask(fetch(topic, partition, offset)).await)
    }

    /// Sends [`list_offset`] and returns the offset.
    pub async fn list_offset(
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

    /// Sends [`produce`] and returns the results.
    pub async fn produce(&mut self, records: Vec<ProduceRecord>) -> Result<Vec<Produced>, ErrorResp> {
        results(self.ask(produce(records)).await)
    }

    /// Fetches from `offset` on until an answer is empty.
    pub async fn walk(&mut self, topic: &str, partition: i32, mut offset: i64) -> Vec<KafkaMessage> {
        let mut walked = Vec::new();
        loop {
            let batch = self.fetch(topic, partition, offset).await.unwrap();
            let Some(last) = batch.last() else { return walked };
            offset = last.offset.checked_add(1).expect("an offset that has a next");
            walked.extend(batch);
        }
    }
}

pub fn ping() -> Req {
    Req::CmdPing(CmdPing { state: Bytes::from_static(STATE) })
}

pub fn fetch(topic: &str, partition: i32, offset: i64) -> Req {
    Req::CmdKafkaFetch(CmdKafkaFetch { topic: topic.to_owned(), partition, offset, ..Default::default() })
}

pub fn list_offset(topic: &str, partition: i32, timestamp: i64) -> Req {
    Req::CmdKafkaListOffset(CmdKafkaListOffset { topic: topic.to_owned(), partition, timestamp })
}

pub fn produce(records: Vec<ProduceRecord>) -> Req {
    Req::CmdKafkaProduce(CmdKafkaProduce { records, ..CmdKafkaProduce::default() })
}

pub fn results(resp: Resp) -> Result<Vec<Produced>, ErrorResp> {
    match resp {
        Resp::KafkaProduceResp(answer) => Ok(answer.results),
        Resp::ErrorResp(error) => Err(error),
        other => panic!("{other:?} instead of results"),
    }
}

/// The messages in the answer to a fetch.
pub fn messages(resp: Resp) -> Result<Vec<KafkaMessage>, ErrorResp> {
    match resp {
        Resp::KafkaFetchResp(answer) => Ok(answer.messages),
        Resp::ErrorResp(error) => Err(error),
        other => panic!("{other:?} instead of messages"),
    }
}

const STATE: &[u8] = b"still there";
const WITHIN: Duration = Duration::from_secs(30);
