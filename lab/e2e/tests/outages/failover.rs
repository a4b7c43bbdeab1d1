//! Leaders that are killed, restarted and moved while sockets read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluicegate_stack::kafka::{Kafka, Partition};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::breakable::{ANSWERED_WITHIN, NODES, cluster, healed};
use crate::pool::Config;

const PARTITIONS: i32 = 6;
const SOCKETS: usize = 32;
/// From a partition's new leader to answers at every socket: pauses between attempts are below half a second.
const RECOVERED_WITHIN: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_arrive_once_while_leaders_die_and_move() {
    let mut kafka = cluster().await;
    let stack = Config::on(Way::Tunnel, &kafka.bootstrap()).own().await;
    let traffic = Traffic::start(&kafka, &stack).await;
    // Each of them leads two partitions, and one of them is the active controller.
    for node in 1..=NODES {
        kafka.nodes[node - 1].process.kill();
        let elsewhere = |partition: &Partition| partition.leader.is_some_and(|leader| leader != node);
        let all_elsewhere = |partitions: &[Partition]| partitions.iter().all(elsewhere);
        kafka.partitions_become("elect other leaders", &traffic.topic, all_elsewhere).await.unwrap();
        traffic.answers(RECOVERED_WITHIN).await;
        kafka.up().await.unwrap();
        kafka.partitions_become("heal", &traffic.topic, healed).await.unwrap();
    }
    // Every leader goes, and its records with it; then all come back.
    let replicas: Vec<Vec<usize>> =
        kafka.partitions(&traffic.topic).unwrap().into_iter().map(|partition| partition.replicas).collect();
    let others: Vec<&[usize]> = replicas.iter().map(|replicas| &replicas[1..]).collect();
    let all: Vec<&[usize]> = replicas.iter().map(Vec::as_slice).collect();
    for replicas in [others, all] {
        kafka.reassign(&traffic.topic, &replicas).await.unwrap();
        traffic.answers(RECOVERED_WITHIN).await;
    }
    traffic.end().await;
}

/// Writers that number the records of their partitions, and sockets that must read each number once.
struct Traffic {
    topic: String,
    stop: Arc<AtomicBool>,
    /// Give their partition, and its number of records.
    writers: JoinSet<(i32, i64)>,
    readers: JoinSet<()>,
    /// When each reader had its last answer that was no error.
    answered: Vec<Arc<Mutex<Instant>>>,
    /// The ends of the partitions, once nothing is written any more.
    ends: watch::Sender<Option<Vec<i64>>>,
}

impl Traffic {
    async fn start(kafka: &Kafka, stack: &Stack) -> Self {
        let topic = kafka.topic("failover", PARTITIONS, &[]).await.unwrap();
        let (stop, ends) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(None));
        let (mut writers, mut readers, mut answered) = (JoinSet::new(), JoinSet::new(), Vec::new());
        for partition in 0..PARTITIONS {
            writers.spawn(write(kafka.bootstrap(), topic.clone(), partition, Arc::clone(&stop)));
        }
        for partition in (0..PARTITIONS).cycle().take(SOCKETS) {
            let last = Arc::new(Mutex::new(Instant::now()));
            answered.push(Arc::clone(&last));
            readers.spawn(read(Socket::open(stack).await, topic.clone(), partition, ends.subscribe(), last));
        }
        let traffic = Self { topic, stop, writers, readers, answered, ends };
        traffic.answers(ANSWERED_WITHIN).await;
        traffic
    }

    /// Waits until every socket has an answer that is no error.
    async fn answers(&self, within: Duration) {
        let start = Instant::now();
        let waits = |last: &&Arc<Mutex<Instant>>| *last.lock().unwrap() <= start;
        becomes("sockets without an answer", 0, within, async || self.answered.iter().filter(waits).count())
            .await;
    }

    /// Every socket gets the last record.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut written = timeout(WITHIN, self.writers.join_all()).await.expect("acknowledgements");
        written.sort_unstable();
        self.ends.send_replace(Some(written.into_iter().map(|(_, end)| end).collect()));
        timeout(WITHIN, self.readers.join_all()).await.expect("the ends of all partitions");
    }
}

/// Writes a record at a time, each acknowledged by all nodes in sync. Repeated ones are written once.
async fn write(bootstrap: String, topic: String, partition: i32, stop: Arc<AtomicBool>) -> (i32, i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("acks", "all").set("enable.idempotence", "true");
    let producer: FutureProducer = config.set("reconnect.backoff.max.ms", "250").create().unwrap();
    let (mut pace, mut number) = (interval(Duration::from_millis(100)), 0);
    while !stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let value = value(partition, number);
        let record = FutureRecord::<(), _>::to(&topic).partition(partition).payload(&value);
        producer.send(record, WITHIN).await.unwrap();
        number += 1;
    }
    (partition, number)
}

/// Reads a partition to its end. An answer is late, a record missing or repeated, or an error not retriable: it panics.
async fn read(
    mut socket: Socket,
    topic: String,
    partition: i32,
    ends: watch::Receiver<Option<Vec<i64>>>,
    answered: Arc<Mutex<Instant>>,
) {
    let mut next = 0;
    let is_at_end = |next| ends.borrow().as_ref().is_some_and(|ends| next == ends[partition as usize]);
    while !is_at_end(next) {
        let asked = Instant::now();
        let answer = socket.fetch(&topic, partition, next).await;
        let took = asked.elapsed();
        assert!(took < ANSWERED_WITHIN, "{topic} {partition} at {next}: {answer:?} took {took:?}");
        match answer {
            Ok(messages) => {
                for message in messages {
                    assert_eq!(message.offset, next, "{topic} {partition}");
                    assert_eq!(message.value.as_deref(), Some(value(partition, next).as_bytes()));
                    next += 1;
                }
                *answered.lock().unwrap() = Instant::now();
            }
            Err(error) => {
                assert!(error.retriable, "{error:?}");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn value(partition: i32, number: i64) -> String {
    format!("{number} of {partition}")
}
