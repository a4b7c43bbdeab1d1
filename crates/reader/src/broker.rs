//! One broker: its connections, and how long it is left alone after it failed or asked for it.
//!
//! A request that is not answered in time is given up alone, and asked again on a connection to itself: it takes long, or is
//! behind one that does, and nothing else is wrong. Where nothing has come from the broker on any connection for as long, it
//! is suspect: no old connection is used, and calls do not wait long for a new one, until one stands.

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
/// after it. So requests that are answered at once share few connections, and each fetch that waits has one to itself, as
/// has what was not answered in time.
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
    /// For the log.
    cluster: String,
    backoff: Backoff,
    /// Until when, and why, no connection is tried.
    avoid: Option<(Instant, ConnectionError)>,
    /// Since when it has failed; `None` after a connection was opened.
    failed: Option<Instant>,
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
        let backoff = Backoff::new(config.backoff, config.backoff_max);
        let health = Health { cluster: config.name.clone(), backoff, avoid: None, failed: None };
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

    /// Whether it failed, not long ago, and no connection was opened since.
    pub(crate) fn is_awaited(&self) -> bool {
        self.health.lock().failed.is_some_and(|since| since.elapsed() < AWAITED)
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
    pub(crate) async fn call<A: Api>(self: &Arc<Self>, request: &A) -> Result<A::Answer, ConnectionError> {
        self.check_throttle()?;
        let patience = self.config.patience();
        let answered = match self.quick().await?.call(request, patience).await {
            Err(ConnectionError::Lost { .. }) => self.quick().await?.call(request, patience).await,
            answered => answered,
        };
        self.heed(answered)
    }

    /// As [`Broker::call`], for what was not answered in time before: on a connection to itself, if one is to be had soon,
    /// because it may be what takes long.
    pub(crate) async fn call_again<A: Api>(
        self: &Arc<Self>,
        request: &A,
    ) -> Result<A::Answer, ConnectionError> {
        self.check_throttle()?;
        if !self.has_failed()
            && let Ok(Some(slot)) = timeout(STALLED, self.own()).await
        {
            match slot.call(request, self.config.patience()).await {
                Err(ConnectionError::Lost { .. }) => {}
                answered => return self.heed(answered),
            }
        }
        self.call(request).await
    }

    /// Sends a fetch that waits at the broker for up to `wait`. `None` where no connection is free for it, or that one was lost.
    ///
    /// Fails at once where the broker wants to be left alone.
    pub(crate) async fn call_waiting<A: Api>(
        self: &Arc<Self>,
        request: &A,
        wait: Duration,
    ) -> Result<Option<A::Answer>, ConnectionError> {
        self.check_throttle()?;
        let patience = self.config.patience().saturating_add(wait);
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
                if !self.is_heard() {
                    self.suspect(&failure);
                }
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether something came of late, on any connection: well after the request was sent that nobody waits for any more.
    fn is_heard(&self) -> bool {
        let late = self.config.patience().saturating_sub(STALLED);
        let heard = |connection: &Connection| connection.heard().is_some_and(|at| at.elapsed() < late);
        [&self.quick, &self.waiting].into_iter().any(|pool| pool.open.lock().iter().any(heard))
    }

    /// What is silent on every connection, such as a process that is stopped, has to show on a new one that it is there.
    fn suspect(&self, failure: &ConnectionError) {
        for pool in [&self.quick, &self.waiting] {
            pool.open.lock().clear();
        }
        self.health.lock().suspect(&self.address, failure);
    }

    /// For a request that the broker answers at once: the least loaded connection, none that is stalled if it can be helped.
    ///
    /// Fails at once, with the last cause, while the broker is being left alone. Dropping the call does not stop a
    /// connection from being opened: it is kept for the next one.
    async fn quick(self: &Arc<Self>) -> Result<Slot, ConnectionError> {
        let connection = match self.quick.least_loaded() {
            None => self.in_time(self.open_quick()).await?,
            Some(stalled) if is_stalled(&stalled) && self.quick.has_room() => {
                timeout(STALLED, self.open_quick()).await.ok().and_then(Result::ok).unwrap_or(stalled)
            }
            Some(connection) => {
                if connection.load() > 0 && self.quick.has_room() {
                    self.open_another();
                }
                connection
            }
        };
        connection.reserve().await
    }

    /// A new connection, unless another caller has opened one meanwhile.
    async fn open_quick(self: &Arc<Self>) -> Result<Connection, ConnectionError> {
        let turn = Arc::clone(&self.quick.opening).lock_owned().await;
        match self.quick.least_loaded() {
            Some(connection) if !is_stalled(&connection) || !self.quick.has_room() => Ok(connection),
            _ => Ok(self.open(Kind::Quick, turn).await?.0),
        }
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

    /// As [`Broker::waiting`], but queues for the turn to open one.
    async fn own(self: &Arc<Self>) -> Option<Slot> {
        let turn = Arc::clone(&self.waiting.opening).lock_owned().await;
        match self.waiting.free() {
            None if self.waiting.has_room() => self.open(Kind::Waiting, turn).await.ok()?.1,
            free => free,
        }
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
        timeout(SUSPECT_WAIT, opened).await.unwrap_or_else(|_| {
            let last = self.health.lock().avoid.as_ref().map(|(_, cause)| cause.clone());
            // What needed a person may be repaired since: then all that is known is that it takes long.
            Err(last.filter(ConnectionError::retriable).unwrap_or_else(|| ConnectionError::Silent {
                address: self.address.to_string(),
                after: SUSPECT_WAIT,
            }))
        })
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
    /// One that is stalled only where all are.
    fn least_loaded(&self) -> Option<Connection> {
        let mut open = self.open.lock();
        open.retain(Connection::is_usable);
        open.iter().min_by_key(|connection| (is_stalled(connection), connection.load())).cloned()
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

/// Whether an answer takes so long that what is asked behind it would wait for it.
fn is_stalled(connection: &Connection) -> bool {
    connection.silent_since().is_some_and(|since| since.elapsed() >= STALLED)
}

impl Health {
    fn check(&self) -> Result<(), ConnectionError> {
        match &self.avoid {
            Some((until, cause)) if Instant::now() < *until => Err(cause.clone()),
            _ => Ok(()),
        }
    }

    /// A new connection may be tried at once: that tells whether the broker is there.
    fn suspect(&mut self, address: &Address, cause: &ConnectionError) {
        // Of many that waited for it, the first one tells.
        if self.avoid.is_none() {
            self.tell(address, cause);
            self.avoid = Some((Instant::now(), cause.clone()));
        }
    }

    /// Logs the first failure of an outage for operators, and the others for those who look closer.
    fn tell(&mut self, address: &Address, cause: &ConnectionError) {
        let error: &(dyn Error + 'static) = cause;
        let cluster = &self.cluster;
        if self.failed.is_some() {
            tracing::debug!(cluster, broker = %address, error, "broker failed again");
        } else {
            tracing::warn!(cluster, broker = %address, error, "broker failed");
            self.failed = Some(Instant::now());
        }
    }

    fn note(&mut self, address: &Address, failure: Option<&ConnectionError>) {
        let Some(cause) = failure else {
            tracing::debug!(cluster = self.cluster, broker = %address, "connection opened");
            if let Some(since) = self.failed.take() {
                let outage = format_args!("{:.1?}", since.elapsed());
                tracing::info!(cluster = self.cluster, broker = %address, outage, "broker recovered");
            }
            self.backoff.reset();
            self.avoid = None;
            return;
        };
        self.tell(address, cause);
        let until = Instant::now().checked_add(self.backoff.next());
        self.avoid = until.map(|until| (until, cause.clone()));
    }
}

/// How long the recovery of a broker is worth a line in the log, though the cluster has dropped it meanwhile.
const AWAITED: Duration = Duration::from_secs(3_600);

/// How long a call waits for a broker that failed when it was last tried. A connection goes on being opened.
const SUSPECT_WAIT: Duration = Duration::from_millis(500);

/// After so long without a part of an answer, a connection is asked nothing more where there is another one. As long a call
/// waits for that.
const STALLED: Duration = Duration::from_millis(250);

/// Per broker. More do not make it faster, they only keep a large answer from delaying small ones.
const QUICK_CONNECTIONS: usize = 4;

/// Requests without an answer per quick connection; further ones queue in their callers.
const QUICK_IN_FLIGHT: usize = 64;

/// Per broker: fetches that wait at the broker at the same time.
const WAITING_CONNECTIONS: usize = 16;

/// After so long without a fetch that waits, its connection is closed.
const WAITING_IDLE: Duration = Duration::from_secs(60);
