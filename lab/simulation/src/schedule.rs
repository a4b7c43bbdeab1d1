//! One schedule: what happens to the cluster, the network, the bridges and the clients, as a seed has it.

mod end;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sluicegate_backend::System;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Options;
use crate::bridge::{Bridge, Settings};
use crate::client::LastEvent;
use crate::identity::{Identity, People, Role};
use crate::jetstream::{FIRST_STREAM, JetStream};
use crate::kafka::log::{Log, PASS};
use crate::kafka::{Broker, DAY, Kafka};
use crate::network::{FaultState, Faults};
use crate::producer::Producer;
use crate::registry::SchemaRegistry;
use crate::repeater::Repeater;
use crate::subscriber::{Limits, Subscriber};
use crate::table_client::TableClient;
use crate::walker::Walker;
use crate::world::{Profile, World};

struct Schedule {
    world: Arc<World>,
    random: fastrand::Rng,
    topics: Vec<String>,
    subscribers: Vec<Arc<Subscriber>>,
    walkers: Vec<Arc<Walker>>,
    tables: Vec<Arc<TableClient>>,
    producers: Vec<Arc<Producer>>,
    repeaters: Vec<Arc<Repeater>>,
    identities: Vec<Arc<Identity>>,
    clients: JoinSet<()>,
    /// Replication, and what ends by itself.
    events: JoinSet<()>,
    records: u64,
}

/// Performs a schedule to its end.
pub(crate) async fn run(seed: u64, options: Options) -> Arc<World> {
    let mut kinds = Kinds::new(seed);
    let mut schedule = Schedule::begin(seed, options, &mut kinds);
    for step in 0..schedule.random.usize(10..=MAX_STEPS).min(options.steps.unwrap_or(MAX_STEPS)) {
        sleep(Duration::from_micros(schedule.random.u64(..400_000))).await;
        schedule.step(step);
        if let Some((by, waits)) = kinds.jump() {
            schedule.world.event(|| format!("the clock jumps by {by:?}, with the next answer: {waits}"));
            schedule.world.faults.arm_clock(Some(by));
            if !waits {
                schedule.world.faults.jump_if_armed().await;
            }
        }
        if kinds.rest == Some(step) {
            schedule.rest().await;
        }
        if schedule.world.has_problems() {
            break;
        }
    }
    schedule.end(kinds.settles).await
}

impl Schedule {
    fn begin(seed: u64, options: Options, kinds: &mut Kinds) -> Self {
        let mut random = fastrand::Rng::with_seed(seed).fork();
        let is_nats = is_nats(seed);
        let system = if is_nats { System::Nats } else { System::Kafka };
        let (first_id, first_offset) = if is_nats { (FIRST_STREAM, 1) } else { (1, 0) };
        let kafka = Kafka::new(random.usize(1..4), first_id, first_offset);
        let profile = Profile {
            is_unclean: random.u8(..5) == 0 && !is_nats,
            recreates: random.u8(..5) == 0,
            lags: random.u8(..4) == 0,
        };
        let settings = Settings {
            cache_bytes: [0, 2_000, 1 << 20][random.usize(..3)],
            max_read_bytes: if random.bool() { 1_000 } else { 256 * 1024 },
            has_rack: random.u8(..4) == 0 && !is_nats && kafka.state().brokers.len() > 1,
            has_small_rates: matches!(seed % 16, 11 | 12),
            has_quotas: kinds.has_quotas,
        };
        kafka.state().follower_lag = Duration::from_micros(random.u64(..300_000));
        let faults = Faults::new(random.fork());
        let topics: Vec<_> = (0..random.usize(1..4)).map(|number| format!("topic-{number}")).collect();
        let most = if is_nats { 1 } else { 3 };
        topics.iter().for_each(|topic| kafka.create(topic, random.usize(1..=most)));
        let jetstream = is_nats.then(|| JetStream::new(&kafka, &faults, random.fork()));
        let registry = kinds.schemas.as_mut().map(|random| SchemaRegistry::new(random.fork()));
        let world = Arc::new(World {
            kafka,
            jetstream,
            registry,
            faults,
            settings,
            profile,
            bridges: Mutex::default(),
            is_calm: AtomicBool::default(),
            rests: AtomicBool::default(),
            outcome: Mutex::default(),
            keeps_trace: options.keeps_trace,
            start: Instant::now(),
        });
        world.event(|| format!("{system:?} {profile:?} {settings:?} {topics:?}"));
        // Without memory for records, clients that take one at a time take longer than is left, and so do quotas.
        if is_nats && settings.cache_bytes > 10_000 && random.u8(..LONG) == 0 && !settings.has_quotas {
            fill(&world, &topics[0]);
        }
        for _ in 0..random.usize(1..3) {
            let bridge = Bridge::start(&world);
            world.bridges.lock().push(bridge);
        }
        let mut clients = JoinSet::new();
        let mut people = People::new(seed);
        let subscribers: Vec<_> = (0..random.usize(1..5))
            .map(|number| {
                let role = people.role(&world, &topics, kinds.http(), &mut random);
                let role = kinds.reads(role);
                Subscriber::new(number, kinds.limits(number), is_nats, role, &mut random)
            })
            .collect();
        subscribers.iter().cloned().for_each(|each| drop(clients.spawn(each.run(Arc::clone(&world)))));
        let walkers: Vec<_> = (0..random.usize(..3))
            .map(|number| {
                let role = people.role(&world, &topics, kinds.http(), &mut random);
                let role = kinds.reads(role);
                Walker::new(number, role, &mut random)
            })
            .collect();
        walkers.iter().cloned().for_each(|each| drop(clients.spawn(each.run(Arc::clone(&world)))));
        let tables: Vec<_> = (0..random.usize(..3))
            .map(|number| {
                let role = kinds.reads(people.role(&world, &topics, None, &mut random));
                TableClient::new(number, role, &mut random)
            })
            .collect();
        tables.iter().cloned().for_each(|each| drop(clients.spawn(each.run(Arc::clone(&world)))));
        let producers: Vec<_> = (0..random.usize(..3))
            .map(|number| {
                let topic = topics[random.usize(..topics.len())].clone();
                let role = Role { topic, identity: None, http: kinds.http(), decodes: false };
                Producer::new(number, role, &mut random)
            })
            .collect();
        producers.iter().cloned().for_each(|each| drop(clients.spawn(each.run(Arc::clone(&world)))));
        let repeaters = repeaters(seed, &world, &topics);
        repeaters.iter().cloned().for_each(|each| drop(clients.spawn(each.run(Arc::clone(&world)))));
        if let Some(registry) = &world.registry {
            clients.spawn(registry.clone().run(Arc::clone(&world)));
        }
        let identities = people.identities;
        identities.iter().for_each(|identity| drop(clients.spawn(Arc::clone(identity).run())));
        if seed % 5 == 3 && !is_nats {
            clients.spawn(clean(Arc::clone(&world), fastrand::Rng::with_seed(seed)));
        }
        Self {
            world,
            random,
            topics,
            subscribers,
            walkers,
            tables,
            producers,
            repeaters,
            identities,
            clients,
            events: JoinSet::new(),
            records: 0,
        }
    }

    fn topic(&mut self) -> String {
        self.topics[self.random.usize(..self.topics.len())].clone()
    }

    fn place(&mut self) -> (String, usize) {
        let topic = self.topic();
        let partitions = self.world.kafka.state().partitions(&topic);
        (topic, self.random.usize(..partitions))
    }

    fn check_bounds(&self) {
        for bridge in &*self.world.bridges.lock() {
            if let Err(problem) = bridge.check_bounds() {
                self.world.broken(problem);
            }
        }
    }

    /// Lets something happen.
    fn step(&mut self, step: usize) {
        self.check_bounds();
        let choice = self.random.u32(..100);
        self.world.event(|| format!("step {step}: {choice}"));
        match choice {
            0..45 => (0..self.random.usize(1..4)).for_each(|_| self.append(None)),
            45..60 if self.world.is_nats() => self.append(None),
            45..53 => {
                let producer = self.random.i64(100..103);
                self.append(Some(producer));
            }
            53..60 => self.end_transaction(),
            60..65 => self.elect(),
            65..69 => self.stop_broker(),
            69..72 => self.hang(),
            72..75 => self.change_broker(|broker| std::mem::take(&mut broker.connections).cancel()),
            75..79 => self.delete(),
            79..83 => self.compact(),
            83..86 => self.change_network(),
            86..90 => {
                let number = self.random.usize(..self.subscribers.len());
                self.subscribers[number].caller.cut.cut();
                self.tables.iter().for_each(|table| table.caller.cut.cut());
                self.producers.iter().for_each(|producer| producer.caller.cut.cut());
                self.repeaters.iter().for_each(|repeater| repeater.caller.cut.cut());
                let walkers = self.walkers.iter().filter(|walker| walker.caller.http.is_some());
                walkers.for_each(|walker| walker.caller.cut.cut());
            }
            90..92 => {
                let number = self.random.usize(..self.subscribers.len());
                self.subscribers[number].pause(Duration::from_millis(self.random.u64(..20_000)));
            }
            92..94 => self.restart_bridge(),
            94 if !self.world.is_nats() => {
                let topic = self.topic();
                self.world.kafka.change(|kafka| kafka.grow(&topic));
            }
            95 if self.world.profile.recreates => {
                let most = if self.world.is_nats() { 1 } else { 3 };
                let (topic, partitions) = (self.topic(), self.random.usize(1..=most));
                self.world.kafka.create(&topic, partitions);
            }
            96 => self.throttle(),
            97 => self.world.bridges.lock().iter().for_each(Bridge::expire),
            _ => {}
        }
    }

    fn append(&mut self, producer: Option<i64>) {
        let (topic, partition) = self.place();
        let records = self.random.usize(1..6);
        let is_nats = self.world.is_nats();
        let entries = (0..records)
            .map(|_| {
                self.records += 1;
                let has_key = is_nats || self.random.bool();
                let key = has_key.then(|| key(&topic, self.random.u8(..5), is_nats));
                let longest = if self.random.u8(..60) == 0 { 20_000 } else { 40 };
                let value = format!("{}{}", self.records, " ".repeat(self.random.usize(..longest)));
                let is_removal = !is_nats && key.is_some() && self.random.u8(..6) == 0;
                let value = || match &self.world.registry {
                    Some(registry) => registry.value(value),
                    // No JSON, in which spaces would be left out.
                    None => value.replace(' ', ".").into(),
                };
                (key, (!is_removal).then(value))
            })
            .collect();
        let end = self.world.kafka.change(|kafka| {
            let log = kafka.log(&topic, partition)?;
            log.append(producer, entries);
            if is_nats {
                // Its leader has a message when most servers have it.
                log.commit(log.end);
            }
            Some((log.epoch, log.end))
        });
        let delay = self.random.u64(..60_000);
        self.replicate_after(delay, topic, partition, end);
    }

    /// Lets the replicas have what was written, in so many microseconds.
    fn replicate_after(&mut self, delay: u64, topic: String, partition: usize, end: Option<(i32, i64)>) {
        let Some((epoch, end)) = end else { return };
        let world = Arc::clone(&self.world);
        let id = world.kafka.state().topics.get(&topic).map_or(0, |topic| topic.id);
        self.events.spawn(async move {
            sleep(Duration::from_micros(delay)).await;
            world.kafka.replicate(&topic, partition, (id, epoch), end);
        });
    }

    fn end_transaction(&mut self) {
        let (topic, partition) = self.place();
        let commits = self.random.bool();
        let ended = self.world.kafka.change(|kafka| {
            let log = kafka.log(&topic, partition)?;
            let producer = *log.open.keys().next()?;
            log.end_transaction(producer, commits);
            Some((log.epoch, log.end))
        });
        let delay = self.random.u64(..60_000);
        self.replicate_after(delay, topic, partition, ended);
    }

    fn elect(&mut self) {
        let (topic, partition) = self.place();
        let loses = self.world.profile.is_unclean && self.random.bool();
        let (share, random) = (self.random.i64(0..6), self.random.usize(..3));
        let lag = if self.world.profile.lags { self.random.u64(..3_000) } else { 0 };
        // The high watermark that the new leader knows can be an earlier one.
        let (behind, follows) = (self.random.i64(0..5), self.random.u64(..400));
        let is_behind = self.world.profile.lags && !self.world.is_nats() && self.random.bool();
        let end = self.world.kafka.change(|kafka| {
            let up: Vec<_> = (0..kafka.brokers.len()).filter(|broker| kafka.brokers[*broker].is_up).collect();
            let broker = up.get(random % up.len().max(1)).copied()?;
            for broker in &mut kafka.brokers {
                broker.lag = Duration::from_millis(lag);
            }
            let log = kafka.log(&topic, partition)?;
            self.world.event(|| {
                format!("{topic}-{partition}: {} {} {} {}", log.start, log.committed, log.end, loses)
            });
            let kept = if loses { log.committed - share } else { log.durable + share };
            let kept = if loses { kept.max(log.start) } else { kept };
            kafka.elect(&topic, partition, broker, kept);
            let log = kafka.log(&topic, partition)?;
            match is_behind {
                true => log.committed = (log.committed - behind).max(log.start),
                false => log.commit(log.end),
            }
            Some((log.epoch, log.end))
        });
        self.replicate_after(follows * 1_000, topic, partition, end);
    }

    fn stop_broker(&mut self) {
        let world = Arc::clone(&self.world);
        let (delay, number) =
            (self.random.u64(..5_000), self.random.usize(..world.kafka.state().brokers.len()));
        world.kafka.change(|kafka| kafka.stop(number));
        self.events.spawn(async move {
            sleep(Duration::from_millis(delay)).await;
            world.kafka.change(|kafka| kafka.brokers[number].is_up = true);
        });
    }

    fn hang(&mut self) {
        let until = Instant::now() + Duration::from_millis(self.random.u64(..12_000));
        self.change_broker(|broker| broker.hangs_until = Some(until));
    }

    fn change_broker(&mut self, change: impl FnOnce(&mut Broker)) {
        self.world.kafka.change(|kafka| {
            let number = self.random.usize(..kafka.brokers.len());
            change(&mut kafka.brokers[number]);
        });
    }

    fn throttle(&mut self) {
        let delay = Duration::from_millis(self.random.u64(1..1_500));
        let until = Instant::now() + Duration::from_millis(self.random.u64(..4_000));
        self.change_broker(|broker| broker.throttles = Some((delay, until)));
    }

    fn delete(&mut self) {
        let (topic, partition) = self.place();
        let share = self.random.i64(1..20);
        self.shorten(&topic, partition, |log| log.delete_before(log.start + share));
    }

    fn compact(&mut self) {
        let (topic, partition) = self.place();
        let share = self.random.i64(0..10);
        self.shorten(&topic, partition, |log| log.compact(log.committed - share, DAY));
    }

    /// Removes records from a log. A stream of NATS begins with its first message.
    fn shorten(&self, topic: &str, partition: usize, remove: impl FnOnce(&mut Log)) {
        self.world.kafka.change(|kafka| {
            if let Some(log) = kafka.log(topic, partition) {
                remove(log);
                if self.world.is_nats() {
                    log.delete_before(log.first());
                }
            }
        });
    }

    fn change_network(&mut self) {
        let mut one_of = |many: std::ops::Range<u32>| {
            if self.random.bool() { self.random.u32(many) } else { 0 }
        };
        let (breaks, silences, refuses) = (one_of(2..40), one_of(10..200), one_of(2..20));
        let delay = Duration::from_micros(self.random.u64(..50_000));
        *self.world.faults.state.lock() = FaultState { delay, breaks, silences, refuses };
    }

    fn restart_bridge(&mut self) {
        let world = Arc::clone(&self.world);
        let mut bridges = world.bridges.lock();
        let number = self.random.usize(..bridges.len());
        let bridge = Bridge::start(&world);
        let Bridge { due, drain, killed, .. } = std::mem::replace(&mut bridges[number], bridge);
        if self.random.bool() {
            killed.cancel();
            return;
        }
        due.cancel();
        drain.begin(1, Duration::ZERO);
        let left = Duration::from_millis(self.random.u64(..500));
        self.events.spawn(async move {
            sleep(left).await;
            killed.cancel();
        });
    }
}

/// The kinds of seeds that not all of them are, each drawn by itself: none changes what others draw.
struct Kinds {
    /// The jumps of the clock, if there are some. Identities end at times that are held against the clock.
    jumps: Option<fastrand::Rng>,
    /// The step after which all faults end for a while, if there is one. Not with identities, which end all the time.
    rest: Option<usize>,
    /// Whether subscribers limit the bytes of a delivery.
    has_byte_limits: bool,
    /// Whether every other subscriber has a filter.
    has_filters: bool,
    /// Whether every other subscriber goes on at the end of a log when it is behind.
    skips: bool,
    /// Whether clients have quotas. Not with identities, whose sessions end before what was counted has come.
    has_quotas: bool,
    /// Whether the last records wait until nothing of earlier faults can delay them.
    settles: bool,
    /// Whether the first subscriber is a client of the library for Rust. Not with identities and quotas, which count what
    /// has come to the simulation's own clients, and not on NATS, where the library has commands of its own.
    has_library: bool,
    /// Whether clients speak plain HTTP, one by one, if some do. Not with identities and quotas, either, and not on NATS.
    ways: Option<fastrand::Rng>,
    /// The clients that ask for values as JSON, if values have schemas.
    schemas: Option<fastrand::Rng>,
}

impl Kinds {
    /// Of a seed: one of eight each.
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.rotate_left(32));
        let [jumps, rests, has_byte_limits, has_filters] = std::array::from_fn(|_| random.u8(..8) == 0);
        let has_identities = People::are_known(seed);
        let rest = (rests && !has_identities).then(|| random.usize(..MAX_STEPS / 2));
        let jumps = (jumps && !has_identities).then(|| random.fork());
        let has_quotas = random.u8(..8) == 0 && !has_identities;
        let settles = random.u8(..8) == 0;
        let has_library = random.u8(..4) == 0 && !has_identities && !has_quotas && !is_nats(seed);
        let ways = (seed.is_multiple_of(4) && !has_identities && !has_quotas).then(|| random.fork());
        let skips = random.u8(..4) == 0;
        let schemas = (seed % 7 == 6 && !is_nats(seed)).then(|| random.fork());
        Self {
            jumps,
            rest,
            has_byte_limits,
            has_filters,
            skips,
            has_quotas,
            settles,
            has_library,
            ways,
            schemas,
        }
    }

    /// The limits of a subscriber. A delivery has less than a record to a few.
    fn limits(&self, subscriber: usize) -> Limits {
        let max_batch_bytes = u32::try_from(60 * (subscriber + 1)).unwrap_or_default();
        Limits {
            max_batch_bytes: if self.has_byte_limits { max_batch_bytes } else { 0 },
            has_filter: self.has_filters && subscriber.is_multiple_of(2),
            skips: self.skips && subscriber.is_multiple_of(2),
            has_library: self.has_library && subscriber == 0,
        }
    }

    /// The beginning of a stream of events of a client that speaks plain HTTP; `None`: the next one does not.
    fn http(&mut self) -> Option<LastEvent> {
        self.ways.as_mut().is_some_and(fastrand::Rng::bool).then(LastEvent::default)
    }

    /// The role of a client that may ask for values as JSON.
    fn reads(&mut self, role: Role) -> Role {
        let decodes = self.schemas.as_mut().is_some_and(|random| random.u8(..4) > 0) && role.http.is_none();
        Role { decodes, ..role }
    }

    /// The length of the jump that follows a step, from a millisecond to two minutes, short ones as often as long ones; and
    /// whether it waits for an answer.
    fn jump(&mut self) -> Option<(Duration, bool)> {
        let random = self.jumps.as_mut()?;
        if random.u8(..6) > 0 {
            return None;
        }
        let length = Duration::from_micros((1_000 << random.u32(..18)) + random.u64(..1_000));
        Some((length, random.bool()))
    }
}

/// Compacts all logs again and again, which keep removals for a shorter time from then on.
async fn clean(world: Arc<World>, mut random: fastrand::Rng) {
    sleep(Duration::from_millis(random.u64(..6_000))).await;
    let life = Duration::from_millis(random.u64(..2_000));
    loop {
        world.kafka.change(|kafka| {
            kafka.topics.values_mut().for_each(|topic| topic.tombstone_life = life);
            end::logs(kafka).for_each(|(_, log)| log.compact(log.committed, life));
        });
        sleep(PASS).await;
    }
}

/// Clients that repeat their writes, in every fourth seed: one, or two that are the same producer. In some of them, accounts
/// of producers are short.
fn repeaters(seed: u64, world: &World, topics: &[String]) -> Vec<Arc<Repeater>> {
    if !seed.is_multiple_of(4) {
        return Vec::new();
    }
    // Of its own, so that other seeds stay as they were.
    let mut random = fastrand::Rng::with_seed(!seed);
    if random.u8(..4) == 0 {
        world.kafka.state().producer_life = Duration::from_secs(random.u64(4..40));
    }
    let topic = &topics[random.usize(..topics.len())];
    let role = || Role { topic: topic.clone(), identity: None, http: None, decodes: false };
    (0..random.usize(1..3)).map(|number| Repeater::new(number, role(), &mut random)).collect()
}

/// Whether the cluster of a seed is one of NATS.
fn is_nats(seed: u64) -> bool {
    seed % 4 == 3
}

/// Writes so many messages that bridges read ahead of those who walk through the stream.
fn fill(world: &World, topic: &str) {
    world.kafka.change(|kafka| {
        let Some(log) = kafka.log(topic, 0) else { return };
        for number in 0..FILLED {
            let value = Bytes::from(format!("filled-{number}"));
            log.append(None, vec![(Some(key(topic, 0, true)), Some(value))]);
        }
        log.commit(log.end);
    });
}

/// The key of a record: the subject of a message on NATS.
pub(crate) fn key(topic: &str, number: u8, is_nats: bool) -> Bytes {
    Bytes::from(if is_nats { format!("{topic}.key-{number}") } else { format!("key-{number}") })
}

/// Steps of a schedule at most.
pub(crate) const MAX_STEPS: usize = 59;
/// One of so many clusters of NATS has a long stream, of at least so many messages.
const LONG: u8 = 12;
const FILLED: usize = 7_600;
