//! Writes numbered records to every partition, through all outages.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_tungstenite::tungstenite::Bytes;

use crate::kafka::Kafka;

/// Running writers.
pub struct Writers {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

/// Starts a writer for each partition.
///
/// # Panics
/// The producer cannot be made.
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

impl Writers {
    /// Stops writing when what is under way is acknowledged.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.tasks.join_all().await;
    }
}

async fn write(
    producer: FutureProducer,
    topic: Arc<str>,
    partition: i32,
    value: fn(i32, u64) -> String,
    stopped: watch::Receiver<bool>,
) {
    let mut ticks = interval(PAUSE);
    let mut under_way = Vec::new();
    for number in 0_u64.. {
        ticks.tick().await;
        if *stopped.borrow() {
            break;
        }
        let (key, value) = (key(number), value(partition, number));
        let record = FutureRecord::to(&topic).partition(partition).key(&key).payload(&value);
        under_way.push(producer.send_result(record).map_err(|(error, _)| error).unwrap());
        under_way.retain_mut(|delivery| !is_done(delivery));
    }
    for delivery in under_way {
        delivery.await.unwrap().map_err(|(error, _)| error).unwrap();
    }
}

fn is_done(delivery: &mut rdkafka::producer::DeliveryFuture) -> bool {
    use futures_util::FutureExt;
    delivery.now_or_never().is_some()
}

fn key(number: u64) -> String {
    format!("k{}", number % KEYS)
}

/// The key that filters ask for.
pub(super) fn wanted_key() -> Bytes {
    key(0).into()
}

const KEYS: u64 = 4;
/// Between two records of a partition.
const PAUSE: Duration = Duration::from_millis(150);
