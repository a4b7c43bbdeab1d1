//! One broker: its connections, its back-off after failures, and its throttle times.
//!
//! A request without a response in time fails alone, and is retried on a dedicated connection: it is slow or waits
//! behind a slow one, and nothing else is wrong. If no connection has received anything for that time, the broker is
//! suspect: open connections are dropped, and calls wait only briefly for a new one until it is open.

mod traffic;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use sluicegate_fair_share::{Holder, Ledger, Place, Places};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use traffic::{Pool, Traffic, is_stalled};

use crate::address::Address;
use crate::api::Api;
use crate::backoff::{Backoff, jitter};
use crate::config::Config;
use crate::connection::{Connection, Slot};
use crate::connection_error::ConnectionError;
use crate::dial::dial;
use crate::observer::{BrokerRequest, Observed};

/// A broker and the connections to it, opened on demand.
///
/// A broker answers the requests of one connection in order, so a fetch that waits for records delays all later ones,
/// and so does a large answer. Fetches therefore have other connections than lookups, which are all other requests. Of
/// both kinds, requests that are answered at once share a few connections; each long poll has a dedicated one, as has
/// each search for records, and each retry of a request without a response in time.
pub(crate) struct Broker {
    address: Address,
    config: Arc<Config>,
    fetches: Traffic,
    lookups: Traffic,
    health: Mutex<Health>,
    fetch_places: Arc<Places>,
    /// The turn to send a fetch after a throttle time.
    fetch_turns: Arc<Places>,
    search_places: Arc<Places>,
}

struct Health {
    /// For the log.
    cluster: String,
    backoff: Backoff,
    /// The end of the current back-off, and the failure that caused it.
    avoid: Option<(Instant, ConnectionError)>,
    /// The start of the outage; `None` once a connection was opened.
    failed: Option<Instant>,
}

impl Broker {
    pub(crate) fn new(address: Address, config: Arc<Config>) -> Self {
        let backoff = Backoff::new(config.backoff, config.backoff_max);
        let health = Health { cluster: config.name.clone(), backoff, avoid: None, failed: None };
        Self {
            fetches: Traffic::new(&config, FETCH_CONNECTIONS),
            lookups: Traffic::new(&config, LOOKUP_CONNECTIONS),
            health: Mutex::new(health),
            fetch_places: Places::with_shares(Ledger::of_one_cluster(FETCHES)),
            fetch_turns: Places::new(1),
            search_places: Places::new(SEARCHES),
            address,
            config,
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether a lookup can be sent without opening a connection first.
    pub(crate) fn is_connected(&self) -> bool {
        self.lookups.shared.has(Connection::is_usable)
    }

    /// Whether any connection is open.
    pub(crate) fn has_connection(&self) -> bool {
        self.pools().any(|pool| pool.has(Connection::is_usable))
    }

    /// Whether the last attempt to connect failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.health.lock().avoid.is_some()
    }

    /// Whether the last attempt to connect failed, and its back-off ended less than [`KNOWN_FAILURE`] ago. Nothing asks
    /// an unused broker again.
    pub(crate) fn has_recently_failed(&self) -> bool {
        self.health.lock().avoid.as_ref().is_some_and(|(until, _)| until.elapsed() < KNOWN_FAILURE)
    }

    /// Whether it failed in the last [`AWAITED`] and has not recovered.
    pub(crate) fn is_awaited(&self) -> bool {
        self.health.lock().failed.is_some_and(|since| since.elapsed() < AWAITED)
    }

    /// A place for a fetch that does not wait for records: its holder can have a share of [`FETCHES`].
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub(crate) async fn fetch_place(&self, holder: Holder) -> Place {
        self.fetch_places.acquire(holder).await
    }

    /// Performs a fetch, after the throttle time if the broker throttles fetches.
    ///
    /// The quota has room for few of those that waited for that, so clients take turns: one fetch is sent at a time,
    /// and again if it is throttled itself. Without turns, a client with few fetches would be throttled again and again
    /// beside a crowd.
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub(crate) async fn fetch_in_turn<T, F>(
        &self,
        holder: Holder,
        deadline: Instant,
        fetch: impl Fn() -> F,
    ) -> Result<T, ConnectionError>
    where
        F: Future<Output = Result<T, ConnectionError>>,
    {
        let mut turn = None;
        loop {
            if let Some(left) = self.fetches.throttled() {
                if left >= deadline.saturating_duration_since(Instant::now()) {
                    return Err(self.throttled(left));
                }
                if turn.is_some() {
                    sleep(left).await;
                    continue;
                }
            }
            if !self.fetches.was_throttled_lately() {
                turn = None;
            } else if turn.is_none() {
                let next = timeout_at(deadline, self.fetch_turns.acquire(holder)).await;
                turn = Some(next.map_err(|_| self.throttled(Duration::ZERO))?);
                continue;
            }
            match fetch().await {
                Err(ConnectionError::Throttled { .. }) if self.fetches.throttled().is_some() => {}
                answered => return answered,
            }
        }
    }

    fn throttled(&self, left: Duration) -> ConnectionError {
        ConnectionError::Throttled { address: self.address.to_string(), left }
    }

    /// Succeeds if there is a connection for lookups, one can be opened, or the broker throttles them.
    pub(crate) async fn is_reachable(self: &Arc<Self>) -> Result<(), ConnectionError> {
        if self.lookups.throttled().is_some() {
            return Ok(());
        }
        self.shared_slot(&self.lookups).await.map(drop)
    }

    /// Sends a request that the broker answers at once.
    ///
    /// Fails at once while the broker throttles such requests. A lost connection is replaced once: it may have been cut
    /// long before this use.
    pub(crate) async fn call<A: Api>(self: &Arc<Self>, request: &A) -> Result<A::Answer, ConnectionError> {
        let (traffic, timeout) = (self.traffic_of::<A>(), self.config.response_timeout());
        traffic.check_throttle(&self.address)?;
        let answered = match self.send(self.shared_slot(traffic).await?, request, timeout, false).await {
            Err(ConnectionError::Lost { .. }) => {
                self.send(self.shared_slot(traffic).await?, request, timeout, false).await
            }
            answered => answered,
        };
        self.note(traffic, answered)
    }

    /// As [`Broker::call`], for the retry of a request without a response in time: on a dedicated connection, if one is
    /// available soon, because the request itself may be slow.
    pub(crate) async fn call_on_dedicated<A: Api>(
        self: &Arc<Self>,
        request: &A,
    ) -> Result<A::Answer, ConnectionError> {
        let traffic = self.traffic_of::<A>();
        traffic.check_throttle(&self.address)?;
        if !self.has_failed()
            && let Ok(Ok(Some(slot))) = timeout(STALLED, self.dedicated_slot(traffic)).await
        {
            match self.send(slot, request, self.config.response_timeout(), false).await {
                Err(ConnectionError::Lost { .. }) => {}
                answered => return self.note(traffic, answered),
            }
        }
        self.call(request).await
    }

    /// Sends a request that searches batches, on a dedicated connection: it can take seconds, and the broker answers
    /// later requests of the connection only then. At most [`SEARCHES`] at a time, for which clients take turns.
    ///
    /// # Cancel safety
    /// A drop leaves the queue. A search that has begun keeps its place: the broker does not stop either.
    pub(crate) async fn call_search<A: Api + Send + Sync + 'static>(
        self: &Arc<Self>,
        holder: Holder,
        request: A,
    ) -> Result<A::Answer, ConnectionError>
    where
        A::Answer: Send,
    {
        let place = self.search_places.acquire(holder).await;
        let broker = Arc::clone(self);
        let searched = tokio::spawn(async move {
            let _place = place;
            broker.search(&request).await
        });
        searched.await.unwrap_or_else(|stopped| Err(self.stopped(stopped)))
    }

    async fn search<A: Api>(self: &Arc<Self>, request: &A) -> Result<A::Answer, ConnectionError> {
        let (traffic, timeout) = (self.traffic_of::<A>(), self.config.response_timeout());
        traffic.check_throttle(&self.address)?;
        let answered = match self.send(self.search_slot(traffic).await?, request, timeout, false).await {
            Err(ConnectionError::Lost { .. }) => {
                self.send(self.search_slot(traffic).await?, request, timeout, false).await
            }
            answered => answered,
        };
        // A search without a response is no reason to suspect the broker: it can take longer.
        traffic.note_throttle(answered)
    }

    /// Sends a fetch that the broker holds for up to `wait`. `None` if no connection is free, or the connection was
    /// lost.
    ///
    /// Fails at once while the broker throttles fetches.
    pub(crate) async fn call_long_poll<A: Api>(
        self: &Arc<Self>,
        request: &A,
        wait: Duration,
    ) -> Result<Option<A::Answer>, ConnectionError> {
        let traffic = self.traffic_of::<A>();
        traffic.check_throttle(&self.address)?;
        let patience = self.config.response_timeout().saturating_add(wait);
        let slot = self.dedicated_slot(traffic);
        let slot = timeout(self.config.response_timeout(), slot).await;
        let Ok(Ok(Some(slot))) = slot else { return Ok(None) };
        match self.send(slot, request, patience, true).await {
            // It may have been cut long before this use.
            Err(ConnectionError::Lost { .. }) => Ok(None),
            answered => self.note(traffic, answered).map(Some),
        }
    }

    /// Sends a request, and tells the observer.
    async fn send<A: Api>(
        &self,
        slot: Slot,
        request: &A,
        timeout: Duration,
        is_waiting: bool,
    ) -> Result<(A::Answer, Duration), ConnectionError> {
        let observer = self.config.observer.as_deref();
        let observed = observer.zip(BrokerRequest::of(A::KEY, is_waiting));
        let observed = observed.map(|(observer, request)| Observed::begin(observer, request, &self.address));
        let answered = slot.call(request, timeout).await;
        if let Some(observed) = observed {
            observed.end(&answered);
        }
        answered
    }

    /// Updates throttle time and health from the outcome of a request.
    fn note<T>(
        &self,
        traffic: &Traffic,
        answered: Result<(T, Duration), ConnectionError>,
    ) -> Result<T, ConnectionError> {
        let answered = traffic.note_throttle(answered);
        if let Err(failure @ ConnectionError::Silent { .. }) = &answered
            && !self.has_received_lately()
        {
            self.suspect(failure);
        }
        answered
    }

    /// Whether any connection received something well after the request that has just timed out was sent.
    fn has_received_lately(&self) -> bool {
        let window = self.config.response_timeout().saturating_sub(STALLED);
        let has_received =
            |connection: &Connection| connection.last_received().is_some_and(|at| at.elapsed() < window);
        self.pools().any(|pool| pool.has(has_received))
    }

    /// Drops all connections. A broker that is silent on each of them, such as a stopped process, must accept a new one
    /// first.
    fn suspect(&self, failure: &ConnectionError) {
        self.pools().for_each(|pool| pool.clear());
        self.health.lock().suspect(&self.address, failure);
    }

    /// A slot for a request that the broker answers at once: on the least loaded connection, if possible not a stalled
    /// one.
    ///
    /// Fails at once, with the last failure, during the back-off. Dropping the call does not abort a connection that is
    /// being opened: later calls use it.
    async fn shared_slot(self: &Arc<Self>, traffic: &Traffic) -> Result<Slot, ConnectionError> {
        let pool = &traffic.shared;
        let connection = match pool.least_loaded() {
            None => self.in_time(self.open_shared(pool)).await?,
            Some(stalled) if is_stalled(&stalled) && pool.has_room() => {
                timeout(STALLED, self.open_shared(pool)).await.ok().and_then(Result::ok).unwrap_or(stalled)
            }
            Some(connection) => {
                if connection.load() > 0 && pool.has_room() {
                    self.open_another(pool);
                }
                connection
            }
        };
        connection.reserve().await
    }

    /// A new connection, unless another caller has opened one meanwhile.
    async fn open_shared(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<Connection, ConnectionError> {
        let turn = pool.turn().await;
        match pool.least_loaded() {
            Some(connection) if !is_stalled(&connection) || !pool.has_room() => Ok(connection),
            _ => Ok(self.open(pool, turn).await?.0),
        }
    }

    /// A slot on a dedicated connection, which can have to be opened first. `None` if all are taken.
    async fn dedicated_slot(self: &Arc<Self>, traffic: &Traffic) -> Result<Option<Slot>, ConnectionError> {
        let pool = &traffic.dedicated;
        let turn = pool.turn().await;
        match pool.free() {
            None if pool.has_room() => Ok(self.open(pool, turn).await?.1),
            free => Ok(free),
        }
    }

    /// A slot on a dedicated connection; on a shared one only if retries have taken all of those.
    async fn search_slot(self: &Arc<Self>, traffic: &Traffic) -> Result<Slot, ConnectionError> {
        match self.in_time(self.dedicated_slot(traffic)).await? {
            Some(slot) => Ok(slot),
            None => self.shared_slot(traffic).await,
        }
    }

    /// Waits for a connection, but not long if the last one failed: the caller must look for another leader meanwhile.
    async fn in_time<T>(
        &self,
        opened: impl Future<Output = Result<T, ConnectionError>>,
    ) -> Result<T, ConnectionError> {
        if !self.has_failed() {
            return opened.await;
        }
        timeout(SUSPECT_WAIT, opened).await.unwrap_or_else(|_| {
            let last = self.health.lock().avoid.as_ref().map(|(_, cause)| cause.clone());
            // A failure that an operator must repair may be repaired by now: only the timeout is certain.
            Err(last.filter(ConnectionError::retriable).unwrap_or_else(|| ConnectionError::Silent {
                address: self.address.to_string(),
                after: SUSPECT_WAIT,
            }))
        })
    }

    /// Opens one more shared connection for later calls, unless one is being opened already.
    fn open_another(self: &Arc<Self>, pool: &Arc<Pool>) {
        let Some(turn) = pool.try_turn() else { return };
        let (broker, pool) = (Arc::clone(self), Arc::clone(pool));
        tokio::spawn(async move { broker.open(&pool, turn).await });
    }

    /// A new connection; a dedicated one with its slot.
    async fn open(
        self: &Arc<Self>,
        pool: &Arc<Pool>,
        turn: OwnedMutexGuard<()>,
    ) -> Result<(Connection, Option<Slot>), ConnectionError> {
        self.health.lock().check()?;
        let (broker, pool) = (Arc::clone(self), Arc::clone(pool));
        // In its own task, so that callers that time out one after the other do not abort it each time.
        let opened = tokio::spawn(async move {
            let dialed = dial(&broker.address, &broker.config, pool.limits).await;
            broker.health.lock().update(&broker.address, dialed.as_ref().err());
            if let Some(observer) = &broker.config.observer {
                observer.connected(dialed.is_ok());
            }
            let opened = pool.add(dialed?);
            drop(turn);
            Ok(opened)
        });
        opened.await.unwrap_or_else(|stopped| Err(self.stopped(stopped)))
    }

    /// The error of a call whose task was stopped.
    fn stopped(&self, stopped: JoinError) -> ConnectionError {
        let cause = Arc::new(io::Error::other(stopped));
        ConnectionError::Connect { address: self.address.to_string(), cause }
    }

    /// The connections and the throttle time for a request.
    fn traffic_of<A: Api>(&self) -> &Traffic {
        match A::KEY {
            ApiKey::Fetch => &self.fetches,
            _ => &self.lookups,
        }
    }

    fn pools(&self) -> impl Iterator<Item = &Pool> {
        [&self.fetches, &self.lookups].into_iter().flat_map(|traffic| [&*traffic.shared, &*traffic.dedicated])
    }
}

impl Health {
    fn check(&self) -> Result<(), ConnectionError> {
        match &self.avoid {
            Some((until, cause)) if Instant::now() < *until => Err(cause.clone()),
            _ => Ok(()),
        }
    }

    /// Marks the broker as suspect, without a back-off: a new connection shows whether it is up.
    fn suspect(&mut self, address: &Address, cause: &ConnectionError) {
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

    fn update(&mut self, address: &Address, failure: Option<&ConnectionError>) {
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
const KNOWN_FAILURE: Duration = Duration::from_secs(1_800);

/// The wait of a call for a connection to a broker whose last connection failed. Opening it continues.
const SUSPECT_WAIT: Duration = Duration::from_millis(500);

/// A connection that has received nothing for this long is avoided if there is another one. A call waits as long for a
/// new one.
const STALLED: Duration = Duration::from_millis(250);

/// Fetches: shared connections, of which several keep a large response from delaying small ones, and more would not be
/// faster. And dedicated ones, for the long polls of each role and isolation level, and some retries.
const FETCH_CONNECTIONS: (usize, usize) = (4, 24);

/// Lookups: shared connections, of which some answer while two wait for slow ones, and dedicated ones for searches and
/// some retries.
const LOOKUP_CONNECTIONS: (usize, usize) = (4, 8);

/// Searches for records by time: each keeps a thread of the broker busy.
pub(crate) const SEARCHES: usize = 2;

/// Fetches that do not wait, from their requests until their answers are encoded; further ones wait for their clients'
/// turns. Their memory: an answer each, which is one batch if that is larger than what was asked for.
const FETCHES: usize = 64;

#[cfg(test)]
mod tests;
