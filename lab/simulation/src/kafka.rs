//! A simulated Kafka cluster, with state: leaders and epochs, replicas that lag, transactions, retention, compaction,
//! topics that are created again.
//!
//! - here: [`Kafka`], its brokers and topics, and all that can happen to them
//! - [`log`]: a partition; [`batch`]: its bytes
//! - [`accounts`]: its idempotent producers
//! - [`answer`]: requests of Kafka's protocol
//! - [`writer`]: a queue, and the batches of producers

mod accounts;
pub(crate) mod answer;
pub(crate) mod batch;
pub(crate) mod log;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::log::Log;

/// A cluster. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Kafka(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Notified of records and leaders.
    changed: Notify,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) topics: BTreeMap<String, Topic>,
    /// Topics that were deleted, for those who still read them.
    pub(crate) gone: Vec<(String, Topic)>,
    /// The time after which followers have a record.
    pub(crate) follower_lag: Duration,
    /// `producer.id.expiration.ms`.
    pub(crate) producer_life: Duration,
    next_id: u128,
    /// Of a new log.
    first_offset: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) is_up: bool,
    /// It answers nothing until then.
    pub(crate) hangs_until: Option<Instant>,
    /// The time until it learns of a new leader.
    pub(crate) lag: Duration,
    /// The delay that it tells clients to keep, until a time.
    pub(crate) throttles: Option<(Duration, Instant)>,
    /// Cancelled to close its connections.
    pub(crate) connections: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: u128,
    /// `delete.retention.ms`: how long a removal stays after it was compacted.
    pub(crate) tombstone_life: Duration,
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) log: Log,
    /// All leaders, the newest last.
    leaders: Vec<Leader>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Leader {
    pub(crate) broker: usize,
    pub(crate) epoch: i32,
    pub(crate) since: Instant,
    /// The end of what it can still serve when it is not the leader any more, until it learns of that; `None` if the
    /// election has lost committed records.
    pub(crate) committed: Option<i64>,
}

impl Kafka {
    /// Topics have ids from `first_id` on, and logs begin with `first_offset`.
    pub(crate) fn new(brokers: usize, first_id: u128, first_offset: i64) -> Self {
        let brokers = (0..brokers).map(|_| Broker { is_up: true, ..Broker::default() }).collect();
        let state =
            State { brokers, next_id: first_id, first_offset, producer_life: DAY, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Changes something that waiting fetches may want to know.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.0.changed.notify_waiters();
        changed
    }

    /// Ready when a broker does not hang any more.
    pub(crate) async fn wakes(&self, broker: usize) {
        let hangs_until = self.state().brokers.get(broker).and_then(|broker| broker.hangs_until);
        if let Some(until) = hangs_until {
            sleep_until(until).await;
        }
    }

    /// Ready when something has changed since the call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }

    /// Lets the replicas have the records before `end`, if the log is still that of the topic and of the leader's epoch.
    pub(crate) fn replicate(&self, topic: &str, partition: usize, (id, epoch): (u128, i32), end: i64) {
        self.change(|state| {
            let is_it = state.topics.get(topic).is_some_and(|topic| topic.id == id);
            let log = state.log(topic, partition).filter(|log| is_it && log.epoch == epoch);
            log.into_iter().for_each(|log| log.commit(end));
        });
    }

    /// Creates a topic, or deletes one of this name and creates another.
    pub(crate) fn create(&self, name: &str, partitions: usize) {
        self.change(|state| {
            let id = state.next_id;
            state.next_id += 1;
            let (brokers, first) = (state.brokers.len(), state.first_offset);
            let partitions = (0..partitions).map(|number| Partition::new(number % brokers, first)).collect();
            let gone = state.topics.insert(name.to_owned(), Topic { id, tombstone_life: DAY, partitions });
            state.gone.extend(gone.map(|gone| (name.to_owned(), gone)));
        });
    }
}

impl Broker {
    /// Whether it is up, and does not hang.
    pub(crate) fn answers(&self) -> bool {
        self.is_up && !self.hangs()
    }

    pub(crate) fn hangs(&self) -> bool {
        self.hangs_until.is_some_and(|until| Instant::now() < until)
    }
}

impl State {
    /// The topic of this id, or the current one of this name if the id is 0.
    pub(crate) fn topic(&self, name: &str, id: u128) -> Option<&Topic> {
        let gone = self.gone.iter().map(|(name, topic)| (name, topic));
        let mut all = self.topics.iter().chain(gone);
        all.find(|(of, topic)| if id == 0 { of.as_str() == name } else { topic.id == id })
            .map(|(_, topic)| topic)
    }

    /// All topics of a name, in the order in which they were created.
    pub(crate) fn topics_of(&self, name: &str) -> impl Iterator<Item = &Topic> {
        let gone = self.gone.iter().filter(move |(gone, _)| gone == name).map(|(_, topic)| topic);
        gone.chain(self.topics.get(name))
    }

    /// The logs of the first partitions of topics of this name that were deleted.
    pub(crate) fn gone(&self, name: &str) -> impl Iterator<Item = &Log> {
        self.gone.iter().filter(move |(gone, _)| gone == name).map(|(_, topic)| &topic.partitions[0].log)
    }

    /// The follower that a leader names to those who read from replicas, if it has what is before an offset.
    pub(crate) fn follower_of(&self, log: &Log, leader: usize, offset: i64) -> Option<usize> {
        let number = (leader + 1) % self.brokers.len();
        let has_it = log.end_before(self.follower_lag / 2) >= offset;
        (number != leader && has_it && self.brokers.get(number)?.is_up).then_some(number)
    }

    /// How many partitions a topic has; 1 if there is none.
    pub(crate) fn partitions(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(1, |topic| topic.partitions.len())
    }

    pub(crate) fn partition(&self, topic: &str, partition: usize) -> Option<&Partition> {
        self.topics.get(topic)?.partitions.get(partition)
    }

    pub(crate) fn log(&mut self, topic: &str, partition: usize) -> Option<&mut Log> {
        Some(&mut self.topics.get_mut(topic)?.partitions.get_mut(partition)?.log)
    }

    /// Adds a partition to a topic.
    pub(crate) fn grow(&mut self, topic: &str) {
        let brokers = self.brokers.len();
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.partitions.push(Partition::new(topic.partitions.len() % brokers, self.first_offset));
        }
    }

    /// Makes another broker the leader of a partition, which has the records before `kept` only. It commits them when
    /// the others follow it.
    pub(crate) fn elect(&mut self, topic: &str, partition: usize, broker: usize, kept: i64) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        let Some(partition) = topic.partitions.get_mut(partition) else { return };
        let (committed, durable) = (partition.log.committed, partition.log.durable);
        partition.log.elect(kept);
        let loses = partition.log.durable < durable;
        if let Some(last) = partition.leaders.last_mut() {
            last.committed = Some(committed);
        }
        if loses {
            partition.leaders.iter_mut().for_each(|leader| leader.committed = None);
        }
        let epoch = partition.log.epoch;
        partition.leaders.push(Leader { broker, epoch, since: Instant::now(), committed: None });
    }

    /// Stops a broker, whose partitions get other leaders without loss of committed records, if others are up.
    pub(crate) fn stop(&mut self, stopped: usize) {
        let Some(broker) = self.brokers.get_mut(stopped) else { return };
        broker.is_up = false;
        std::mem::take(&mut broker.connections).cancel();
        let Some(next) = (0..self.brokers.len())
            .map(|step| (stopped + step) % self.brokers.len())
            .find(|number| self.brokers.get(*number).is_some_and(|broker| broker.is_up))
        else {
            return;
        };
        let led: Vec<_> = self
            .topics
            .iter()
            .flat_map(|(name, topic)| topic.partitions.iter().enumerate().map(move |place| (name, place)))
            .filter(|(_, (_, partition))| partition.leader().broker == stopped)
            .map(|(name, (number, partition))| (name.clone(), number, partition.log.durable))
            .collect();
        for (topic, number, kept) in led {
            self.log(&topic, number).into_iter().for_each(Log::forget_producers_if_empty);
            self.elect(&topic, number, next, kept);
            self.log(&topic, number).into_iter().for_each(|log| log.commit(log.end));
        }
    }
}

impl Topic {
    pub(crate) fn log(&self, partition: i32) -> Option<&Log> {
        Some(&self.partitions.get(usize::try_from(partition).ok()?)?.log)
    }
}

impl Partition {
    fn new(broker: usize, first: i64) -> Self {
        let leader = Leader { broker, epoch: 0, since: Instant::now(), committed: None };
        Self { log: Log::new(first), leaders: vec![leader] }
    }

    pub(crate) fn leader(&self) -> Leader {
        self.leaders[self.leaders.len() - 1]
    }

    /// The leader as a broker knows it that learns of leaders so late.
    pub(crate) fn leader_known_after(&self, lag: Duration) -> Leader {
        let is_known = |leader: &&Leader| leader.since.elapsed() >= lag;
        self.leaders.iter().rev().find(is_known).map_or(self.leaders[0], |known| *known)
    }
}

/// The default of `delete.retention.ms`.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
