//! A subscription over a session in protobuf.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdCredit, CmdKafkaSubscribe, KafkaSource, PartitionNext, PubSubReq, PubSubResp, RecordFilter,
    kafka_source,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Wish;
use crate::live::position::{Position, Told};

pub(in crate::live) struct Session {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    has_credit: bool,
}

impl Session {
    pub(super) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let (stream, _) = connect_async(format!("ws://{gateway}/pubsub")).await.ok()?;
        let mut session = Self { stream, has_credit: wish.credit.is_some() };
        session.send(Req::CmdKafkaSubscribe(command(wish, position))).await?;
        Some(session)
    }

    pub(super) async fn told(&mut self) -> Option<Told> {
        let bytes = loop {
            match self.stream.next().await?.ok()? {
                Message::Binary(bytes) => break bytes,
                Message::Ping(_) => {}
                _ => return None,
            }
        };
        let len = bytes.len() as u64;
        let PubSubResp { sequence, resp } = PubSubResp::decode(bytes).unwrap();
        assert_eq!(sequence, SUBSCRIPTION);
        Some(match resp.unwrap() {
            Resp::KafkaSubscribedResp(mut subscribed) => {
                let topic = subscribed.topics.pop().unwrap();
                let partitions = topic.partitions.iter().map(|at| (at.partition, at.offset)).collect();
                Told::Begins { partitions, topic_id: topic.topic_id.to_vec() }
            }
            Resp::KafkaDeliveryResp(delivery) => {
                if self.has_credit {
                    self.send(Req::CmdCredit(CmdCredit { subscription: SUBSCRIPTION, bytes: len })).await?;
                }
                let offsets = delivery.messages.iter().map(|message| message.offset).collect();
                Told::Records { partition: delivery.partition, offsets, next: delivery.next_offset }
            }
            Resp::KafkaSubscriptionEvent(event) => match event.event.unwrap() {
                Event::CaughtUp(at) => {
                    Told::Records { partition: at.partition, offsets: Vec::new(), next: at.next_offset }
                }
                Event::Skipped(skipped) => {
                    Told::Skipped { partition: skipped.partition, from: skipped.from, to: skipped.to }
                }
                Event::Retrying(_) => Told::Other,
            },
            Resp::ErrorResp(error) if error.retriable => return None,
            other => panic!("{other:?} of a subscription"),
        })
    }

    async fn send(&mut self, req: Req) -> Option<()> {
        let request = PubSubReq { sequence: SUBSCRIPTION, req: Some(req) };
        self.stream.send(Message::binary(request.encode_to_vec())).await.ok()
    }
}

fn command(wish: &Wish, position: &Position) -> CmdKafkaSubscribe {
    let next = position.next.iter();
    let source = KafkaSource {
        topic: wish.topic.to_string(),
        partitions: wish.partitions.clone(),
        from: Some(kafka_source::From::Timestamp(-2)),
        next: next
            .map(|(partition, offset)| PartitionNext { partition: *partition, offset: *offset })
            .collect(),
        topic_id: position.topic_id.clone().into(),
    };
    let filter = |key| RecordFilter { equals: vec![key], ..Default::default() };
    CmdKafkaSubscribe {
        sources: vec![source],
        filters: wish.filter.clone().map(filter).into_iter().collect(),
        credit: wish.credit,
        ..Default::default()
    }
}

const SUBSCRIPTION: i64 = 1;
