//! A client that writes, with several commands under way. In the end, each answer is held against the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ErrorResp, KafkaProduceResp, ProduceRecord, Produced, Reason};
use tokio::time::sleep;

use crate::Written;
use crate::client::{Caller, Client, Kind, describe};
use crate::identity::Role;
use crate::kafka::State;
use crate::schedule::key;
use crate::world::World;

/// A producer. Each record has a value of its own.
pub(crate) struct Producer {
    pub(crate) caller: Caller,
    /// How many it sends, about.
    records: usize,
    sent: Mutex<Vec<Sent>>,
    has_ended: AtomicBool,
}

/// A record that was sent, in the order of sending.
pub(crate) struct Sent {
    pub(crate) value: Bytes,
    /// The partition that it is for; negative: any.
    pub(crate) partition: i32,
    pub(crate) session: usize,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No answer, or one that does not know.
    Unknown,
    Refused,
    Acknowledged {
        partition: i32,
        offset: i64,
    },
}

impl Producer {
    pub(crate) fn new(number: usize, role: Role, random: &mut fastrand::Rng) -> Arc<Self> {
        Arc::new(Self {
            records: random.usize(1..120),
            caller: Caller::new((Kind::Producer, number), role, random.fork()),
            sent: Mutex::default(),
            has_ended: AtomicBool::new(false),
        })
    }

    /// Whether its last records, one for each partition, are not all acknowledged yet.
    pub(crate) fn has_more_to_write(&self) -> bool {
        !self.has_ended.load(Ordering::Relaxed)
    }

    /// Sends its commands, and its last records when all is well again.
    pub(crate) async fn run(self: Arc<Self>, world: Arc<World>) {
        for session in 0.. {
            if let Some(client) = self.caller.connect(&world).await {
                self.caller.cut.unless_cut(self.visit(&world, client, session)).await;
            }
            if !self.has_more_to_write() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn visit(&self, world: &World, mut client: Client, session: usize) {
        // The first of its records and their number, by the sequence of each command.
        let mut asked: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
        for sequence in 1.. {
            let is_last = world.is_calm() || self.sent.lock().len() >= self.records;
            let most = if is_last { 1 } else { self.caller.random.lock().usize(1..5) };
            while asked.len() >= most {
                if self.answer(world, &mut client, &mut asked).await.is_none() {
                    return;
                }
            }
            while is_last && !world.is_calm() {
                sleep(Duration::from_millis(200)).await;
            }
            let (command, place) = self.command(world, session, is_last);
            asked.insert(sequence, place);
            if client.send(sequence, Req::CmdKafkaProduce(command)).await.is_err() {
                return;
            }
            if is_last {
                let (first, count) = place;
                let written = |sent: &Sent| matches!(sent.outcome, Outcome::Acknowledged { .. });
                if self.answer(world, &mut client, &mut asked).await.is_none() {
                    return;
                }
                if self.sent.lock()[first..first + count].iter().all(written) {
                    return self.has_ended.store(true, Ordering::Relaxed);
                }
            }
            let pause = self.caller.random.lock().u64(..300_000);
            sleep(Duration::from_micros(pause)).await;
        }
    }

    /// Takes one answer; `None` if there is none, or it breaks a promise.
    async fn answer(
        &self,
        world: &World,
        client: &mut Client,
        asked: &mut BTreeMap<i64, (usize, usize)>,
    ) -> Option<()> {
        let (sequence, resp) = self.caller.in_time(world, PATIENCE, client.next()).await?;
        self.caller.event(world, || format!("gets {}", describe(&resp)));
        let Some((first, count)) = asked.remove(&sequence) else {
            self.caller.broken(world, &format!("an answer to {sequence}, which is not open"));
            return None;
        };
        self.answered(first, count, resp).map_err(|problem| self.caller.broken(world, &problem)).ok()
    }

    /// Some records, of which one or the other has no place to go; or the last ones, one for each partition.
    fn command(&self, world: &World, session: usize, is_last: bool) -> (CmdKafkaProduce, (usize, usize)) {
        let partitions = world.kafka.state().partitions(&self.caller.topic);
        let count = if is_last { partitions } else { self.caller.random.lock().usize(1..6) };
        let mut sent = self.sent.lock();
        let first = sent.len();
        let records = (first..first + count).map(|number| {
            let value = Bytes::from(format!("{}-{number}", self.caller.name.replace(' ', "-")));
            let mut random = self.caller.random.lock();
            let partition = match random.u8(..20) {
                _ if is_last => i32::try_from(number - first).unwrap_or_default(),
                0 => 99,
                1..5 => -1,
                _ => i32::try_from(random.usize(..partitions)).unwrap_or_default(),
            };
            sent.push(Sent { value: value.clone(), partition, session, outcome: Outcome::Unknown });
            let topic = self.caller.topic.clone();
            ProduceRecord {
                topic,
                partition: Some(partition),
                key: world.is_nats().then(|| key(&self.caller.topic, 0, true)),
                value: Some(value),
                ..ProduceRecord::default()
            }
        });
        let command = CmdKafkaProduce { records: records.collect(), ..CmdKafkaProduce::default() };
        self.caller.event(world, || format!("sends {command:?}"));
        (command, (first, count))
    }

    /// Takes the answer to a command of `count` records from the one numbered `first` on.
    fn answered(&self, first: usize, count: usize, resp: Resp) -> Result<(), String> {
        let of_error = |error: &ErrorResp| match error.reason() {
            Reason::UnknownOutcome => Outcome::Unknown,
            _ => Outcome::Refused,
        };
        let outcomes: Vec<_> = match resp {
            Resp::ErrorResp(error) => vec![of_error(&error); count],
            Resp::KafkaProduceResp(KafkaProduceResp { results }) => {
                let outcome = |result: &Produced| match &result.error {
                    Some(error) => of_error(error),
                    None => Outcome::Acknowledged { partition: result.partition, offset: result.offset },
                };
                results.iter().map(outcome).collect()
            }
            other => return Err(format!("unexpected {other:?}")),
        };
        if outcomes.len() != count {
            return Err(format!("{} results of {count} records", outcomes.len()));
        }
        for (sent, outcome) in self.sent.lock()[first..].iter_mut().zip(outcomes) {
            sent.outcome = outcome;
        }
        Ok(())
    }

    /// Holds all answers against the logs.
    pub(crate) fn check(&self, kafka: &State, may_lose: bool) -> Result<BTreeSet<Written>, String> {
        check(&self.sent.lock(), kafka, &self.caller.topic, may_lose)
    }
}

/// Holds what a client was told of its records against the logs of their topic: a refused record was never there, an
/// acknowledged one is there once and at its offset, and those of a session are in their order.
pub(crate) fn check(
    sent: &[Sent],
    kafka: &State,
    topic: &str,
    may_lose: bool,
) -> Result<BTreeSet<Written>, String> {
    let (mut last, mut writes) = (BTreeMap::new(), BTreeSet::new());
    let kept = kept(kafka, topic);
    for sent in sent {
        let value = sent.value.escape_ascii();
        let found = kept.get(&sent.value).map(Vec::as_slice).unwrap_or_default();
        // A topic that is created again gets what was on its way to the one before.
        if found.iter().zip(found.iter().skip(1)).any(|(one, next)| one.topic_id == next.topic_id) {
            return Err(format!("{value} is there more than once: {found:?}"));
        }
        let is_there = !found.is_empty();
        writes.insert(match sent.outcome {
            Outcome::Refused if is_there => {
                return Err(format!("{value} was refused and is there: {found:?}"));
            }
            Outcome::Refused => Written::Refused,
            Outcome::Unknown if is_there => Written::UnknownAndThere,
            Outcome::Unknown => Written::UnknownAndNotThere,
            Outcome::Acknowledged { partition, offset } => {
                let is_it = |at: &Kept| {
                    usize::try_from(partition) == Ok(at.partition) && [at.offset, -1].contains(&offset)
                };
                let is_asked_for = sent.partition < 0 || sent.partition == partition;
                if !is_asked_for || !may_lose && !found.iter().any(is_it) {
                    return Err(format!("{value} was acknowledged at {partition}:{offset}: {found:?}"));
                }
                if offset < 0 { Written::WithoutOffset } else { Written::Acknowledged }
            }
        });
        for at in found {
            let before = last.insert((sent.session, at.topic_id, at.partition), at.offset);
            if !may_lose && before.is_some_and(|before| before > at.offset) {
                return Err(format!("{value} at {at:?} is before one that was sent earlier"));
            }
        }
    }
    Ok(writes)
}

/// A record that a log has, or had until it was deleted or compacted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    topic_id: u128,
    partition: usize,
    offset: i64,
}

/// The records of all topics of a name by their values, in the order of the topics.
pub(crate) fn kept(kafka: &State, name: &str) -> BTreeMap<Bytes, Vec<Kept>> {
    let mut kept: BTreeMap<Bytes, Vec<_>> = BTreeMap::new();
    for topic in kafka.topics_of(name) {
        for (partition, log) in topic.partitions.iter().map(|partition| &partition.log).enumerate() {
            for ((epoch, offset), written) in &log.written {
                let (epoch, offset) = (*epoch, *offset);
                if let Some(value) = &written.record.value
                    && log.has_kept((epoch, offset), log.epoch)
                {
                    let place = Kept { topic_id: topic.id, partition, offset };
                    kept.entry(value.clone()).or_default().push(place);
                }
            }
        }
    }
    kept
}

/// Longer than a record can wait to be written, and commands for their turn.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
