//! One broker: its connections, its back-off after failures, and its throttle times.
//!
//! A request without a response in time fails alone, and is retried on a dedicated connection: it is slow or waits
//! behind a slow one, and nothing else is wrong. If no connection has received anything for that time, the broker is
//! suspect: open connections are dropped, and calls wait only briefly for a new one until it is open.

mod fetches;
mod health;
mod traffic;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use health::Health;
use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use sluicegate_fair_share::{Holder, Ledger, Place, Places};
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until, timeout};
use traffic::{Pool, Traffic, is_stalled};

use crate::address::Address;
use crate::api::Api;
use crate::backoff::in_future;
use crate::config::Config;
use crate::connection::{Answered, Connection, Slot};
use crate::dial::dial;
use crate::error::ConnectionError;
use crate::observer::{BrokerRequest, Observed};
use crate::slow_logs::{SlowLogs, Stalls};

/// A broker and the connections to it, opened on demand.
///
/// A broker answers the requests of one connection in order, so a fetch that waits for records delays all later ones,
/// and so does a large answer. Fetches and writes therefore have other connections than lookups, which are all other
/// requests. Of all kinds, requests that are answered at once share a few connections; each long poll has a dedicated
/// one, as has each search for records, each fetch of a log that is slow to read, and each retry of a request without a
/// response in time. So has each member of a group while it joins.
pub(crate) struct Broker {
    address: Address,
    config: Arc<Config>,
    fetches: Traffic,
    lookups: Traffic,
    joins: Traffic,
    writes: Traffic,
    health: Mutex<Health>,
    fetch_places: Arc<Places>,
    slow_fetch_places: Arc<Places>,
    slow_logs: SlowLogs,
    stalls: Stalls,
    /// The turn to send a fetch after a throttle time.
    fetch_turns: Arc<Places>,
    search_places: Arc<Places>,
    write_places: Arc<Places>,
    producers_places: Arc<Places>,
    /// Until when it is not asked about producers.
    producers_rest: Mutex<Option<Instant>>,
    join_places: Arc<Places>,
}

impl Broker {
    pub(crate) fn new(address: Address, config: Arc<Config>) -> Self {
        Self {
            fetches: Traffic::new(&config, FETCH_CONNECTIONS),
            lookups: Traffic::new(&config, LOOKUP_CONNECTIONS),
            joins: Traffic::new(&config, (0, JOINS)),
            writes: Traffic::new(&config, WRITE_CONNECTIONS),
            health: Mutex::new(Health::new(&config)),
            fetch_places: Places::with_shares(Ledger::of_one_cluster(FETCHES)),
            slow_fetch_places: Places::with_shares(Ledger::of_one_cluster(SLOW_FETCHES)),
            slow_logs: SlowLogs::default(),
            stalls: Stalls::default(),
            fetch_turns: Places::new(1),
            search_places: Places::new(SEARCHES),
            write_places: Places::with_shares(Ledger::of_one_cluster(WRITES)),
            producers_places: Places::new(1),
            producers_rest: Mutex::default(),
            join_places: Places::new(JOINS),
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
        self.health.lock().has_failed()
    }

    /// Whether the last attempt to connect failed, and its back-off ended less than [`KNOWN_FAILURE`] ago. Nothing asks
    /// an unused broker again.
    pub(crate) fn has_recently_failed(&self) -> bool {
        self.health.lock().has_recently_failed()
    }

    /// Whether it failed in the last [`AWAITED`] and has not recovered.
    pub(crate) fn is_awaited(&self) -> bool {
        self.health.lock().is_awaited()
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
        self.ask(request).await.map(|answered| answered.answer)
    }

    /// As [`Broker::call`], for the retry of a request without a response in time: on a dedicated connection, if one is
    /// available soon, because the request itself may be slow.
    pub(crate) async fn call_on_dedicated<A: Api>(
        self: &Arc<Self>,
        request: &A,
    ) -> Result<A::Answer, ConnectionError> {
        self.ask_on_dedicated(request, None).await.map(|answered| answered.answer)
    }

    async fn ask<A: Api>(self: &Arc<Self>, request: &A) -> Result<Answered<A::Answer>, ConnectionError> {
        let traffic = self.traffic_of::<A>();
        traffic.check_throttle(&self.address)?;
        let timeout = self.config.response_timeout();
        match self.send(self.shared_slot(traffic).await?, request, timeout, false).await {
            Err(ConnectionError::Lost { .. }) => self.ask_again(request).await,
            answered => self.note(traffic, answered),
        }
    }

    /// Sends a request once more, after its connection was lost.
    async fn ask_again<A: Api>(
        self: &Arc<Self>,
        request: &A,
    ) -> Result<Answered<A::Answer>, ConnectionError> {
        let (traffic, timeout) = (self.traffic_of::<A>(), self.config.response_timeout());
        let answered = self.send(self.shared_slot(traffic).await?, request, timeout, false).await;
        self.note(traffic, answered)
    }

    async fn ask_on_dedicated<A: Api>(
        self: &Arc<Self>,
        request: &A,
        place: Option<&Arc<Place>>,
    ) -> Result<Answered<A::Answer>, ConnectionError> {
        let traffic = self.traffic_of::<A>();
        traffic.check_throttle(&self.address)?;
        if !self.has_failed()
            && let Ok(Ok(Some(slot))) = timeout(NEW_CONNECTION, self.dedicated_slot(traffic)).await
        {
            let slot = match place {
                Some(place) => slot.with_place(place),
                None => slot,
            };
            match self.send(slot, request, self.config.response_timeout(), false).await {
                Err(ConnectionError::Lost { .. }) => {}
                answered => return self.note(traffic, answered),
            }
        }
        self.ask(request).await
    }

    /// A place for a write, for which clients take turns.
    pub(crate) async fn write_place(&self, holder: Holder) -> Place {
        self.write_places.acquire(holder).await
    }

    /// The place for a question about producers, once the broker has had its rest: it tells all of a partition.
    pub(crate) async fn producers_place(&self, holder: Holder) -> Place {
        let place = self.producers_places.acquire(holder).await;
        let rest = *self.producers_rest.lock();
        sleep_until(rest.unwrap_or_else(Instant::now)).await;
        place
    }

    /// Gives the broker a rest from questions about producers, as long as it took for the last one: the more it knows.
    pub(crate) fn rest_from_producers(&self, took: Duration) {
        *self.producers_rest.lock() = Some(in_future(took.min(MAX_REST)));
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
        traffic.note_throttle(answered).map(|answered| answered.answer)
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
            answered => self.note(traffic, answered).map(|answered| Some(answered.answer)),
        }
    }

    /// Sends a request with which a member joins its group, and which the broker holds for up to `wait`.
    ///
    /// # Cancel safety
    /// A drop closes the connection: the broker may answer much later.
    pub(crate) async fn call_join<A: Api>(
        self: &Arc<Self>,
        holder: Holder,
        request: &A,
        wait: Duration,
    ) -> Result<A::Answer, ConnectionError> {
        let _place = self.join_places.acquire(holder).await;
        let traffic = self.traffic_of::<A>();
        traffic.check_throttle(&self.address)?;
        let patience = self.config.response_timeout().saturating_add(wait);
        let answered = match self.send(self.join_slot(traffic).await?, request, patience, true).await {
            // It may have been cut long before this use.
            Err(ConnectionError::Lost { .. }) => {
                self.send(self.join_slot(traffic).await?, request, patience, true).await
            }
            answered => answered,
        };
        self.note(traffic, answered).map(|answered| answered.answer)
    }

    /// Sends a request, and tells the observer.
    async fn send<A: Api>(
        &self,
        slot: Slot,
        request: &A,
        timeout: Duration,
        is_waiting: bool,
    ) -> Result<Answered<A::Answer>, ConnectionError> {
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
        answered: Result<Answered<T>, ConnectionError>,
    ) -> Result<Answered<T>, ConnectionError> {
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
        let window = self.config.response_timeout().saturating_sub(NEW_CONNECTION);
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
                timeout(NEW_CONNECTION, self.open_shared(pool))
                    .await
                    .ok()
                    .and_then(Result::ok)
                    .unwrap_or(stalled)
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
        if let Some(free) = pool.free() {
            return Ok(Some(free));
        }
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

    /// A slot on a dedicated connection. There is one for each that has a place, unless connections of others have not
    /// ended yet.
    async fn join_slot(self: &Arc<Self>, traffic: &Traffic) -> Result<Slot, ConnectionError> {
        let slot = self.in_time(self.dedicated_slot(traffic)).await?;
        slot.ok_or_else(|| {
            let cause = Arc::new(io::Error::other("too many members join at a time"));
            ConnectionError::Connect { address: self.address.to_string(), cause }
        })
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
            let last = self.health.lock().last_failure();
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
        tokio::spawn(async move {
            if pool.has_room() {
                drop(broker.open(&pool, turn).await)
            }
        });
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
            ApiKey::JoinGroup | ApiKey::SyncGroup => &self.joins,
            ApiKey::Produce => &self.writes,
            _ => &self.lookups,
        }
    }

    fn pools(&self) -> impl Iterator<Item = &Pool> {
        [&self.fetches, &self.lookups, &self.joins, &self.writes]
            .into_iter()
            .flat_map(|traffic| [&*traffic.shared, &*traffic.dedicated])
    }
}

/// The wait of a call for a connection to a broker whose last connection failed. Opening it continues.
const SUSPECT_WAIT: Duration = Duration::from_millis(500);

/// The wait of a call for a new connection, if those that are open are stalled.
const NEW_CONNECTION: Duration = Duration::from_millis(250);

/// Fetches: shared connections, of which several keep a large response from delaying small ones, and more would not be
/// faster. And dedicated ones, for the long polls of each role and isolation level, for slow logs, and some retries.
const FETCH_CONNECTIONS: (usize, usize) = (4, 32);

/// Lookups: shared connections, of which some answer while two wait for slow ones, and dedicated ones for searches and
/// some retries.
const LOOKUP_CONNECTIONS: (usize, usize) = (4, 8);

/// Writes: shared connections, of which a broker takes the next request only after the last one is replicated, so that
/// as many producers wait for replicas at a time; and dedicated ones for some retries.
const WRITE_CONNECTIONS: (usize, usize) = (8, 8);

/// Writes at a time, each of one client's command; further ones wait for their clients' turns.
const WRITES: usize = 256;

/// The longest rest between two questions about producers.
const MAX_REST: Duration = Duration::from_millis(500);

/// Members that join groups at a time, each with a connection of its own. A group waits for all its members: if some of
/// them waited here for others to have joined, none would.
const JOINS: usize = 1024;

/// Searches for records by time: each keeps a thread of the broker busy.
pub(crate) const SEARCHES: usize = 2;

/// Fetches that do not wait, from their requests until their answers are encoded; further ones wait for their clients'
/// turns. Their memory: an answer each, which is one batch if that is larger than what was asked for.
const FETCHES: usize = 64;

/// The same of logs that are slow to read, each on a connection of its own, if one can be opened soon.
const SLOW_FETCHES: usize = 8;

#[cfg(test)]
mod tests;
