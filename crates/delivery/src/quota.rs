//! The quota of a person on a route, and how much of it is in use.

mod pace;
mod people;

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::{CommandError, Fault};
use sluicegate_rights::Quota;
use sluicegate_telemetry::metrics::{Limit, QuotaMetrics};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use self::pace::Pace;
pub use self::people::{Account, People};

/// The part of a quota that one person uses now, with all sessions and requests on one route.
#[derive(Debug)]
pub struct Usage {
    sessions: Places,
    subscriptions: Places,
    consumers: Places,
    commands: Pace,
    records: Pace,
    read_bytes: Pace,
    write_bytes: Pace,
    /// The one read of the person that waits for its time. Others wait for it: many that wake together would be work.
    turn: Mutex<()>,
    metrics: Arc<QuotaMetrics>,
}

/// Places for what a person can have at the same time. A drop of one frees it.
#[derive(Debug)]
struct Places {
    max: u32,
    free: Arc<Semaphore>,
}

impl Usage {
    fn new(quota: Quota, metrics: Arc<QuotaMetrics>) -> Self {
        Self {
            sessions: Places::new(quota.sessions.get()),
            subscriptions: Places::new(quota.subscriptions.get()),
            consumers: Places::new(quota.consumers.get()),
            commands: Pace::new(quota.commands_per_second),
            records: Pace::new(quota.records_per_second),
            read_bytes: Pace::new(quota.read_bytes_per_second),
            write_bytes: Pace::new(quota.write_bytes_per_second),
            turn: Mutex::const_new(()),
            metrics,
        }
    }

    /// A place for a session.
    ///
    /// # Errors
    /// All are taken: how many there are.
    pub(crate) fn open_session(&self) -> Result<OwnedSemaphorePermit, u32> {
        self.sessions.take().ok_or_else(|| {
            self.metrics.exceeded(Limit::Sessions);
            self.sessions.max
        })
    }

    /// A place for a subscription.
    ///
    /// # Errors
    /// All are taken.
    pub(crate) fn subscribe(&self) -> Result<OwnedSemaphorePermit, CommandError> {
        self.subscriptions.take().ok_or_else(|| {
            self.metrics.exceeded(Limit::Subscriptions);
            let message = format!(
                "too many subscriptions of this identity: expected at most {} in all sessions together",
                self.subscriptions.max
            );
            exceeded(message, RETRY_PLACE)
        })
    }

    /// A place for a consumer.
    ///
    /// # Errors
    /// All are taken.
    pub(crate) fn consume(&self) -> Result<OwnedSemaphorePermit, CommandError> {
        self.consumers.take().ok_or_else(|| {
            self.metrics.exceeded(Limit::Consumers);
            let message =
                format!("too many consumers of this identity: expected at most {}", self.consumers.max);
            exceeded(message, RETRY_PLACE)
        })
    }

    /// Counts a command that reads.
    ///
    /// # Errors
    /// There were too many, or too much was read.
    pub(crate) fn read(&self) -> Result<(), CommandError> {
        self.take(&[Taken::one_command(self), Taken::none_read(self)])
    }

    /// Counts a command that reads, once the person may read again.
    ///
    /// # Cancel safety
    /// A drop counts nothing.
    pub(crate) async fn read_in_time(&self) {
        let _turn = self.turn.lock().await;
        let mut waited = false;
        while let Err((limit, wait)) = take(&[Taken::one_command(self), Taken::none_read(self)]) {
            if !waited {
                self.metrics.exceeded(limit);
            }
            waited = true;
            sleep(wait).await;
        }
    }

    /// Whether the person may be given records now.
    pub(crate) fn delivers_now(&self) -> bool {
        self.read_bytes.check().is_ok()
    }

    /// Waits until the person may be given records again.
    ///
    /// # Cancel safety
    /// A drop has no effect.
    pub(crate) async fn may_deliver(&self) {
        let mut waited = false;
        while let Err(wait) = self.read_bytes.check() {
            if !waited {
                self.metrics.exceeded(Limit::ReadBytes);
            }
            waited = true;
            sleep(wait).await;
        }
    }

    /// Counts bytes of records that the person is given.
    pub(crate) fn delivered(&self, bytes: usize) {
        self.read_bytes.count(bytes);
    }

    /// Counts a command that writes so many records with so many bytes in all.
    ///
    /// # Errors
    /// There were too many before.
    pub(crate) fn write(&self, records: usize, bytes: usize) -> Result<(), CommandError> {
        self.take(&[
            Taken::one_command(self),
            Taken { limit: Limit::Records, pace: &self.records, amount: records },
            Taken { limit: Limit::WriteBytes, pace: &self.write_bytes, amount: bytes },
        ])
    }

    fn take(&self, taken: &[Taken<'_>]) -> Result<(), CommandError> {
        take(taken).map_err(|(limit, wait)| {
            self.metrics.exceeded(limit);
            exceeded(format!("too many {} of this identity", limit.words()), wait)
        })
    }

    /// Whether forgetting it changes nothing: nothing was counted for so long that all can be used again.
    fn is_whole(&self, now: Instant) -> bool {
        [&self.commands, &self.records, &self.read_bytes, &self.write_bytes]
            .iter()
            .all(|pace| pace.is_whole(now))
    }
}

/// An amount to count against one limit.
struct Taken<'a> {
    limit: Limit,
    pace: &'a Pace,
    amount: usize,
}

impl<'a> Taken<'a> {
    fn one_command(usage: &'a Usage) -> Self {
        Self { limit: Limit::Commands, pace: &usage.commands, amount: 1 }
    }

    /// The bytes of a read are counted once they are known.
    fn none_read(usage: &'a Usage) -> Self {
        Self { limit: Limit::ReadBytes, pace: &usage.read_bytes, amount: 0 }
    }
}

/// Counts all of it, or the first limit that is reached and the time until it is not.
fn take(taken: &[Taken<'_>]) -> Result<(), (Limit, Duration)> {
    for Taken { limit, pace, .. } in taken {
        pace.check().map_err(|wait| (*limit, wait))?;
    }
    taken.iter().for_each(|Taken { pace, amount, .. }| pace.count(*amount));
    Ok(())
}

impl Places {
    fn new(max: u32) -> Self {
        let permits = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { max, free: Arc::new(Semaphore::new(permits)) }
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}

fn exceeded(message: impl Into<String>, retry_after: Duration) -> CommandError {
    // In sessions, it is in milliseconds, and 0 means that it is not known.
    let retry_after = retry_after.max(Duration::from_millis(1));
    CommandError { retry_after, ..CommandError::new(Fault::QuotaExceeded, 0, message) }
}

/// A place is free once another one of the person's ends: nobody knows when.
const RETRY_PLACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
