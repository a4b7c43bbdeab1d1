//! A subscription over a session in protobuf.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdCredit, CmdKafkaSubscribe, CmdNatsSubscribe, KafkaSource, NatsSource, PartitionNext, PubSubReq,
    PubSubResp, RecordFilter, SubscribedStream, kafka_source, nats_source, nats_subscription_event as nats,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Wish;
use crate::live::position::{Begin, Position, Told};
use crate::live::stream_name::{partition_of, stream};
use crate::live::system::Source;

pub(in crate::live) struct Session {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    has_credit: bool,
}

impl Session {
    pub(super) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let (stream, _) = connect_async(format!("ws://{gateway}/pubsub")).await.ok()?;
        let mut session = Self { stream, has_credit: wish.credit.is_some() };
        session.send(command(wish, position)).await?;
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
                let id = topic.topic_id.to_vec();
                assert!(!id.is_empty(), "{topic:?}");
                let begin =
                    |at: &PartitionNext| Begin { partition: at.partition, offset: at.offset, id: id.clone() };
                Told::Begins(topic.partitions.iter().map(begin).collect())
            }
            Resp::NatsSubscribedResp(subscribed) => {
                let begin = |stream: &SubscribedStream| {
                    assert!(!stream.stream_id.is_empty(), "{stream:?}");
                    let (offset, id) = (stream.next_sequence, stream.stream_id.to_vec());
                    Begin { partition: partition_of(&stream.stream), offset, id }
                };
                Told::Begins(subscribed.streams.iter().map(begin).collect())
            }
            Resp::NatsDeliveryResp(delivery) => {
                if self.has_credit {
                    self.send(Req::CmdCredit(CmdCredit { subscription: SUBSCRIPTION, bytes: len })).await?;
                }
                let offsets = delivery.messages.iter().map(|message| message.sequence).collect();
                let partition = partition_of(&delivery.stream);
                Told::Records { partition, offsets, next: delivery.next_sequence }
            }
            Resp::NatsSubscriptionEvent(event) => match event.event.unwrap() {
                nats::Event::CaughtUp(at) => {
                    let partition = partition_of(&at.stream);
                    Told::Records { partition, offsets: Vec::new(), next: at.next_sequence }
                }
                nats::Event::Skipped(skipped) => Told::Skipped {
                    partition: partition_of(&skipped.stream),
                    from: skipped.from,
                    to: skipped.to,
                },
                nats::Event::Retrying(_) => Told::Other,
                other => panic!("{other:?} of a subscription that is no table"),
            },
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
                other => panic!("{other:?} of a subscription that is no table"),
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

fn command(wish: &Wish, position: &Position) -> Req {
    let filter =
        (!wish.keys.is_empty()).then(|| RecordFilter { equals: wish.keys.clone(), ..Default::default() });
    let (filters, credit) = (filter.into_iter().collect(), wish.credit);
    match &wish.source {
        Source::Topic(topic) => {
            let next = position.next.iter();
            let source = KafkaSource {
                topic: topic.to_string(),
                partitions: wish.partitions.clone(),
                from: Some(kafka_source::From::Timestamp(-2)),
                next: next
                    .map(|(partition, offset)| PartitionNext { partition: *partition, offset: *offset })
                    .collect(),
                topic_id: position.ids.values().next().cloned().unwrap_or_default().into(),
            };
            let sources = vec![source];
            Req::CmdKafkaSubscribe(CmdKafkaSubscribe { sources, filters, credit, ..Default::default() })
        }
        Source::Streams => {
            let source = |partition: i32| {
                let next = position.next.get(&partition).copied();
                let from = next.map_or(nats_source::From::Timestamp(-2), nats_source::From::Sequence);
                NatsSource {
                    stream: stream(partition),
                    from: Some(from),
                    stream_id: position.ids.get(&partition).cloned().unwrap_or_default().into(),
                }
            };
            let sources = wish.all_partitions().into_iter().map(source).collect();
            Req::CmdNatsSubscribe(CmdNatsSubscribe { sources, filters, credit, ..Default::default() })
        }
    }
}

const SUBSCRIPTION: i64 = 1;
