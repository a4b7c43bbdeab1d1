//! A place for a producer, which is made when it is needed and again when it came to its end.

use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::failure::WriteError;
use super::producer::{Producer, Tokens};
use super::{Settings, failure};
use crate::metrics::WriteMetrics;

/// The producer is made for the first record: a cluster that is only read from costs neither its threads and connections,
/// nor the right to write.
pub(super) struct Slot {
    settings: Settings,
    metrics: WriteMetrics,
    /// How long after one producer no other is made: whoever may not write would need one for each command.
    pub(super) pause: Duration,
    /// Held for reading while records are handed over, for writing while a producer is made.
    state: RwLock<State>,
}

#[derive(Default)]
pub(super) struct State {
    producer: Option<Producer>,
    /// When the last one was made, or could not be.
    made: Option<Instant>,
    /// Why it could not be made.
    unusable: Option<WriteError>,
    /// Why the one before it came to its end.
    last_end: Option<KafkaError>,
}

impl State {
    /// The producer, while it can write.
    pub(super) fn working(&self) -> Option<&Producer> {
        self.producer.as_ref().filter(|producer| producer.end().is_none())
    }

    fn end(&self) -> Option<KafkaError> {
        self.producer.as_ref().and_then(Producer::end)
    }

    /// Why there is none that works.
    fn reason(&self) -> WriteError {
        let end = self.end().map(|cause| failure::of(&cause, false));
        end.or_else(|| self.unusable.clone()).unwrap_or_else(failure::ending)
    }
}

impl Slot {
    pub(super) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        Self { settings, metrics, pause: PAUSE, state: RwLock::default() }
    }

    /// The producer that works, made where there is none.
    ///
    /// # Errors
    /// It cannot be made, or the last one came to its end and is younger than the pause: why that was.
    pub(super) async fn producer(&self) -> Result<RwLockReadGuard<'_, State>, WriteError> {
        let current = self.state.read().await;
        if current.working().is_some() {
            return Ok(current);
        }
        drop(current);
        let mut current = self.state.write().await;
        if current.working().is_none() {
            if current.made.is_some_and(|made| made.elapsed() < self.pause) {
                return Err(current.reason());
            }
            let tokens = match &self.settings.tokens {
                Some(reader) => Some(Tokens::first(reader.clone()).await.map_err(failure::no_token)?),
                None => None,
            };
            let (settings, metrics) = (self.settings.clone(), self.metrics.clone());
            let made = spawn_blocking(move || Producer::new(settings, metrics, tokens)).await;
            current.made = Some(Instant::now());
            match made {
                Ok(Ok(producer)) => {
                    current.last_end = current.end();
                    let dead = current.producer.replace(producer);
                    // Its drop blocks.
                    spawn_blocking(move || drop(dead));
                }
                Ok(Err(error)) => {
                    let error = self.unusable(&error);
                    current.unusable = Some(error.clone());
                    return Err(error);
                }
                // The runtime is ending.
                Err(_) => return Err(failure::ending()),
            }
        }
        Ok(current.downgrade())
    }

    /// Why the last producer that can write no more came to its end.
    pub(super) async fn end(&self) -> Option<KafkaError> {
        let state = self.state.read().await;
        state.end().or_else(|| state.last_end.clone())
    }

    /// As [`Writer::close`](super::Writer::close).
    pub(super) async fn close(&self, by: Instant) {
        let Ok(mut state) = timeout_at(by, self.state.write()).await else { return };
        let Some(producer) = state.producer.take() else { return };
        state.made = Some(Instant::now());
        drop(state);
        let within = by.saturating_duration_since(Instant::now()).saturating_sub(DROP_TIME);
        let closed = spawn_blocking(move || producer.flush(within));
        if let Ok(Ok(left @ 1..)) = timeout_at(by, closed).await {
            tracing::warn!(records = left, "records that were accepted could not be delivered in time");
        }
    }

    /// librdkafka's reason may name files, and is for the log only.
    fn unusable(&self, error: &KafkaError) -> WriteError {
        let reason = self.settings.reason(error);
        tracing::warn!(reason, "no producer can be made of the cluster's properties");
        failure::refused(0, "the bridge cannot write to this cluster: its log says why".to_owned())
    }
}

const PAUSE: Duration = Duration::from_secs(10);
/// How long the end of a producer blocks, at most, by librdkafka's and its wrapper's own bounds.
const DROP_TIME: Duration = Duration::from_millis(600);
