//! Writes of clients' producers: a batch for each command, which Kafka writes once however often it is sent.
//!
//! - here: [`Producers`] sends the batches of each producer and log in their order, and remembers its account
//! - `account`: decides what becomes of a batch
//!
//! librdkafka's producers number records by themselves, so these batches are the reader's.

mod account;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use sluicegate_backend::command::Record;
use sluicegate_backend::number::millis;
use sluicegate_backend::write_queue::{QueuePermit, WriteSequencer, WriteTicket};
use sluicegate_backend::{
    Account, CommandError, Dedup, DeliveryReport, Enqueued, Fault, Log, ProducerState, Written,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{
    INVALID_PRODUCER_EPOCH, INVALID_REQUEST, INVALID_TIMESTAMP, OUT_OF_ORDER_SEQUENCE_NUMBER,
    UNKNOWN_PRODUCER_ID,
};
use sluicegate_reader::{KnownProducer, NotProduced, Produced, ReadError, Reader};
use sluicegate_records::{BatchProducer, BatchRecord, encode_batch};
use sluicegate_telemetry::metrics::{WriteFailure, WriteMetrics};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::account::{Claim, DEFAULT_LIFE, Known, Lives, Refusal, Step, Told};
use super::error;
use super::incidents::Incidents;

/// The clients' producers of one cluster.
pub(super) struct Producers {
    parts: Arc<Parts>,
    tasks: TaskTracker,
}

struct Parts {
    reader: Reader,
    incidents: Arc<Incidents>,
    metrics: WriteMetrics,
    /// The time for which a batch is tried.
    patience: Duration,
    /// At most [`MAX_KEPT`], and those that are in use.
    accounts: Mutex<HashMap<Key, Arc<Kept>>>,
    lives: Mutex<Option<(Instant, Lives)>>,
}

/// A producer in a log of one version of its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    id: i64,
    topic: String,
    topic_id: Option<u128>,
    partition: i32,
}

#[derive(Default)]
struct Kept {
    known: Mutex<Option<Known>>,
    sequencer: Mutex<WriteSequencer>,
}

/// A command's records on their way.
struct Batch {
    source: ClientKey,
    key: Key,
    account: Account,
    records: Vec<Record>,
    /// When it was queued, as a timestamp for records without one.
    now: i64,
    queued: Instant,
    _permits: Vec<QueuePermit>,
}

impl Producers {
    pub(super) fn new(
        reader: Reader,
        incidents: Arc<Incidents>,
        metrics: WriteMetrics,
        patience: Duration,
    ) -> Self {
        let parts = Parts {
            reader,
            incidents,
            metrics,
            patience,
            accounts: Mutex::default(),
            lives: Mutex::default(),
        };
        Self { parts: Arc::new(parts), tasks: TaskTracker::new() }
    }

    /// See [`Backend::enqueue_once`](sluicegate_backend::Backend::enqueue_once).
    pub(super) fn enqueue<'a>(
        &self,
        source: ClientKey,
        records: Vec<Record>,
        account: Account,
        permits: Vec<QueuePermit>,
        due: &'a CancellationToken,
    ) -> Enqueued<'a> {
        let (parts, count) = (&self.parts, records.len());
        let first = records.first();
        let topic = first.map(|record| record.topic.clone()).unwrap_or_default();
        let partition = first.and_then(|record| record.partition).unwrap_or_default();
        let topic_id = parts.reader.version(Log { topic: &topic, partition }).and_then(|of| of.topic_id);
        let key = Key { id: account.id, topic, topic_id, partition };
        let kept = parts.kept(&key);
        let ticket = kept.sequencer.lock().issue();
        let now = millis(SystemTime::now());
        let batch = Batch { source, key, account, records, now, queued: Instant::now(), _permits: permits };
        let (told, reports) = oneshot::channel();
        let writing = Arc::clone(parts);
        parts.metrics.queued.inc_by(gauge(count));
        self.tasks.spawn(async move {
            let reports = writing.write(&batch, &kept, ticket).await;
            writing.metrics.queued.dec_by(gauge(count));
            // The client can be gone.
            let _ = told.send(reports);
        });
        let reports = async move {
            tokio::select! {
                biased;
                Ok(reports) = reports => reports,
                () = due.cancelled() => vec![Err(late()); count],
            }
        };
        Enqueued { queued: count, reports: reports.boxed() }
    }

    /// Ends writing once what is queued is written, or at `by`.
    pub(super) async fn close(&self, by: Instant) {
        self.tasks.close();
        // What is left is tried until the process ends.
        let _ = tokio::time::timeout_at(by, self.tasks.wait()).await;
    }
}

impl Parts {
    /// What is remembered of a producer, and its queue.
    fn kept(&self, key: &Key) -> Arc<Kept> {
        let mut accounts = self.accounts.lock();
        if let Some(kept) = accounts.get(key) {
            return Arc::clone(kept);
        }
        if accounts.len() >= MAX_KEPT {
            accounts.retain(|_, kept| Arc::strong_count(kept) > 1);
        }
        Arc::clone(accounts.entry(key.clone()).or_default())
    }

    async fn write(&self, batch: &Batch, kept: &Kept, mut ticket: WriteTicket) -> Vec<DeliveryReport> {
        ticket.wait().await;
        let written = self.settle(batch, kept).await;
        drop(ticket);
        match &written {
            Ok(reports) => {
                for (record, written) in batch.records.iter().zip(reports) {
                    if !written.dedup.is_some_and(|dedup| dedup.is_duplicate) {
                        self.metrics.written(record.bytes(), batch.queued.elapsed());
                    }
                }
            }
            Err(error) => {
                batch.records.iter().for_each(|_| self.metrics.failed(WriteFailure::of(error.fault)));
            }
        }
        match written {
            Ok(reports) => reports.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); batch.records.len()],
        }
    }

    /// Where the records are.
    async fn settle(&self, batch: &Batch, kept: &Kept) -> Result<Vec<Written>, CommandError> {
        let deadline = batch.queued.checked_add(self.patience).unwrap_or(batch.queued);
        let lives = self.lives().await?;
        let claim = batch.claim()?;
        let mut step = claim.begin(*kept.known.lock());
        for _ in 0..MAX_TRIES {
            match step {
                Step::Ask => {
                    let told = self.ask(batch, lives).await?;
                    if let Told::Known(known) = told {
                        *kept.known.lock() = Some(known);
                    }
                    step = claim.told(told, lives.kept());
                }
                Step::Duplicate => return Ok(batch.found(-1, 0, batch.records.len(), lives)),
                Step::Refuse(refusal) => return Err(refused(refusal, lives)),
                Step::Send { skip, is_repeat, is_new } => {
                    match self.send(batch, (skip, is_repeat, is_new), lives, deadline).await? {
                        Sent::Written(written, latest) => {
                            let since = Duration::from_millis(
                                batch.now.saturating_sub(latest).try_into().unwrap_or(0),
                            );
                            // A repeat of an older batch tells nothing of later ones.
                            let of_epoch = kept.known.lock().filter(|known| known.epoch == claim.epoch);
                            let last = of_epoch.map_or(claim.last, |known| known.last.max(claim.last));
                            let until = lives.until(since);
                            *kept.known.lock() = Some(Known { epoch: claim.epoch, last, until });
                            return Ok(written);
                        }
                        // An older batch than the last five.
                        Sent::OutOfOrder | Sent::Fenced if is_repeat => {
                            return Ok(batch.found(-1, 0, batch.records.len(), lives));
                        }
                        sent => {
                            let told = self.ask(batch, lives).await?;
                            step = match (told, sent) {
                                (Told::Untold, Sent::Fenced) => Step::Refuse(Refusal::Fenced(None)),
                                (Told::Untold, _) => Step::Refuse(Refusal::OutOfOrder(None)),
                                (told, _) => claim.told(told, lives.kept()),
                            };
                            *kept.known.lock() =
                                if let Told::Known(known) = told { Some(known) } else { None };
                        }
                    }
                }
            }
        }
        // Others write as the same producer at the same time.
        Err(CommandError::new(Fault::Transient, OUT_OF_ORDER_SEQUENCE_NUMBER, CONTENDED).with_retry())
    }

    async fn send(
        &self,
        batch: &Batch,
        (skip, is_repeat, is_new): (usize, bool, bool),
        lives: Lives,
        deadline: Instant,
    ) -> Result<Sent, CommandError> {
        if !is_repeat {
            batch.check_times(skip, lives)?;
        }
        if is_new && let Some(until) = batch.account.new.full_until() {
            let retry_after = until.saturating_duration_since(Instant::now());
            return Err(CommandError { retry_after, ..CommandError::new(Fault::QuotaExceeded, 0, TOO_MANY) });
        }
        let (encoded, latest) = batch.encode(skip);
        let Key { topic, topic_id, partition, .. } = &batch.key;
        let log = Log { topic, partition: *partition };
        let produced = self.reader.produce(batch.source, log, *topic_id, &encoded, deadline).await;
        let (offset, appended_at) = match produced {
            Ok(Produced::Written { offset, appended_at }) => (offset, appended_at),
            Ok(Produced::OutOfOrder) => return Ok(Sent::OutOfOrder),
            Ok(Produced::Fenced) => return Ok(Sent::Fenced),
            Ok(Produced::Recreated) => {
                let message =
                    format!("topic {topic} was deleted and created again: the producer is unknown there");
                return Err(CommandError::new(Fault::Expired, UNKNOWN_PRODUCER_ID, message));
            }
            Err(failed) => return Err(self.failed(failed)),
        };
        if is_new {
            batch.account.new.count(1);
        }
        let latest = if appended_at >= 0 { appended_at } else { latest };
        let mut written = batch.found(-1, 0, skip, lives);
        written.extend(batch.placed(offset, appended_at, skip, is_repeat, lives));
        Ok(Sent::Written(written, latest))
    }

    async fn ask(&self, batch: &Batch, lives: Lives) -> Result<Told, CommandError> {
        let Key { id, topic, partition, .. } = &batch.key;
        let log = Log { topic, partition: *partition };
        match self.reader.known_producer(batch.source, log, *id).await {
            Ok(None) => Ok(Told::Missing),
            Ok(Some(KnownProducer { epoch, last_sequence, last_timestamp })) => {
                let since = millis(SystemTime::now()).saturating_sub(last_timestamp);
                let until = lives.until(Duration::from_millis(since.try_into().unwrap_or(0)));
                Ok(Told::Known(Known { epoch, last: last_sequence, until }))
            }
            Err(error) if error.is_unavailable() || error.retriable() => Err(self.failed_before(&error)),
            Err(_) => Ok(Told::Untold),
        }
    }

    /// The times of accounts. They are asked for once in [`LIVES_AGE`].
    async fn lives(&self) -> Result<Lives, CommandError> {
        if let Some((asked, lives)) = *self.lives.lock()
            && asked.elapsed() < LIVES_AGE
        {
            return Ok(lives);
        }
        let (lives, _) = lives(&self.reader).await.map_err(|error| self.failed_before(&error))?;
        *self.lives.lock() = Some((Instant::now(), lives));
        Ok(lives)
    }

    fn failed_before(&self, error: &ReadError) -> CommandError {
        error::of_read(error, self.incidents.public(error)).with_retry()
    }

    fn failed(&self, NotProduced { error, may_be_written }: NotProduced) -> CommandError {
        let failed = self.failed_before(&error);
        if !may_be_written {
            return failed;
        }
        let message = format!(
            "{}; the records may have been written, a repeat with their sequence tells",
            failed.message
        );
        CommandError { fault: Fault::UnknownOutcome { retriable: true }, message, ..failed }.with_retry()
    }
}

/// The times of accounts in a cluster, and whether it has told them: its user may have no right to know.
async fn lives(reader: &Reader) -> Result<(Lives, bool), ReadError> {
    let life = match reader.producer_life().await {
        Err(error) if error.is_unavailable() || error.retriable() => return Err(error),
        told => told.ok().flatten(),
    };
    Ok((Lives::of(life.unwrap_or(DEFAULT_LIFE)), life.is_some()))
}

/// The time for which repeats are recognized, in words.
pub(super) async fn recognition(reader: &Reader) -> Result<String, ReadError> {
    let (lives, is_told) = lives(reader).await?;
    let by = if is_told { "by" } else { "if it has its default," };
    let kept = hours(lives.kept());
    Ok(format!("repeats of a producer's writes are recognized for {kept}, {by} producer.id.expiration.ms"))
}

fn hours(time: Duration) -> String {
    format!("{:.1} h", time.as_secs_f64() / 3600.0)
}

/// The outcome of a batch that was sent.
enum Sent {
    /// Where its records are, and the latest of their timestamps.
    Written(Vec<Written>, i64),
    OutOfOrder,
    Fenced,
}

impl Batch {
    fn claim(&self) -> Result<Claim, CommandError> {
        let Account { epoch, sequence: first, age, .. } = self.account;
        let more = i32::try_from(self.records.len().saturating_sub(1)).ok();
        let last = more.and_then(|more| first.checked_add(more)).filter(|last| *last < i32::MAX);
        let last = last.ok_or_else(|| {
            let message = format!("sequence {first} of {} records: begin the next epoch", self.records.len());
            CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
        })?;
        Ok(Claim { epoch, first, last, age })
    }

    fn timestamp(&self, record: &Record) -> i64 {
        record.timestamp.filter(|timestamp| *timestamp >= 0).unwrap_or(self.now)
    }

    /// Checks that the partition keeps the account for as long as clients are told, and no longer: it counts from the latest
    /// timestamp.
    fn check_times(&self, skip: usize, lives: Lives) -> Result<(), CommandError> {
        let latest = self.records.iter().skip(skip).map(|record| self.timestamp(record)).max();
        let since = self.now.saturating_sub(latest.unwrap_or(self.now));
        let oldest = lives.oldest().saturating_add(self.account.age);
        let (back, ahead) = (millis_of(oldest), millis_of(AHEAD));
        if (ahead.saturating_neg()..=back).contains(&since) {
            return Ok(());
        }
        let message = format!(
            "timestamp of {since} ms ago: with a producer, expected one of the last {back} ms, or at most {ahead} ms ahead; \
             put another time into a header"
        );
        Err(CommandError::new(Fault::Invalid, INVALID_TIMESTAMP, message))
    }

    /// The batch of the records behind the first ones, and the latest of their timestamps.
    fn encode(&self, skip: usize) -> (Bytes, i64) {
        let Account { id, epoch, sequence, .. } = self.account;
        let skipped = i32::try_from(skip).unwrap_or(i32::MAX);
        let producer = BatchProducer { id, epoch, sequence: sequence.saturating_add(skipped) };
        let records: Vec<_> = self
            .records
            .iter()
            .skip(skip)
            .map(|record| BatchRecord {
                timestamp: self.timestamp(record),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: record.headers.iter().map(|header| (&*header.key, header.value.as_deref())),
            })
            .collect();
        let latest = records.iter().map(|record| record.timestamp).max().unwrap_or(self.now);
        (encode_batch(producer, &records).into(), latest)
    }

    /// The places of records that were there already, so many from one on.
    fn found(&self, offset: i64, from: usize, count: usize, lives: Lives) -> Vec<Written> {
        let found = self.placed(offset, -1, from, true, lives);
        found.take(count).map(|written| Written { timestamp: -1, ..written }).collect()
    }

    /// The places of the records from one on.
    fn placed(
        &self,
        offset: i64,
        appended_at: i64,
        from: usize,
        is_duplicate: bool,
        lives: Lives,
    ) -> impl Iterator<Item = Written> {
        let dedup = Some(Dedup { is_duplicate, window: lives.kept() });
        (0_i64..).zip(self.records.iter().skip(from)).map(move |(number, record)| Written {
            partition: self.key.partition,
            offset: if offset < 0 { -1 } else { offset.saturating_add(number) },
            timestamp: if appended_at >= 0 { appended_at } else { self.timestamp(record) },
            dedup,
            ..Written::default()
        })
    }
}

fn refused(refusal: Refusal, lives: Lives) -> CommandError {
    let (fault, code, state, message) = match refusal {
        Refusal::OutOfOrder(state) => (
            Fault::OutOfOrder,
            OUT_OF_ORDER_SEQUENCE_NUMBER,
            state,
            "records of the producer are missing before this one".to_owned(),
        ),
        Refusal::Fenced(state) => {
            (Fault::Fenced, INVALID_PRODUCER_EPOCH, state, "the producer has begun a later epoch".to_owned())
        }
        Refusal::Expired => {
            let kept = hours(lives.kept());
            let message = format!(
                "the partition does not know the producer: it has written nothing for {kept}, or nothing before this \
                 record; begin with sequence 0, with records that were never sent before"
            );
            (Fault::Expired, UNKNOWN_PRODUCER_ID, None, message)
        }
    };
    let expected = state.map(|ProducerState { epoch, sequence }| {
        format!("{message}: expected sequence {sequence} in epoch {epoch}")
    });
    CommandError::new(fault, code, expected.unwrap_or(message)).of_producer(state)
}

fn late() -> CommandError {
    let message =
        "the bridge is shutting down: the records may have been written, a repeat with their sequence tells";
    CommandError::new(Fault::UnknownOutcome { retriable: true }, 0, message).with_retry()
}

fn millis_of(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Accounts that are remembered: 16 MiB. Beyond that, all are forgotten that are not in use, and asked for once more.
const MAX_KEPT: usize = 1 << 16;
/// Questions and batches for one command.
const MAX_TRIES: usize = 6;
/// The greatest distance of a timestamp from now, ahead: Kafka's own default.
const AHEAD: Duration = Duration::from_hours(1);
/// The time for which the life of accounts is not asked for again.
const LIVES_AGE: Duration = Duration::from_mins(10);
const CONTENDED: &str = "others write as this producer at the same time, nothing was written";
const TOO_MANY: &str = "too many new producers of this client at this bridge (limits.new_producers)";
