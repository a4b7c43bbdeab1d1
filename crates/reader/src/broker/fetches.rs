//! Fetches of one log: their places, their turns after a throttle time, and the connections that suit them.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use sluicegate_fair_share::{Holder, Place};
use sluicegate_shared_log::Log;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Broker;
use super::traffic::{Pool, STALLED, is_stalled};
use crate::api::{FetchAnswer, FetchPartition, FetchRequest};
use crate::connection::Answered;
use crate::error::ConnectionError;
use crate::slow_logs::SLOW;

impl Broker {
    /// Whether a fetch from `offset` will probably take long, or its client has held up others often.
    pub(crate) fn is_slow(&self, holder: Holder, log: Log<'_>, offset: i64) -> bool {
        let now = Instant::now();
        // One that has failed must be found out about first.
        !self.has_failed() && (self.slow_logs.has(log, offset, now) || self.stalls.are_many(holder, now))
    }

    /// Learns from a fetch from `offset` that was answered within `took`; `to` is the offset that follows it.
    pub(crate) fn note_fetched(&self, log: Log<'_>, (offset, to): (i64, i64), took: Option<Duration>) {
        // A broker does not read from connections that it throttles: the time says nothing.
        let Some(took) = took.filter(|_| !self.fetches.was_throttled_lately()) else { return };
        if took >= SLOW {
            self.slow_logs.note_slow(log, to, Instant::now());
        } else {
            self.slow_logs.note_quick(log, (offset, to), Instant::now());
        }
    }

    /// A place for a fetch that does not wait for records: its holder can have a share of [`FETCHES`](super::FETCHES), or
    /// of [`SLOW_FETCHES`](super::SLOW_FETCHES).
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub(crate) async fn fetch_place(&self, holder: Holder, is_slow: bool) -> Arc<Place> {
        let places = if is_slow { &self.slow_fetch_places } else { &self.fetch_places };
        Arc::new(places.acquire(holder).await)
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

    /// Sends a fetch that does not wait for records, on a dedicated connection if `is_dedicated`. `None` if it should be
    /// sent again: it waits behind a slow one, and another connection suits it better.
    ///
    /// # Cancel safety
    /// After a drop, a fetch on a dedicated connection keeps `place` until the answer, or until the connection closes: the
    /// broker reads on. One on a shared connection gives it back, and is one of few in flight there.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        (holder, place): (Holder, Option<&Arc<Place>>),
        request: &FetchRequest<'_>,
        is_dedicated: bool,
    ) -> Result<Option<Answered<Vec<FetchAnswer>>>, ConnectionError> {
        let mut watch = Watch::default();
        if is_dedicated {
            let mut call = pin!(self.ask_on_dedicated(request, place));
            loop {
                if let Some(answered) = watch.wait(call.as_mut()).await {
                    return answered.map(|answered| Some(watch.judged(answered)));
                }
            }
        }
        let (traffic, response_timeout) = (&self.fetches, self.config.response_timeout());
        traffic.check_throttle(&self.address)?;
        let slot = self.shared_slot(traffic).await?;
        let (connection, id) = (slot.connection().clone(), slot.id());
        let mut call = pin!(self.send(slot, request, response_timeout, false));
        let mut is_oldest = false;
        loop {
            match watch.wait(call.as_mut()).await {
                Some(Err(ConnectionError::Lost { .. })) => return self.ask_again(request).await.map(Some),
                Some(answered) => {
                    let answered = self.note(traffic, answered);
                    return answered.map(|answered| Some(watch.judged(answered)));
                }
                None => {}
            }
            if !is_stalled(&connection) || traffic.was_throttled_lately() {
                continue;
            }
            let Some(&FetchPartition { topic, partition, offset, .. }) = request.partitions.first() else {
                continue;
            };
            let log = Log { topic, partition };
            if connection.oldest().is_some_and(|(oldest, _)| oldest == id) {
                let now = Instant::now();
                self.slow_logs.note_slow(log, offset, now);
                if !std::mem::replace(&mut is_oldest, true) {
                    self.stalls.note(holder, now);
                }
            } else if self.is_slow(holder, log, offset) || self.has_another(&traffic.shared) {
                return Ok(None);
            }
        }
    }

    /// Whether there is a connection that is not stalled, or there can be no more. Opens one otherwise.
    fn has_another(self: &Arc<Self>, pool: &Arc<Pool>) -> bool {
        let has_one = pool.has(|connection| connection.is_usable() && !is_stalled(connection));
        if has_one || !pool.has_room() {
            return true;
        }
        self.open_another(pool);
        false
    }

    fn throttled(&self, left: Duration) -> ConnectionError {
        ConnectionError::Throttled { address: self.address.to_string(), left }
    }
}

/// Looks at a call every [`STALLED`], and notices if this process is late itself: a broker is not slow because the bridge
/// is.
#[derive(Debug, Default)]
struct Watch {
    /// Whether the last look came too late.
    is_late: bool,
}

impl Watch {
    /// The output of the call, or `None` after [`STALLED`].
    async fn wait<F: Future>(&mut self, mut call: Pin<&mut F>) -> Option<F::Output> {
        let begun = Instant::now();
        let output = timeout(STALLED, call.as_mut()).await.ok();
        self.is_late = begun.elapsed().saturating_sub(STALLED) >= LATE;
        match output {
            // The timer can come before answers that have arrived.
            None if self.is_late => timeout(GRACE, call).await.ok(),
            output => output,
        }
    }

    /// The answer; if it came late, with the time that the broker took only if that was short.
    fn judged<T>(&self, answered: Answered<T>) -> Answered<T> {
        let took = answered.took.filter(|took| *took < SLOW || !self.is_late);
        Answered { took, ..answered }
    }
}

/// Timers are later only if the process lacks time.
const LATE: Duration = Duration::from_millis(5);

/// The time for other tasks to take what has arrived.
const GRACE: Duration = Duration::from_millis(10);
