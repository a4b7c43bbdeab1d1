//! Writes through all outages: numbered records to every partition or stream, of topics also through the bridges (`once`),
//! and those of tables, whose keys come and go, and change their tenant, also in transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use sluicegate_protocol::{MESSAGE_ID_HEADER, REMOVAL_HEADER};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Streams;
use sluicegate_stack::random::Random;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::clients::source::{key, stream};
use crate::clients::wish::{RED, TENANT};

/// Running writers.
pub struct Writers {
    sink: Sink,
    tasks: JoinSet<Written>,
    stop: watch::Sender<bool>,
}

/// Partitions and offsets of records.
#[derive(Debug, Default)]
pub struct Written {
    pub(crate) offsets: BTreeSet<(i32, i64)>,
    pub(super) aborted: BTreeSet<(i32, i64)>,
    /// The number of records of each writer with a producer, by its partition.
    pub(super) numbered: BTreeMap<i32, u64>,
    /// Of those, the ones whose repeat was recognized.
    pub(super) duplicates: usize,
}

/// The place of the records.
#[derive(Clone)]
pub(super) enum Sink {
    Topic(FutureProducer, Arc<str>),
    /// Streams, and the beginning of their names.
    Streams(Arc<Streams>, Arc<str>),
}

/// A record; `None` as its value removes its key.
struct Change {
    key: String,
    value: Option<String>,
    tenant: Option<&'static str>,
}

/// Starts a writer for each partition, with values of its records' numbers.
pub fn start(
    kafka: &Kafka,
    topic: &Arc<str>,
    partitions: i32,
    value: fn(partition: i32, number: u64) -> String,
) -> Writers {
    Writers::numbered(Sink::topic(kafka, Arc::clone(topic)), 0..partitions, value)
}

impl Writers {
    fn new(sink: Sink) -> Self {
        Self { sink, tasks: JoinSet::new(), stop: watch::Sender::new(false) }
    }

    pub(super) fn numbered(sink: Sink, partitions: Range<i32>, value: fn(i32, u64) -> String) -> Self {
        let mut writers = Self::new(sink);
        for partition in partitions {
            writers.add(partition, value);
        }
        writers
    }

    /// Starts one more, which writes until it is told to stop.
    pub(super) fn start<F>(&mut self, write: impl FnOnce(watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Written> + Send + 'static,
    {
        self.tasks.spawn(write(self.stop.subscribe()));
    }

    /// Starts one more, for a partition.
    pub(crate) fn add(&mut self, partition: i32, value: fn(i32, u64) -> String) {
        self.tasks.spawn(number(self.sink.clone(), partition, value, self.stop.subscribe()));
    }

    /// Starts a writer of a table for each of the partitions that there can be.
    pub(super) fn of_table(
        sink: Sink,
        partitions: &watch::Receiver<i32>,
        most_partitions: i32,
        random: &mut Random,
    ) -> Self {
        let mut writers = Self::new(sink);
        for partition in 0..most_partitions {
            let (sink, stopped) = (writers.sink.clone(), writers.stop.subscribe());
            let random = Random::new(random.next());
            writers.tasks.spawn(change(sink, partition, partitions.clone(), stopped, random));
        }
        writers
    }

    /// Starts one more, which writes in transactions.
    pub(super) fn transact(
        &mut self,
        kafka: &Kafka,
        topic: Arc<str>,
        partitions: watch::Receiver<i32>,
        random: &mut Random,
    ) {
        let mut config = config(kafka);
        config.set("transactional.id", "tables").set("transaction.timeout.ms", "10000");
        let (stopped, random) = (self.stop.subscribe(), Random::new(random.next()));
        self.tasks.spawn_blocking(move || transact(&config, &topic, &partitions, &stopped, random));
    }

    /// As [`Writers::stop`], and writes a last record to each partition that everyone wants.
    pub(super) async fn stop_with_last(self, partitions: i32) -> Written {
        let sink = self.sink.clone();
        let mut all = self.stop().await;
        for partition in 0..partitions {
            let last = Change { key: key(0), value: Some(VALUE.to_owned()), tenant: Some(RED) };
            all.offsets.insert((partition, sink.write(partition, &last, "last").await));
        }
        all
    }

    /// Stops writing when all that is under way is acknowledged.
    pub async fn stop(mut self) -> Written {
        self.stop.send_replace(true);
        let mut all = Written::default();
        while let Some(written) = self.tasks.join_next().await {
            let Written { offsets, aborted, numbered, duplicates } = written.unwrap();
            all.offsets.extend(offsets);
            all.aborted.extend(aborted);
            all.numbered.extend(numbered);
            all.duplicates += duplicates;
        }
        all
    }
}

impl Sink {
    pub(super) fn topic(kafka: &Kafka, topic: Arc<str>) -> Self {
        let mut config = config(kafka);
        // A record is written once, however long it takes.
        config.set("message.timeout.ms", "0");
        Self::Topic(config.create().unwrap(), topic)
    }

    /// Repeats it until it is acknowledged, and gives its offset. By its id, a stream has it once.
    async fn write(&self, partition: i32, change: &Change, id: &str) -> i64 {
        loop {
            let offset = match self {
                Self::Topic(producer, topic) => match producer.send_result(change.record(topic, partition)) {
                    Ok(delivery) => delivery.await.ok().and_then(Result::ok).map(|at| at.offset),
                    Err(_) => None,
                },
                Self::Streams(servers, streams) => {
                    let stream = stream(streams, partition);
                    let subject = format!("{stream}.{}", change.key);
                    let mut headers = vec![(MESSAGE_ID_HEADER, id)];
                    headers.extend(change.tenant.map(|tenant| (TENANT, tenant)));
                    headers.extend(change.value.is_none().then_some(REMOVAL_HEADER));
                    let value = change.value.clone().unwrap_or_default();
                    servers.write_once(&subject, &headers, value.into()).await
                }
            };
            match offset {
                Some(offset) => return offset,
                None => sleep(PAUSE).await,
            }
        }
    }
}

fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    config.set("enable.idempotence", "true").set("reconnect.backoff.max.ms", "250");
    // Added partitions are soon known.
    config.set("topic.metadata.refresh.interval.ms", "500");
    config
}

impl Change {
    /// Of one of the keys that are written at the time of this `number`. Most keys are not written any more at the end, so
    /// that a mistake is not mended by the next record.
    fn random(number: u64, random: &mut Random) -> Self {
        let key = key(number / RECORDS_PER_KEY + (random.next() >> 32) % KEYS);
        let value = (random.below(6) > 0).then(|| VALUE.to_owned());
        Self { key, value, tenant: Some(if random.below(2) == 0 { RED } else { "blue" }) }
    }

    fn record<'a>(&'a self, topic: &'a str, partition: i32) -> FutureRecord<'a, str, str> {
        let mut record = FutureRecord::to(topic).partition(partition).key(&*self.key);
        let header = |tenant| OwnedHeaders::new().insert(Header { key: TENANT, value: Some(tenant) });
        record.headers = self.tenant.map(header);
        record.payload = self.value.as_deref();
        record
    }
}

/// Writes numbered records to a partition, also while those before are under way.
async fn number(
    sink: Sink,
    partition: i32,
    value: fn(i32, u64) -> String,
    stopped: watch::Receiver<bool>,
) -> Written {
    let write = |number: u64| {
        let value = Some(value(partition, number));
        let change = Change { key: key(number % NUMBERED_KEYS), value, tenant: None };
        let sink = &sink;
        async move { (partition, sink.write(partition, &change, &number.to_string()).await) }
    };
    let (mut ticks, mut written) = (interval(NUMBERED_PAUSE), Written::default());
    let (mut under_way, mut numbers) = (FuturesUnordered::new(), 0..);
    while !*stopped.borrow() {
        tokio::select! {
            _ = ticks.tick() => under_way.extend(numbers.next().map(write)),
            Some(offset) = under_way.next() => drop(written.offsets.insert(offset)),
        }
    }
    written.offsets.extend(under_way.collect::<Vec<_>>().await);
    written
}

/// Writes to a partition from the time that there is one, [`LEAST`] records or more.
async fn change(
    sink: Sink,
    partition: i32,
    partitions: watch::Receiver<i32>,
    stopped: watch::Receiver<bool>,
    mut random: Random,
) -> Written {
    let mut ticks = interval(PAUSE);
    let mut written = Written::default();
    for number in 0_u64.. {
        let (is_stopped, exists) = (*stopped.borrow(), *partitions.borrow() > partition);
        // Nodes can be away for most of a run.
        if is_stopped && (!exists || written.offsets.len() >= LEAST) {
            break;
        }
        if !is_stopped {
            ticks.tick().await;
        }
        if exists {
            let change = Change::random(number, &mut random);
            let offset = sink.write(partition, &change, &number.to_string()).await;
            written.offsets.insert((partition, offset));
        }
    }
    written
}

/// Writes in transactions, some of which are aborted: one at least. A transaction that is uncertain is aborted by the next
/// producer.
fn transact(
    config: &ClientConfig,
    topic: &str,
    partitions: &watch::Receiver<i32>,
    stopped: &watch::Receiver<bool>,
    mut random: Random,
) -> Written {
    let (mut written, mut number) = (Written::default(), 0);
    loop {
        let producer: FutureProducer = config.create().unwrap();
        if producer.init_transactions(WITHIN).is_err() {
            continue;
        }
        loop {
            if *stopped.borrow() && !written.aborted.is_empty() {
                return written;
            }
            number += 1;
            match transaction(&producer, topic, *partitions.borrow(), number, &mut random) {
                Some(aborted) => written.aborted.extend(aborted),
                None => break,
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Gives the records that were aborted; `None`: that is uncertain.
fn transaction(
    producer: &FutureProducer,
    topic: &str,
    partitions: i32,
    number: u64,
    random: &mut Random,
) -> Option<Vec<(i32, i64)>> {
    producer.begin_transaction().ok()?;
    let mut deliveries: Vec<DeliveryFuture> = Vec::new();
    for _ in 0..=random.below(6) {
        let partition = i32::try_from(random.below(usize::try_from(partitions).ok()?)).ok()?;
        let change = Change::random(number, random);
        deliveries.push(producer.send_result(change.record(topic, partition)).ok()?);
    }
    producer.flush(WITHIN).ok()?;
    let mut delivered = Vec::new();
    for delivery in deliveries {
        let at = Handle::current().block_on(delivery).ok()?.ok()?;
        delivered.push((at.partition, at.offset));
    }
    if random.below(3) > 0 {
        producer.commit_transaction(WITHIN).ok()?;
        return Some(Vec::new());
    }
    producer.abort_transaction(WITHIN).ok()?;
    Some(delivered)
}

/// Of numbered records.
const NUMBERED_KEYS: u64 = 4;
const NUMBERED_PAUSE: Duration = Duration::from_millis(250);
/// Keys of a table that are written at the same time.
const KEYS: u64 = 20;
/// After so many, the oldest key gives way to a new one.
const RECORDS_PER_KEY: u64 = 30;
/// In each partition: a check of a few keys would find little.
const LEAST: usize = 300;
const VALUE: &str = "a value of a table";
/// Between two records of a partition, and between two transactions.
const PAUSE: Duration = Duration::from_millis(100);
/// The time for one call of a transaction.
const WITHIN: Duration = Duration::from_secs(10);
