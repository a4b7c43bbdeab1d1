//! Writes of clients' producers: a batch for each command, which Kafka writes once however often it is sent.
//!
//! - here: [`Producers`] sends the batches of each producer and log in their order, and remembers its account
//! - `batch`: the bytes of a batch, and the places of its records
//!
//! librdkafka's producers number records by themselves, so these batches are the reader's.

mod batch;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use sluicegate_backend::accounts::{
    Accounts, Claim, Kept, Known, Lives, Refusal, Refused, Step, Told, contended,
};
use sluicegate_backend::command::Record;
use sluicegate_backend::number::millis;
use sluicegate_backend::write_queue::{QueuePermit, WriteTicket};
use sluicegate_backend::{
    Account, CommandError, Dedup, DeliveryReport, Enqueued, Fault, LOG_END, LOG_START, Log, Written,
};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{
    INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE,
};
use sluicegate_reader::{ConnectionError, KnownProducer, NotProduced, Produced, ReadError, Reader};
use sluicegate_telemetry::metrics::{WriteFailure, WriteMetrics};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::batch::{Batch, Key, millis_of};
use super::incidents::Incidents;
use super::{error, writer};

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
    accounts: Accounts<Key, Known>,
    lives: Mutex<Option<(Instant, Lives)>>,
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
            patience: patience.min(MAX_PATIENCE),
            accounts: Accounts::default(),
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
        let kept = parts.accounts.of(key.clone());
        let ticket = kept.sequencer.lock().issue();
        let now = millis(SystemTime::now());
        let batch = Batch { source, key, account, records, now, queued: Instant::now(), _permits: permits };
        let (told, reports) = oneshot::channel();
        let writing = Arc::clone(parts);
        parts.metrics.queued.inc_by(gauge(count));
        self.tasks.spawn(async move {
            let reports = writing.write(&batch, kept, ticket).await;
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
        // The rest is tried until the process ends.
        let _ = tokio::time::timeout_at(by, self.tasks.wait()).await;
    }
}

impl Parts {
    async fn write(
        &self,
        batch: &Batch,
        kept: Arc<Kept<Known>>,
        mut ticket: WriteTicket,
    ) -> Vec<DeliveryReport> {
        ticket.wait().await;
        let (mut is_open, count) = (false, batch.records.len());
        let reports = match self.settle(batch, &kept, &mut is_open).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            // An earlier try can still arrive.
            Err(_) if is_open => Failed::from(unknown_outcome(STILL_OPEN)).reports(count),
            Err(failed) => failed.reports(count),
        };
        drop(ticket);
        self.accounts.release(&batch.key, kept);
        for (record, report) in batch.records.iter().zip(&reports) {
            match report {
                Ok(Written { dedup: Some(Dedup { is_duplicate: true, .. }), .. }) => {}
                Ok(_) => self.metrics.written(record.bytes(), batch.queued.elapsed()),
                Err(error) => self.metrics.failed(WriteFailure::of(error.fault)),
            }
        }
        reports
    }

    /// Where the records are. `is_open`: a try before the last one may have written them.
    async fn settle(
        &self,
        batch: &Batch,
        kept: &Kept<Known>,
        is_open: &mut bool,
    ) -> Result<Vec<Written>, Failed> {
        let deadline = batch.queued.checked_add(self.patience).unwrap_or(batch.queued);
        let lives = self.lives().await?;
        let claim = Claim::of(&batch.account, batch.records.len())?;
        let remembered = *kept.known.lock();
        let mut told = None;
        let mut step = claim.begin(remembered);
        for _ in 0..MAX_STEPS {
            let last = claim.last_with(told.map(|(known, _)| known).or(remembered));
            let dedup =
                |is_duplicate| Dedup { is_duplicate, window: lives.kept(), in_order: true, last: Some(last) };
            match step {
                Step::Ask => {
                    let answer = self.ask(batch, kept, &mut told, lives).await?;
                    step = claim.told(answer, remembered, lives);
                }
                Step::LookBack { is_missing } => {
                    step = claim.looked_back(self.has_all_since_first_try(batch).await?, is_missing);
                }
                Step::Duplicate => {
                    // Otherwise it was acknowledged, as it is remembered.
                    if let Some((_, leader_epoch)) = told {
                        self.replicated(batch, leader_epoch, deadline).await?;
                    }
                    return Ok(batch.found(batch.records.len(), dedup(true)));
                }
                Step::Refuse(refusal) => return Err(refused(refusal, lives).into()),
                Step::Send { skip, is_repeat, is_new } => {
                    let sent = self.send(batch, (skip, is_new), dedup(is_repeat), lives, deadline);
                    let (sent, may_be_written) = sent.await?;
                    *is_open |= may_be_written;
                    match sent {
                        Sent::Written(written, latest) => {
                            let since = batch.now.saturating_sub(latest).try_into().unwrap_or(0);
                            let until = lives.until(Duration::from_millis(since));
                            let mut known = kept.known.lock();
                            *known = Some(Known { epoch: claim.epoch, last: claim.last_with(*known), until });
                            return Ok(written);
                        }
                        sent => {
                            let refused = Refused { is_repeat, is_fenced: matches!(sent, Sent::Fenced) };
                            let answer = self.ask(batch, kept, &mut told, lives).await?;
                            step = claim.refused(answer, remembered, lives, refused);
                        }
                    }
                }
            }
        }
        // Others write as the same producer at the same time.
        Err(contended().into())
    }

    /// Sends the batch. Gives as well whether a try before the last one may have written it.
    async fn send(
        &self,
        batch: &Batch,
        (skip, is_new): (usize, bool),
        dedup: Dedup,
        lives: Lives,
        deadline: Instant,
    ) -> Result<(Sent, bool), Failed> {
        if !dedup.is_duplicate {
            batch.check_times(skip, lives)?;
        }
        let new = &batch.account.new;
        let taken = is_new.then(|| new.take_one()).transpose().map_err(|until| {
            let retry_after = until.saturating_duration_since(Instant::now());
            CommandError { retry_after, ..CommandError::new(Fault::QuotaExceeded, 0, TOO_MANY) }
        })?;
        let Key { topic, topic_id, .. } = &batch.key;
        let encode = || batch.encode(skip);
        let produced = self.reader.produce(batch.source, batch.log(), *topic_id, encode, deadline).await;
        let (produced, is_open) = match produced {
            Ok(produced) => produced,
            Err(failed) => {
                if let (Some(taken), false) = (taken, failed.may_be_written) {
                    new.give_back(taken);
                }
                return Err(self.failed(batch, skip, failed));
            }
        };
        let mut is_repeat = dedup.is_duplicate;
        let sent = match produced {
            Produced::Written { offset, appended_at } => {
                // Without a right to the account. Of records that keep their times, only those that were there have another.
                if !is_repeat && appended_at >= 0 && !batch.account.age.is_zero() {
                    is_repeat = self.reader.keeps_times(batch.source, topic).await.unwrap_or(false);
                }
                let dedup = Dedup { is_duplicate: is_repeat, ..dedup };
                let latest = if appended_at >= 0 { appended_at } else { batch.latest(skip) };
                let mut written = batch.found(skip, dedup);
                written.extend(batch.placed(offset, appended_at, skip, dedup));
                Sent::Written(written, latest)
            }
            Produced::OutOfOrder => Sent::OutOfOrder,
            Produced::Fenced => Sent::Fenced,
            // The topic that was deleted can have got the batch before.
            Produced::Recreated if is_open => return Err(unknown_outcome(STILL_OPEN).into()),
            Produced::Recreated => {
                let message =
                    format!("topic {topic} was deleted and created again meanwhile, nothing was written");
                return Err(CommandError::new(Fault::Transient, 0, message).with_retry().into());
            }
        };
        let is_begun = matches!(sent, Sent::Written(..)) && !is_repeat;
        if let (Some(taken), false) = (taken, is_begun) {
            new.give_back(taken);
        }
        Ok((sent, is_open))
    }

    /// Whether the log still has what was there before the batch was first sent, and with it all that was written since.
    async fn has_all_since_first_try(&self, batch: &Batch) -> Result<bool, CommandError> {
        let first_try = batch.now.saturating_sub(millis_of(batch.account.age.saturating_add(CLOCKS)));
        let asked = [LOG_START, first_try.max(0), LOG_END].map(|timestamp| (batch.log(), timestamp));
        let mut offsets = [0; 3];
        let mut listed = pin!(self.reader.list_offsets(batch.source, &asked, false));
        while let Some((number, listed)) = listed.next().await {
            let listed = listed.map_err(|error| self.failed_before(&error))?;
            offsets.get_mut(number).into_iter().for_each(|offset| *offset = listed.offset);
        }
        let [start, since, end] = offsets;
        Ok(start == 0 || start < if since >= 0 { since } else { end })
    }

    /// Waits until all replicas in sync have what the leader of this epoch has: it counts records that they do not have yet.
    async fn replicated(
        &self,
        batch: &Batch,
        leader_epoch: i32,
        deadline: Instant,
    ) -> Result<(), CommandError> {
        let (log, source) = (batch.log(), batch.source);
        let end = self.reader.end_of_epoch(source, log, leader_epoch).await;
        let end = end.map_err(|error| self.failed_before(&error))?;
        while let Some(end) = end {
            let committed = pin!(self.reader.list_offsets(source, &[(log, LOG_END)], false)).next().await;
            let Some((_, committed)) = committed else { break };
            if committed.map_err(|error| self.failed_before(&error))?.offset >= end {
                // Another leader may not have it.
                if self.reader.version(log).and_then(|version| version.leader_epoch) == Some(leader_epoch) {
                    return Ok(());
                }
                break;
            }
            if Instant::now() >= deadline {
                break;
            }
            sleep(LOOK).await;
        }
        Err(unknown_outcome(
            "the replicas in sync do not have the records yet; a repeat with their sequence tells",
        ))
    }

    /// Asks the partition for the account. `told`: the account, and the epoch of the leader that tells it.
    async fn ask(
        &self,
        batch: &Batch,
        kept: &Kept<Known>,
        told: &mut Option<(Known, i32)>,
        lives: Lives,
    ) -> Result<Told, CommandError> {
        *told = None;
        batch.account.questions.take(QUESTION).await;
        let answer = match self.reader.known_producer(batch.source, batch.log(), batch.key.id).await {
            Ok(None) => Told::Missing,
            Ok(Some((KnownProducer { epoch, last_sequence, last_timestamp }, leader_epoch))) => {
                let since = millis(SystemTime::now()).saturating_sub(last_timestamp);
                let until = lives.until(Duration::from_millis(since.try_into().unwrap_or(0)));
                let known = Known { epoch, last: last_sequence, until };
                *told = Some((known, leader_epoch));
                return Ok(Told::Known(known));
            }
            // Brokers before Kafka 2.8 do not know the question.
            Err(ReadError::Unanswered { cause: ConnectionError::Protocol { .. }, .. }) => Told::Untold,
            Err(error @ ReadError::Unanswered { cause: ConnectionError::TooLong { .. }, .. }) => {
                // Logged, as gaps and forgotten producers are not recognized meanwhile.
                self.incidents.public(&error);
                Told::Untold
            }
            Err(error) if error.is_unavailable() || error.retriable() => {
                return Err(self.failed_before(&error));
            }
            Err(_) => Told::Untold,
        };
        *kept.known.lock() = None;
        Ok(answer)
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
            (Ok(lives), _) => {
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

    /// Why the records behind the first ones were not written.
    fn failed(&self, batch: &Batch, skip: usize, failed: NotProduced) -> Failed {
        let NotProduced { error, invalid, may_be_written } = failed;
        if may_be_written {
            let text = self.incidents.public(&error);
            return unknown_outcome(format!("{text}; a repeat with their sequence tells")).into();
        }
        let count = batch.records.len();
        let (error, is_of_one) = match i32::from(error.code()) {
            MESSAGE_TOO_LARGE | RECORD_LIST_TOO_LARGE if count > 1 => {
                let message =
                    "the records of the command exceed the topic's `max.message.bytes` together: send fewer";
                (CommandError::new(Fault::TooLarge, MESSAGE_TOO_LARGE, message), false)
            }
            MESSAGE_TOO_LARGE | RECORD_LIST_TOO_LARGE => (writer::too_large_for_topic(), true),
            INVALID_RECORD => (writer::invalid_record(), true),
            INVALID_TIMESTAMP => (writer::invalid_timestamp(), true),
            _ => (self.failed_before(&error), false),
        };
        let at: Vec<usize> = invalid.into_iter().map(|at| at.saturating_add(skip)).collect();
        Failed { error, at: if is_of_one { at } else { Vec::new() } }
    }
}

/// Why a batch was not written, and the places of the records that are the cause; none: all of them are.
struct Failed {
    error: CommandError,
    at: Vec<usize>,
}

impl From<CommandError> for Failed {
    fn from(error: CommandError) -> Self {
        Self { error, at: Vec::new() }
    }
}

impl Failed {
    fn reports(self, count: usize) -> Vec<DeliveryReport> {
        let of = |place| match self.at.is_empty() || self.at.contains(&place) {
            true => Err(self.error.clone()),
            false => Err(CommandError::beside_refused()),
        };
        (0..count).map(of).collect()
    }
}

/// The times of accounts in a cluster. Its user may have no right to know.
async fn lives(reader: &Reader) -> Result<Lives, ReadError> {
    match reader.producer_life().await {
        Err(error) if error.is_unavailable() || error.retriable() => Err(error),
        told => Ok(told.ok().flatten().map_or_else(Lives::assumed, Lives::of)),
    }
}

/// The time for which repeats are recognized, in words.
pub(super) async fn recognition(reader: &Reader) -> Result<String, ReadError> {
    let lives = lives(reader).await?;
    let by = if lives.is_told() { "by" } else { "if it has its default," };
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
    refusal.into_error(|| {
        format!(
            "the partition does not know the producer: its first record (sequence 0) is not written yet, it has written \
             nothing for {}, or the record was first sent longer ago; begin the next epoch with records that were never \
             sent before",
            hours(lives.kept())
        )
    })
}

fn late() -> CommandError {
    unknown_outcome(
        "the bridge is shutting down: the records may have been written, a repeat with their sequence tells",
    )
}

fn unknown_outcome(message: impl Into<String>) -> CommandError {
    CommandError::new(Fault::UnknownOutcome { retriable: true }, 0, message).with_retry()
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Questions and batches for one command.
const MAX_STEPS: usize = 8;
/// A question about a producer, in requests of a session: the partition tells all that it knows.
const QUESTION: usize = 100;
/// The distance of clocks that is allowed for, in a look back.
const CLOCKS: Duration = Duration::from_mins(1);
/// The time between two looks at the replicas.
const LOOK: Duration = Duration::from_millis(50);
/// The longest time for which a batch is tried. Clients begin another epoch some seconds later.
const MAX_PATIENCE: Duration = Duration::from_secs(30);
const STILL_OPEN: &str = "a try of the command is still under way; a repeat with its sequence tells";
/// The time for which the life of accounts is not asked for again.
const LIVES_AGE: Duration = Duration::from_mins(10);
const TOO_MANY: &str = "too many new producers of this client at this bridge (limits.new_producers)";
