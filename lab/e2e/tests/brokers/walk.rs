//! The load while brokers fail: writers that number their records, and sockets that must read each number once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::waiting::becomes;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::brokers::cluster::ANSWERED_WITHIN;

/// Writes to one partition, a record at a time, each acknowledged by all nodes in sync, until it is stopped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    end: Arc<AtomicI64>,
    /// One, which ends with this.
    task: JoinSet<()>,
}

impl Writer {
    pub(crate) fn start(kafka: &Kafka, topic: &str, partition: i32) -> Self {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", kafka.bootstrap())
            .set("acks", "all")
            // Repeated records are written once.
            .set("enable.idempotence", "true")
            .set("reconnect.backoff.max.ms", "250")
            .create()
            .unwrap();
        let (stop, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(i64::MAX)));
        let (topic, stopped, written) = (topic.to_owned(), Arc::clone(&stop), Arc::clone(&end));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut pace = interval(PACE);
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                let value = value(partition, number);
                let record = FutureRecord::<(), _>::to(&topic).partition(partition).payload(&value);
                producer.send(record, WITHIN).await.unwrap();
                number += 1;
            }
            written.store(number, Ordering::Relaxed);
        });
        Self { stop, end, task }
    }

    /// A socket that reads what is written from the first record on, until it has all.
    pub(crate) fn walk(&self, mut socket: Socket, topic: &str, partition: i32) -> Walk {
        let seen = Arc::new(Mutex::new(Seen { answered: Instant::now(), slowest: Duration::ZERO, next: 0 }));
        let (progress, end, topic) = (Arc::clone(&seen), Arc::clone(&self.end), topic.to_owned());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (mut next, mut errors) = (0, BTreeMap::new());
            while next < end.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let answer = socket.fetch(&topic, partition, next).await;
                let took = asked.elapsed();
                assert!(took < ANSWERED_WITHIN, "{topic} {partition} at {next}: {answer:?} took {took:?}");
                let Ok(messages) = answer else {
                    let error = answer.unwrap_err();
                    assert!(error.retriable, "{error:?}");
                    *errors.entry(error.message).or_insert(0) += 1;
                    progress.lock().unwrap().note(took);
                    sleep(PAUSE).await;
                    continue;
                };
                for message in messages {
                    assert_eq!(message.offset, next, "{topic} {partition}");
                    assert_eq!(
                        message.value.as_deref(),
                        Some(value(partition, next).as_ref()),
                        "{topic} {partition}"
                    );
                    next += 1;
                }
                let mut progress = progress.lock().unwrap();
                progress.note(took);
                progress.answered = Instant::now();
                progress.next = next;
            }
            errors
        });
        Walk { partition, seen, task }
    }

    /// Ends it; how many records it has written.
    pub(crate) async fn stop(mut self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        let stopped = timeout(WITHIN, self.task.join_next()).await;
        stopped.expect("the last record's acknowledgement within 30 s").unwrap().unwrap();
        self.end.load(Ordering::Relaxed)
    }
}

/// A socket that reads a partition. It fails if an answer is late, a record is missing or repeated, or an error is not
/// retriable.
pub(crate) struct Walk {
    pub(crate) partition: i32,
    seen: Arc<Mutex<Seen>>,
    /// One, which ends with this.
    task: JoinSet<BTreeMap<String, u32>>,
}

struct Seen {
    /// When the last answer came that was no error.
    answered: Instant,
    /// The longest that an answer took.
    slowest: Duration,
    /// The next offset.
    next: i64,
}

impl Seen {
    fn note(&mut self, took: Duration) {
        self.slowest = self.slowest.max(took);
    }
}

impl Walk {
    /// Whether an answer that was no error has come after this time.
    fn answered_after(&self, time: Instant) -> bool {
        self.seen.lock().unwrap().answered > time
    }

    /// The longest time to an answer.
    pub(crate) fn slowest(&self) -> Duration {
        self.seen.lock().unwrap().slowest
    }

    /// The offset after the last record that it has.
    pub(crate) fn next(&self) -> i64 {
        self.seen.lock().unwrap().next
    }

    /// Waits until it has read to the end of the log. Returns the errors with their counts.
    pub(crate) async fn end(mut self) -> BTreeMap<String, u32> {
        let Ok(ended) = timeout(WITHIN, self.task.join_next()).await else {
            panic!("partition {} is read up to {} only", self.partition, self.next());
        };
        ended.unwrap().unwrap()
    }
}

/// Waits until every socket has an answer that is no error, and says how long that took.
#[track_caller]
pub(crate) fn answers(walks: &[Walk], within: Duration) -> impl Future<Output = Duration> {
    let start = Instant::now();
    let unanswered = async move || walks.iter().filter(|walk| !walk.answered_after(start)).count();
    becomes("sockets without an answer", 0, within, unanswered)
}

/// The value of a record.
fn value(partition: i32, number: i64) -> String {
    format!("{number} of {partition}")
}

/// Between a writer's records.
const PACE: Duration = Duration::from_millis(100);
/// A client's wait before it asks again.
const PAUSE: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(30);
