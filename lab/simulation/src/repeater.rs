//! A client that writes as a producer, and repeats each command until it knows what became of its records. In the end, each
//! of them is in the log once, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdKafkaProduce, ErrorResp, KafkaProduceResp, ProduceRecord, Produced, Producer, Reason,
};
use tokio::time::{Instant, sleep};

use crate::Written;
use crate::client::{Caller, Client, Kind, describe};
use crate::identity::Role;
use crate::kafka::State;
use crate::producer::{Outcome, PATIENCE, Sent, check, kept};
use crate::world::World;

pub(crate) struct Repeater {
    pub(crate) caller: Caller,
    /// Two of them are one producer, of which the one with the later epoch ends the other.
    epoch: u32,
    begins: Duration,
    records: usize,
    sent: Mutex<Vec<Sent>>,
    has_ended: AtomicBool,
}

/// The end of a command: after an error, no further try makes sense.
type End = Result<Vec<Produced>, ErrorResp>;

/// A command that is sent until it has an end.
struct Command {
    records: Vec<ProduceRecord>,
    partition: i32,
    sequence: u32,
    begun: Instant,
    tries: u32,
    /// Whether a try had no answer, or one that does not know.
    is_open: bool,
}

impl Repeater {
    pub(crate) fn new(number: usize, role: Role, random: &mut fastrand::Rng) -> Arc<Self> {
        Arc::new(Self {
            epoch: u32::try_from(number).unwrap_or_default(),
            begins: if number == 0 { Duration::ZERO } else { Duration::from_millis(random.u64(..20_000)) },
            records: random.usize(1..60),
            caller: Caller::new((Kind::Repeater, number), role, random.fork()),
            sent: Mutex::default(),
            has_ended: AtomicBool::new(false),
        })
    }

    /// Whether it does not know yet what became of all its records.
    pub(crate) fn has_more_to_write(&self) -> bool {
        !self.has_ended.load(Ordering::Relaxed)
    }

    pub(crate) async fn run(self: Arc<Self>, world: Arc<World>) {
        sleep(self.begins).await;
        let mut next: BTreeMap<i32, u32> = BTreeMap::new();
        let mut client = None;
        while self.sent.lock().len() < self.records && !world.is_calm() {
            let command = self.command(&world, &next);
            let partition = command.partition;
            let Some(count) = self.settle(&world, command, &mut client).await else { break };
            *next.entry(partition).or_default() += u32::try_from(count).unwrap_or_default();
            let pause = self.caller.random.lock().u64(..600_000);
            sleep(Duration::from_micros(pause)).await;
        }
        self.has_ended.store(true, Ordering::Relaxed);
    }

    fn command(&self, world: &World, next: &BTreeMap<i32, u32>) -> Command {
        let partitions = world.kafka.state().partitions(&self.caller.topic);
        let mut random = self.caller.random.lock();
        let partition = i32::try_from(random.usize(..partitions)).unwrap_or_default();
        let sequence = next.get(&partition).copied().unwrap_or_default();
        let mut sent = self.sent.lock();
        Command {
            records: (0..random.usize(1..4)).map(|_| self.record(&mut sent, partition)).collect(),
            partition,
            sequence,
            begun: Instant::now(),
            tries: 0,
            is_open: false,
        }
    }

    /// Sends a command until it has an end. Gives the number of its records; `None`: there is nothing to go on with.
    async fn settle(
        &self,
        world: &World,
        mut command: Command,
        client: &mut Option<Client>,
    ) -> Option<usize> {
        let end = loop {
            let visit = self.attempt(world, &mut command, client);
            match self.caller.cut.unless_cut(visit).await.flatten() {
                Some(end) => break end,
                None => {
                    command.is_open = true;
                    *client = None;
                }
            }
            self.grow(&mut command);
            let pause = self.caller.random.lock().u64(1..200);
            sleep(Duration::from_millis(pause)).await;
        };
        let mut sent = self.sent.lock();
        let first = sent.len() - command.records.len();
        let sent = &mut sent[first..];
        let results = match end {
            Ok(results) => results,
            Err(error) => {
                self.check_refusal(world, &command, &error);
                let known = if command.is_open { Outcome::Unknown } else { Outcome::Refused };
                sent.iter_mut().for_each(|sent| sent.outcome = known);
                return None;
            }
        };
        if results.len() != sent.len() {
            self.caller.broken(world, &format!("{} results of {}", results.len(), sent.len()));
        }
        for (sent, Produced { partition, offset, .. }) in sent.iter_mut().zip(results) {
            sent.outcome = Outcome::Acknowledged { partition, offset };
        }
        Some(command.records.len())
    }

    /// One try, or as many as there are on a connection; `None` if the connection is lost.
    async fn attempt(
        &self,
        world: &World,
        command: &mut Command,
        client: &mut Option<Client>,
    ) -> Option<End> {
        if client.is_none() {
            *client = self.caller.connect(world).await;
        }
        let client = client.as_mut()?;
        loop {
            let age = if command.tries == 0 { Duration::ZERO } else { command.begun.elapsed() };
            let producer = Producer {
                id: "repeater".to_owned(),
                epoch: self.epoch,
                sequence: command.sequence,
                age_ms: Some(
                    u64::try_from(age.as_millis()).unwrap_or_default() + u64::from(command.tries > 0),
                ),
            };
            command.tries += 1;
            let records = command.records.clone();
            let request = CmdKafkaProduce { records, producer: Some(producer), dry_run: false };
            self.caller.event(world, || format!("sends {request:?}"));
            client.send(i64::from(command.tries), Req::CmdKafkaProduce(request)).await.ok()?;
            let (_, mut resp) = self.caller.in_time(world, PATIENCE, client.next()).await?;
            if let Resp::KafkaProduceResp(answer) = &mut resp {
                // The date is not simulated.
                answer.results.iter_mut().for_each(|result| result.timestamp = 0);
            }
            self.caller.event(world, || format!("gets {}", describe(&resp)));
            let error = match resp {
                Resp::ErrorResp(error) => error,
                Resp::KafkaProduceResp(KafkaProduceResp { results }) => {
                    match results.iter().find_map(|result| result.error.clone()) {
                        None => return Some(Ok(results)),
                        Some(error) => error,
                    }
                }
                other => {
                    self.caller.broken(world, &format!("unexpected {other:?}"));
                    return None;
                }
            };
            match error.reason() {
                Reason::OutOfOrder | Reason::Fenced | Reason::Expired => return Some(Err(error)),
                reason => {
                    command.is_open |= reason == Reason::UnknownOutcome;
                    self.check_not_written(world, command, &error);
                    let pause = self.caller.random.lock().u64(1..500);
                    sleep(Duration::from_millis(pause)).await;
                }
            }
        }
    }

    /// Lets a repeat be another batch than the try before.
    fn grow(&self, command: &mut Command) {
        if command.records.len() >= 6 || self.caller.random.lock().u8(..3) > 0 {
            return;
        }
        command.records.push(self.record(&mut self.sent.lock(), command.partition));
    }

    fn record(&self, sent: &mut Vec<Sent>, partition: i32) -> ProduceRecord {
        let value = Bytes::from(format!("{}-{}", self.caller.name.replace(' ', "-"), sent.len()));
        sent.push(Sent { value: value.clone(), partition, session: 0, outcome: Outcome::Unknown });
        let (topic, value) = (self.caller.topic.clone(), Some(value));
        ProduceRecord { topic, partition: Some(partition), value, ..ProduceRecord::default() }
    }

    /// Checks that a command is not there whose tries have all been refused.
    fn check_not_written(&self, world: &World, command: &Command, error: &ErrorResp) {
        let kept = kept(&world.kafka.state(), &self.caller.topic);
        let is_there =
            |record: &ProduceRecord| record.value.as_ref().is_some_and(|value| kept.contains_key(value));
        if !command.is_open && command.records.iter().any(is_there) {
            self.caller.broken(world, &format!("refused, and there: {error:?}"));
        }
    }

    /// Whether a producer that counts well may be refused so.
    fn check_refusal(&self, world: &World, command: &Command, error: &ErrorResp) {
        let has_forgotten = {
            let kafka = world.kafka.state();
            let mut logs = kafka.topics_of(&self.caller.topic).flat_map(|topic| &topic.partitions);
            logs.any(|partition| partition.log.has_forgotten)
        };
        let may_forget = world.profile.is_unclean || world.profile.recreates || has_forgotten;
        let has_short_accounts = world.kafka.state().producer_life < Duration::from_hours(1);
        let is_right = match error.reason() {
            Reason::Fenced => self.epoch == 0,
            Reason::Expired => may_forget || has_short_accounts,
            _ => may_forget,
        };
        if !is_right {
            let place = (command.partition, command.sequence, command.tries);
            self.caller.broken(world, &format!("{place:?} was refused: {error:?}"));
        }
    }

    /// Holds all answers against the logs.
    pub(crate) fn check(&self, kafka: &State, may_lose: bool) -> Result<BTreeSet<Written>, String> {
        let told = check(&self.sent.lock(), kafka, &self.caller.topic, may_lose)?;
        let is_once = |told| matches!(told, Written::Acknowledged | Written::WithoutOffset);
        Ok(told.into_iter().any(is_once).then_some(Written::Once).into_iter().collect())
    }
}
