//! A client that keeps a table of a topic: the newest record of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_protocol::kafka_subscription_event::{Event, LogStart};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaSubscribe, KafkaDeliveryResp, KafkaMessage, KafkaSource, KafkaSubscribedResp, PartitionNext,
    Reason, Snapshot,
};
use tokio::time::{Instant, sleep};

use crate::client::{Caller, Client, Kind, describe};
use crate::identity::Role;
use crate::kafka::log::{Log, Outcome, Written};
use crate::kafka::{DAY, Partition, State, Topic};
use crate::world::World;

/// Keys of a partition, with the offset and the value of their newest record.
type Rows = BTreeMap<(i32, Bytes), (i64, Bytes)>;

pub(crate) struct TableClient {
    pub(crate) caller: Caller,
    state: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    topic_id: Bytes,
    rows: Rows,
    /// The rows of a snapshot that is not complete yet.
    snapshot: Option<Rows>,
    /// The offset to go on from in each partition.
    next: BTreeMap<i32, i64>,
    /// Partitions that have not caught up since the subscription began, were behind, or failed.
    behind: BTreeSet<i32>,
    /// When it had all that was in the logs last.
    current: Option<Instant>,
    /// Whether it has gone on after an end of its session since its last snapshot.
    has_gone_on: bool,
    /// Whether it has left out the topic's id, or how long it was away, so that it must get a snapshot.
    is_forgetful: bool,
}

impl TableClient {
    pub(crate) fn new(number: usize, role: Role, random: &mut fastrand::Rng) -> Arc<Self> {
        let caller = Caller::new((Kind::Table, number), role, random.fork());
        Arc::new(Self { caller, state: Mutex::default() })
    }

    /// A difference between its table and a replay of the log.
    pub(crate) fn differs(&self, kafka: &State) -> Option<String> {
        let (table, topic) = (self.state.lock(), kafka.topics.get(&self.caller.topic)?);
        // A part of a topic has an id of its own.
        let is_other = self.caller.identity.is_none() && table.topic_id != topic.id.to_be_bytes()[..];
        if is_other || table.snapshot.is_some() {
            return Some("it is not complete".to_owned());
        }
        let has_lost = |partition: &Partition| partition.log.has_lost_after(0);
        if table.has_gone_on && topic.partitions.iter().any(has_lost) {
            // An offset does not tell what an election has lost while the client had no session.
            return None;
        }
        let logs = (0..).zip(&topic.partitions).map(|(number, partition)| (number, &partition.log));
        let keys = self.caller.identity.as_ref().map(|identity| identity.keys_now());
        let is_granted = |key: &Bytes| keys.as_ref().is_none_or(|keys| keys.contains(key));
        let wanted = logs.flat_map(|(number, log)| replay(number, log));
        let wanted: Rows = wanted.filter(|((_, key), _)| is_granted(key)).collect();
        let missing = wanted.iter().find(|(key, row)| table.rows.get(*key) != Some(*row));
        // An election can have lost the record for which another one was compacted away.
        let is_compacted = |number: i32, offset: i64| {
            topic.log(number).is_some_and(|log| log.has_lost_after(0) && log.has_compacted(offset))
        };
        let mut rows = table.rows.iter();
        let other =
            rows.find(|(key, (offset, _))| !wanted.contains_key(*key) && !is_compacted(key.0, *offset));
        match (missing, other) {
            (None, None) => None,
            (Some((key, row)), _) => Some(format!("{key:?} is {:?}, not {row:?}", table.rows.get(key))),
            (None, Some(row)) => Some(format!("{row:?} is no part of it")),
        }
    }

    /// Reads until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, world: Arc<World>) {
        for visit in 1..=u32::MAX {
            if let Some(client) = self.caller.connect(&world).await {
                self.caller.cut.unless_cut(self.visit(&world, client)).await;
            }
            // Long enough for removals to be forgotten meanwhile, now and then.
            let life = world.kafka.state().topics.get(&self.caller.topic).map(|topic| topic.tombstone_life);
            let away = if life < Some(DAY) || visit.is_multiple_of(3) { 3_000 } else { 100 };
            sleep(Duration::from_millis(away)).await;
        }
    }

    async fn visit(&self, world: &World, mut client: Client) {
        let command = self.command();
        self.caller.event(world, || format!("subscribes {command:?}"));
        if client.send(SEQUENCE, Req::CmdKafkaSubscribe(command)).await.is_err() {
            return;
        }
        while let Some((_, resp)) = client.next().await {
            self.caller.event(world, || format!("gets {}", describe(&resp)));
            let taken = self.take(&world.kafka.state(), world, &resp);
            match taken {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => return self.caller.broken(world, &problem),
            }
        }
    }

    fn command(&self) -> CmdKafkaSubscribe {
        let mut table = self.state.lock();
        if table.snapshot.take().is_some() {
            // The snapshot is not complete, and what was before it is gone.
            *table = Table::default();
        }
        table.has_gone_on = !table.next.is_empty();
        let away = table.current.map(|current| current.elapsed());
        // Not by chance, so that seeds keep their schedules.
        let forgets = away.map_or(0, |away| away.as_micros() % 8);
        table.is_forgetful = table.has_gone_on && matches!(forgets, 1 | 2);
        let next =
            |(partition, offset): (&i32, &i64)| PartitionNext { partition: *partition, offset: *offset };
        let source = KafkaSource {
            topic: self.caller.topic.clone(),
            next: table.next.iter().map(next).collect(),
            topic_id: if forgets == 1 { Bytes::new() } else { table.topic_id.clone() },
            ..KafkaSource::default()
        };
        let away = away.filter(|_| forgets != 2);
        CmdKafkaSubscribe {
            sources: vec![source],
            snapshot: Snapshot::LatestPerKey.into(),
            decode: self.caller.decodes,
            away_ms: away.map(|away| u64::try_from(away.as_millis()).unwrap_or(u64::MAX)),
            ..CmdKafkaSubscribe::default()
        }
    }

    /// Takes a message. False if the subscription has ended.
    fn take(&self, kafka: &State, world: &World, resp: &Resp) -> Result<bool, String> {
        let mut table = self.state.lock();
        match resp {
            Resp::KafkaSubscribedResp(subscribed) => table.begin(subscribed)?,
            Resp::KafkaDeliveryResp(delivery) => {
                let messages = self.caller.stored(world, &delivery.messages, None)?.into_owned();
                let delivery = KafkaDeliveryResp { messages, ..delivery.clone() };
                let unwritten = delivery.messages.iter().find(|message| {
                    // The bridge itself removes what a client may not read any more.
                    let is_removed = self.caller.identity.is_some() && message.value.is_none();
                    !is_removed && !self.was_written(kafka, &table.topic_id, delivery.partition, message)
                });
                if let Some(message) = unwritten {
                    return Err(format!("{message:?} was never committed like that"));
                }
                table.deliver(&delivery)?;
            }
            Resp::KafkaSubscriptionEvent(event) => match &event.event {
                Some(Event::SnapshotEnd(_)) => {
                    table.rows = table.snapshot.take().ok_or("a snapshot ends that did not begin")?;
                }
                Some(Event::LogStart(LogStart { partition, offset, .. })) => {
                    let is_kept = |(of, _): &(i32, Bytes), (at, _): &mut (i64, Bytes)| {
                        of != partition || *at >= *offset
                    };
                    table.rows.retain(is_kept);
                    table.snapshot.iter_mut().for_each(|rows| rows.retain(is_kept));
                }
                Some(Event::CaughtUp(caught_up)) => drop(table.behind.remove(&caught_up.partition)),
                Some(Event::Retrying(retrying)) => drop(table.behind.insert(retrying.partition)),
                Some(Event::Building(_)) => {}
                other => return Err(format!("event {other:?}")),
            },
            // Rejected: reading the log took longer than it keeps removals.
            Resp::ErrorResp(error) if error.retriable || error.reason() == Reason::Rejected => {
                return Ok(false);
            }
            other => return Err(format!("unexpected {other:?}")),
        }
        if table.behind.is_empty() {
            table.current = Some(Instant::now());
        }
        Ok(true)
    }

    /// Whether the topic had a record, and its transaction was committed.
    fn was_written(&self, kafka: &State, id: &Bytes, partition: i32, message: &KafkaMessage) -> bool {
        // A part of a topic has an id of its own.
        let is_it = |topic: &&Topic| self.caller.identity.is_some() || id[..] == topic.id.to_be_bytes();
        let topics = kafka.topics_of(&self.caller.topic).filter(is_it);
        topics.filter_map(|topic| topic.log(partition)).any(|log| {
            let mut found = log.written_as(message).filter(|(_, written)| written.was_committed());
            found.any(|(epoch, _)| log.was_visible((epoch, message.offset)))
        })
    }
}

impl Table {
    fn begin(&mut self, subscribed: &KafkaSubscribedResp) -> Result<(), String> {
        let [topic] = &subscribed.topics[..] else { return Err("not one topic".to_owned()) };
        let next = topic.partitions.iter().map(|next| (next.partition, next.offset));
        let partitions = topic.partitions.iter().map(|next| next.partition);
        if subscribed.snapshot {
            *self = Self {
                topic_id: topic.topic_id.clone(),
                snapshot: Some(Rows::new()),
                next: next.collect(),
                behind: partitions.collect(),
                current: Some(Instant::now()),
                ..Self::default()
            };
            return Ok(());
        }
        if self.is_forgetful {
            return Err("the table goes on, and its client did not say from where or when".to_owned());
        }
        if self.topic_id != topic.topic_id {
            return Err("the table goes on with another topic".to_owned());
        }
        self.behind.extend(partitions);
        for (partition, offset) in next {
            let known = *self.next.entry(partition).or_insert(offset);
            if known != offset {
                return Err(format!("partition {partition} begins at {offset}, expected {known}"));
            }
        }
        Ok(())
    }

    fn deliver(&mut self, delivery: &KafkaDeliveryResp) -> Result<(), String> {
        let is_snapshot = self.snapshot.is_some();
        let next = self.next.get_mut(&delivery.partition).ok_or("an unknown partition")?;
        if !is_snapshot && delivery.next_offset < *next {
            return Err(format!("the place goes back from {next} to {}", delivery.next_offset));
        }
        if delivery.next_offset < delivery.high_watermark {
            self.behind.insert(delivery.partition);
        }
        let from = if is_snapshot { 0 } else { std::mem::replace(next, delivery.next_offset) };
        let rows = self.snapshot.as_mut().unwrap_or(&mut self.rows);
        for message in &delivery.messages {
            if message.offset < from || message.offset >= delivery.next_offset && !is_snapshot {
                let to = delivery.next_offset;
                return Err(format!("offset {} in a delivery from {from} to {to}", message.offset));
            }
            let key = (delivery.partition, message.key.clone().ok_or("a record without a key")?);
            match &message.value {
                Some(value) => drop(rows.insert(key, (message.offset, value.clone()))),
                None => drop(rows.remove(&key)),
            }
        }
        Ok(())
    }
}

/// The rows of a partition, from the records that are there now.
fn replay(number: i32, log: &Log) -> Rows {
    let mut rows = Rows::new();
    for batch in log.batches.values() {
        for record in batch.records.iter().filter(|record| record.offset >= log.start) {
            let is_committed = |written: &Written| written.outcome == Outcome::Committed;
            let (true, Some(key)) = (
                log.written.get(&(batch.epoch, record.offset)).is_some_and(is_committed),
                record.key.clone(),
            ) else {
                continue;
            };
            match &record.value {
                Some(value) => drop(rows.insert((number, key), (record.offset, value.clone()))),
                None => drop(rows.remove(&(number, key))),
            }
        }
    }
    rows
}

/// Of the subscription.
const SEQUENCE: i64 = 9;
