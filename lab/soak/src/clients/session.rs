//! A subscription over a session in protobuf.

use std::net::SocketAddr;

use futures_util::SinkExt;
use prost::Message as _;
use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdAuth, CmdCredit, CmdKafkaSubscribe, CmdNatsSubscribe, KafkaMessage, KafkaSource, NatsMessage,
    NatsSource, PartitionNext, PubSubReq, PubSubResp, RecordFilter, Snapshot, SubscribedStream,
    is_removal_among, kafka_source, nats_source, nats_subscription_event as nats,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::position::{Begin, Position, Told};
use super::source::{Source, partition_of, stream};
use super::table::Record;
use super::wish::{RED, TENANT, Wish};
use super::{SUBSCRIPTION, Socket};

pub(crate) struct Session {
    pub(super) socket: Socket,
    has_credit: bool,
    /// Whether the subscription has ended with an error that a retry can help against.
    pub(crate) can_retry: bool,
}

impl Session {
    pub(crate) async fn open(gateway: SocketAddr, wish: &Wish, position: &Position) -> Option<Self> {
        let [path, _] = wish.paths;
        let request = format!("ws://{gateway}{path}").into_client_request().unwrap();
        let socket = Socket::open(request, wish, message(command(wish, position))).await?;
        Some(Self { socket, has_credit: wish.credit.is_some(), can_retry: false })
    }

    /// Renews the client's identity. `None`: the connection is lost.
    pub(crate) async fn renew(&mut self, token: String) -> Option<()> {
        let renewal = PubSubReq { sequence: RENEWAL, req: Some(Req::CmdAuth(CmdAuth { token })) };
        self.socket.stream.send(Message::binary(renewal.encode_to_vec())).await.ok()
    }

    pub(crate) async fn told(&mut self) -> Option<Told> {
        let bytes = self.socket.next().await?.into_data();
        let credit = CmdCredit { subscription: SUBSCRIPTION, bytes: bytes.len() as u64 };
        let credit = self.has_credit.then(|| message(Req::CmdCredit(credit)));
        let PubSubResp { sequence, resp } = PubSubResp::decode(bytes).unwrap();
        if let (RENEWAL, Some(Resp::AuthResp(_))) = (sequence, &resp) {
            return Some(Told::Other);
        }
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
                    // Empty while no leader tells when the stream was created.
                    let (offset, id) = (stream.next_sequence, stream.stream_id.to_vec());
                    Begin { partition: partition_of(&stream.stream), offset, id }
                };
                Told::begun(subscribed.snapshot, subscribed.streams.iter().map(begin).collect())
            }
            Resp::NatsDeliveryResp(delivery) => {
                self.socket.credit = credit;
                let record = |message: NatsMessage| Record {
                    offset: message.sequence,
                    is_removal: is_removal_among(&message.headers),
                    key: message.subject.into(),
                    value: message.data,
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
                self.socket.credit = credit;
                let record = |message: KafkaMessage| Record {
                    offset: message.offset,
                    is_removal: message.value.is_none(),
                    key: message.key.unwrap_or_default(),
                    value: message.value.unwrap_or_default(),
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
                Event::Retrying(_) | Event::Building(_) | Event::Assigned(_) | Event::Revoked(_) => {
                    Told::Other
                }
                Event::SnapshotEnd(_) => Told::SnapshotEnd,
                Event::LogStart(start) => Told::LogStart { partition: start.partition, offset: start.offset },
            },
            Resp::ErrorResp(error) if error.retriable => {
                self.can_retry = true;
                return None;
            }
            other => panic!("{other:?} of a subscription"),
        })
    }
}

const RENEWAL: i64 = 2;

fn message(req: Req) -> Message {
    Message::binary(PubSubReq { sequence: SUBSCRIPTION, req: Some(req) }.encode_to_vec())
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
    let (away_ms, is_early) = (position.away_ms(), !wish.is_table && !wish.is_late);
    match &wish.source {
        Source::Topic(topic) => {
            let next = position.next.iter();
            let source = KafkaSource {
                topic: topic.to_string(),
                partitions: wish.partitions.clone(),
                from: is_early.then_some(kafka_source::From::Timestamp(-2)),
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
                // One that has not begun, at -1, begins as it was asked for.
                let next = position.next.get(&partition).copied().filter(|next| *next >= 0);
                let next = next.map(nats_source::From::Sequence);
                let earliest = is_early.then_some(nats_source::From::Timestamp(-2));
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
