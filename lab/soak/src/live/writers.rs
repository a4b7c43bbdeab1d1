//! Writes numbered records to every partition or stream, through all outages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluicegate_protocol::MESSAGE_ID_HEADER;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Streams;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_tungstenite::tungstenite::Bytes;

/// Running writers.
pub struct Writers {
    tasks: JoinSet<(i32, BTreeSet<i64>)>,
    stop: watch::Sender<bool>,
}

/// Starts a writer for each partition.
pub fn start(
    kafka: &Kafka,
    topic: &Arc<str>,
    partitions: i32,
    value: fn(partition: i32, number: u64) -> String,
) -> Writers {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.bootstrap());
    config.set("enable.idempotence", "true").set("reconnect.backoff.max.ms", "250");
    // A record is written once, however long it takes.
    config.set("message.timeout.ms", "0");
    let producer: FutureProducer = config.create().unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        tasks.spawn(write(producer.clone(), Arc::clone(topic), partition, value, stopped.clone()));
    }
    Writers { tasks, stop }
}

pub(super) fn start_on_streams(
    servers: Vec<SocketAddr>,
    partitions: i32,
    value: fn(partition: i32, number: u64) -> String,
) -> Writers {
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        tasks.spawn(publish(servers.clone(), partition, value, stopped.clone()));
    }
    Writers { tasks, stop }
}

impl Writers {
    /// Stops writing when all that is under way is acknowledged. Gives the offsets of the records of each partition.
    pub async fn stop(self) -> BTreeMap<i32, BTreeSet<i64>> {
        self.stop.send_replace(true);
        self.tasks.join_all().await.into_iter().collect()
    }
}

async fn write(
    producer: FutureProducer,
    topic: Arc<str>,
    partition: i32,
    value: fn(i32, u64) -> String,
    stopped: watch::Receiver<bool>,
) -> (i32, BTreeSet<i64>) {
    let mut ticks = interval(PAUSE);
    let (mut under_way, mut written) = (Vec::new(), BTreeSet::new());
    for number in 0_u64.. {
        ticks.tick().await;
        if *stopped.borrow() {
            break;
        }
        let (key, value) = (key(number % KEYS), value(partition, number));
        let record = FutureRecord::to(&topic).partition(partition).key(&key).payload(&value);
        under_way.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
        under_way.retain_mut(|delivery| match delivery.now_or_never() {
            Some(delivered) => {
                written.insert(delivered.unwrap().map_err(|(error, _)| error).unwrap().offset);
                false
            }
            None => true,
        });
    }
    for delivery in under_way {
        written.insert(delivery.await.unwrap().map_err(|(error, _)| error).unwrap().offset);
    }
    (partition, written)
}

/// Repeats each message until it is acknowledged. By its id, the stream has it once.
async fn publish(
    servers: Vec<SocketAddr>,
    partition: i32,
    value: fn(i32, u64) -> String,
    stopped: watch::Receiver<bool>,
) -> (i32, BTreeSet<i64>) {
    let streams = Streams::connect_to_any(&servers).await.unwrap();
    let (mut ticks, mut written) = (interval(PAUSE), BTreeSet::new());
    for number in 0_u64.. {
        ticks.tick().await;
        if *stopped.borrow() {
            break;
        }
        let subject = format!("{}.{}", stream(CHECKED, partition), key(number % KEYS));
        let value = Bytes::from(value(partition, number));
        let id = number.to_string();
        let sequence = loop {
            match streams.write_once(&subject, &[(MESSAGE_ID_HEADER, &id)], value.clone()).await {
                Some(sequence) => break sequence,
                None => sleep(PAUSE).await,
            }
        };
        written.insert(sequence);
    }
    (partition, written)
}

/// The key of a record, or the last part of a message's subject.
pub(super) fn key(number: u64) -> String {
    format!("k{number}")
}

/// The stream that stands for a partition of the streams whose names begin like this.
pub(super) fn stream(streams: &str, partition: i32) -> String {
    format!("{streams}-{partition}")
}

/// The partition that a stream stands for.
pub(super) fn partition_of(stream: &str) -> i32 {
    stream.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap()
}

/// The topic that is checked record by record, and the beginning of the names of such streams.
pub(super) const CHECKED: &str = "checked";

const KEYS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(150);
