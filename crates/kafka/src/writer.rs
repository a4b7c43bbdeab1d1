//! Writing to one cluster, for all its clients.
//!
//! - here: [`Writer`] queues records in order, and waits for their delivery reports
//! - `apart`: writes for clients whose records were rejected; `suspects` knows who they are
//! - `slot`: creates the producer at start or on demand, once the reader has checked the brokers
//! - `producer`: librdkafka's producer; `in_flight` counts its records, `ages` tells if one waits for too long
//! - `error`: failures as clients see them
//!
//! Beside it: [`write_queue`](sluicegate_backend::write_queue) bounds the queue, and shares it between clients;
//! [`delivery_reports`](sluicegate_backend::delivery_reports): the reports of one command.

mod ages;
mod apart;
mod error;
mod in_flight;
mod producer;
mod slot;
mod suspects;

#[cfg(test)]
mod mock;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_backend::command::Record;
use sluicegate_backend::delivery_reports::DeliveryReports;
use sluicegate_backend::write_queue::{Overhead, Queue, QueuePermit, size};
use sluicegate_backend::{CommandError, DeliveryReport};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::MESSAGE_TOO_LARGE;
use sluicegate_telemetry::metrics::WriteMetrics;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::apart::Apart;
use self::error::WriteError;
pub(super) use self::error::{NoProducer, invalid_record, invalid_timestamp, too_large_for_topic};
use self::producer::{Parts, Producer, ReportTarget};
use self::slot::{Slot, State};
use self::suspects::Suspects;
use super::settings::Settings;

/// Writes to one cluster.
pub(crate) struct Writer {
    slot: Slot,
    apart: Arc<Apart>,
    suspects: Arc<Suspects>,
    /// Bounds the queue. librdkafka counts only values, so keys and headers could grow without limit.
    queue: Arc<Queue>,
    metrics: WriteMetrics,
}

/// Records that were enqueued.
#[derive(Debug)]
pub(super) struct Enqueued {
    reports: Arc<DeliveryReports<WriteError>>,
    /// The number of queued records.
    pub(super) queued: usize,
    is_apart: bool,
}

impl Writer {
    pub(crate) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        let queue = Queue::new(settings.queue_bytes, settings.queue_records);
        let suspects = Arc::<Suspects>::default();
        let parts = Parts { settings, metrics: metrics.clone(), suspects: Arc::clone(&suspects) };
        let apart = Apart::new(Slot::new(parts.clone()), Arc::clone(&queue), metrics.clone());
        Self { slot: Slot::new(parts), apart: Arc::new(apart), suspects, queue, metrics }
    }

    /// Creates the producer ahead of the first record, which would otherwise wait half a second for it. Retries every
    /// [`PREPARE_PAUSE`] while a retry can succeed.
    ///
    /// # Cancel safety
    /// A drop leaves the current attempt running.
    pub(super) async fn prepare(&self) {
        while let Err(error) = self.slot.producer().await.map(drop) {
            let (reason, retriable) = match error {
                NoProducer::Unreachable { cause, retriable } => (cause, retriable),
                NoProducer::Refused(error) => (error.message, error.fault.is_retriable()),
            };
            if !retriable {
                tracing::warn!(
                    reason,
                    event = "producer_not_created_at_start",
                    "failed to create a producer at start, retrying with the first record"
                );
                return;
            }
            sleep(PREPARE_PAUSE).await;
        }
    }

    /// See [`Backend::enqueue`](sluicegate_backend::Backend::enqueue). Waits for a producer, but never for room in the
    /// queue or for a turn.
    pub(super) async fn enqueue(
        &self,
        source: ClientKey,
        records: Vec<Record>,
        errors: Vec<Option<CommandError>>,
    ) -> Result<Enqueued, NoProducer> {
        let needs_producer = errors.iter().any(Option::is_none);
        // Once it writes apart, a client goes on so until none of its records wait there, and keeps its order.
        let is_apart = self.suspects.contains(source) || self.queue.has_apart(source);
        let slot = self.slot(is_apart);
        let producer = if needs_producer { Some(slot.producer().await?) } else { None };
        let reports = DeliveryReports::new(records.len());
        let mut full = false;
        let mut queued = 0_usize;
        let mut later = Vec::new();
        for (index, (record, error)) in records.into_iter().zip(errors).enumerate() {
            let sent = match (error, producer.as_deref().and_then(State::working)) {
                (Some(error), _) => Err(WriteError::Failed(error)),
                (None, Some(producer)) if !full => {
                    self.permit_for(source, &record, is_apart).and_then(|permit| {
                        let target =
                            ReportTarget { reports: Arc::clone(&reports), index, permit, settled: None };
                        if is_apart {
                            later.push((record, target));
                            return Ok(());
                        }
                        send(producer, &record, target)
                    })
                }
                // It has ended since.
                (None, None) => Err(WriteError::ProducerEnded { unknown_outcome: false }),
                (None, _) => Err(WriteError::queue_full()),
            };
            match sent {
                Ok(()) => queued = queued.saturating_add(1),
                Err(error) => {
                    full |= error.is_queue_full();
                    self.metrics.failed(error.failure());
                    reports.settle(index, Err(error));
                }
            }
        }
        drop(producer);
        if !later.is_empty() {
            self.apart.enqueue(source, later).await;
        }
        Ok(Enqueued { reports, queued, is_apart })
    }

    /// Waits for delivery reports, or until `due` is cancelled: the outcome of records without a report is then
    /// unknown.
    ///
    /// # Cancel safety
    /// Queued records are still written.
    pub(super) async fn wait(&self, enqueued: Enqueued, due: &CancellationToken) -> Vec<DeliveryReport> {
        let reports = enqueued.reports.wait(due, |_| error::late()).await;
        let ended = reports.iter().any(|report| matches!(report, Err(WriteError::ProducerEnded { .. })));
        let slot = self.slot(enqueued.is_apart);
        let cause = if ended { slot.end().await } else { None };
        let with_cause = |error| match (error, &cause) {
            (WriteError::ProducerEnded { unknown_outcome }, Some(cause)) => error::of(cause, unknown_outcome),
            (error, _) => error,
        };
        reports.into_iter().map(|report| report.map_err(|error| with_cause(error).into())).collect()
    }

    fn slot(&self, is_apart: bool) -> &Slot {
        if is_apart { &self.apart.slot } else { &self.slot }
    }

    /// Room in the queue for each of some records.
    ///
    /// # Errors
    /// There is none for one of them.
    pub(super) fn permits(
        &self,
        source: ClientKey,
        records: &[Record],
    ) -> Result<Vec<QueuePermit>, CommandError> {
        let permits = records.iter().map(|record| self.permit_for(source, record, false));
        Ok(permits.collect::<Result<_, _>>()?)
    }

    fn permit_for(
        &self,
        source: ClientKey,
        record: &Record,
        is_apart: bool,
    ) -> Result<QueuePermit, WriteError> {
        let size = size(record, OVERHEAD);
        if !self.queue.fits(size) {
            let error = too_large("does not fit into the queue (`queue.buffering.max.kbytes`)", record);
            return Err(WriteError::Failed(error));
        }
        let permit =
            if is_apart { self.queue.take_apart(source, size) } else { self.queue.take(source, size) };
        permit.ok_or_else(WriteError::queue_full)
    }

    /// Whether records are queued or in flight.
    pub(super) fn has_queued_records(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Delivers queued records until `by`, and ends writing. Records left then are lost, and counted in a warning.
    ///
    /// # Cancel safety
    /// After a drop, delivery continues in the background for as long as the process lives.
    pub(super) async fn close(&self, by: Instant) {
        tokio::join!(self.slot.close(by), self.apart.close(by));
    }
}

fn send(producer: &Producer, record: &Record, target: ReportTarget) -> Result<(), WriteError> {
    producer.send(record, target).map_err(|cause| match cause {
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => WriteError::queue_full(),
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
            WriteError::Failed(too_large("exceeds the cluster's `message.max.bytes`", record))
        }
        // The record was not sent.
        cause => error::of(&cause, false),
    })
}

fn too_large(what: &str, record: &Record) -> CommandError {
    error::refused(MESSAGE_TOO_LARGE, format!("record of {} bytes {what}", size(record, OVERHEAD)))
}

/// Time between two attempts to create a producer at start.
const PREPARE_PAUSE: Duration = Duration::from_secs(5);
/// By the sizes of librdkafka's structures and ours.
const OVERHEAD: Overhead = Overhead { record: 384, header: 64 };
