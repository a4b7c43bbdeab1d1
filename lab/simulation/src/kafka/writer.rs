//! Simulates librdkafka behind [`Backend`]: its queue, and batches that are sent again until a broker answers. Batches of
//! clients' producers are the reader's, as they ship.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use sluicegate_backend::command::Record;
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::rate::ClusterRate;
use sluicegate_backend::write_queue::{Overhead, Queue, QueuePermit, size};
use sluicegate_backend::{
    Account, AnswerReservation, Backend, Chunk, CommandError, CommandFuture, DeliveryReport, Description,
    Enqueued, Fault, Fetch, ListedOffset, Log, Unready, Version, Written,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Broker, Kafka, Partition};

/// A cluster that the reader as it ships reads, and simulated producers write to.
pub(crate) struct WritableCluster {
    reads: sluicegate_kafka::Kafka,
    kafka: Kafka,
    queue: Arc<Queue>,
    /// A queue for each partition, by topic and number.
    lanes: Mutex<BTreeMap<(String, usize), UnboundedSender<Queued>>>,
    random: Mutex<fastrand::Rng>,
    /// Cancelled when the bridge is killed.
    killed: CancellationToken,
}

/// A record on its way.
struct Queued {
    record: Record,
    reports: Arc<DeliveryReports<CommandError>>,
    index: usize,
    _permit: QueuePermit,
}

/// The producer of one partition.
struct Lane {
    kafka: Kafka,
    topic: String,
    partition: usize,
    random: fastrand::Rng,
}

/// Where a batch is in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    topic_id: u128,
    epoch: i32,
    base: i64,
    end: i64,
}

impl WritableCluster {
    pub(crate) fn new(reads: sluicegate_kafka::Kafka, kafka: &Kafka, killed: &CancellationToken) -> Self {
        Self {
            reads,
            kafka: kafka.clone(),
            queue: Queue::new(QUEUE_BYTES, QUEUE_RECORDS),
            lanes: Mutex::default(),
            random: Mutex::new(fastrand::Rng::new()),
            killed: killed.clone(),
        }
    }

    /// Queues a record for its partition.
    fn send(&self, queued: Queued) {
        let partition = queued.record.partition.and_then(|partition| usize::try_from(partition).ok());
        let partition = partition.unwrap_or_else(|| {
            let count = self.kafka.state().partitions(&queued.record.topic);
            self.random.lock().usize(..count)
        });
        let place = (queued.record.topic.clone(), partition);
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(place).or_insert_with_key(|(topic, partition)| {
            let (sender, receiver) = unbounded_channel();
            let lane = Lane {
                kafka: self.kafka.clone(),
                topic: topic.clone(),
                partition: *partition,
                random: self.random.lock().fork(),
            };
            let killed = self.killed.clone();
            tokio::spawn(async move { killed.run_until_cancelled(lane.run(receiver)).await });
            sender
        });
        // The bridge is killed if nobody receives.
        let _ = lane.send(queued);
    }
}

impl Lane {
    /// Writes one batch after the other, so that records keep their order.
    async fn run(mut self, mut queue: UnboundedReceiver<Queued>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            sleep(Duration::from_micros(self.random.u64(..20_000))).await;
            let report = self.write(&batch).await;
            for (queued, offset) in batch.drain(..).zip(0..) {
                let report = report.clone().map(|base| Written {
                    partition: i32::try_from(self.partition).unwrap_or(i32::MAX),
                    offset: base.map_or(-1, |base| base + offset),
                    timestamp: -1,
                    ..Written::default()
                });
                queued.reports.settle(queued.index, report);
            }
        }
    }

    /// Writes a batch once, however often it has to be sent. Gives its first offset, if a broker has told it.
    async fn write(&mut self, batch: &[Queued]) -> Result<Option<i64>, CommandError> {
        let until = Instant::now() + DELIVERY;
        let mut appended: Option<Place> = None;
        let mut offset_known = true;
        // As if the time were over while a request is under way.
        let gives_up = self.random.u8(..25) == 0;
        while Instant::now() < until {
            // A broker knows the sequence of a batch that it has, and does not append it again.
            let place = appended.filter(|place| self.has(*place, false)).or_else(|| self.append(batch));
            let Some(place) = place else {
                sleep(RETRY).await;
                continue;
            };
            appended = Some(place);
            if gives_up {
                break;
            }
            sleep(Duration::from_micros(self.random.u64(..60_000))).await;
            let version = (place.topic_id, place.epoch);
            self.kafka.replicate(&self.topic, self.partition, version, place.end);
            let is_lost = self.random.u8(..12) == 0;
            match self.has(place, true) && self.broker_answers() {
                true if !is_lost => return Ok(offset_known.then_some(place.base)),
                true => offset_known = false,
                false => {}
            }
            sleep(RETRY).await;
        }
        Err(match appended {
            Some(_) => {
                CommandError::new(Fault::UnknownOutcome { retriable: true }, 0, "no answer of a broker")
            }
            None => CommandError::new(Fault::Transient, 0, "no broker took it"),
        })
    }

    /// Whether the leader is up, and does not hang.
    fn broker_answers(&self) -> bool {
        let state = self.kafka.state();
        let leader = state.partition(&self.topic, self.partition).map(Partition::leader);
        leader.and_then(|leader| state.brokers.get(leader.broker)).is_some_and(Broker::answers)
    }

    fn append(&self, batch: &[Queued]) -> Option<Place> {
        if !self.broker_answers() {
            return None;
        }
        self.kafka.change(|state| {
            let topic_id = state.topics.get(&self.topic)?.id;
            let log = state.log(&self.topic, self.partition)?;
            let entry = |queued: &Queued| (queued.record.key.clone(), queued.record.value.clone());
            let base = log.end;
            log.append(None, batch.iter().map(entry).collect());
            Some(Place { topic_id, epoch: log.epoch, base, end: log.end })
        })
    }

    /// Whether the log has a batch, and all replicas if it is to be committed.
    fn has(&self, Place { topic_id, epoch, end, .. }: Place, committed: bool) -> bool {
        let state = self.kafka.state();
        let topic = state.topics.get(&self.topic).filter(|topic| topic.id == topic_id);
        topic.and_then(|topic| topic.partitions.get(self.partition)).is_some_and(
            |Partition { log, .. }| {
                log.has_kept((epoch, end - 1), log.epoch) && (!committed || log.committed >= end)
            },
        )
    }
}

/// Methods of [`Backend`] that the reader as it ships has.
macro_rules! by_reader {
    ($(fn $name:ident$(<$life:lifetime>)?(&$($of:lifetime)? self $(, $given:ident: $type:ty)* $(,)?) -> $out:ty;)*) => {
        $(fn $name$(<$life>)?(&$($of)? self $(, $given: $type)*) -> $out {
            self.reads.$name($($given),*)
        })*
    };
}

impl Backend for WritableCluster {
    fn forget(&self, log: Log<'_>) {
        self.reads.forget(log);
    }

    by_reader! {
        fn ready(&self, within: Duration) -> BoxFuture<'_, Result<String, Unready>>;
        fn fetch<'a>(
            &'a self,
            log: Log<'a>,
            fetch: Fetch,
            scans: &'a ClusterRate,
            reservation: &'a mut dyn AnswerReservation,
        ) -> CommandFuture<'a, Chunk>;
        fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Chunk>;
        fn version(&self, log: Log<'_>) -> Version;
        fn ask_version<'a>(&'a self, source: ClientKey, log: Log<'a>) -> CommandFuture<'a, Version>;
        fn known_end(&self, log: Log<'_>) -> Option<i64>;
        fn end_of_epoch<'a>(&'a self, source: ClientKey, log: Log<'a>, epoch: i32) -> CommandFuture<'a, Option<i64>>;
        fn tombstone_life<'a>(&'a self, source: ClientKey, topic: &'a str) -> CommandFuture<'a, Option<Duration>>;
        fn is_watched(&self, log: Log<'_>, offset: i64, committed: bool) -> bool;
        fn wait_for_records<'a>(
            &'a self,
            log: Log<'a>,
            offset: i64,
            committed: bool,
            until: Option<Instant>,
            seen: SeenEnds,
        ) -> BoxFuture<'a, Option<Ends>>;
        fn list_offsets<'a>(
            &'a self,
            source: ClientKey,
            asked: &'a [(Log<'a>, i64)],
            committed: bool,
        ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)>;
        fn topics(&self) -> CommandFuture<'_, Arc<[String]>>;
        fn known_partitions(&self, topic: &str) -> usize;
        fn partitions<'a>(&'a self, source: ClientKey, topic: &'a str) -> CommandFuture<'a, Arc<Description>>;
        fn check_log<'a>(&'a self, source: ClientKey, log: Log<'a>) -> CommandFuture<'a, ()>;
        fn place<'a>(
            &'a self,
            source: ClientKey,
            records: &'a mut [Record],
            errors: &'a mut [Option<CommandError>],
            producer: Option<i64>,
        ) -> BoxFuture<'a, ()>;
        fn enqueue_once<'a>(
            &'a self,
            source: ClientKey,
            records: Vec<Record>,
            account: Account,
            due: &'a CancellationToken,
        ) -> CommandFuture<'a, Enqueued<'a>>;
    }

    fn enqueue<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        errors: Vec<Option<CommandError>>,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        async move {
            let wait = Duration::from_micros(self.random.lock().u64(..2_000));
            sleep(wait).await;
            if self.random.lock().u8(..20) == 0 {
                return Err(CommandError::new(Fault::Unreachable { retriable: true }, 0, "no producer"));
            }
            let reports = DeliveryReports::new(records.len());
            let (mut queued, mut is_full) = (0, false);
            for (index, (record, error)) in records.into_iter().zip(errors).enumerate() {
                let permit = match error {
                    Some(error) => Err(error),
                    None if is_full => Err(CommandError::queue_full()),
                    None => {
                        self.queue.take(source, size(&record, OVERHEAD)).ok_or_else(CommandError::queue_full)
                    }
                };
                match permit {
                    Ok(permit) => {
                        queued += 1;
                        self.send(Queued { record, reports: Arc::clone(&reports), index, _permit: permit });
                    }
                    Err(error) => {
                        is_full |= error.fault == Fault::QueueFull;
                        reports.settle(index, Err(error));
                    }
                }
            }
            let late = |_| CommandError::new(Fault::UnknownOutcome { retriable: true }, 0, "shut down");
            let wait = async move { reports.wait(due, late).await };
            let reports: BoxFuture<'a, Vec<DeliveryReport>> = wait.boxed();
            Ok(Enqueued { queued, reports })
        }
        .boxed()
    }

    fn has_queued_records(&self) -> bool {
        !self.queue.is_empty() || self.reads.has_queued_records()
    }

    fn end_writes(&self, _: Instant) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}

/// librdkafka's `delivery.timeout.ms`.
const DELIVERY: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(20);
/// Records of a batch at most.
const BATCH: usize = 8;
/// So small that writers find it full.
pub(crate) const QUEUE_RECORDS: usize = 40;
pub(crate) const QUEUE_BYTES: usize = 64 * 1024;
const OVERHEAD: Overhead = Overhead { record: 384, header: 64 };
