//! A client that subscribes to a topic, and goes on where it was after each end of its session.

mod library;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;
use sluicegate_protocol::kafka_subscription_event::{CaughtUp, Event, Skipped};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{
    CmdCredit, CmdKafkaSubscribe, ErrorResp, KafkaDeliveryResp, KafkaSource, KafkaSubscribedResp, OnLag,
    PartitionNext, Reason, RecordFilter, kafka_source,
};
use tokio::time::{sleep, timeout};

use crate::client::{Caller, Client, Kind, check_size, describe, framed_len};
use crate::history::{History, View};
use crate::identity::Role;
use crate::kafka::State;
use crate::kafka::log::Log;
use crate::schedule::key;
use crate::world::World;

/// A subscriber. It is shared with the schedule, which cuts its connection and asks how far it is.
pub(crate) struct Subscriber {
    pub(crate) caller: Caller,
    view: View,
    /// The bytes that it grants at a time; `None`: no limit.
    credit: Option<i64>,
    linger: u32,
    max_batch_records: u32,
    limits: Limits,
    state: Mutex<Position>,
}

/// Settings of a subscription that some seeds have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Bytes of a delivery; 0: the bridge's own limit.
    pub(crate) max_batch_bytes: u32,
    /// Whether it has a filter: it asks for the records of the first two keys alone.
    pub(crate) has_filter: bool,
    /// Whether it goes on at the end of a log that a delivery does not reach.
    pub(crate) skips: bool,
    /// Whether it reads by the library for Rust, which connects again by itself.
    pub(crate) has_library: bool,
}

#[derive(Debug, Default)]
struct Position {
    topic_id: Bytes,
    histories: BTreeMap<i32, History>,
    /// The ends of the logs as told in this session, by the last delivery of each.
    ends: BTreeMap<i32, i64>,
    /// The credit that is left.
    left: i64,
    /// Reads nothing for so long before the next message.
    pause: Duration,
}

impl Position {
    /// The log of a partition, and what was read of it.
    fn partition<'a>(
        &mut self,
        kafka: &'a State,
        topic: &str,
        partition: i32,
    ) -> Result<(&'a Log, &mut History), String> {
        let id = <[u8; 16]>::try_from(&self.topic_id[..]).map_err(|_| "no topic id")?;
        let topic = kafka.topic(topic, u128::from_be_bytes(id)).ok_or("a topic that never was")?;
        let log = topic.log(partition).ok_or("a partition that never was")?;
        let history = self.histories.get_mut(&partition).ok_or("a partition that was not told")?;
        Ok((log, history))
    }
}

impl Subscriber {
    pub(crate) fn new(
        number: usize,
        limits: Limits,
        is_nats: bool,
        role: Role,
        random: &mut fastrand::Rng,
    ) -> Arc<Self> {
        let mut view = role.view(random.bool());
        if limits.has_filter {
            view.keys = Some((0..2).map(|number| key(&role.topic, number, is_nats)).collect());
        }
        Arc::new(Self {
            view,
            // A stream of events has none.
            credit: random.bool().then(|| random.i64(1..2_000)).filter(|_| role.http.is_none()),
            linger: if random.u8(..4) == 0 { random.u32(..500) } else { 0 },
            max_batch_records: if random.bool() { random.u32(1..5) } else { 0 },
            limits,
            state: Mutex::default(),
            caller: Caller::new((Kind::Subscriber, number), role, random.fork()),
        })
    }

    /// Lets it read nothing for a while.
    pub(crate) fn pause(&self, pause: Duration) {
        self.state.lock().pause = pause;
    }

    /// The partition in which it still lacks a record, if there is one.
    pub(crate) fn lacks(&self, kafka: &State) -> Option<i32> {
        let position = self.state.lock();
        let topic = kafka.topics.get(&self.caller.topic)?;
        if position.topic_id != topic.id.to_be_bytes()[..] {
            return Some(-1);
        }
        (0..).zip(&topic.partitions).find_map(|(number, partition)| {
            let log = &partition.log;
            let end = log.end_for(self.view.committed);
            let history = position.histories.get(&number);
            history.is_none_or(|history| history.lacks(log, &self.view, end)).then_some(number)
        })
    }

    /// Reads until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, world: Arc<World>) {
        loop {
            if self.limits.has_library {
                sleep(self.visit_by_library(&world).await).await;
                continue;
            }
            let pause = match self.caller.connect(&world).await {
                None => AGAIN,
                Some(client) => {
                    let visited = self.caller.cut.unless_cut(self.visit(&world, client)).await;
                    visited.unwrap_or(Duration::from_millis(10))
                }
            };
            sleep(pause).await;
        }
    }

    /// One session. Gives the time to wait before the next one.
    async fn visit(&self, world: &World, mut client: Client) -> Duration {
        let command = self.command(&world.kafka.state(), world.profile.is_unclean);
        self.caller.event(world, || format!("subscribes {command:?}"));
        if client.send(SEQUENCE, Req::CmdKafkaSubscribe(command)).await.is_err() {
            return AGAIN;
        }
        self.state.lock().left = self.credit.unwrap_or(i64::MAX);
        loop {
            let is_used = self.credit.is_some() && self.state.lock().left <= 0;
            // Nothing may come while it is late with more credit.
            let patience = if is_used { self.hesitation(world) } else { Duration::MAX };
            let (sequence, resp) = match timeout(patience, client.next()).await {
                Ok(Some(answer)) => answer,
                Ok(None) => return AGAIN,
                Err(_) => match self.grant(&mut client).await {
                    Ok(()) => continue,
                    Err(_) => return AGAIN,
                },
            };
            if sequence != SEQUENCE {
                self.caller.broken(world, &format!("an answer to {sequence}"));
            }
            if let Some(pause) = self.get(world, &resp).await {
                return pause;
            }
        }
    }

    /// Takes a message once a pause is over. Gives the time to wait before the next session if this one has ended.
    async fn get(&self, world: &World, resp: &Resp) -> Option<Duration> {
        self.caller.event(world, || format!("gets {}", describe(resp)));
        let pause = std::mem::take(&mut self.state.lock().pause);
        // Messages that wait for a client that does not read can be older than its rights.
        if !pause.is_zero() && self.caller.identity.is_none() {
            sleep(pause).await;
        }
        let taken = self.take(&world.kafka.state(), world, resp);
        taken.unwrap_or_else(|problem| {
            self.caller.broken(world, &problem);
            Some(AGAIN)
        })
    }

    /// The time until it grants more credit.
    fn hesitation(&self, world: &World) -> Duration {
        if world.is_quick() {
            return Duration::ZERO;
        }
        let mut random = self.caller.random.lock();
        Duration::from_millis(if random.u8(..4) == 0 { random.u64(..3_000) } else { 0 })
    }

    async fn grant(&self, client: &mut Client) -> io::Result<()> {
        let left = self.state.lock().left;
        let bytes = self.credit.unwrap_or_default().max(1 - left);
        self.state.lock().left += bytes;
        let credit = CmdCredit { subscription: SEQUENCE, bytes: bytes.unsigned_abs() };
        client.send(0, Req::CmdCredit(credit)).await
    }

    fn command(&self, kafka: &State, is_unclean: bool) -> CmdKafkaSubscribe {
        if is_unclean {
            self.come_back(kafka);
        }
        let mut position = self.state.lock();
        if self.caller.http.as_ref().is_some_and(|last_event| last_event.lock().is_none()) {
            *position = Position::default();
        }
        position.ends.clear();
        let next = |(partition, history): (&i32, &History)| PartitionNext {
            partition: *partition,
            offset: history.next,
        };
        let source = KafkaSource {
            topic: self.caller.topic.clone(),
            from: Some(kafka_source::From::Offset(0)),
            next: position.histories.iter().map(next).collect(),
            topic_id: position.topic_id.clone(),
            ..KafkaSource::default()
        };
        let equals = self.filtered_keys().map(<[Bytes]>::to_vec);
        let filter = equals.map(|equals| RecordFilter { equals, ..RecordFilter::default() });
        CmdKafkaSubscribe {
            sources: vec![source],
            isolation: i32::from(self.view.committed),
            credit: self.credit.map(i64::unsigned_abs),
            linger_ms: self.linger,
            max_batch_records: self.max_batch_records,
            max_batch_bytes: self.limits.max_batch_bytes,
            filters: filter.into_iter().collect(),
            decode: self.caller.decodes,
            on_lag: if self.limits.skips { OnLag::Skip } else { OnLag::Wait }.into(),
            ..CmdKafkaSubscribe::default()
        }
    }

    /// It does not learn what elections have lost before its subscription.
    fn come_back(&self, kafka: &State) {
        let mut position = self.state.lock();
        let known: Vec<_> = position.histories.keys().copied().collect();
        for partition in known {
            if let Ok((log, history)) = position.partition(kafka, &self.caller.topic, partition) {
                history.come_back(log);
            }
        }
    }

    /// The keys of its filter, if it has one.
    fn filtered_keys(&self) -> Option<&[Bytes]> {
        self.view.keys.as_deref().filter(|_| self.limits.has_filter)
    }

    /// Takes a message. Gives a pause if the subscription has ended.
    fn take(&self, kafka: &State, world: &World, resp: &Resp) -> Result<Option<Duration>, String> {
        match resp {
            Resp::KafkaSubscribedResp(subscribed) => self.begin(subscribed).map(|()| None),
            Resp::KafkaDeliveryResp(delivery) => self.deliver(kafka, world, delivery).map(|()| None),
            Resp::KafkaSubscriptionEvent(event) => match &event.event {
                Some(Event::Skipped(skipped)) => self.skip(kafka, skipped).map(|()| None),
                Some(Event::CaughtUp(CaughtUp { partition, next_offset, open_transaction, .. })) => {
                    let mut position = self.state.lock();
                    let end = position.ends.remove(partition).unwrap_or_default();
                    let (log, history) = position.partition(kafka, &self.caller.topic, *partition)?;
                    // Other elections can have cut the log meanwhile, and followers have less of it.
                    let is_known = !log.has_lost_after(0) && !world.settings.has_rack;
                    if open_transaction.is_none() && *next_offset < end && is_known {
                        return Err(format!("caught up at {next_offset}, although the end is {end}"));
                    }
                    history.take(log, &self.view, &[], *next_offset).map(|()| None)
                }
                Some(Event::Retrying(_)) => Ok(None),
                other => Err(format!("event {other:?}")),
            },
            Resp::ErrorResp(error) => self.fail(kafka, world, error).map(Some),
            other => Err(format!("unexpected {other:?}")),
        }
    }

    fn begin(&self, subscribed: &KafkaSubscribedResp) -> Result<(), String> {
        let [topic] = &subscribed.topics[..] else { return Err("not one topic".to_owned()) };
        let mut position = self.state.lock();
        if !position.topic_id.is_empty() && position.topic_id != topic.topic_id {
            return Err("subscribed to another topic of the same name".to_owned());
        }
        position.topic_id = topic.topic_id.clone();
        for PartitionNext { partition, offset } in &topic.partitions {
            let history = position.histories.entry(*partition).or_default();
            if history.next != *offset {
                return Err(format!("partition {partition} begins at {offset}, expected {}", history.next));
            }
        }
        Ok(())
    }

    fn deliver(&self, kafka: &State, world: &World, delivery: &KafkaDeliveryResp) -> Result<(), String> {
        let KafkaDeliveryResp { messages, partition, next_offset, high_watermark, .. } = delivery;
        let mut position = self.state.lock();
        let end = position.ends.insert(*partition, *high_watermark);
        check_size(messages, self.limits.max_batch_bytes, self.max_batch_records)?;
        if let Some(keys) = self.filtered_keys() {
            let is_asked_for = |key: &Bytes| keys.contains(key);
            let other = messages.iter().find(|message| !message.key.as_ref().is_some_and(is_asked_for));
            if let Some(other) = other {
                return Err(format!("the filter leaves {other:?} out"));
            }
        }
        for message in messages {
            if position.left <= 0 && self.credit.is_some() {
                return Err(format!("offset {} is beyond the credit", message.offset));
            }
            position.left -= i64::try_from(framed_len(message)).unwrap_or(i64::MAX);
        }
        let (log, history) = position.partition(kafka, &self.caller.topic, *partition)?;
        // Followers, and leaders that are none any more, have less.
        let is_known = !world.profile.lags && !log.has_lost_after(0) && !world.settings.has_rack;
        let skips = is_known && self.limits.skips && self.gets_all();
        if let Some(end) = end.filter(|end| skips && history.next < *end) {
            return Err(format!("goes on at {}, although the end was {end}", history.next));
        }
        let stored = self.caller.stored(world, messages, None)?;
        let taken = history.take(log, &self.view, &stored, *next_offset);
        taken.map_err(|problem| format!("partition {partition}: {problem}"))
    }

    fn skip(&self, kafka: &State, skipped: &Skipped) -> Result<(), String> {
        let Skipped { partition, from, to, .. } = skipped;
        let mut position = self.state.lock();
        let end = position.ends.remove(partition);
        let (log, history) = position.partition(kafka, &self.caller.topic, *partition)?;
        let most = match skipped.cause() {
            Cause::Deleted => log.deleted,
            // It is behind if its last delivery has not reached the end. A stream of events does not tell that.
            Cause::Lag
                if self.gets_all() && end.is_none_or(|end| end < *to && self.caller.http.is_none()) =>
            {
                return Err(format!("partition {partition}: {from} to {to} are skipped at {end:?}"));
            }
            Cause::Lag if self.limits.skips => log.highest_end(self.view.committed),
            Cause::Lag => *from,
        };
        let skipped = history.skip(log, &self.view, (*from, *to), most);
        skipped.map_err(|problem| format!("partition {partition}: {problem}"))
    }

    /// Whether it gets each record of a log. Otherwise it can be behind without a delivery.
    fn gets_all(&self) -> bool {
        self.view.keys.is_none() && !self.view.committed
    }

    /// The subscription has ended with an error. Gives the time to wait before the next one.
    fn fail(&self, kafka: &State, world: &World, error: &ErrorResp) -> Result<Duration, String> {
        let mut position = self.state.lock();
        if let (Some(last_event), false) = (&self.caller.http, error.retriable) {
            // A stream of events cannot go on in some of its partitions alone.
            *last_event.lock() = None;
        }
        let current = kafka.topics.get(&self.caller.topic);
        let id = <[u8; 16]>::try_from(&position.topic_id[..]).map_or(0, u128::from_be_bytes);
        match Reason::try_from(error.reason) {
            Ok(Reason::Recreated) if world.profile.recreates => {
                if current.is_some_and(|topic| topic.id == id) {
                    return Err("told that its topic is another one, which it is not".to_owned());
                }
                *position = Position::default();
                Ok(Duration::ZERO)
            }
            Ok(Reason::OffsetOutOfRange) if world.profile.is_unclean => {
                let partitions = kafka.topic(&self.caller.topic, id).map(|topic| &topic.partitions);
                let mut changes = 0;
                for ((number, history), partition) in
                    position.histories.iter_mut().zip(partitions.into_iter().flatten())
                {
                    // A bridge can notice a loss that came before the subscription.
                    if partition.log.has_lost_after(0) {
                        world.event(|| {
                            format!("partition {number} begins anew at {}", partition.log.committed)
                        });
                        *history = History::at(partition.log.committed);
                        changes += 1;
                    }
                }
                // A question about another partition can be in its way.
                if changes == 0 { Err(format!("no record was lost: {error:?}")) } else { Ok(Duration::ZERO) }
            }
            _ if error.retriable => Ok(Duration::from_millis(u64::from(error.retry_after_ms).max(100))),
            _ => Err(format!("{error:?}")),
        }
    }
}

/// Of the subscription.
const SEQUENCE: i64 = 7;

/// The time before another session.
const AGAIN: Duration = Duration::from_millis(100);
