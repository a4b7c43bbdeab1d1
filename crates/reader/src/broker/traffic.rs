//! The open connections to a broker, and its throttle times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{self, OwnedMutexGuard};
use tokio::time::Instant;

use crate::address::Address;
use crate::config::Config;
use crate::connection::{Answered, Connection, Slot};
use crate::error::ConnectionError;
use crate::slow_logs::SLOW;
use crate::transport::Limits;

/// The connections and the throttle time of one kind of requests.
///
/// A quota of bytes throttles fetches, which says nothing about other requests. If a quota of requests is exceeded, an
/// answer of each kind says so. Brokers do not read from a connection that they throttle, so kinds must not share one.
pub(super) struct Traffic {
    /// For requests that the broker answers at once.
    pub(super) shared: Arc<Pool>,
    /// For one request at a time each.
    pub(super) dedicated: Arc<Pool>,
    throttle: Throttle,
}

/// Connections with the same use.
pub(super) struct Pool {
    /// At most `max`, and [`MAX_STALLED`] more if they are shared.
    open: Mutex<Vec<Connection>>,
    /// Held while a connection is opened.
    opening: Arc<sync::Mutex<()>>,
    max: usize,
    pub(super) limits: Limits,
}

impl Traffic {
    /// At most so many connections: shared and dedicated ones.
    pub(super) fn new(config: &Config, (shared, dedicated): (usize, usize)) -> Self {
        let pool = |max, in_flight, max_idle| {
            let limits = Limits { in_flight, max_response: config.max_response_bytes, max_idle };
            Arc::new(Pool { open: Mutex::default(), opening: Arc::default(), max, limits })
        };
        let dedicated_idle = config.max_idle.map_or(DEDICATED_IDLE, |idle| idle.min(DEDICATED_IDLE));
        Self {
            shared: pool(shared, SHARED_IN_FLIGHT, config.max_idle),
            dedicated: pool(dedicated, 1, Some(dedicated_idle)),
            throttle: Throttle::new(),
        }
    }

    /// The time for which the broker wants no such requests.
    pub(super) fn throttled(&self) -> Option<Duration> {
        self.throttle.left()
    }

    /// Whether the broker throttles such requests, or has done so lately.
    pub(super) fn was_throttled_lately(&self) -> bool {
        self.throttle.is_recent(RECOVERY)
    }

    /// Fails while the broker throttles such requests.
    pub(super) fn check_throttle(&self, address: &Address) -> Result<(), ConnectionError> {
        match self.throttle.left() {
            Some(left) => Err(ConnectionError::Throttled { address: address.to_string(), left }),
            None => Ok(()),
        }
    }

    /// Updates the throttle time from the outcome of a request.
    pub(super) fn note_throttle<T>(
        &self,
        answered: Result<Answered<T>, ConnectionError>,
    ) -> Result<Answered<T>, ConnectionError> {
        match answered {
            Ok(answered) => {
                self.throttle.extend(answered.throttle_time);
                Ok(answered)
            }
            Err(ConnectionError::Throttled { address, left }) => {
                self.throttle.extend(left);
                Err(ConnectionError::Throttled { address, left: self.throttle.left().unwrap_or_default() })
            }
            // Not silent, but muted.
            Err(ConnectionError::Silent { address, .. }) if let Some(left) = self.throttle.left() => {
                Err(ConnectionError::Throttled { address, left })
            }
            Err(failure) => Err(failure),
        }
    }
}

impl Pool {
    /// The least loaded connection; a stalled one only if all are. Some that were idle for a while are closed if
    /// there are more than needed, since stalled ones have recovered.
    pub(super) fn least_loaded(&self) -> Option<Connection> {
        let mut open = self.open.lock();
        open.retain(Connection::is_usable);
        let surplus = open.len().saturating_sub(self.allowed(&open));
        let idle = open.extract_if(.., |connection| {
            connection.load() == 0 && connection.last_received().is_none_or(|at| at.elapsed() >= SURPLUS_IDLE)
        });
        drop(idle.take(surplus).collect::<Vec<_>>());
        open.iter().min_by_key(|connection| (is_stalled(connection), connection.load())).cloned()
    }

    /// A slot on a connection that has one.
    pub(super) fn free(&self) -> Option<Slot> {
        let mut open = self.open.lock();
        open.retain(Connection::is_usable);
        open.iter().find_map(Connection::try_reserve)
    }

    /// Whether another connection can be opened.
    pub(super) fn has_room(&self) -> bool {
        let open = self.open.lock();
        open.len() < self.allowed(&open)
    }

    /// Connections at most: `max`, and one for each stalled one if they are shared.
    fn allowed(&self, open: &[Connection]) -> usize {
        let stalled = match self.limits.in_flight {
            1 => 0,
            _ => open.iter().filter(|connection| is_stalled(connection)).count().min(MAX_STALLED),
        };
        self.max.saturating_add(stalled)
    }

    pub(super) fn has(&self, is_such: impl Fn(&Connection) -> bool) -> bool {
        self.open.lock().iter().any(is_such)
    }

    pub(super) fn clear(&self) {
        self.open.lock().clear();
    }

    /// The turn to open a connection.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.opening).lock_owned().await
    }

    /// The same, unless a connection is being opened.
    pub(super) fn try_turn(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.opening).try_lock_owned().ok()
    }

    /// Adds a new connection. If it is dedicated, the caller has its slot before others see it.
    pub(super) fn add(&self, connection: Connection) -> (Connection, Option<Slot>) {
        let is_dedicated = self.limits.in_flight == 1;
        let slot = is_dedicated.then(|| connection.try_reserve()).flatten();
        self.open.lock().push(connection.clone());
        (connection, slot)
    }
}

/// Whether a response takes so long that further requests on the connection would wait for it.
pub(super) fn is_stalled(connection: &Connection) -> bool {
    let limit = STALLED.saturating_add(connection.shortest());
    connection.oldest().is_some_and(|(_, since)| since.elapsed() >= limit)
}

/// A connection that has received nothing for this long, and the time on the way, is avoided if there is another one: a
/// broker that gets records from elsewhere answers nothing else on it meanwhile.
pub(super) const STALLED: Duration = SLOW;

/// Stalls come one after the other: a new connection costs more than one that is kept.
const SURPLUS_IDLE: Duration = Duration::from_secs(10);

/// Stalled connections for which others are opened.
const MAX_STALLED: usize = 8;

/// The time after a throttle time in which requests are sent with care. If the quota is exceeded again, the first
/// answers say so.
const RECOVERY: Duration = Duration::from_millis(500);

/// Requests in flight per shared connection; further ones queue.
pub(super) const SHARED_IN_FLIGHT: usize = 64;

/// The idle time after which a dedicated connection is closed.
const DEDICATED_IDLE: Duration = Duration::from_secs(60);

/// Quotas are per principal and client id, so the throttle time of one connection applies to all with the same kind of
/// requests.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    /// Milliseconds after `start`; 0 if the broker never throttled.
    until: AtomicU64,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Records that the broker wants no requests for `time`, capped at [`MAX_THROTTLE`].
    pub(crate) fn extend(&self, time: Duration) {
        if !time.is_zero() {
            let until = self.start.elapsed().saturating_add(time.min(MAX_THROTTLE));
            // Rounded up: a request that is too early is throttled again.
            let millis = until.as_micros().div_ceil(1_000);
            self.until.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Whether the broker throttles, or did so until less than `time` ago.
    pub(crate) fn is_recent(&self, time: Duration) -> bool {
        let until = Duration::from_millis(self.until.load(Ordering::Relaxed));
        !until.is_zero() && self.start.elapsed() < until.saturating_add(time)
    }

    /// The remaining throttle time.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.until.load(Ordering::Relaxed) {
            0 => None,
            until => {
                Duration::from_millis(until).checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
            }
        }
    }
}

/// Brokers throttle for at most their quota windows: 11 s by default.
const MAX_THROTTLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn longest_throttle_time_applies_up_to_a_cap_and_passes() {
        let throttle = Throttle::new();
        assert_eq!(throttle.left(), None);
        for millis in [300, 500, 100, 0] {
            throttle.extend(Duration::from_millis(millis));
        }
        assert_eq!(throttle.left(), Some(Duration::from_millis(500)));
        advance(Duration::from_millis(499)).await;
        assert_eq!(throttle.left(), Some(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!(throttle.left(), None);
        assert!(throttle.is_recent(Duration::from_millis(1)) && !throttle.is_recent(Duration::ZERO));
        throttle.extend(Duration::from_millis(u64::MAX));
        assert_eq!(throttle.left(), Some(MAX_THROTTLE));
    }
}
