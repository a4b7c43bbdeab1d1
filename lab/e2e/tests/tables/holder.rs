//! A client that keeps the newest record of each key, as a page does.

use std::collections::{BTreeMap, BTreeSet};

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, ErrorResp, KafkaMessage, KafkaSource, KafkaSubscribedResp, PartitionNext,
    RecordFilter, Snapshot,
};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;

/// A partition's number, and a key.
pub(crate) type Key = (i32, Vec<u8>);

/// A session with a table.
#[derive(Debug)]
pub(crate) struct Holder {
    socket: Socket,
    sequence: i64,
    /// The newest records.
    pub(crate) held: BTreeMap<Key, KafkaMessage>,
    /// Keys that a snapshot has not confirmed yet.
    unconfirmed: BTreeSet<Key>,
    /// Where each partition goes on.
    pub(crate) next: BTreeMap<i32, i64>,
    pub(crate) topic_id: Vec<u8>,
    is_in_snapshot: bool,
}

/// One message of a table.
#[derive(Debug)]
pub(crate) enum Told {
    /// Whether a snapshot follows.
    Subscribed(bool),
    /// The messages.
    Delivery(Vec<KafkaMessage>),
    Event(Event),
    Ended(ErrorResp),
}

impl Holder {
    /// Subscribes at this path, and waits for the first message.
    pub(crate) async fn open(stack: &Stack, path: &str, command: CmdKafkaSubscribe) -> Self {
        let mut holder = Self::ask(stack, path, command).await;
        match holder.told().await {
            Told::Subscribed(_) => holder,
            other => panic!("{other:?} instead of what was subscribed"),
        }
    }

    /// Subscribes at this path.
    pub(crate) async fn ask(stack: &Stack, path: &str, command: CmdKafkaSubscribe) -> Self {
        let mut socket = Socket::open_at(&format!("ws://{}{path}", stack.gateway())).await;
        let sequence = socket.send(Req::CmdKafkaSubscribe(command)).await;
        Self {
            socket,
            sequence,
            held: BTreeMap::new(),
            unconfirmed: BTreeSet::new(),
            next: BTreeMap::new(),
            topic_id: Vec::new(),
            is_in_snapshot: false,
        }
    }

    /// The next message.
    pub(crate) async fn told(&mut self) -> Told {
        let (sequence, resp) = self.socket.receive().await;
        assert_eq!(sequence, self.sequence, "{resp:?}");
        match resp {
            Resp::KafkaSubscribedResp(KafkaSubscribedResp { topics, snapshot }) => {
                let topic = &topics[0];
                self.topic_id = topic.topic_id.to_vec();
                if snapshot {
                    self.is_in_snapshot = true;
                    self.unconfirmed = self.held.keys().cloned().collect();
                    self.next.clear();
                }
                self.next.extend(topic.partitions.iter().map(|at| (at.partition, at.offset)));
                Told::Subscribed(snapshot)
            }
            Resp::KafkaDeliveryResp(delivery) => {
                let partition = delivery.partition;
                for message in &delivery.messages {
                    assert!(message.offset < delivery.next_offset);
                    let key = (partition, message.key.as_ref().expect("a key").to_vec());
                    self.unconfirmed.remove(&key);
                    if message.value.is_some() {
                        let before = self.held.insert(key, message.clone());
                        assert!(
                            self.is_in_snapshot || before.is_none_or(|before| before.offset < message.offset)
                        );
                    } else {
                        assert!(!self.is_in_snapshot, "{message:?} in a snapshot");
                        self.held.remove(&key);
                    }
                }
                let next = self.next.insert(partition, delivery.next_offset).unwrap();
                assert!(if self.is_in_snapshot {
                    next == delivery.next_offset
                } else {
                    next <= delivery.next_offset
                });
                Told::Delivery(delivery.messages)
            }
            Resp::KafkaSubscriptionEvent(event) => {
                let event = event.event.expect("an event that is known");
                match &event {
                    Event::SnapshotEnd(_) => {
                        self.is_in_snapshot = false;
                        self.held.retain(|key, _| !self.unconfirmed.contains(key));
                        self.unconfirmed.clear();
                    }
                    Event::LogStart(start) => self.held.retain(|(partition, _), message| {
                        *partition != start.partition || message.offset >= start.offset
                    }),
                    Event::CaughtUp(at) => drop(self.next.insert(at.partition, at.next_offset)),
                    Event::Skipped(_) => panic!("{event:?} of a table"),
                    Event::Retrying(_) | Event::Building(_) => {}
                }
                Told::Event(event)
            }
            Resp::ErrorResp(error) => Told::Ended(error),
            other => panic!("{other:?} of a table"),
        }
    }

    /// Takes messages up to the end of the snapshot. Gives the records that were left out.
    pub(crate) async fn complete(&mut self) -> u64 {
        loop {
            match self.told().await {
                Told::Event(Event::SnapshotEnd(end)) => return end.skipped,
                Told::Ended(error) => panic!("{error:?} in a snapshot"),
                Told::Subscribed(_) | Told::Delivery(_) | Told::Event(_) => {}
            }
        }
    }

    /// Takes messages until the client has these records.
    pub(crate) async fn becomes(&mut self, want: &BTreeMap<Key, KafkaMessage>) {
        while self.held != *want {
            match self.told().await {
                Told::Ended(error) => panic!("{error:?}, {:?} instead of {want:?}", self.held),
                Told::Subscribed(_) | Told::Delivery(_) | Told::Event(_) => {}
            }
        }
    }

    /// The values by key, as text.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let value = |message: &KafkaMessage| text(message.value.as_deref().unwrap());
        self.held.iter().map(|((_, key), message)| (text(key), value(message))).collect()
    }

    /// The command that goes on with this table.
    pub(crate) fn going_on(&self, topic: &str, away_ms: u64) -> CmdKafkaSubscribe {
        let next = self.next.iter();
        let next = next.map(|(&partition, &offset)| PartitionNext { partition, offset }).collect();
        let topic_id = self.topic_id.clone().into();
        let source = KafkaSource { topic: topic.to_owned(), next, topic_id, ..Default::default() };
        CmdKafkaSubscribe { sources: vec![source], away_ms, ..table(topic) }
    }
}

/// The table of a topic.
pub(crate) fn table(topic: &str) -> CmdKafkaSubscribe {
    let source = KafkaSource { topic: topic.to_owned(), ..Default::default() };
    CmdKafkaSubscribe { sources: vec![source], snapshot: Snapshot::LatestPerKey.into(), ..Default::default() }
}

/// The table of records with this header.
pub(crate) fn with_header(topic: &str, name: &str, value: &'static str) -> CmdKafkaSubscribe {
    let header = Some(name.to_owned());
    let filter = RecordFilter { header, equals: vec![value.into()], ..Default::default() };
    CmdKafkaSubscribe { filters: vec![filter], ..table(topic) }
}

/// A replay of the committed records of a topic: those `wanted` that are the newest of their key.
pub(crate) fn replay(
    kafka: &Kafka,
    topic: &str,
    partitions: i32,
    wanted: impl Fn(&KafkaMessage) -> bool,
) -> BTreeMap<Key, KafkaMessage> {
    let mut newest = BTreeMap::new();
    for partition in 0..partitions {
        for message in kafka.read_committed(topic, partition) {
            let Some(key) = &message.key else { continue };
            newest.insert((partition, key.to_vec()), message);
        }
    }
    newest.retain(|_, message| message.value.is_some() && wanted(message));
    newest
}
