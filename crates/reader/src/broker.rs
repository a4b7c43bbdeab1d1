//! One broker: its connections, and how long it is left alone after it failed or asked for it.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use crate::ConnectionError;
use crate::address::Address;
use crate::api::Api;
use crate::backoff::Backoff;
use crate::config::Config;
use crate::connection::{Connection, Slot};
use crate::dial::dial;
use crate::link::Limits;
use crate::lock::Lock;
use crate::throttle::Throttle;

/// A broker and two sets of connections to it, both opened on demand and kept.
///
/// A broker answers the requests of one connection in order: a fetch that waits for records delays whatever was sent
/// after it. So requests that are answered at once share few connections, and each fetch that waits has one to itself.
pub(crate) struct Broker {
    address: Address,
    config: Arc<Config>,
    quick: Pool,
    waiting: Pool,
    health: Lock<Health>,
    throttle: Throttle,
}

struct Pool {
    /// At most [`Pool::max`].
    open: Lock<Vec<Connection>>,
    /// Held while a connection is being opened.
    opening: Arc<tokio::sync::Mutex<()>>,
    max: usize,
    limits: Limits,
}

struct Health {
    backoff: Backoff,
    /// Until when, and why, no connection is tried.
    avoid: Option<(Instant, ConnectionError)>,
}

impl Broker {
    pub(crate) fn new(address: Address, config: Arc<Config>) -> Self {
        let pool = |max, in_flight, max_idle| Pool {
            open: Lock::default(),
            opening: Arc::default(),
            max,
            limits: Limits { in_flight, max_response: config.max_response_bytes, max_idle },
        };
        let waiting_idle = config.max_idle.map_or(WAITING_IDLE, |idle| idle.min(WAITING_IDLE));
        let health = Health { backoff: Backoff::new(config.backoff, config.backoff_max), avoid: None };
        Self {
            quick: pool(QUICK_CONNECTIONS, QUICK_IN_FLIGHT, config.max_idle),
            waiting: pool(WAITING_CONNECTIONS, 1, Some(waiting_idle)),
            health: Lock::new(health),
            throttle: Throttle::new(),
            address,
            config,
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether a request could be sent without opening a connection first.
    pub(crate) fn is_connected(&self) -> bool {
        self.quick.open.lock().iter().any(Connection::is_usable)
    }

    /// Whether it failed when it was last tried.
    pub(crate) fn has_failed(&self) -> bool {
        self.health.lock().avoid.is_some()
    }

    /// Succeeds where a connection stands or can be opened, and where the broker has just asked to be left alone.
    pub(crate) async fn is_reachable(self: &Arc<Self>) -> Result<(), ConnectionError> {
        if self.throttle.left().is_some() {
            return Ok(());
        }
        self.quick().await.map(drop)
    }

    /// Sends a request that the broker answers at once.
    ///
    /// Fails at once where the broker wants to be left alone. A connection that is lost meanwhile is replaced once: it may
    /// have been cut long before it was used.
    pub(crate) async fn call<A: Api>(
        self: &Arc<Self>,
        request: &A,
        patience: Duration,
    ) -> Result<A::Answer, ConnectionError> {
        self.check_throttle()?;
        let answered = match self.quick().await?.call(request, patience).await {
            Err(ConnectionError::Lost { .. }) => self.quick().await?.call(request, patience).await,
            answered => answered,
        };
        self.heed(answered)
    }

    /// Sends a fetch that waits at the broker. `None` where no connection is free for it, or that one was lost.
    ///
    /// Fails at once where the broker wants to be left alone.
    pub(crate) async fn call_waiting<A: Api>(
        self: &Arc<Self>,
        request: &A,
        patience: Duration,
    ) -> Result<Option<A::Answer>, ConnectionError> {
        self.check_throttle()?;
        let Some(slot) = self.waiting().await? else { return Ok(None) };
        match slot.call(request, patience).await {
            // It may have been cut long before it was used.
            Err(ConnectionError::Lost { .. }) => Ok(None),
            answered => self.heed(answered).map(Some),
        }
    }

    fn check_throttle(&self) -> Result<(), ConnectionError> {
        match self.throttle.left() {
            Some(left) => Err(ConnectionError::Throttled { address: self.address.to_string(), left }),
            None => Ok(()),
        }
    }

    /// Takes from an answer, or from there being none, what it means for later requests.
    fn heed<T>(&self, answered: Result<(T, Duration), ConnectionError>) -> Result<T, ConnectionError> {
        match answered {
            Ok((answer, throttle_time)) => {
                self.throttle.note(throttle_time);
                Ok(answer)
            }
            Err(ConnectionError::Throttled { address, left }) => {
                self.throttle.note(left);
                Err(ConnectionError::Throttled { address, left: self.throttle.left().unwrap_or_default() })
            }
            Err(failure @ ConnectionError::Silent { .. }) => {
                // A throttled connection is not read from meanwhile.
                self.check_throttle()?;
                self.suspect(&failure);
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// What took a request and did not answer it, such as a process that is stopped, would do so on every connection.
    fn suspect(&self, failure: &ConnectionError) {
        for pool in [&self.quick, &self.waiting] {
            pool.open.lock().clear();
        }
        let mut health = self.health.lock();
        // Of many that waited for it, the first one tells.
        if health.check().is_ok() {
            health.note(&self.address, Some(failure));
        }
    }

    /// For a request that the broker answers at once: the least loaded connection.
    ///
    /// Fails at once, with the last cause, while the broker is being left alone. Dropping the call does not stop a
    /// connection from being opened: it is kept for the next one.
    async fn quick(self: &Arc<Self>) -> Result<Slot, ConnectionError> {
        let connection = match self.quick.least_loaded() {
            Some(connection) => {
                if connection.load() > 0 && self.quick.has_room() {
                    self.open_another();
                }
                connection
            }
            None => {
                self.in_time(async {
                    let turn = Arc::clone(&self.quick.opening).lock_owned().await;
                    match self.quick.least_loaded() {
                        Some(connection) => Ok(connection),
                        None => Ok(self.open(Kind::Quick, turn).await?.0),
                    }
                })
                .await?
            }
        };
        connection.reserve().await
    }

    /// For a fetch that waits: a connection that nothing else is asked of meanwhile. `None` when all are taken, or one is
    /// being opened for another fetch.
    ///
    /// Fails and is dropped as [`Broker::quick`].
    async fn waiting(self: &Arc<Self>) -> Result<Option<Slot>, ConnectionError> {
        if let Some(slot) = self.waiting.free() {
            return Ok(Some(slot));
        }
        if !self.waiting.has_room() {
            return Ok(None);
        }
        // Who queued for its turn would wait for as many connections as callers are before it, and longer than it asked for.
        let Ok(turn) = Arc::clone(&self.waiting.opening).try_lock_owned() else { return Ok(None) };
        self.in_time(async { Ok(self.open(Kind::Waiting, turn).await?.1) }).await
    }

    /// Waits for a connection, but not long where the last one failed: whoever asks a leader has to learn meanwhile
    /// whether there is another one.
    async fn in_time<T>(
        &self,
        opened: impl Future<Output = Result<T, ConnectionError>>,
    ) -> Result<T, ConnectionError> {
        if !self.has_failed() {
            return opened.await;
        }
        // What it failed of then may be repaired: all that is known is that it takes long.
        let silent = || ConnectionError::Silent { address: self.address.to_string(), after: SUSPECT_WAIT };
        timeout(SUSPECT_WAIT, opened).await.unwrap_or_else(|_| Err(silent()))
    }

    /// Opens one more quick connection for later, unless one is being opened already.
    fn open_another(self: &Arc<Self>) {
        let Ok(turn) = Arc::clone(&self.quick.opening).try_lock_owned() else { return };
        let broker = Arc::clone(self);
        tokio::spawn(async move { broker.open(Kind::Quick, turn).await });
    }

    /// A new connection, and for [`Kind::Waiting`] the slot on it.
    async fn open(
        self: &Arc<Self>,
        kind: Kind,
        turn: OwnedMutexGuard<()>,
    ) -> Result<(Connection, Option<Slot>), ConnectionError> {
        self.health.lock().check()?;
        let broker = Arc::clone(self);
        // A task of its own, so that callers who give up one after the other do not prevent it for ever.
        let opened = tokio::spawn(async move {
            let pool = broker.pool(kind);
            let dialed = dial(&broker.address, &broker.config, pool.limits).await;
            broker.health.lock().note(&broker.address, dialed.as_ref().err());
            let connection = dialed?;
            let slot = match kind {
                Kind::Quick => None,
                // Before others can see the connection.
                Kind::Waiting => connection.try_reserve(),
            };
            pool.open.lock().push(connection.clone());
            drop(turn);
            Ok((connection, slot))
        });
        opened.await.unwrap_or_else(|stopped| {
            let cause = Arc::new(io::Error::other(stopped));
            Err(ConnectionError::Connect { address: self.address.to_string(), cause })
        })
    }

    fn pool(&self, kind: Kind) -> &Pool {
        match kind {
            Kind::Quick => &self.quick,
            Kind::Waiting => &self.waiting,
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Quick,
    Waiting,
}

impl Pool {
    fn least_loaded(&self) -> Option<Connection> {
        let mut open = self.open.lock();
        open.retain(Connection::is_usable);
        open.iter().min_by_key(|connection| connection.load()).cloned()
    }

    fn free(&self) -> Option<Slot> {
        let mut open = self.open.lock();
        open.retain(Connection::is_usable);
        open.iter().find_map(Connection::try_reserve)
    }

    fn has_room(&self) -> bool {
        self.open.lock().len() < self.max
    }
}

impl Health {
    fn check(&self) -> Result<(), ConnectionError> {
        match &self.avoid {
            Some((until, cause)) if Instant::now() < *until => Err(cause.clone()),
            _ => Ok(()),
        }
    }

    fn note(&mut self, address: &Address, failure: Option<&ConnectionError>) {
        let Some(cause) = failure else {
            tracing::debug!(broker = %address, "connection opened");
            self.backoff.reset();
            self.avoid = None;
            return;
        };
        let error: &(dyn Error + 'static) = cause;
        tracing::warn!(broker = %address, error, "broker failed");
        let until = Instant::now().checked_add(self.backoff.next());
        self.avoid = until.map(|until| (until, cause.clone()));
    }
}

/// How long a call waits for a broker that failed when it was last tried. A connection goes on being opened.
pub(crate) const SUSPECT_WAIT: Duration = Duration::from_millis(500);

/// Per broker. More do not make it faster, they only keep a large answer from delaying small ones.
const QUICK_CONNECTIONS: usize = 4;

/// Requests without an answer per quick connection; further ones queue in their callers.
const QUICK_IN_FLIGHT: usize = 64;

/// Per broker: fetches that wait at the broker at the same time.
const WAITING_CONNECTIONS: usize = 16;

/// After so long without a fetch that waits, its connection is closed.
const WAITING_IDLE: Duration = Duration::from_secs(60);
