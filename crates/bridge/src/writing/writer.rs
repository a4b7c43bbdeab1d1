//! Writing to one cluster, for all sessions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sluicegate_protocol::{ErrorResp, ProduceRecord, Produced};
use tokio::sync::{OwnedSemaphorePermit, RwLockReadGuard, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fates::Fates;
use super::producer::{Handed, Producer};
use super::slot::Slot;
use super::{Settings, failure};
use crate::metrics::WriteMetrics;

/// Writes to one cluster.
pub(crate) struct Writer {
    batches: Slot,
    /// Writes to topics that take smaller batches than the section's: librdkafka splits none that is refused.
    singles: Slot,
    /// Topics that are written to by `singles`; at most [`MAX_NARROW`].
    narrow: Mutex<BTreeSet<String>>,
    /// Bytes that may still be put into the queues. librdkafka counts values only, and would let keys and headers grow.
    room: Arc<Semaphore>,
    queue_bytes: usize,
    unsupported: Option<&'static str>,
    metrics: WriteMetrics,
}

/// Records in the queue, and where their fates are told.
#[derive(Debug)]
pub(crate) struct HandedOver {
    records: Vec<ProduceRecord>,
    fates: Arc<Fates>,
}

impl Writer {
    pub(crate) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        let Settings { queue_bytes, unsupported, .. } = settings;
        Self {
            singles: Slot::new(settings.without_batches(), metrics.clone()),
            batches: Slot::new(settings, metrics.clone()),
            narrow: Mutex::default(),
            room: Arc::new(Semaphore::new(queue_bytes.min(Semaphore::MAX_PERMITS))),
            queue_bytes,
            unsupported,
            metrics,
        }
    }

    /// Succeeds where a producer may be made.
    ///
    /// # Errors
    /// Nothing can be written to this cluster.
    pub(crate) fn check(&self) -> Result<(), ErrorResp> {
        match self.unsupported {
            Some(reason) => Err(failure::refused(0, reason.to_owned())),
            None => Ok(()),
        }
    }

    /// Puts records into the queue in their order. One that is in `refused` is passed by. From the first that finds no room
    /// in the queue on none is put there: a later one would overtake it.
    ///
    /// # Errors
    /// Nothing can be written to this cluster.
    ///
    /// # Cancel safety
    /// None of the records is written, or all that are accepted are: they are put into the queue in one step.
    pub(crate) async fn hand_over(
        &self,
        records: Vec<ProduceRecord>,
        refused: impl IntoIterator<Item = Option<ErrorResp>>,
    ) -> Result<HandedOver, ErrorResp> {
        self.check()?;
        let narrow: Vec<bool> = {
            let topics = self.narrow.lock().unwrap_or_else(PoisonError::into_inner);
            records.iter().map(|record| topics.contains(&record.topic)).collect()
        };
        self.hand(records, refused, narrow).await
    }

    /// As [`hand_over`](Self::hand_over), each record by itself or not.
    async fn hand(
        &self,
        records: Vec<ProduceRecord>,
        refused: impl IntoIterator<Item = Option<ErrorResp>>,
        alone: Vec<bool>,
    ) -> Result<HandedOver, ErrorResp> {
        let batches = producer(&self.batches, alone.contains(&false)).await?;
        let singles = producer(&self.singles, alone.contains(&true)).await?;
        let fates = Fates::new(records.len());
        let mut full = false;
        let checked = records.iter().zip(refused).zip(alone).enumerate();
        for (index, ((record, refused), alone)) in checked {
            let producer = if alone { &singles } else { &batches };
            let sent = match (refused, producer.as_deref().and_then(Option::as_ref)) {
                (Some(error), _) => Err(error),
                (None, Some(producer)) if !full => self.send(producer, record, &fates, index),
                (None, _) => Err(failure::queue_full()),
            };
            if let Err(error) = sent {
                full |= error == failure::queue_full();
                self.metrics.failed.inc();
                fates.settle(index, Err(error));
            }
        }
        Ok(HandedOver { records, fates })
    }

    /// Waits for what becomes of records, or for `due`: who is answered then is told that the rest is unknown.
    ///
    /// A record that was refused with its batch gets another attempt, by itself.
    ///
    /// # Cancel safety
    /// What is in the queue is written, but has no other attempt.
    pub(crate) async fn wait(&self, handed: HandedOver, due: &CancellationToken) -> Vec<Produced> {
        let HandedOver { records, fates } = handed;
        let mut produced = self.fates(&fates, due).await;
        let mut again = Vec::new();
        for (record, produced) in records.into_iter().zip(&mut produced) {
            if let Some(error) = produced.error.as_ref().filter(|error| failure::is_of_batch(error)) {
                if error.code == failure::MESSAGE_TOO_LARGE {
                    self.write_alone(&record.topic);
                }
                again.push((record, produced));
            }
        }
        if again.is_empty() {
            return produced;
        }
        let (records, places): (Vec<_>, Vec<_>) = again.into_iter().unzip();
        let (refused, alone) = (vec![None; records.len()], vec![true; records.len()]);
        let second = match self.hand(records, refused, alone).await {
            Ok(handed) => self.fates(&handed.fates, due).await,
            // The first refusal stands.
            Err(_) => places.iter().map(|produced| Produced::clone(produced)).collect(),
        };
        for (place, second) in places.into_iter().zip(second) {
            if second.error.as_ref().is_some_and(failure::is_of_batch) {
                self.metrics.failed.inc();
            }
            *place = second;
        }
        produced
    }

    /// From now on `topic` is written to record by record.
    fn write_alone(&self, topic: &str) {
        let mut narrow = self.narrow.lock().unwrap_or_else(PoisonError::into_inner);
        if narrow.len() >= MAX_NARROW && !narrow.contains(topic) {
            narrow.pop_first();
        }
        narrow.insert(topic.to_owned());
    }

    async fn fates(&self, fates: &Fates, due: &CancellationToken) -> Vec<Produced> {
        let mut produced = fates.wait(due, failure::late()).await;
        let ended = |produced: &Produced| produced.error.as_ref().is_some_and(failure::is_end);
        if produced.iter().any(ended)
            && let Some(cause) = self.batches.end().await.or(self.singles.end().await)
        {
            for error in produced.iter_mut().filter_map(|produced| produced.error.as_mut()) {
                if failure::is_end(error) {
                    *error = failure::of(&cause, error.unknown_outcome);
                }
            }
        }
        produced
    }

    fn send(
        &self,
        producer: &Producer,
        record: &ProduceRecord,
        fates: &Arc<Fates>,
        index: usize,
    ) -> Result<(), ErrorResp> {
        let room = self.room_for(record)?;
        let handed = Handed { fates: Arc::clone(fates), index, room };
        producer.send(record, handed).map_err(|error| match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => failure::queue_full(),
            KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) => {
                too_large("is larger than the cluster's `message.max.bytes`", record)
            }
            // Nothing of it has left.
            error => failure::of(&error, false),
        })
    }

    fn room_for(&self, record: &ProduceRecord) -> Result<OwnedSemaphorePermit, ErrorResp> {
        let size = size(record);
        let permits = u32::try_from(size).ok().filter(|_| size <= self.queue_bytes);
        let permits = permits.ok_or_else(|| too_large("does not fit into the queue", record))?;
        Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| failure::queue_full())
    }

    /// Delivers what is in the queue until `by`, and ends: what is left then is lost, and a warning tells how much.
    ///
    /// # Cancel safety
    /// What is in the queue is delivered in the background for as long as the process lives.
    pub(crate) async fn close(&self, by: Instant) {
        tokio::join!(self.batches.close(by), self.singles.close(by));
    }
}

async fn producer(
    slot: &Slot,
    is_needed: bool,
) -> Result<Option<RwLockReadGuard<'_, Option<Producer>>>, ErrorResp> {
    if is_needed { slot.producer().await.map(Some) } else { Ok(None) }
}

fn too_large(what: &str, record: &ProduceRecord) -> ErrorResp {
    failure::refused(failure::MESSAGE_TOO_LARGE, format!("a record of {} bytes {what}", size(record)))
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

/// What a record costs beside its bytes, by the sizes of librdkafka's structures and ours.
const RECORD_BYTES: usize = 384;
/// The same of a header.
const HEADER_BYTES: usize = 64;
/// Topics that are known to take smaller batches; beyond them one is forgotten, and found out about again.
const MAX_NARROW: usize = 10_000;
