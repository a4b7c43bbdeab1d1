//! Whether a broker can be reached: its back-off after failures, and what the log says of them.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use crate::address::Address;
use crate::backoff::{Backoff, jitter};
use crate::config::Config;
use crate::error::ConnectionError;

/// The failures of a broker.
pub(super) struct Health {
    /// For the log.
    cluster: String,
    backoff: Backoff,
    /// The end of the current back-off, and the failure that caused it.
    avoid: Option<(Instant, ConnectionError)>,
    /// The start of the outage; `None` once a connection was opened.
    failed: Option<Instant>,
}

impl Health {
    pub(super) fn new(config: &Config) -> Self {
        let backoff = Backoff::new(config.backoff, config.backoff_max);
        Self { cluster: config.name.clone(), backoff, avoid: None, failed: None }
    }

    /// Whether the last attempt to connect failed.
    pub(super) fn has_failed(&self) -> bool {
        self.avoid.is_some()
    }

    /// The failure of the last attempt to connect.
    pub(super) fn last_failure(&self) -> Option<ConnectionError> {
        self.avoid.as_ref().map(|(_, cause)| cause.clone())
    }

    /// Whether the last attempt to connect failed, and its back-off ended less than [`KNOWN_FAILURE`] ago.
    pub(super) fn has_recently_failed(&self) -> bool {
        self.avoid.as_ref().is_some_and(|(until, _)| until.elapsed() < KNOWN_FAILURE)
    }

    /// Whether it failed in the last [`AWAITED`] and has not recovered.
    pub(super) fn is_awaited(&self) -> bool {
        self.failed.is_some_and(|since| since.elapsed() < AWAITED)
    }

    /// Fails during the back-off.
    pub(super) fn check(&self) -> Result<(), ConnectionError> {
        match &self.avoid {
            Some((until, cause)) if Instant::now() < *until => Err(cause.clone()),
            _ => Ok(()),
        }
    }

    /// Marks the broker as suspect, without a back-off: a new connection shows whether it is up.
    pub(super) fn suspect(&mut self, address: &Address, cause: &ConnectionError) {
        // Of many callers with the same failure, the first one logs it.
        if self.avoid.is_none() {
            self.log_failure(address, cause);
            self.avoid = Some((Instant::now(), cause.clone()));
        }
    }

    /// Logs the first failure of an outage as a warning, later ones for debugging.
    fn log_failure(&mut self, address: &Address, cause: &ConnectionError) {
        let error: &(dyn Error + 'static) = cause;
        let cluster = &self.cluster;
        if self.failed.is_some() {
            tracing::debug!(cluster, broker = %address, error, event = "broker_failed_again", "broker failed again");
        } else {
            tracing::warn!(cluster, broker = %address, error, event = "broker_failed", "broker failed");
            self.failed = Some(Instant::now());
        }
    }

    pub(super) fn update(&mut self, address: &Address, failure: Option<&ConnectionError>) {
        let Some(cause) = failure else {
            let cluster = &self.cluster;
            tracing::debug!(cluster, broker = %address, event = "connection_opened", "connection opened");
            if let Some(since) = self.failed.take() {
                let outage = format_args!("{:.1?}", since.elapsed());
                tracing::info!(cluster, broker = %address, outage, event = "broker_recovered", "broker recovered");
            }
            self.backoff.reset();
            self.avoid = None;
            return;
        };
        self.log_failure(address, cause);
        let until = Instant::now().checked_add(self.backoff.next(jitter));
        self.avoid = until.map(|until| (until, cause.clone()));
    }
}

/// The time for which the recovery of a broker is logged, though the metadata no longer has it.
const AWAITED: Duration = Duration::from_secs(3_600);

/// The time for which a broker that nothing calls again counts as failed in metrics. An alert must see it for some
/// time.
pub(super) const KNOWN_FAILURE: Duration = Duration::from_secs(1_800);
