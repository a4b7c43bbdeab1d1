//! Writing to one cluster, for all its clients.
//!
//! - here: [`Writer`] queues records in order, and reports what became of them
//! - `ready`: the connection and the streams of a command
//! - `message`: a record as a message, and all that is checked before it is sent
//! - `batch`: the messages of one command, from the queue to their acknowledgements; `once`: those of a producer
//! - `answer`: what is answered to a message; `error`: failures as clients see them
//!
//! Messages are published in order, without waiting for each other. Each is stored or refused on its own: unlike with
//! Kafka's producer, a refused message does not stop those after it. Plain subscribers receive a message even if its
//! stream refuses it.
//!
//! Writes have their own connection: a malformed stored message ends the connections of its readers, and must not
//! affect writers.

pub(super) mod answer;
mod batch;
mod error;
mod message;
mod once;
mod ready;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_backend::accounts::Accounts;
use sluicegate_backend::command::Record;
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::write_queue::{Overhead, Queue, QueuePermit, WriteSequencer, size};
use sluicegate_backend::{CommandError, DeliveryReport, Fault, System};
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::metrics::{WriteFailure, WriteMetrics};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::batch::{Batch, Context, Queued};
pub(super) use self::message::Own;
use self::message::{Message, Target};
use self::once::{Key, Last};
use self::ready::{Ready, log};
use super::api::Api;
use super::cluster_config::ClusterConfig;
use super::error::{Incidents, ReadError};
use super::session::Session;
use super::streams::{Stream, Streams};

/// Writes to one cluster.
pub(super) struct Writer {
    api: Arc<Api>,
    streams: Streams,
    /// The time for which the answer of a stream's leader holds.
    pub(super) fresh: Duration,
    queue: Arc<Queue>,
    metrics: WriteMetrics,
    incidents: Arc<Incidents>,
    state: Mutex<State>,
    producers: Arc<Accounts<Key, Last>>,
    /// One for each command whose messages are not all acknowledged.
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    /// The order in which commands are published.
    sequencer: WriteSequencer,
    is_closed: bool,
}

/// Records that were enqueued.
pub(super) struct Enqueued {
    reports: Arc<DeliveryReports<CommandError>>,
    /// Whether each record has a message id.
    ids: Vec<bool>,
    /// The number of queued records.
    pub(super) queued: usize,
}

impl Writer {
    /// Sends nothing before the first call.
    pub(super) fn new(
        api: Api,
        config: &ClusterConfig,
        metrics: WriteMetrics,
        incidents: Arc<Incidents>,
    ) -> Self {
        let api = Arc::new(api);
        Self {
            streams: Streams::new(Arc::clone(&api)),
            api,
            fresh: FRESH,
            queue: Queue::new(config.queue_bytes, config.queue_records),
            metrics,
            incidents,
            state: Mutex::default(),
            producers: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// Connects ahead of the first record. Retries every [`PREPARE_PAUSE`] while a retry can succeed.
    ///
    /// # Cancel safety
    /// A drop ends the attempt.
    pub(super) async fn prepare(&self) {
        while let Err(error) = self.api.connection.session(self.api.deadline()).await {
            self.incidents.not_ready(&error);
            if matches!(error, ReadError::Unreachable { retriable: false, .. }) {
                return;
            }
            sleep(PREPARE_PAUSE).await;
        }
    }

    /// See [`Backend::enqueue`](sluicegate_backend::Backend::enqueue). Waits for a connection and for what is known of
    /// streams, but never for room in the queue.
    ///
    /// # Cancel safety
    /// Nothing is queued before the last wait has ended. After that, a task of its own publishes all that is queued.
    pub(super) async fn enqueue(
        &self,
        source: ClientKey,
        records: &[Record],
        errors: Vec<Option<CommandError>>,
    ) -> Result<Enqueued, CommandError> {
        let ready = match errors.iter().any(Option::is_none) {
            true => Some(self.ready(records, &errors).await?),
            false => None,
        };
        let reports = DeliveryReports::new(records.len());
        let mut ids = Vec::new();
        let mut messages = Vec::new();
        let mut full = false;
        for (index, (record, error)) in records.iter().zip(errors).enumerate() {
            let accepted = match (error, &ready) {
                (Some(error), _) => Err(error),
                (None, Some(ready)) if !full => self.accept(source, index, record, ready, Own::default()),
                (None, _) => Err(CommandError::queue_full()),
            };
            ids.push(accepted.as_ref().is_ok_and(|queued| queued.has_id));
            match accepted {
                Ok(queued) => messages.push(queued),
                Err(error) => {
                    full |= error.fault == Fault::QueueFull;
                    self.metrics.failed(WriteFailure::of(error.fault));
                    reports.settle(index, Err(error));
                }
            }
        }
        let queued = messages.len();
        if let (Some(Ready { session, .. }), 1..) = (ready, queued) {
            self.start(messages, Arc::clone(&reports), session)?;
        }
        Ok(Enqueued { reports, ids, queued })
    }

    /// Checks a record, and reserves its room in the queue.
    fn accept(
        &self,
        source: ClientKey,
        index: usize,
        record: &Record,
        ready: &Ready<'_>,
        own: Own,
    ) -> Result<Queued, CommandError> {
        let (message, Stream { id, info, .. }) = self.message(record, ready, own)?;
        let permit = self.permit(source, size(record, OVERHEAD))?;
        Ok(Queued {
            index,
            stream: Arc::clone(&id.name),
            intake: Arc::clone(&info.intake),
            has_id: message.has_id || own.producer,
            is_elsewhere: false,
            bytes: message.subject.len().saturating_add(message.payload.len()),
            message: Some(message),
            since: Instant::now(),
            _permit: permit,
        })
    }

    /// Checks a record.
    fn message<'a>(
        &self,
        record: &'a Record,
        ready: &'a Ready<'a>,
        own: Own,
    ) -> Result<(Message, &'a Stream), CommandError> {
        let Ready { session, streams, mapped } = ready;
        let missing = || CommandError::new(Fault::NotFound, 0, System::Nats.missing_topic(&record.topic));
        let stream = streams.get(&log(record)).ok_or_else(missing)?;
        let stream = stream.as_ref().map_err(Clone::clone)?;
        let subject = record.key.as_deref().and_then(|key| str::from_utf8(key).ok());
        let target = Target {
            stream: &stream.id.name,
            intake: &stream.info.intake,
            mapped: subject.and_then(|subject| mapped.get(subject)).map(String::as_str),
            inbox: &self.api.connection.config().inbox,
            max_payload: session.max_payload(),
            own,
        };
        Ok((Message::new(record, target)?, stream))
    }

    /// Gives records that cannot be written an error.
    pub(super) async fn check(&self, records: &[Record], errors: &mut [Option<CommandError>], own: Own) {
        let ready = self.ready(records, errors).await;
        for (record, error) in records.iter().zip(errors).filter(|(_, error)| error.is_none()) {
            let message = ready.as_ref().map(|ready| self.message(record, ready, own));
            *error = message.map_or_else(|error| Some(error.clone()), Result::err);
        }
    }

    fn permit(&self, source: ClientKey, bytes: usize) -> Result<QueuePermit, CommandError> {
        if !self.queue.fits(bytes) {
            let problem = format!("message of {bytes} bytes does not fit into the queue (`queue.bytes`)");
            return Err(CommandError::new(Fault::TooLarge, 0, problem));
        }
        self.queue.take(source, bytes).ok_or_else(CommandError::queue_full)
    }

    /// Lets a task publish messages after those that were enqueued before.
    fn start(
        &self,
        messages: Vec<Queued>,
        reports: Arc<DeliveryReports<CommandError>>,
        session: Arc<Session>,
    ) -> Result<(), CommandError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(CommandError::shutting_down());
        }
        let batch = self.batch(messages, reports);
        self.tasks.spawn(batch.write(session, state.sequencer.issue()));
        Ok(())
    }

    fn batch(&self, messages: Vec<Queued>, reports: Arc<DeliveryReports<CommandError>>) -> Batch {
        let context = Context {
            reports,
            deadline: self.api.deadline(),
            domain: self.api.connection.config().domain.clone(),
            metrics: self.metrics.clone(),
            incidents: Arc::clone(&self.incidents),
        };
        Batch::new(messages, context)
    }

    /// Waits for reports, or until `due` is cancelled: the outcome of records without a report is then unknown.
    ///
    /// # Cancel safety
    /// Queued records are still written.
    pub(super) async fn wait(&self, enqueued: Enqueued, due: &CancellationToken) -> Vec<DeliveryReport> {
        let Enqueued { reports, ids, .. } = enqueued;
        let has_id = |index: usize| ids.get(index).is_some_and(|has_id| *has_id);
        reports.wait(due, |index| error::unknown_outcome(0, error::ENDING, has_id(index))).await
    }

    /// Whether records are queued or in flight.
    pub(super) fn has_queued_records(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Waits until `by` for the acknowledgements of all queued records, and ends writing.
    ///
    /// # Cancel safety
    /// After a drop, delivery continues in the background.
    pub(super) async fn close(&self, by: Instant) {
        self.state.lock().is_closed = true;
        self.tasks.close();
        if timeout_at(by, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                records = self.queue.len(),
                event = "records_not_acknowledged",
                "accepted records were not acknowledged in time, they may be lost"
            );
        }
    }

    #[cfg(test)]
    pub(super) fn is_connected(&self) -> bool {
        self.api.connection.current().is_some()
    }
}

/// Changes of a stream's configuration are noticed that late.
const FRESH: Duration = Duration::from_secs(1);
/// Time between two attempts to connect at start.
const PREPARE_PAUSE: Duration = Duration::from_secs(5);
/// By the sizes of async-nats' structures and ours.
const OVERHEAD: Overhead = Overhead { record: 1024, header: 256 };
