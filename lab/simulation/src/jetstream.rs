//! Simulated NATS servers with JetStream: a stream is a topic with one partition, and its messages are on all brokers.
//!
//! - here: [`JetStream`], the servers; it stores what is published
//! - [`wire`]: the connection of a bridge to one of them
//! - [`api`]: requests of JetStream's API
//! - [`consumers`]: what consumers deliver
//! - [`messages`]: messages as servers send them
//! - [`translation`]: commands and answers of clients

mod api;
mod consumers;
mod messages;
pub(crate) mod translation;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use async_nats::message::OutboundMessage;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::consumers::Consumer;
use self::wire::Link;
use crate::kafka::log::{Batch, Log, Record};
use crate::kafka::{Kafka, State};
use crate::network::Faults;

/// The servers. Clones are the same.
#[derive(Clone)]
pub(crate) struct JetStream(Arc<Shared>);

struct Shared {
    logs: Kafka,
    faults: Arc<Faults>,
    random: Mutex<fastrand::Rng>,
    consumers: Mutex<BTreeMap<String, Consumer>>,
    /// The settings of streams, by their ids.
    settings: Mutex<BTreeMap<u128, Settings>>,
    start: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    /// Whether any server answers direct gets.
    is_direct: bool,
    /// Whether messages are kept whatever consumers there are.
    is_limited: bool,
}

impl JetStream {
    pub(crate) fn new(logs: &Kafka, faults: &Arc<Faults>, random: fastrand::Rng) -> Self {
        Self(Arc::new(Shared {
            logs: logs.clone(),
            faults: Arc::clone(faults),
            random: Mutex::new(random),
            consumers: Mutex::default(),
            settings: Mutex::default(),
            start: Instant::now(),
        }))
    }

    /// The settings of the stream with this id.
    fn settings(&self, id: u128) -> Settings {
        let mut all = self.0.settings.lock();
        *all.entry(id).or_insert_with(|| {
            let mut random = self.0.random.lock();
            Settings { is_direct: random.u8(..4) > 0, is_limited: random.u8(..5) > 0 }
        })
    }

    /// The nanoseconds from 1970 to an instant of the schedule.
    fn since_1970(&self, at: Instant) -> u128 {
        FIRST_STREAM + at.saturating_duration_since(self.0.start).as_nanos()
    }

    /// Takes what a client has published. Messages of a connection are taken in their order.
    fn take(&self, link: &Arc<Link>, message: OutboundMessage) {
        let Some(reply) = message.reply.clone() else { return };
        match message.subject.strip_prefix(API) {
            Some(call) => {
                let (servers, call) = (self.clone(), call.to_owned());
                link.spawn(|link| async move {
                    let service = servers.0.random.lock().u64(..SLOWEST_MICROS);
                    sleep(Duration::from_micros(service)).await;
                    servers.answer(&link, &call, &message.payload, &reply).await;
                });
            }
            None => self.store(link, message, reply.to_string()),
        }
    }

    /// Stores a message in the stream whose name its subject begins with.
    fn store(&self, link: &Arc<Link>, message: OutboundMessage, reply: String) {
        let name = message.subject.split('.').next().unwrap_or_default().to_owned();
        if !self.has_leader(&self.0.logs.state(), &name) {
            self.nobody(&reply).into_iter().for_each(|message| link.deliver(message));
            return;
        }
        if self.0.random.lock().u8(..40) == 0 {
            let error = json!({"code": 503, "err_code": 10077, "description": "maximum messages exceeded"});
            link.deliver(messages::json(&reply, &json!({"error": error, "stream": name, "seq": 0})));
            return;
        }
        let (key, value) = (message.subject.to_string().into(), message.payload);
        let sequence = self.0.logs.change(|state| {
            let log = state.log(&name, 0)?;
            log.append(None, vec![(Some(key), Some(value))]);
            log.commit(log.end);
            Some(log.end - 1)
        });
        if self.0.random.lock().u8(..40) == 0 {
            // The leader has changed meanwhile.
            return;
        }
        let wait = Duration::from_micros(self.0.random.lock().u64(..20_000));
        link.spawn(|link| async move {
            sleep(wait).await;
            link.deliver(messages::json(&reply, &json!({"stream": name, "seq": sequence})));
        });
    }

    /// The reaction to a request that nobody can answer: silence, or the news.
    fn nobody(&self, reply: &str) -> Option<Message> {
        self.0.random.lock().bool().then(|| messages::status(reply, 503, ""))
    }

    /// Whether a stream has a leader that answers: it takes a while to elect another one.
    fn has_leader(&self, state: &State, stream: &str) -> bool {
        state.partition(stream, 0).is_some_and(|partition| {
            let leader = partition.leader();
            let server = state.brokers.get(leader.broker);
            server.is_some_and(|server| server.answers() && leader.since.elapsed() >= server.lag)
        })
    }
}

/// The messages of a stream from a sequence on that consumers can read.
fn messages_from(log: &Log, from: i64) -> impl Iterator<Item = (&Batch, &Record)> {
    let first = log.batches.range(..=from).next_back().map_or(from, |(base, _)| *base);
    let batches = log.batches.range(first..);
    let records = batches.flat_map(|(_, batch)| batch.records.iter().map(move |record| (batch, record)));
    let from = from.max(log.start);
    records.filter(move |(_, record)| (from..log.committed).contains(&record.offset))
}

/// The subject of a message, which is the record's key.
fn subject(record: &Record) -> String {
    String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned()
}

/// The time when the first stream was created, in nanoseconds since 1970: 2026-01-01.
pub(crate) const FIRST_STREAM: u128 = 1_767_225_600_000_000_000;

const API: &str = "$JS.API.";
const SLOWEST_MICROS: u64 = 5_000;
