//! Writers, while connections, answers and programs are lost at any point.
#![expect(clippy::arithmetic_side_effects, reason = "a model with small numbers")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard};

use futures_util::{SinkExt, StreamExt};
use sluicegate_protocol::{CmdKafkaProduce, Producer, ProducerState};
use tokio::io::DuplexStream;
use tokio::sync::Notify;

use super::*;
use crate::{Account, Store, WriteError, Writer};

/// A gateway with its Kafka, and where a program's account is saved.
#[derive(Default)]
struct World {
    state: Mutex<State>,
    killed: Notify,
}

#[derive(Default)]
struct State {
    /// The epoch and next sequence of the only producer in each partition.
    accounts: BTreeMap<i32, (u32, u32)>,
    logs: BTreeMap<i32, Vec<String>>,
    /// More with each question for places.
    partitions: i32,
    saved: Vec<u8>,
    /// The steps until the fault.
    left: usize,
    fault: Option<Fault>,
    is_old: bool,
}

/// A fault at one step: at a command or a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LostBefore,
    LostAfter,
    Busy,
    Unknown,
    KilledBefore,
    KilledAfter,
}

struct Saves(Arc<World>);

impl Store for Saves {
    fn save(&mut self, account: &Account) -> io::Result<()> {
        let mut state = self.0.lock();
        let fault = state.strike();
        if fault != Some(Fault::KilledBefore) {
            state.saved = serde_json::to_vec(account)?;
        }
        match fault {
            Some(Fault::KilledBefore | Fault::KilledAfter) => Err(io::Error::other("killed")),
            _ => Ok(()),
        }
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A client whose connections it serves.
    async fn connect(self: &Arc<Self>) -> Client {
        let world = Arc::clone(self);
        let dial = move || {
            let (near, far) = tokio::io::duplex(1 << 20);
            tokio::spawn(Arc::clone(&world).serve(far));
            Ok(near)
        };
        Client::builder("ws://world/pubsub").over(dial).connect().await.unwrap()
    }

    async fn writer(self: &Arc<Self>) -> Writer<Saves> {
        let saved = self.lock().saved.clone();
        let account = match &saved[..] {
            [] => Account::new().unwrap(),
            saved => serde_json::from_slice(saved).unwrap(),
        };
        self.connect().await.writer("t", account, Saves(Arc::clone(self)))
    }

    async fn serve(self: Arc<Self>, stream: DuplexStream) {
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(Message::Binary(request))) = socket.next().await {
            let PubSubReq { sequence, req: Some(command) } = PubSubReq::decode(request).unwrap() else {
                panic!("no command")
            };
            let Req::CmdKafkaProduce(command) = command else { panic!("{command:?}") };
            let fault = self.lock().strike();
            // Only writes have an unknown outcome.
            let is_write = command.producer.as_ref().is_some_and(|producer| !producer.id.is_empty());
            let told = match fault {
                Some(Fault::LostBefore | Fault::KilledBefore) => None,
                Some(Fault::Busy) => Some(Err(refused(Reason::Transient, "busy"))),
                Some(Fault::Unknown) if !is_write => Some(Err(refused(Reason::Transient, "busy"))),
                _ => Some(self.lock().produce(command)),
            };
            let resp = match (fault, told) {
                (Some(Fault::Unknown), _) if is_write => {
                    let error = refused(Reason::UnknownOutcome, "who knows");
                    Resp::ErrorResp(ErrorResp { unknown_outcome: true, ..error })
                }
                (Some(Fault::KilledBefore | Fault::KilledAfter), _) => return self.killed.notify_one(),
                (Some(Fault::LostBefore | Fault::LostAfter), _) | (_, None) => return,
                (_, Some(Ok(results))) => Resp::KafkaProduceResp(KafkaProduceResp { results }),
                (_, Some(Err(error))) => Resp::ErrorResp(error),
            };
            let answer = PubSubResp { sequence, resp: Some(resp) }.encode_to_vec();
            if socket.send(Message::Binary(answer.into())).await.is_err() {
                return;
            }
        }
    }
}

impl State {
    fn strike(&mut self) -> Option<Fault> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 { self.fault } else { None }
    }

    fn produce(&mut self, command: CmdKafkaProduce) -> Result<Vec<Produced>, ErrorResp> {
        let CmdKafkaProduce { records, producer, dry_run } = command;
        match producer {
            _ if self.is_old => Ok(vec![Produced { offset: 5, ..Produced::default() }; records.len()]),
            Some(producer) if producer.id.is_empty() => {
                Err(refused(Reason::InvalidCommand, "producer.id: expected 1 to 256 bytes"))
            }
            Some(producer) => self.write(&records, &producer),
            None => {
                assert!(dry_run);
                self.partitions += 1;
                let place = |record: &ProduceRecord| {
                    let key = record.key.as_ref().unwrap();
                    let partition = i32::from(key[0]) % self.partitions;
                    Produced { partition, offset: -1, ..Produced::default() }
                };
                Ok(records.iter().map(place).collect())
            }
        }
    }

    fn write(&mut self, records: &[ProduceRecord], producer: &Producer) -> Result<Vec<Produced>, ErrorResp> {
        let values =
            records.iter().map(|record| String::from_utf8(record.value.clone().unwrap().into()).unwrap());
        let values: Vec<String> = values.collect();
        // One is refused by name, the other one with its whole batch.
        if values.iter().any(|value| value.ends_with("bad")) {
            let error = |value: &String| match value.ends_with("bad") {
                true => refused(Reason::Denied, "bad"),
                false => refused(Reason::Transient, "another"),
            };
            let result = |value| Produced { error: Some(error(value)), ..Produced::default() };
            return Ok(values.iter().map(result).collect());
        }
        if values.iter().any(|value| value.ends_with("large")) {
            return Err(refused(Reason::TooLarge, "large"));
        }
        let &Producer { epoch, sequence, age_ms, .. } = producer;
        let partition = records[0].partition.unwrap();
        let age = age_ms.unwrap();
        let known = self.accounts.get(&partition).copied();
        let told = |reason, state: Option<(u32, u32)>| {
            let producer = state.map(|(epoch, sequence)| ProducerState { epoch, sequence });
            Err(ErrorResp { producer, ..refused(reason, "by its account") })
        };
        let next = match known {
            None if age > WINDOW => return told(Reason::Expired, None),
            None if sequence > 0 => return told(Reason::Expired, Some((epoch, 0))),
            None => 0,
            Some((known, next)) if known > epoch => return told(Reason::Fenced, Some((known, next))),
            Some((known, next)) if known == epoch => next,
            Some(_) => 0,
        };
        if sequence > next {
            return told(Reason::OutOfOrder, Some((epoch, next)));
        }
        let there = usize::try_from(next - sequence).unwrap();
        let log = self.logs.entry(partition).or_default();
        log.extend(values.iter().skip(there).cloned());
        let end = sequence + u32::try_from(values.len()).unwrap();
        self.accounts.insert(partition, (epoch, next.max(end)));
        let result = |number: usize| Produced {
            partition,
            duplicate: number < there,
            duplicate_window_ms: WINDOW,
            ..Produced::default()
        };
        Ok((0..values.len()).map(result).collect())
    }
}

fn refused(reason: Reason, message: &str) -> ErrorResp {
    let retriable = reason == Reason::Transient;
    ErrorResp { message: message.into(), retriable, reason: reason.into(), ..Default::default() }
}

const WINDOW: u64 = 3_600_000;

fn records(values: &[&'static str]) -> Vec<ProduceRecord> {
    let record = |value: &&'static str| ProduceRecord {
        // The last digit.
        key: Some(value.get(1..2).unwrap().into()),
        value: Some((*value).into()),
        ..ProduceRecord::default()
    };
    values.iter().map(record).collect()
}

const FIRST: [&str; 8] = ["00", "01", "02", "03-bad", "04", "05", "06-large", "07"];
const SECOND: [&str; 6] = ["10", "11-large", "12", "13", "14-bad", "15"];

/// Writes both, in as many runs as it takes, and gives their number.
async fn run(world: &Arc<World>) -> usize {
    let mut runs = 0;
    'run: loop {
        runs += 1;
        let mut writer = world.writer().await;
        // A program's own place in its input is saved with the account: here, the unfinished write tells it.
        let mut writes = vec![records(&FIRST), records(&SECOND)];
        if writer.account().unfinished() == SECOND.len() {
            writes.remove(0);
        }
        for write in writes {
            let written = tokio::select! {
                written = writer.write(&write) => written,
                () = world.killed.notified() => continue 'run,
            };
            match written {
                Ok(outcomes) => {
                    for (record, outcome) in write.iter().zip(outcomes) {
                        let value = record.value.as_ref().unwrap();
                        let is_good = !value.ends_with(b"bad") && !value.ends_with(b"large");
                        assert_eq!(outcome.is_ok(), is_good, "{record:?}: {outcome:?}");
                    }
                }
                Err(WriteError::Save(_)) => continue 'run,
                Err(why) => panic!("{why:?}"),
            }
        }
        return runs;
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_written_once_whatever_is_lost_at_any_step() {
    use Fault::{Busy, KilledAfter, KilledBefore, LostAfter, LostBefore, Unknown};
    for fault in [LostBefore, LostAfter, Busy, Unknown, KilledBefore, KilledAfter] {
        let mut restarts = 0;
        for left in 1.. {
            let world = Arc::new(World::default());
            (world.lock().left, world.lock().fault) = (left, Some(fault));
            restarts += run(&world).await - 1;
            let state = world.lock();
            let logs: Vec<String> = state.logs.values().flatten().cloned().collect();
            let mut once = logs.clone();
            once.sort();
            let want = ["00", "01", "02", "04", "05", "07", "10", "12", "13", "15"];
            assert_eq!(once, want, "{fault:?} at step {left}");
            let in_order = |log: &Vec<String>| log.is_sorted();
            assert!(state.logs.values().all(in_order), "{fault:?} at step {left}: {:?}", state.logs);
            if state.left > 0 {
                assert!(left > 12, "{left} steps");
                break;
            }
        }
        assert_eq!(restarts > 0, matches!(fault, KilledBefore | KilledAfter), "{fault:?}");
    }
}

/// A record that was never sent goes to the next epoch. Of another one nobody can tell.
#[tokio::test(start_paused = true)]
async fn forgotten_producer_goes_on_only_with_records_that_were_not_sent() {
    let world = Arc::new(World::default());
    let mut writer = world.writer().await;
    let record = |value: &'static str| {
        [ProduceRecord { partition: Some(0), value: Some(value.into()), ..Default::default() }]
    };
    for value in ["0", "1", "2"] {
        writer.write(&record(value)).await.unwrap();
        if value == "1" {
            world.lock().accounts.clear();
        }
    }
    assert_eq!(world.lock().accounts, BTreeMap::from([(0, (1, 1))]));
    // As saved before the last one was sent.
    world.lock().accounts.clear();
    let mut again = world.writer().await;
    assert!(matches!(again.write(&[]).await, Err(WriteError::Unfinished { unfinished: 1, given: 0 })));
    world.lock().accounts.insert(0, (2, 0));
    for reason in [Reason::Fenced, Reason::Expired] {
        let failed = again.write(&record("2")).await.unwrap_err();
        assert!(matches!(failed, WriteError::Account { partition: 0, error, .. } if error.reason == reason));
        world.lock().accounts = BTreeMap::new();
        let mut saved: serde_json::Value = serde_json::from_slice(&world.lock().saved).unwrap();
        saved["batches"][0]["numbered_ms"] = 0.into();
        world.lock().saved = serde_json::to_vec(&saved).unwrap();
        again = world.writer().await;
    }
    assert_eq!(world.lock().logs[&0], ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn servers_without_producers_write_nothing() {
    let world = Arc::new(World::default());
    world.lock().is_old = true;
    let unsupported = |why: &Error| matches!(why, Error::ProducersUnsupported { .. });
    let failed = world.writer().await.write(&records(&FIRST)).await.unwrap_err();
    assert!(matches!(failed, WriteError::Failed(ref why) if unsupported(why)));
    let client = world.connect().await;
    assert!(unsupported(&client.place(records(&["00"])).await.unwrap_err()));
    let producer = crate::Producer { id: "p".into(), epoch: 0, sequence: 0, age: Duration::ZERO };
    assert!(unsupported(&client.produce_once(records(&["00"]), &producer).await.unwrap_err()));
}
