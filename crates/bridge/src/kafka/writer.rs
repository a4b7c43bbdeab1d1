//! Writing to one cluster, for all its clients.
//!
//! - here: [`Writer`] queues records in order, and waits for their delivery reports
//! - `slot`: creates the producer at start or on demand, once the reader has checked the brokers
//! - `producer`: librdkafka's producer; `in_flight` counts its records
//! - `error`: failures as clients see them
//!
//! Beside it: [`write_queue`](crate::write_queue) bounds the queue, and shares it between clients;
//! [`delivery_reports`](crate::delivery_reports): the reports of one command.

mod error;
mod in_flight;
mod producer;
mod slot;

#[cfg(test)]
mod mock;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_fair_share::Source;
use sluicegate_protocol::ProduceRecord;
use sluicegate_protocol::error_code::MESSAGE_TOO_LARGE;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(super) use self::error::NoProducer;

use self::error::WriteError;
use self::producer::{Producer, ReportTarget};
use self::slot::{Slot, State};
use super::settings::Settings;
use crate::backend::{CommandError, DeliveryReport, Fault};
use crate::delivery_reports::DeliveryReports;
use crate::metrics::WriteMetrics;
use crate::write_queue::{Overhead, Queue, QueuePermit, size};

/// Writes to one cluster.
pub(crate) struct Writer {
    slot: Slot,
    /// Bounds the queue. librdkafka counts only values, so keys and headers could grow without limit.
    queue: Arc<Queue>,
    metrics: WriteMetrics,
}

/// Records that were handed over.
#[derive(Debug)]
pub(super) struct Enqueued {
    reports: Arc<DeliveryReports<WriteError>>,
    /// The number of queued records.
    pub(super) queued: usize,
}

impl Writer {
    pub(crate) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        Self {
            queue: Queue::new(settings.queue_bytes, settings.queue_records),
            slot: Slot::new(settings, metrics.clone()),
            metrics,
        }
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

    /// See [`Backend::hand_over`](crate::backend::Backend::hand_over). Waits for a producer, but never for room in the
    /// queue.
    pub(super) async fn hand_over(
        &self,
        source: Source,
        records: Vec<ProduceRecord>,
        errors: Vec<Option<CommandError>>,
    ) -> Result<Enqueued, NoProducer> {
        let needs_producer = errors.iter().any(Option::is_none);
        let producer = if needs_producer { Some(self.slot.producer().await?) } else { None };
        let reports = DeliveryReports::new(records.len());
        let mut full = false;
        let mut queued = 0_usize;
        for (index, (record, error)) in records.iter().zip(errors).enumerate() {
            let sent = match (error, producer.as_deref().and_then(State::working)) {
                (Some(error), _) => Err(WriteError::Failed(error)),
                (None, Some(producer)) if !full => match self.permit_for(source, record) {
                    Ok(permit) => {
                        send(producer, record, ReportTarget { reports: Arc::clone(&reports), index, permit })
                    }
                    Err(error) => Err(WriteError::Failed(error)),
                },
                (None, _) => Err(WriteError::Failed(CommandError::queue_full())),
            };
            match sent {
                Ok(()) => queued = queued.saturating_add(1),
                Err(error) => {
                    full |= matches!(&error, WriteError::Failed(error) if error.fault == Fault::QueueFull);
                    self.metrics.failed(error.failure());
                    reports.settle(index, Err(error));
                }
            }
        }
        Ok(Enqueued { reports, queued })
    }

    /// Waits for delivery reports, or until `due` is cancelled: the outcome of records without a report is then
    /// unknown.
    ///
    /// # Cancel safety
    /// Queued records are still written.
    pub(super) async fn wait(&self, handed: Enqueued, due: &CancellationToken) -> Vec<DeliveryReport> {
        let reports = handed.reports.wait(due, |_| error::late()).await;
        let ended = reports.iter().any(|report| matches!(report, Err(WriteError::ProducerEnded { .. })));
        let cause = if ended { self.slot.end().await } else { None };
        let with_cause = |error| match (error, &cause) {
            (WriteError::ProducerEnded { unknown_outcome }, Some(cause)) => error::of(cause, unknown_outcome),
            (error, _) => error,
        };
        reports.into_iter().map(|report| report.map_err(|error| with_cause(error).into())).collect()
    }

    fn permit_for(&self, source: Source, record: &ProduceRecord) -> Result<QueuePermit, CommandError> {
        let size = size(record, OVERHEAD);
        if !self.queue.fits(size) {
            return Err(too_large("does not fit into the queue (`queue.buffering.max.kbytes`)", record));
        }
        self.queue.take(source, size).ok_or_else(CommandError::queue_full)
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
        self.slot.close(by).await;
    }
}

fn send(producer: &Producer, record: &ProduceRecord, handed: ReportTarget) -> Result<(), WriteError> {
    producer.send(record, handed).map_err(|cause| match cause {
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => {
            WriteError::Failed(CommandError::queue_full())
        }
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
            WriteError::Failed(too_large("exceeds the cluster's `message.max.bytes`", record))
        }
        // The record was not sent.
        cause => error::of(&cause, false),
    })
}

fn too_large(what: &str, record: &ProduceRecord) -> CommandError {
    error::refused(MESSAGE_TOO_LARGE, format!("record of {} bytes {what}", size(record, OVERHEAD)))
}

/// Time between two attempts to create a producer at start.
const PREPARE_PAUSE: Duration = Duration::from_secs(5);
/// By the sizes of librdkafka's structures and ours.
const OVERHEAD: Overhead = Overhead { record: 384, header: 64 };
