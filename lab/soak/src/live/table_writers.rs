//! Writes records of tables through all outages: keys that come and go, and change their tenant, also in transactions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

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

use super::wish::{RED, TENANT};
use super::writers::{key, stream};

pub(super) struct TableWriters {
    sink: Sink,
    partitions: watch::Receiver<i32>,
    tasks: JoinSet<Written>,
    stop: watch::Sender<bool>,
}

/// Partitions and offsets of records.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) offsets: BTreeSet<(i32, i64)>,
    pub(super) aborted: BTreeSet<(i32, i64)>,
}

/// The place of the records.
#[derive(Clone)]
pub(super) enum Sink {
    Topic(FutureProducer, Arc<str>),
    /// Streams, and the beginning of their names.
    Streams(Arc<Streams>, &'static str),
}

/// A record.
struct Change {
    key: String,
    is_removal: bool,
    tenant: &'static str,
}

impl TableWriters {
    /// Starts a writer for each of the partitions that there can be.
    pub(super) fn start(
        sink: Sink,
        partitions: watch::Receiver<i32>,
        most_partitions: i32,
        random: &mut Random,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for partition in 0..most_partitions {
            let random = Random::new(random.next());
            tasks.spawn(write(sink.clone(), partition, partitions.clone(), stopped.clone(), random));
        }
        Self { sink, partitions, tasks, stop }
    }

    /// The same, and one that writes in transactions.
    pub(super) fn start_on_kafka(
        kafka: &Kafka,
        topic: &Arc<str>,
        partitions: watch::Receiver<i32>,
        most_partitions: i32,
        random: &mut Random,
    ) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap());
        config.set("enable.idempotence", "true").set("reconnect.backoff.max.ms", "250");
        // Added partitions are soon known.
        config.set("topic.metadata.refresh.interval.ms", "500");
        let mut patient = config.clone();
        patient.set("message.timeout.ms", "0");
        let sink = Sink::Topic(patient.create().unwrap(), Arc::clone(topic));
        let mut writers = Self::start(sink, partitions.clone(), most_partitions, random);
        config.set("transactional.id", "tables").set("transaction.timeout.ms", "10000");
        let (topic, stopped) = (Arc::clone(topic), writers.stop.subscribe());
        let random = Random::new(random.next());
        writers.tasks.spawn_blocking(move || transact(&config, &topic, &partitions, &stopped, random));
        writers
    }

    /// Stops writing, and writes a last record to each partition that everyone wants.
    pub(super) async fn stop(self) -> Written {
        let Self { sink, partitions, tasks, stop } = self;
        stop.send_replace(true);
        let mut all = Written::default();
        for Written { offsets, aborted } in tasks.join_all().await {
            all.offsets.extend(offsets);
            all.aborted.extend(aborted);
        }
        let count = *partitions.borrow();
        for partition in 0..count {
            let last = Change { key: key(0), is_removal: false, tenant: RED };
            all.offsets.insert((partition, sink.write(partition, &last, "last").await));
        }
        all
    }
}

impl Sink {
    /// Repeats it until it is acknowledged, and gives its offset.
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
                    let (operation, delete) = REMOVAL_HEADER;
                    let mut headers = vec![(MESSAGE_ID_HEADER, id), (TENANT, change.tenant)];
                    headers.extend(change.is_removal.then_some((operation, delete)));
                    servers.write_once(&subject, &headers, VALUE.into()).await
                }
            };
            match offset {
                Some(offset) => return offset,
                None => sleep(PAUSE).await,
            }
        }
    }
}

impl Change {
    /// Of one of the keys that are written at the time of this `number`. Most keys are not written any more at the end, so
    /// that a mistake is not mended by the next record.
    fn random(number: u64, random: &mut Random) -> Self {
        let key = key(number / RECORDS_PER_KEY + (random.next() >> 32) % KEYS);
        let is_removal = random.below(6) == 0;
        Self { key, is_removal, tenant: if random.below(2) == 0 { RED } else { "blue" } }
    }

    fn record<'a>(&'a self, topic: &'a str, partition: i32) -> FutureRecord<'a, str, str> {
        let tenant = Header { key: TENANT, value: Some(self.tenant) };
        let record = FutureRecord::to(topic).partition(partition).key(&*self.key);
        let record = record.headers(OwnedHeaders::new().insert(tenant));
        if self.is_removal { record } else { record.payload(VALUE) }
    }
}

/// Writes to a partition from the time that there is one, [`LEAST`] records or more.
async fn write(
    sink: Sink,
    partition: i32,
    partitions: watch::Receiver<i32>,
    stopped: watch::Receiver<bool>,
    mut random: Random,
) -> Written {
    let mut ticks = interval(PAUSE);
    let mut written = Written::default();
    for number in 0_u64.. {
        ticks.tick().await;
        let exists = *partitions.borrow() > partition;
        // Nodes can be away for most of a run.
        if *stopped.borrow() && (!exists || written.offsets.len() >= LEAST) {
            break;
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

/// Keys that are written at the same time.
const KEYS: u64 = 20;
/// After so many, the oldest key gives way to a new one.
const RECORDS_PER_KEY: u64 = 30;
/// In each partition: a check of a few keys would find little.
const LEAST: usize = 300;
const VALUE: &str = "a value of a table";
/// Between two records of a partition, and between two transactions.
const PAUSE: Duration = Duration::from_millis(50);
/// The time for one call of a transaction.
const WITHIN: Duration = Duration::from_secs(10);
