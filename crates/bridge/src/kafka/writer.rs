//! Writing to one cluster, for all its clients.
//!
//! - here: [`Writer`] queues records in order, and waits for their delivery reports
//! - `queue`: bounds the queue, and shares it between clients
//! - `slot`: creates the producer at start or on demand, once the reader has checked the brokers
//! - `producer`: librdkafka's producer; `in_flight` counts its records
//! - `delivery_reports`: the reports of one command; `error`: failures as clients see them

mod delivery_reports;
mod error;
mod in_flight;
mod producer;
mod queue;
mod slot;

#[cfg(test)]
mod mock;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_protocol::ProduceRecord;
use sluicegate_protocol::error_code::MESSAGE_TOO_LARGE;
use sluicegate_ws_session::source::Source;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(super) use self::error::NoProducer;

use self::delivery_reports::DeliveryReports;
use self::error::WriteError;
use self::producer::{Producer, ReportTarget};
use self::queue::{Queue, QueuePermit};
use self::slot::{Slot, State};
use super::settings::Settings;
use crate::backend::{CommandError, DeliveryReport, Fault};
use crate::metrics::WriteMetrics;

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
    reports: Arc<DeliveryReports>,
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
                (None, _) => Err(WriteError::Failed(error::queue_full())),
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
        let reports = handed.reports.wait(due, error::late()).await;
        let ended = reports.iter().any(|report| matches!(report, Err(WriteError::ProducerEnded { .. })));
        let cause = if ended { self.slot.end().await } else { None };
        let with_cause = |error| match (error, &cause) {
            (WriteError::ProducerEnded { unknown_outcome }, Some(cause)) => error::of(cause, unknown_outcome),
            (error, _) => error,
        };
        reports.into_iter().map(|report| report.map_err(|error| with_cause(error).into())).collect()
    }

    fn permit_for(&self, source: Source, record: &ProduceRecord) -> Result<QueuePermit, CommandError> {
        let size = size(record);
        if !self.queue.fits(size) {
            return Err(too_large("does not fit into the queue (`queue.buffering.max.kbytes`)", record));
        }
        self.queue.take(source, size).ok_or_else(error::queue_full)
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
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => WriteError::Failed(error::queue_full()),
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
            WriteError::Failed(too_large("exceeds the cluster's `message.max.bytes`", record))
        }
        // The record was not sent.
        cause => error::of(&cause, false),
    })
}

fn too_large(what: &str, record: &ProduceRecord) -> CommandError {
    error::refused(MESSAGE_TOO_LARGE, format!("record of {} bytes {what}", size(record)))
}

/// The memory of a record in the queue, in bytes.
fn size(record: &ProduceRecord) -> usize {
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let header = |header: &sluicegate_protocol::Header| {
        header.key.len().saturating_add(len(&header.value)).saturating_add(HEADER_BYTES)
    };
    let headers = record.headers.iter().map(header).fold(0, usize::saturating_add);
    len(&record.key).saturating_add(len(&record.value)).saturating_add(headers).saturating_add(RECORD_BYTES)
}

/// Time between two attempts to create a producer at start.
const PREPARE_PAUSE: Duration = Duration::from_secs(5);
/// The memory of a record besides its own bytes, by the sizes of librdkafka's structures and ours.
const RECORD_BYTES: usize = 384;
/// The same for a header.
const HEADER_BYTES: usize = 64;
