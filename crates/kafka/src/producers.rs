//! Writes of clients' producers: a batch for each command, which Kafka writes once however often it is sent.
//!
//! - here: [`Producers`] sends the batches of each producer and log in their order, and remembers its account
//! - `account`: decides what becomes of a batch; `batch`: its bytes, and the places of its records
//!
//! librdkafka's producers number records by themselves, so these batches are the reader's.

mod account;
mod batch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use parking_lot::Mutex;
use sluicegate_backend::command::Record;
use sluicegate_backend::number::millis;
use sluicegate_backend::write_queue::{QueuePermit, WriteSequencer, WriteTicket};
use sluicegate_backend::{
    Account, CommandError, DeliveryReport, Enqueued, Fault, Log, ProducerState, Written,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{
    INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, UNKNOWN_PRODUCER_ID,
};
use sluicegate_reader::{ConnectionError, KnownProducer, NotProduced, Produced, ReadError, Reader};
use sluicegate_telemetry::metrics::{WriteFailure, WriteMetrics};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::account::{DEFAULT_LIFE, Known, Lives, Refusal, Step, Told};
use self::batch::{Batch, Key};
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

#[derive(Default)]
struct Kept {
    known: Mutex<Option<Known>>,
    sequencer: Mutex<WriteSequencer>,
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
                    format!("topic {topic} was deleted and created again meanwhile, nothing was written");
                return Err(CommandError::new(Fault::Transient, 0, message).with_retry());
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
            // Brokers before Kafka 2.8 do not know the question. The answer can be too long, too.
            Err(ReadError::Unanswered {
                cause: ConnectionError::Protocol { .. } | ConnectionError::TooLong { .. },
                ..
            }) => Ok(Told::Untold),
            Err(error) if error.is_unavailable() || error.retriable() => Err(self.failed_before(&error)),
            Err(_) => Ok(Told::Untold),
        }
    }

    /// The times of accounts. They are asked for once in [`LIVES_AGE`]; those that are known are taken meanwhile.
    async fn lives(&self) -> Result<Lives, CommandError> {
        let known = {
            let mut lives = self.lives.lock();
            if let Some((asked, lives)) = &mut *lives {
                if asked.elapsed() < LIVES_AGE {
                    return Ok(*lives);
                }
                *asked = Instant::now();
            }
            lives.map(|(_, lives)| lives)
        };
        match (lives(&self.reader).await, known) {
            (Ok((lives, _)), _) => {
                *self.lives.lock() = Some((Instant::now(), lives));
                Ok(lives)
            }
            (Err(_), Some(known)) => Ok(known),
            (Err(error), None) => Err(self.failed_before(&error)),
        }
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

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Accounts that are remembered: 16 MiB. Beyond that, all are forgotten that are not in use, and asked for once more.
const MAX_KEPT: usize = 1 << 16;
/// Questions and batches for one command.
const MAX_TRIES: usize = 6;
/// The time for which the life of accounts is not asked for again.
const LIVES_AGE: Duration = Duration::from_mins(10);
const CONTENDED: &str = "others write as this producer at the same time, nothing was written";
const TOO_MANY: &str = "too many new producers of this client at this bridge (limits.new_producers)";
