//! A subscription over a session in protobuf.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdCredit, CmdKafkaSubscribe, CmdNatsSubscribe, KafkaMessage, KafkaSource, NatsMessage, NatsSource,
    PartitionNext, PubSubReq, PubSubResp, RecordFilter, Snapshot, SubscribedStream, is_removal_among,
    kafka_source, nats_source, nats_subscription_event as nats,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::live::position::{Begin, Position, Told};
use crate::live::stream_name::{partition_of, stream};
use crate::live::system::Source;
use crate::live::table::Record;
use crate::live::wish::{RED, TENANT, Wish};

pub(in crate::live) struct Session {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    has_credit: bool,
    /// The bytes of credit to give for what was last told.
    taken: Option<u64>,
}

impl Session {
    pub(super) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let (stream, _) = connect_async(format!("ws://{gateway}{}", wish.path())).await.ok()?;
        let mut session = Self { stream, has_credit: wish.credit.is_some(), taken: None };
        session.send(command(wish, position)).await?;
        Some(session)
    }

    /// Nothing is lost if it is cancelled.
    pub(super) async fn told(&mut self) -> Option<Told> {
        if let Some(bytes) = self.taken {
            self.send(Req::CmdCredit(CmdCredit { subscription: SUBSCRIPTION, bytes })).await?;
            self.taken = None;
        }
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
                Told::begun(subscribed.snapshot, topic.partitions.iter().map(begin).collect())
            }
            Resp::NatsSubscribedResp(subscribed) => {
                let begin = |stream: &SubscribedStream| {
                    assert!(!stream.stream_id.is_empty(), "{stream:?}");
                    let (offset, id) = (stream.next_sequence, stream.stream_id.to_vec());
                    Begin { partition: partition_of(&stream.stream), offset, id }
                };
                Told::begun(subscribed.snapshot, subscribed.streams.iter().map(begin).collect())
            }
            Resp::NatsDeliveryResp(delivery) => {
                self.taken = self.has_credit.then_some(len);
                let record = |message: NatsMessage| Record {
                    offset: message.sequence,
                    is_removal: is_removal_among(&message.headers),
                    key: message.subject.into(),
                };
                let records = delivery.messages.into_iter().map(record).collect();
                let partition = partition_of(&delivery.stream);
                Told::Records { partition, records, next: Some(delivery.next_sequence) }
            }
            Resp::NatsSubscriptionEvent(event) => match event.event.unwrap() {
                nats::Event::CaughtUp(at) => {
                    let partition = partition_of(&at.stream);
                    Told::Records { partition, records: Vec::new(), next: Some(at.next_sequence) }
                }
                nats::Event::Skipped(skipped) => Told::Skipped {
                    partition: partition_of(&skipped.stream),
                    from: skipped.from,
                    to: skipped.to,
                },
                nats::Event::Retrying(_) | nats::Event::Building(_) => Told::Other,
                nats::Event::SnapshotEnd(_) => Told::SnapshotEnd,
                nats::Event::FirstSequence(first) => {
                    Told::LogStart { partition: partition_of(&first.stream), offset: first.sequence }
                }
            },
            Resp::KafkaDeliveryResp(delivery) => {
                self.taken = self.has_credit.then_some(len);
                let record = |message: KafkaMessage| Record {
                    offset: message.offset,
                    is_removal: message.value.is_none(),
                    key: message.key.unwrap_or_default(),
                };
                let records = delivery.messages.into_iter().map(record).collect();
                Told::Records { partition: delivery.partition, records, next: Some(delivery.next_offset) }
            }
            Resp::KafkaSubscriptionEvent(event) => match event.event.unwrap() {
                Event::CaughtUp(at) => {
                    Told::Records { partition: at.partition, records: Vec::new(), next: Some(at.next_offset) }
                }
                Event::Skipped(skipped) => {
                    Told::Skipped { partition: skipped.partition, from: skipped.from, to: skipped.to }
                }
                Event::Retrying(_) | Event::Building(_) => Told::Other,
                Event::SnapshotEnd(_) => Told::SnapshotEnd,
                Event::LogStart(start) => Told::LogStart { partition: start.partition, offset: start.offset },
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
    let keys =
        (!wish.keys.is_empty()).then(|| RecordFilter { equals: wish.keys.clone(), ..Default::default() });
    let header = wish.has_header().then(|| RecordFilter {
        header: Some(TENANT.to_owned()),
        equals: vec![RED.into()],
        ..Default::default()
    });
    let (filters, credit) = (keys.into_iter().chain(header).collect(), wish.credit);
    let snapshot = if wish.is_table { Snapshot::LatestPerKey } else { Snapshot::NoSnapshot }.into();
    let away_ms = position.away_ms();
    match &wish.source {
        Source::Topic(topic) => {
            let next = position.next.iter();
            let source = KafkaSource {
                topic: topic.to_string(),
                partitions: wish.partitions.clone(),
                from: (!wish.is_table).then_some(kafka_source::From::Timestamp(-2)),
                next: next
                    .map(|(partition, offset)| PartitionNext { partition: *partition, offset: *offset })
                    .collect(),
                topic_id: position.ids.values().next().cloned().unwrap_or_default().into(),
            };
            let sources = vec![source];
            let command =
                CmdKafkaSubscribe { sources, filters, credit, snapshot, away_ms, ..Default::default() };
            Req::CmdKafkaSubscribe(command)
        }
        Source::Streams(streams) => {
            let source = |partition: i32| {
                let next = position.next.get(&partition).copied().map(nats_source::From::Sequence);
                let earliest = (!wish.is_table).then_some(nats_source::From::Timestamp(-2));
                NatsSource {
                    stream: stream(streams, partition),
                    from: next.or(earliest),
                    stream_id: position.ids.get(&partition).cloned().unwrap_or_default().into(),
                }
            };
            let sources = wish.all_partitions().into_iter().map(source).collect();
            let command =
                CmdNatsSubscribe { sources, filters, credit, snapshot, away_ms, ..Default::default() };
            Req::CmdNatsSubscribe(command)
        }
    }
}

const SUBSCRIPTION: i64 = 1;
