//! Holds a cluster's producer, created at start or when a record needs one, and replaced once it has ended.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use rdkafka::error::KafkaError;
use sluicegate_backend::CommandError;
use sluicegate_reader::BootstrapCheck;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::super::settings::Settings;
use super::error::{self, NoProducer};
use super::producer::{Parts, Producer, Tokens};

/// The producer of one cluster, or why there is none.
pub(super) struct Slot {
    parts: Parts,
    /// Minimum time between the creation of two producers. If the cluster's user is not authorized to write, every
    /// command would otherwise create one.
    pub(super) pause: Duration,
    /// Read-locked while records are enqueued, write-locked while the producer is replaced or closed.
    state: Arc<RwLock<State>>,
    /// The last attempt to create a producer, which all callers share.
    attempt: Mutex<Option<Attempt>>,
}

#[derive(Default)]
pub(super) struct State {
    producer: Option<Producer>,
    /// When it was created.
    made: Option<Instant>,
    /// Why there is none, and when the next attempt can start.
    failure: Option<(Instant, NoProducer)>,
    /// The fatal error of the previous producer.
    last_end: Option<KafkaError>,
    closed: bool,
}

/// An attempt to create a producer. It continues even if no caller waits for it.
struct Attempt {
    task: AbortHandle,
    outcome: Outcome,
}

type Outcome = Shared<BoxFuture<'static, Result<(), NoProducer>>>;

impl State {
    /// The producer, unless it had a fatal error or a record that waits for too long.
    pub(super) fn working(&self) -> Option<&Producer> {
        self.producer.as_ref().filter(|producer| producer.works())
    }

    fn end(&self) -> Option<KafkaError> {
        self.producer.as_ref().and_then(Producer::end)
    }

    /// Why no producer can be created now.
    fn refusal(&self, pause: Duration) -> Option<NoProducer> {
        if self.closed {
            return Some(ending());
        }
        if let Some((until, error)) = &self.failure
            && Instant::now() < *until
        {
            return Some(error.clone());
        }
        let is_young = self.made.is_some_and(|made| made.elapsed() < pause);
        self.end().filter(|_| is_young).map(|cause| NoProducer::Refused(error::of(&cause, false).into()))
    }
}

impl Slot {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts, pause: PAUSE, state: Arc::default(), attempt: Mutex::default() }
    }

    /// The working producer, created if there is none.
    ///
    /// # Errors
    /// It cannot be created, or the last one had a fatal error and is younger than the pause. Nothing is written.
    ///
    /// # Cancel safety
    /// A drop leaves the attempt running, for other callers and the next record.
    pub(super) async fn producer(&self) -> Result<RwLockReadGuard<'_, State>, NoProducer> {
        let current = self.state.read().await;
        if current.working().is_some() {
            return Ok(current);
        }
        drop(current);
        self.attempt().await?;
        let current = self.state.read().await;
        if current.closed { Err(ending()) } else { Ok(current) }
    }

    /// Joins the current attempt, or starts one.
    fn attempt(&self) -> Outcome {
        let mut attempt = self.attempt.lock();
        if let Some(Attempt { task, outcome }) = &*attempt
            && !task.is_finished()
        {
            return outcome.clone();
        }
        let made = tokio::spawn(make(Arc::clone(&self.state), self.parts.clone(), self.pause));
        let task = made.abort_handle();
        // The task is lost only if the runtime shuts down.
        let outcome = made.map(|made| made.unwrap_or_else(|_| Err(ending()))).boxed().shared();
        *attempt = Some(Attempt { task, outcome: outcome.clone() });
        outcome
    }

    /// The last fatal error of a producer.
    pub(super) async fn end(&self) -> Option<KafkaError> {
        let state = self.state.read().await;
        state.end().or_else(|| state.last_end.clone())
    }

    /// See [`Writer::close`](super::Writer::close).
    pub(super) async fn close(&self, by: Instant) {
        let Ok(mut state) = timeout_at(by, self.state.write()).await else { return };
        state.closed = true;
        let Some(producer) = state.producer.take() else { return };
        drop(state);
        let within = by.saturating_duration_since(Instant::now()).saturating_sub(DROP_TIME);
        let closed = spawn_blocking(move || producer.flush(within));
        if let Ok(Ok(left @ 1..)) = timeout_at(by, closed).await {
            tracing::warn!(
                records = left,
                event = "records_lost",
                "accepted records could not be delivered in time, they are lost"
            );
        }
    }
}

/// Aborts the current attempt: its producer would have no user.
impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.get_mut() {
            attempt.task.abort();
        }
    }
}

/// Creates a producer, unless one works or it is too early for the next.
async fn make(state: Arc<RwLock<State>>, parts: Parts, pause: Duration) -> Result<(), NoProducer> {
    {
        let state = state.read().await;
        if state.working().is_some() {
            return Ok(());
        }
        if let Some(error) = state.refusal(pause) {
            return Err(error);
        }
    }
    let made = match prepared(parts.settings.clone()).await {
        Ok((settings, tokens)) => {
            spawn_blocking(move || new(Parts { settings, ..parts }, tokens, pause)).await
        }
        Err(error) => Ok(Err((RETRY, error))),
    };
    // The task is lost only if the runtime shuts down.
    let made = made.map_err(|_| ending())?;
    let settled = state.read().await.producer.as_ref().and_then(Producer::settled);
    if let Some(settled) = settled {
        settled.cancelled().await;
    }
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
        // Dropping a producer blocks.
        spawn_blocking(move || drop(useless));
    }
    if state.closed { Err(ending()) } else { Ok(()) }
}

/// The settings with checked brokers only, because some answers make librdkafka abort the process; and the source of
/// tokens, if the cluster uses them.
async fn prepared(settings: Settings) -> Result<(Settings, Option<Tokens>), NoProducer> {
    let Some(reader) = settings.reader.clone() else { return Ok((settings, None)) };
    let tokens = match reader.has_tokens() {
        true => Some(Tokens::first(reader.clone()).await.map_err(|cause| unreachable(cause, true))?),
        false => None,
    };
    let BootstrapCheck { usable, rejected } =
        reader.check_bootstrap().await.map_err(|error| match error.is_unavailable() {
            true => unreachable(error.with_causes(), error.retriable()),
            false => NoProducer::Refused(super::super::error::of_read(&error, error.with_causes())),
        })?;
    for error in &rejected {
        tracing::warn!(%error, event = "bootstrap_broker_rejected", "bootstrap broker is not used for writes");
    }
    Ok((settings.with_brokers(&usable), tokens))
}

/// Blocks like [`Producer::new`]. A failure comes with the time to wait before the next attempt.
fn new(parts: Parts, tokens: Option<Tokens>, pause: Duration) -> Result<Producer, (Duration, NoProducer)> {
    let settings = parts.settings.clone();
    Producer::new(parts, tokens).map_err(|cause| {
        // librdkafka's reason can name files, so clients do not see it.
        let reason = settings.reason(&cause);
        tracing::warn!(
            reason,
            event = "producer_not_created",
            "failed to create a producer from the cluster's properties"
        );
        let text = "the bridge cannot write to this cluster, see its log";
        (pause, NoProducer::Refused(error::refused(0, text.to_owned())))
    })
}

fn unreachable(cause: String, retriable: bool) -> NoProducer {
    NoProducer::Unreachable { cause, retriable }
}

fn ending() -> NoProducer {
    NoProducer::Refused(CommandError::shutting_down())
}

const PAUSE: Duration = Duration::from_secs(10);
/// The time for which a failed attempt answers all callers. Clients are told to retry no earlier.
const RETRY: Duration = Duration::from_secs(1);
/// The longest time that dropping a producer blocks, by the bounds of librdkafka and its wrapper.
const DROP_TIME: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests;
