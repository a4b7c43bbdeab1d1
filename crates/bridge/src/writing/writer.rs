//! Writing to one cluster, for all sessions.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_protocol::{ErrorResp, ProduceRecord};
use sluicegate_ws_session::source::Source;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::failure::WriteError;
use super::fates::{Fate, Fates};
use super::producer::{Handed, Producer};
use super::queue::{Queue, Room};
use super::slot::{Slot, State};
use super::{Settings, failure};
use crate::kafka_code::MESSAGE_TOO_LARGE;
use crate::metrics::WriteMetrics;

/// Writes to one cluster.
pub(crate) struct Writer {
    pub(super) slot: Slot,
    /// The queue's bound. librdkafka counts only values, so keys and headers could grow without limit.
    queue: Arc<Queue>,
    metrics: WriteMetrics,
}

/// Where the fates of records are told that were handed over.
#[derive(Debug)]
pub(crate) struct HandedOver {
    fates: Arc<Fates>,
    /// How many of them were put into the queue.
    pub(crate) queued: usize,
}

impl Writer {
    pub(crate) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        Self {
            queue: Queue::new(settings.queue_bytes, settings.queue_records),
            slot: Slot::new(settings, metrics.clone()),
            metrics,
        }
    }

    /// Makes the producer before the first record, which else waits half a second for it. Tries again as long as that may
    /// help, at a pace of [`PREPARE_PAUSE`].
    ///
    /// # Cancel safety
    /// A drop leaves the attempt under way running.
    pub(crate) async fn prepare(&self) {
        while let Err(error) = self.slot.producer().await.map(drop) {
            let ErrorResp { message, retriable, .. } = error.into();
            if !retriable {
                tracing::warn!(
                    reason = message,
                    "no producer could be made at start: the first record tries again"
                );
                return;
            }
            sleep(PREPARE_PAUSE).await;
        }
    }

    /// Puts records of `source` into the queue in their order. One that is in `refused` is passed by. From the first that finds no room
    /// in the queue on none is put there: a later one would overtake it. A full queue is not waited for, only a producer is.
    ///
    /// # Errors
    /// There is no producer, and at least one record needs it. None of the records is written.
    ///
    /// # Cancel safety
    /// None of the records is written, or all that are accepted are: they are put into the queue in one step.
    pub(crate) async fn hand_over(
        &self,
        source: Source,
        records: Vec<ProduceRecord>,
        refused: impl IntoIterator<Item = Option<WriteError>>,
    ) -> Result<HandedOver, WriteError> {
        let refused: Vec<_> = refused.into_iter().collect();
        let needs_producer = refused.iter().any(Option::is_none);
        let producer = if needs_producer { Some(self.slot.producer().await?) } else { None };
        let fates = Fates::new(records.len());
        let mut full = false;
        let mut queued = 0_usize;
        for (index, (record, refused)) in records.iter().zip(refused).enumerate() {
            let sent = match (refused, producer.as_deref().and_then(State::working)) {
                (Some(error), _) => Err(error),
                (None, Some(producer)) if !full => match self.room_for(source, record) {
                    Ok(room) => send(producer, record, Handed { fates: Arc::clone(&fates), index, room }),
                    Err(error) => Err(error),
                },
                (None, _) => Err(WriteError::QueueFull),
            };
            match sent {
                Ok(()) => queued = queued.saturating_add(1),
                Err(error) => {
                    full |= error == WriteError::QueueFull;
                    self.metrics.failed.inc();
                    fates.settle(index, Err(error));
                }
            }
        }
        Ok(HandedOver { fates, queued })
    }

    /// Waits for what becomes of records, or for `due`: who is answered then is told that the rest is unknown.
    ///
    /// # Cancel safety
    /// What is in the queue is written.
    pub(crate) async fn wait(&self, handed: HandedOver, due: &CancellationToken) -> Vec<Fate> {
        let mut fates = handed.fates.wait(due, failure::late()).await;
        let ended = fates.iter().any(|fate| matches!(fate, Err(WriteError::ProducerEnded { .. })));
        if ended && let Some(cause) = self.slot.end().await {
            for error in fates.iter_mut().filter_map(|fate| fate.as_mut().err()) {
                if let WriteError::ProducerEnded { unknown_outcome } = *error {
                    *error = failure::of(&cause, unknown_outcome);
                }
            }
        }
        fates
    }

    fn room_for(&self, source: Source, record: &ProduceRecord) -> Result<Room, WriteError> {
        let size = size(record);
        if !self.queue.fits(size) {
            return Err(too_large("does not fit into the queue", record));
        }
        self.queue.take(source, size).ok_or(WriteError::QueueFull)
    }

    /// Whether anything is in the queue or on its way.
    pub(crate) fn has_queued_records(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Delivers what is in the queue until `by`, and ends: what is left then is lost, and a warning tells how much.
    ///
    /// # Cancel safety
    /// What is in the queue is delivered in the background for as long as the process lives.
    pub(crate) async fn close(&self, by: Instant) {
        self.slot.close(by).await;
    }
}

fn send(producer: &Producer, record: &ProduceRecord, handed: Handed) -> Result<(), WriteError> {
    producer.send(record, handed).map_err(|error| match error {
        KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => WriteError::QueueFull,
        KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
            too_large("is larger than the cluster's `message.max.bytes`", record)
        }
        // Nothing of it has left.
        error => failure::of(&error, false),
    })
}

fn too_large(what: &str, record: &ProduceRecord) -> WriteError {
    failure::refused(MESSAGE_TOO_LARGE, format!("a record of {} bytes {what}", size(record)))
}

/// What a record costs while it is on its way, in bytes.
fn size(record: &ProduceRecord) -> usize {
    let len = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let header = |header: &sluicegate_protocol::Header| {
        header.key.len().saturating_add(len(&header.value)).saturating_add(HEADER_BYTES)
    };
    let headers = record.headers.iter().map(header).fold(0, usize::saturating_add);
    len(&record.key).saturating_add(len(&record.value)).saturating_add(headers).saturating_add(RECORD_BYTES)
}

/// How long after an attempt to make a producer ahead the next one is made.
const PREPARE_PAUSE: Duration = Duration::from_secs(5);
/// What a record costs beside its bytes, by the sizes of librdkafka's structures and ours.
const RECORD_BYTES: usize = 384;
/// The same of a header.
const HEADER_BYTES: usize = 64;
