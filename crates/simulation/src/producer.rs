//! A client that writes, with several commands under way, and holds each answer against the log in the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaProduce, ErrorResp, KafkaProduceResp, ProduceRecord, Produced, Reason};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::{Client, Cut, describe};
use crate::kafka::{State, Topic};
use crate::world::World;

/// A producer. Each record has a value of its own.
pub(crate) struct Producer {
    number: usize,
    topic: String,
    /// How many it sends, about.
    records: usize,
    random: Mutex<fastrand::Rng>,
    sent: Mutex<Vec<Sent>>,
    /// Commands without an answer yet.
    open: AtomicUsize,
    pub(crate) cut: Cut,
}

/// A record that was sent, in the order of sending.
struct Sent {
    value: Bytes,
    session: usize,
    /// The id of the topic, as Kafka knew it then.
    topic_id: u128,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// No answer, or one that does not know.
    Unknown,
    Refused,
    Acknowledged {
        partition: i32,
        offset: i64,
    },
}

impl Producer {
    pub(crate) fn new(number: usize, topic: &str, random: &mut fastrand::Rng) -> Arc<Self> {
        Arc::new(Self {
            number,
            topic: topic.to_owned(),
            records: random.usize(1..120),
            random: Mutex::new(random.fork()),
            sent: Mutex::default(),
            open: AtomicUsize::new(0),
            cut: Cut::default(),
        })
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it still lacks an answer.
    pub(crate) fn lacks(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// Sends its commands, until all is well again at most, and waits for the last answers.
    pub(crate) async fn run(self: Arc<Self>, world: Arc<World>) {
        for session in 0.. {
            if self.is_done(&world) {
                return;
            }
            if let Some(client) = self.draw(|random| world.connect(random)) {
                self.cut.unless_cut(self.visit(&world, client, session)).await;
                self.open.store(0, Ordering::Relaxed);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_done(&self, world: &World) -> bool {
        world.is_calm() || self.sent().len() >= self.records
    }

    async fn visit(&self, world: &World, mut client: Client, session: usize) {
        // The first of its records, by the sequence of each command.
        let mut asked: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
        for sequence in 1.. {
            let most = self.draw(|random| random.usize(1..5));
            while asked.len() >= most || (self.is_done(world) && !asked.is_empty()) {
                let by = Instant::now() + PATIENCE;
                let Ok(answer) = timeout_at(by, client.next()).await else {
                    return self.broken(world, &format!("no answer in {PATIENCE:?}"));
                };
                let Some((sequence, resp)) = answer else { return };
                world.event(|| format!("producer {} gets {}", self.number, describe(&resp)));
                let Some((first, count)) = asked.remove(&sequence) else {
                    return self.broken(world, &format!("an answer to {sequence}, which is not open"));
                };
                self.open.store(asked.len(), Ordering::Relaxed);
                if let Err(problem) = self.answered(first, count, resp) {
                    return self.broken(world, &problem);
                }
            }
            if self.is_done(world) {
                return;
            }
            let (command, place) = self.command(world, session);
            asked.insert(sequence, place);
            self.open.store(asked.len(), Ordering::Relaxed);
            if client.send(sequence, Req::CmdKafkaProduce(command)).await.is_err() {
                return;
            }
            sleep(Duration::from_micros(self.draw(|random| random.u64(..300_000)))).await;
        }
    }

    fn broken(&self, world: &World, problem: &str) {
        world.broken(format!("producer {} of {}: {problem}", self.number, self.topic));
    }

    /// Some records, of which one or the other has no place to go.
    fn command(&self, world: &World, session: usize) -> (CmdKafkaProduce, (usize, usize)) {
        let (topic_id, partitions) = {
            let kafka = world.kafka.state();
            kafka.topics.get(&self.topic).map_or((0, 1), |topic| (topic.id, topic.partitions.len()))
        };
        let count = self.draw(|random| random.usize(1..6));
        let mut sent = self.sent();
        let first = sent.len();
        let records = (first..first + count).map(|number| {
            let value = Bytes::from(format!("producer-{}-{number}", self.number));
            sent.push(Sent { value: value.clone(), session, topic_id, outcome: Outcome::Unknown });
            let partition = self.draw(|random| match random.u8(..20) {
                0 => 99,
                1..5 => -1,
                _ => i32::try_from(random.usize(..partitions)).unwrap_or_default(),
            });
            let topic = self.topic.clone();
            ProduceRecord {
                topic,
                partition: Some(partition),
                value: Some(value),
                ..ProduceRecord::default()
            }
        });
        let command = CmdKafkaProduce { records: records.collect() };
        world.event(|| format!("producer {} sends {command:?}", self.number));
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
        for (sent, outcome) in self.sent()[first..].iter_mut().zip(outcomes) {
            sent.outcome = outcome;
        }
        Ok(())
    }

    /// Holds all answers against the logs: a refused record was never there, an acknowledged one is there once and at
    /// its offset, and those of a session are in their order.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub(crate) fn check(&self, kafka: &State, may_lose: bool) -> Result<(), String> {
        let mut last: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        let topic = kafka.topics.get(&self.topic);
        let kept = topic.map(kept).unwrap_or_default();
        for sent in self.sent().iter() {
            let value = sent.value.escape_ascii();
            if topic.is_none_or(|topic| topic.id != sent.topic_id) {
                continue;
            }
            let found = kept.get(&sent.value).cloned().unwrap_or_default();
            if found.len() > 1 {
                return Err(format!("{value} is there more than once: {found:?}"));
            }
            match sent.outcome {
                Outcome::Refused if !found.is_empty() => {
                    return Err(format!("{value} was refused and is there: {found:?}"));
                }
                Outcome::Acknowledged { partition, offset } if !may_lose => match found[..] {
                    [(number, at)]
                        if usize::try_from(partition) == Ok(number) && [at, -1].contains(&offset) => {}
                    _ => return Err(format!("{value} was acknowledged at {partition}:{offset}: {found:?}")),
                },
                _ => {}
            }
            for (partition, offset) in found {
                let before = last.insert((sent.session, partition), offset);
                if !may_lose && before.is_some_and(|before| before > offset) {
                    return Err(format!(
                        "{value} at {partition}:{offset} is before one that was sent earlier"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The partition and offset of each record, by its value, that a topic has, or had until it was deleted or compacted.
fn kept(topic: &Topic) -> BTreeMap<Bytes, Vec<(usize, i64)>> {
    let mut kept: BTreeMap<Bytes, Vec<_>> = BTreeMap::new();
    for (number, partition) in topic.partitions.iter().enumerate() {
        let log = &partition.log;
        for ((epoch, offset), written) in &log.written {
            if let Some(value) =
                written.record.value.clone().filter(|_| log.has_kept((*epoch, *offset), log.epoch))
            {
                kept.entry(value).or_default().push((number, *offset));
            }
        }
    }
    kept
}

/// Longer than a record can wait to be written, and commands for their turn.
const PATIENCE: Duration = Duration::from_secs(60);
