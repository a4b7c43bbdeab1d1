//! A client that keeps the newest record of each key, as a page does.

use std::collections::{BTreeMap, BTreeSet};

use sluicegate_protocol::kafka_subscription_event::Event;
use sluicegate_protocol::{
    CmdKafkaSubscribe, KafkaMessage, KafkaSource, PartitionNext, RecordFilter, Snapshot,
};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;

use crate::live::subscriber::{Subscriber, Told};

/// A partition's number, and a key.
pub(crate) type Key = (i32, Vec<u8>);

/// A session with a table.
#[derive(Debug)]
pub(crate) struct Holder {
    subscriber: Subscriber,
    /// The newest records.
    pub(crate) held: BTreeMap<Key, KafkaMessage>,
    /// Keys that a snapshot has not confirmed yet; none outside of one.
    unconfirmed: Option<BTreeSet<Key>>,
    topic_id: Vec<u8>,
}

impl Holder {
    /// Subscribes at this path, and waits for the first message.
    pub(crate) async fn open(stack: &Stack, path: &str, command: CmdKafkaSubscribe) -> Self {
        let mut holder = Self::ask(stack, path, command).await;
        holder.begins().await;
        holder
    }

    /// Subscribes at this path.
    pub(crate) async fn ask(stack: &Stack, path: &str, command: CmdKafkaSubscribe) -> Self {
        let socket = Socket::open_at(&format!("ws://{}{path}", stack.gateway())).await;
        let subscriber = Subscriber::over(socket, command).await;
        Self { subscriber, held: BTreeMap::new(), unconfirmed: None, topic_id: Vec::new() }
    }

    /// The next message, which begins the table. Gives whether a snapshot follows.
    pub(crate) async fn begins(&mut self) -> bool {
        match self.told().await {
            Told::Subscribed(subscribed) => subscribed.snapshot,
            other => panic!("{other:?} instead of what was subscribed"),
        }
    }

    /// The next message.
    pub(crate) async fn told(&mut self) -> Told {
        let told = self.subscriber.told().await;
        match &told {
            Told::Subscribed(subscribed) => {
                self.topic_id = subscribed.topics[0].topic_id.to_vec();
                if subscribed.snapshot {
                    self.unconfirmed = Some(self.held.keys().cloned().collect());
                }
            }
            Told::Delivery(partition, messages) => {
                messages.iter().for_each(|message| self.put(*partition, message));
            }
            Told::Event(Event::SnapshotEnd(_)) => {
                let unconfirmed = self.unconfirmed.take().expect("a snapshot");
                self.held.retain(|key, _| !unconfirmed.contains(key));
            }
            Told::Event(Event::LogStart(start)) => self.held.retain(|(partition, _), message| {
                *partition != start.partition || message.offset >= start.offset
            }),
            Told::Event(Event::Skipped(_)) => panic!("{told:?} of a table"),
            Told::Event(_) | Told::Ended(_) => {}
        }
        told
    }

    fn put(&mut self, partition: i32, message: &KafkaMessage) {
        let key = (partition, message.key.as_ref().expect("a key").to_vec());
        let is_in_snapshot = self.unconfirmed.as_mut().is_some_and(|unconfirmed| {
            unconfirmed.remove(&key);
            true
        });
        if message.value.is_some() {
            let before = self.held.insert(key, message.clone());
            assert!(is_in_snapshot || before.is_none_or(|before| before.offset < message.offset));
        } else {
            assert!(!is_in_snapshot, "{message:?} in a snapshot");
            self.held.remove(&key);
        }
    }

    /// Takes messages up to the end of the snapshot. Gives the records that were left out.
    pub(crate) async fn complete(&mut self) -> u64 {
        loop {
            match self.told().await {
                Told::Event(Event::SnapshotEnd(end)) => return end.skipped,
                Told::Ended(error) => panic!("{error:?} in a snapshot"),
                Told::Subscribed(_) | Told::Delivery(..) | Told::Event(_) => {}
            }
        }
    }

    /// Takes messages until the client has these records.
    pub(crate) async fn becomes(&mut self, want: &BTreeMap<Key, KafkaMessage>) {
        while self.held != *want {
            match self.told().await {
                Told::Ended(error) => panic!("{error:?}, {:?} instead of {want:?}", self.held),
                Told::Subscribed(_) | Told::Delivery(..) | Told::Event(_) => {}
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
        let next = self.subscriber.next.iter();
        let next =
            next.map(|((_, partition), &offset)| PartitionNext { partition: *partition, offset }).collect();
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
