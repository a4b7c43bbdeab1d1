//! A place for a producer: made at start or when a record needs one, and again after it came to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use rdkafka::error::KafkaError;
use sluicegate_reader::BootstrapCheck;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::failure::WriteError;
use super::producer::{Producer, Tokens};
use super::{Settings, failure};
use crate::metrics::WriteMetrics;

/// The producer of one cluster, or why there is none. A cluster that is only read from costs neither its threads and
/// connections, nor the right to write.
pub(super) struct Slot {
    settings: Settings,
    metrics: WriteMetrics,
    /// How long after one producer no other is made: whoever may not write would need one for each command.
    pub(super) pause: Duration,
    /// Held for reading while records are handed over, for writing while a producer comes or goes.
    state: Arc<RwLock<State>>,
    /// The last attempt to make a producer. One serves all who wait.
    attempt: Mutex<Option<Attempt>>,
}

#[derive(Default)]
pub(super) struct State {
    producer: Option<Producer>,
    /// When it was made.
    made: Option<Instant>,
    /// Why there is none, and until when no other attempt is made.
    failure: Option<(Instant, WriteError)>,
    /// Why the one before it came to its end.
    last_end: Option<KafkaError>,
    closed: bool,
}

/// An attempt runs to its end even if nobody waits for it any more.
struct Attempt {
    task: AbortHandle,
    outcome: Outcome,
}

type Outcome = Shared<BoxFuture<'static, Result<(), WriteError>>>;

impl State {
    /// The producer, while it can write.
    pub(super) fn working(&self) -> Option<&Producer> {
        self.producer.as_ref().filter(|producer| producer.end().is_none())
    }

    fn end(&self) -> Option<KafkaError> {
        self.producer.as_ref().and_then(Producer::end)
    }

    /// Why no producer is made at this time.
    fn refusal(&self, pause: Duration) -> Option<WriteError> {
        if self.closed {
            return Some(failure::ending());
        }
        if let Some((until, error)) = &self.failure
            && Instant::now() < *until
        {
            return Some(error.clone());
        }
        let is_young = self.made.is_some_and(|made| made.elapsed() < pause);
        self.end().filter(|_| is_young).map(|cause| failure::of(&cause, false))
    }
}

impl Slot {
    pub(super) fn new(settings: Settings, metrics: WriteMetrics) -> Self {
        Self { settings, metrics, pause: PAUSE, state: Arc::default(), attempt: Mutex::default() }
    }

    /// The producer that works, made where there is none.
    ///
    /// # Errors
    /// It cannot be made, or the last one came to its end and is younger than the pause: why that was. Nothing is written.
    ///
    /// # Cancel safety
    /// A drop leaves the attempt to make one running, for others who wait and for the next record.
    pub(super) async fn producer(&self) -> Result<RwLockReadGuard<'_, State>, WriteError> {
        let current = self.state.read().await;
        if current.working().is_some() {
            return Ok(current);
        }
        drop(current);
        self.attempt().await?;
        let current = self.state.read().await;
        if current.closed { Err(failure::ending()) } else { Ok(current) }
    }

    /// Joins the attempt that is under way, or begins one.
    fn attempt(&self) -> Outcome {
        let mut attempt = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Attempt { task, outcome }) = &*attempt
            && !task.is_finished()
        {
            return outcome.clone();
        }
        let (settings, metrics) = (self.settings.clone(), self.metrics.clone());
        let made = tokio::spawn(make(Arc::clone(&self.state), settings, metrics, self.pause));
        let task = made.abort_handle();
        // Without an outcome, the runtime is ending.
        let outcome = made.map(|made| made.unwrap_or_else(|_| Err(failure::ending()))).boxed().shared();
        *attempt = Some(Attempt { task, outcome: outcome.clone() });
        outcome
    }

    /// Why the last producer that can write no more came to its end.
    pub(super) async fn end(&self) -> Option<KafkaError> {
        let state = self.state.read().await;
        state.end().or_else(|| state.last_end.clone())
    }

    /// As [`Writer::close`](super::Writer::close).
    pub(super) async fn close(&self, by: Instant) {
        let Ok(mut state) = timeout_at(by, self.state.write()).await else { return };
        state.closed = true;
        let Some(producer) = state.producer.take() else { return };
        drop(state);
        let within = by.saturating_duration_since(Instant::now()).saturating_sub(DROP_TIME);
        let closed = spawn_blocking(move || producer.flush(within));
        if let Ok(Ok(left @ 1..)) = timeout_at(by, closed).await {
            tracing::warn!(records = left, "records that were accepted could not be delivered in time");
        }
    }
}

/// A producer that is being made has nowhere to go.
impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.get_mut().unwrap_or_else(PoisonError::into_inner) {
            attempt.task.abort();
        }
    }
}

/// Makes a producer unless there is one that works, or it is too early for the next.
async fn make(
    state: Arc<RwLock<State>>,
    settings: Settings,
    metrics: WriteMetrics,
    pause: Duration,
) -> Result<(), WriteError> {
    {
        let state = state.read().await;
        if state.working().is_some() {
            return Ok(());
        }
        if let Some(error) = state.refusal(pause) {
            return Err(error);
        }
    }
    let made = match prepared(settings).await {
        Ok((settings, tokens)) => spawn_blocking(move || new(settings, metrics, tokens, pause)).await,
        Err(error) => Ok(Err((RETRY, error))),
    };
    // Without a result, the runtime is ending.
    let made = made.map_err(|_| failure::ending())?;
    let mut state = state.write().await;
    let useless = match made {
        Ok(producer) if state.closed => Some(producer),
        Ok(producer) => {
            state.made = Some(Instant::now());
            state.failure = None;
            state.last_end = state.end();
            state.producer.replace(producer)
        }
        Err((pause, error)) => {
            state.failure = Instant::now().checked_add(pause).map(|until| (until, error.clone()));
            return Err(error);
        }
    };
    if let Some(useless) = useless {
        // Its drop blocks.
        spawn_blocking(move || drop(useless));
    }
    if state.closed { Err(failure::ending()) } else { Ok(()) }
}

/// The settings with the brokers that librdkafka may connect to: it ends the process over some answers. And where the tokens
/// come from that brokers are shown, if they are shown any.
async fn prepared(settings: Settings) -> Result<(Settings, Option<Tokens>), WriteError> {
    let Some(reader) = settings.reader.clone() else { return Ok((settings, None)) };
    let tokens = match reader.has_tokens() {
        true => Some(Tokens::first(reader.clone()).await.map_err(failure::no_token)?),
        false => None,
    };
    let BootstrapCheck { usable, rejected } =
        reader.check_bootstrap().await.map_err(|error| failure::of_read(&error, error.with_causes()))?;
    for error in &rejected {
        tracing::warn!(%error, "bootstrap broker is not used for writes");
    }
    Ok((settings.with_brokers(&usable), tokens))
}

/// Blocks as [`Producer::new`]. A failure comes with the time for which the next attempt would fail likewise.
fn new(
    settings: Settings,
    metrics: WriteMetrics,
    tokens: Option<Tokens>,
    pause: Duration,
) -> Result<Producer, (Duration, WriteError)> {
    Producer::new(settings.clone(), metrics, tokens).map_err(|error| {
        // librdkafka's reason may name files, and is for the log only.
        let reason = settings.reason(&error);
        tracing::warn!(reason, "no producer can be made of the cluster's properties");
        let text = "the bridge cannot write to this cluster: its log says why";
        (pause, failure::refused(0, text.to_owned()))
    })
}

const PAUSE: Duration = Duration::from_secs(10);
/// How long the failure of an attempt is the answer to all who come: clients are told to retry no earlier.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of a producer blocks, at most, by librdkafka's and its wrapper's own bounds.
const DROP_TIME: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests;
