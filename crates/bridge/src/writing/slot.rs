//! A place for a producer, which is made when it is needed and again when it came to its end.

use rdkafka::error::KafkaError;
use sluicegate_protocol::ErrorResp;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::producer::Producer;
use super::{Settings, failure};
use crate::metrics::WriteMetrics;

/// The producer is made for the first record: a cluster that is only read from costs neither its threads and connections,
/// nor the right to write.
pub(super) struct Slot {
    settings: Settings,
    metrics: WriteMetrics,
    /// Held for reading while records are handed over, for writing while a producer is made.
    producer: RwLock<Option<Producer>>,
}

impl Slot {
    pub(super) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        Self { settings, metrics, producer: RwLock::new(None) }
    }

    /// The producer that works, made where there is none.
    pub(super) async fn producer(&self) -> Result<RwLockReadGuard<'_, Option<Producer>>, ErrorResp> {
        let works = |producer: &Option<Producer>| producer.as_ref().is_some_and(|one| one.end().is_none());
        let current = self.producer.read().await;
        if works(&current) {
            return Ok(current);
        }
        drop(current);
        let mut current = self.producer.write().await;
        if !works(&current) {
            let (settings, metrics) = (self.settings.clone(), self.metrics.clone());
            let made = spawn_blocking(move || Producer::new(&settings, metrics)).await;
            let made = made.map_err(|error| unusable(&error))?.map_err(|error| unusable(&error))?;
            let dead = current.replace(made);
            // Its drop blocks.
            spawn_blocking(move || drop(dead));
        }
        Ok(current.downgrade())
    }

    /// Why the producer that is there can write no more.
    pub(super) async fn end(&self) -> Option<KafkaError> {
        self.producer.read().await.as_ref().and_then(Producer::end)
    }

    /// As [`Writer::close`](super::Writer::close).
    pub(super) async fn close(&self, by: Instant) {
        let Some(producer) = self.producer.write().await.take() else { return };
        let within = by.saturating_duration_since(Instant::now());
        let closed = spawn_blocking(move || producer.flush(within)).await;
        if let Ok(left @ 1..) = closed {
            tracing::warn!(records = left, "records that were accepted could not be delivered in time");
        }
    }
}

/// librdkafka's reason may name files, and is for the log only.
fn unusable(error: &dyn std::error::Error) -> ErrorResp {
    tracing::warn!(error = %error, "no producer can be made of the cluster's properties");
    failure::refused(0, "the bridge cannot write to this cluster: its log says why".to_owned())
}
