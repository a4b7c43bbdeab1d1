//! Fetches of one log: their places, their turns after a throttle time, and the connections that suit them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sluicegate_fair_share::{Holder, Place};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Broker;
use super::traffic::{STALLED, is_stalled};
use crate::api::{FetchAnswer, FetchPartition, FetchRequest};
use crate::connection::{Answered, Connection};
use crate::connection_error::ConnectionError;
use crate::slow_logs::SlowLogs;

impl Broker {
    /// The logs that are slow to read.
    pub(crate) fn slow_logs(&self) -> &SlowLogs {
        &self.slow_logs
    }

    /// A place for a fetch that does not wait for records: its holder can have a share of [`FETCHES`], or of
    /// [`SLOW_FETCHES`].
    ///
    /// # Cancel safety
    /// A drop leaves the queue.
    pub(crate) async fn fetch_place(&self, holder: Holder, is_slow: bool) -> Place {
        let places = if is_slow { &self.slow_fetch_places } else { &self.fetch_places };
        places.acquire(holder).await
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

    /// Sends a fetch that does not wait for records: on a dedicated connection if it `is_slow`. `None` if another place
    /// suits it better: it waits behind a slow one, and there is another connection, or its log has turned out to be
    /// slow.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        request: &FetchRequest<'_>,
        is_slow: bool,
    ) -> Result<Option<Answered<Vec<FetchAnswer>>>, ConnectionError> {
        if is_slow {
            return self.ask_on_dedicated(request).await.map(Some);
        }
        let (traffic, patience) = (&self.fetches, self.config.response_timeout());
        traffic.check_throttle(&self.address)?;
        let slot = self.shared_slot(traffic).await?;
        let (connection, id) = (slot.connection().clone(), slot.id());
        let mut call = pin!(self.send(slot, request, patience, false));
        loop {
            match timeout(STALLED, &mut call).await {
                Ok(Err(ConnectionError::Lost { .. })) => return self.ask_again(request).await.map(Some),
                Ok(answered) => return self.note(traffic, answered).map(Some),
                Err(_) if self.suits_elsewhere(request, &connection, id) => return Ok(None),
                Err(_) => {}
            }
        }
    }

    /// Whether a fetch that has had no answer for [`STALLED`] suits another place better.
    fn suits_elsewhere(self: &Arc<Self>, request: &FetchRequest<'_>, on: &Connection, id: i32) -> bool {
        let pool = &self.fetches.shared;
        // A broker does not read from connections that it throttles.
        if !is_stalled(on) || self.fetches.throttled().is_some() {
            return false;
        }
        let Some(FetchPartition { topic, partition, offset, .. }) = request.partitions.first() else {
            return false;
        };
        let (log, now) = ((*topic, *partition), Instant::now());
        if on.oldest().is_some_and(|(oldest, _)| oldest == id) {
            self.slow_logs.note(log, (*offset, *offset), STALLED, now);
            return false;
        }
        if pool.has_room() {
            self.open_another(pool);
        }
        self.slow_logs.has(log, *offset, now) || pool.has(|other| other.is_usable() && !is_stalled(other))
    }

    fn throttled(&self, left: Duration) -> ConnectionError {
        ConnectionError::Throttled { address: self.address.to_string(), left }
    }
}
