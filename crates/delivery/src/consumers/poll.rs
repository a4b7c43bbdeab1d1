//! A poll: the records since the last one that the client has taken.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sluicegate_backend::command::ReadBounds;
use sluicegate_backend::groups::{Ended, GroupLog, MemberState, log};
use sluicegate_backend::{AnswerReservation, Chunk, CommandError, Fault};
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ConsumerError;
use super::consumer::{Consumer, Use};
use super::positions::Advance;
use crate::cluster::{MAX_PARTITIONS, MAX_WAIT, WAITER_BYTES};
use crate::grant::Grant;

/// The answer of a poll.
pub struct Polled {
    /// The records of each log that has some.
    pub records: Vec<(GroupLog, Chunk)>,
    /// To be used once the client has them.
    pub receipt: Receipt,
}

/// The right to tell that the client has an answer. The consumer's next poll waits until it is used or dropped: after a
/// drop, that poll answers with the same records.
pub struct Receipt {
    used: Use,
    advances: Vec<Advance>,
    connection: Option<Weak<()>>,
    /// None: the turn was another poll's until the time was over.
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Receipt {
    /// The answer has only those records of a log that are before this offset.
    pub fn end_at(&mut self, log: &GroupLog, offset: i64) {
        for advance in self.advances.iter_mut().filter(|advance| advance.log == *log) {
            advance.to = advance.to.min(offset);
        }
    }

    /// The answer is sent over a connection that ends with this. If it has ended before the client comes back, the answer
    /// may have been lost, and is given again.
    pub fn sent_over(&mut self, connection: Weak<()>) {
        self.connection = Some(connection);
    }

    /// The client has the answer, as far as the way in can know.
    pub fn taken(self) {
        let Self { used, advances, connection, _turn } = self;
        let consumer = used.consumer();
        let mut state = consumer.lock();
        state.positions.take(advances, connection);
        consumer.tell(&state);
    }
}

/// Records, and the moves of positions behind them.
type Found = (Vec<(GroupLog, Chunk)>, Vec<Advance>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.advances).finish()
    }
}

/// The result of one look at the logs.
enum Look {
    Records(Vec<(GroupLog, Chunk)>, Vec<Advance>),
    /// There is nothing to answer with, and no more time, or no more room to wait.
    Over,
    /// Some logs were read from their ends, were not the last ones, or could not be read: another look follows.
    Again,
}

/// The state that the looks of one poll share.
struct Search<'a> {
    bounds: ReadBounds,
    by: Instant,
    /// The number of logs that were looked at without a wait.
    looked_at: usize,
    /// Whether the reservation can have given back what an answer needs.
    has_waited: bool,
    /// Logs that are not read for a moment, because they cannot be.
    aside: BTreeSet<GroupLog>,
    /// Why none of them could be read, if that is so.
    error: Option<CommandError>,
    reservation: &'a mut dyn AnswerReservation,
}

impl Consumer {
    /// Reads records since the last answer that the client has taken, and waits for the first of them as `bounds` say.
    /// A second poll waits until the first one is answered, as long as for a record.
    ///
    /// The client has what it has taken before it polls again: that is what is committed for it. Records that it must not
    /// see count as read.
    ///
    /// # Errors
    /// The client cannot read a topic, or nothing can be read at all.
    ///
    /// # Cancel safety
    /// After a drop, the next poll answers with the same records.
    pub async fn poll(
        self: &Arc<Self>,
        grant: &Grant,
        bounds: ReadBounds,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Polled, ConsumerError> {
        let used = self.begin_use();
        grant.check_consume(&self.group)?;
        let takings = self.lock().positions.takings();
        let wait = grant.within_term(bounds.wait.unwrap_or(grant.default_wait()).min(MAX_WAIT));
        let by = crate::cluster::later(Instant::now(), wait);
        let (turn, has_waited) = match Arc::clone(&self.turn).try_lock_owned() {
            Ok(turn) => (turn, false),
            Err(_) => {
                let turn = Arc::clone(&self.turn).lock_owned();
                match wait_for(timeout_at(by, turn), &mut *reservation).await {
                    Some(Ok(turn)) => (turn, true),
                    Some(Err(_)) | None => return Ok(Polled::nothing(used, None)),
                }
            }
        };
        self.came_back(takings);
        // Topics that are not known in time are those of the last look.
        let _ = timeout_at(by, self.look_at_topics(grant)).await;
        if !self.is_subscribed() {
            return Err(ConsumerError::NotSubscribed);
        }
        let bounds = ReadBounds { committed: self.settings().committed, ..bounds };
        let search =
            Search { bounds, by, looked_at: 0, has_waited, aside: BTreeSet::new(), error: None, reservation };
        let (records, advances) = self.search(grant, search).await?;
        Ok(Polled { records, receipt: Receipt { used, advances, connection: None, _turn: Some(turn) } })
    }

    /// Looks for records until there are some, or the time is over.
    async fn search(self: &Arc<Self>, grant: &Grant, mut search: Search<'_>) -> Result<Found, ConsumerError> {
        loop {
            let mut logs = self.lock().role.logs.clone();
            let state = logs.borrow_and_update().clone();
            let (number, assigned) = match state {
                MemberState::Assigned(number, assigned) if !assigned.is_empty() => (number, assigned),
                MemberState::Ended(ended) => return self.after_end(&logs, ended),
                MemberState::Assigned(..) | MemberState::Joining(_) => {
                    let error = match state {
                        MemberState::Joining(error) => error,
                        MemberState::Assigned(..) | MemberState::Ended(_) => None,
                    };
                    search.has_waited = true;
                    let change = self.change(grant, &mut logs, search.by);
                    match wait_for(change, &mut *search.reservation).await {
                        Some(true) => continue,
                        Some(false) | None => {
                            return error.map_or(Ok((Vec::new(), Vec::new())), |error| Err(error.into()));
                        }
                    }
                }
            };
            let far = far(search.by);
            let look = tokio::select! {
                biased;
                look = self.look(grant, (number, &assigned), &mut search) => look?,
                // The records that are being read can be another member's.
                has_changed = self.change(grant, &mut logs, far) => match has_changed {
                    true => continue,
                    false => return Ok((Vec::new(), Vec::new())),
                },
            };
            match look {
                Look::Records(records, advances) if !has_changed(&logs) => return Ok((records, advances)),
                Look::Over if !has_changed(&logs) => {
                    return search.error.map_or(Ok((Vec::new(), Vec::new())), |error| Err(error.into()));
                }
                Look::Records(..) | Look::Over | Look::Again => {}
            }
        }
    }

    /// Waits until the logs change. False: the time is over, or the bridge drains.
    async fn change(&self, grant: &Grant, logs: &mut watch::Receiver<MemberState>, by: Instant) -> bool {
        tokio::select! {
            biased;
            () = grant.drain().begun() => false,
            changed = timeout_at(by, logs.changed()) => match changed {
                Ok(Ok(())) => true,
                // The client has ended its assignment, or the member is gone without a word.
                Ok(Err(_)) => !self.lock().role.logs.same_channel(logs),
                Err(_) => false,
            },
        }
    }

    /// The answer after the membership has ended.
    fn after_end(&self, logs: &watch::Receiver<MemberState>, ended: Ended) -> Result<Found, ConsumerError> {
        let is_current = self.lock().role.logs.same_channel(logs);
        match ended {
            // The next request takes it over again.
            Ended::Fenced => Ok((Vec::new(), Vec::new())),
            Ended::Left if !is_current => Ok((Vec::new(), Vec::new())),
            Ended::Left => Err(ConsumerError::Unknown),
            Ended::Refused(error) => Err(error.into()),
        }
    }

    /// Reads the next logs in turn once.
    async fn look(
        self: &Arc<Self>,
        grant: &Grant,
        (number, assigned): (u64, &[GroupLog]),
        search: &mut Search<'_>,
    ) -> Result<Look, ConsumerError> {
        self.begin(grant, number, assigned).await?;
        let (mut window, count) = self.lock().positions.window(assigned, MAX_PARTITIONS);
        let is_retry = !search.aside.is_empty();
        window.retain(|(log, _)| !search.aside.contains(log));
        search.aside.clear();
        if window.is_empty() {
            // Nothing is known of any log.
            let over = Instant::now() >= search.by;
            sleep_until(search.by.min(soon(RETRY))).await;
            return Ok(if over { Look::Over } else { Look::Again });
        }
        if search.has_waited && !search.reservation.refill().await {
            return Ok(Look::Over);
        }
        search.has_waited = true;
        // All logs are looked at once before one is waited for.
        let is_last = search.looked_at.saturating_add(window.len()) >= count;
        search.looked_at = search.looked_at.saturating_add(window.len());
        let left = search.by.saturating_duration_since(Instant::now());
        let wait = match () {
            () if !is_last => Duration::ZERO,
            () if is_retry || count > MAX_PARTITIONS => left.min(RETRY),
            () => left,
        };
        let bounds = ReadBounds { wait: Some(wait), ..search.bounds };
        let places: Vec<_> = window.iter().map(|(of, offset)| (log(of), *offset)).collect();
        let read = grant.multi_fetch(&places, bounds, Vec::new(), search.reservation).await?;
        let (mut records, mut advances, mut passed, mut lost) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        search.error = None;
        for ((log, from), read) in window.into_iter().zip(read) {
            match read {
                Ok(chunk) => {
                    let advance = Advance { log: log.clone(), from, to: chunk.next_offset };
                    if chunk.count > 0 {
                        advances.push(advance);
                        records.push((log, chunk));
                    } else {
                        passed.push(advance);
                    }
                }
                Err(error) if error.fault == Fault::OffsetOutOfRange => lost.push(log),
                Err(error) if is_told(error.fault) => {
                    self.look_soon();
                    return Err(error.into());
                }
                Err(error) => {
                    search.aside.insert(log);
                    search.error = Some(error);
                }
            }
        }
        if !(records.is_empty() && passed.is_empty() && lost.is_empty()) {
            search.error = None;
        }
        self.lock().positions.advance(&passed);
        self.reset(grant.cluster(), &lost).await?;
        let is_over = Instant::now() >= search.by;
        Ok(match () {
            () if !records.is_empty() => Look::Records(records, advances),
            () if is_over && is_last => Look::Over,
            // The reservation has ended the wait, or the search for records that the client sees.
            () if is_last
                && count <= MAX_PARTITIONS
                && !is_retry
                && lost.is_empty()
                && search.aside.is_empty() =>
            {
                Look::Over
            }
            () => Look::Again,
        })
    }
}

impl Polled {
    fn nothing(used: Use, turn: Option<OwnedMutexGuard<()>>) -> Self {
        Self {
            records: Vec::new(),
            receipt: Receipt { used, advances: Vec::new(), connection: None, _turn: turn },
        }
    }
}

/// Whether the client is told of an error although other logs can be read: it, or an operator, has to change something.
fn is_told(fault: Fault) -> bool {
    matches!(fault, Fault::Forbidden | Fault::Unauthenticated | Fault::NotAuthorized | Fault::Invalid)
}

/// Waits as long as the reservation allows.
async fn wait_for<T>(event: impl Future<Output = T>, reservation: &mut dyn AnswerReservation) -> Option<T> {
    tokio::select! {
        biased;
        event = event => Some(event),
        () = reservation.wait(WAITER_BYTES) => None,
    }
}

fn has_changed(logs: &watch::Receiver<MemberState>) -> bool {
    logs.has_changed().unwrap_or(true)
}

fn soon(time: Duration) -> Instant {
    crate::cluster::later(Instant::now(), time)
}

/// The end of a look at a cluster that does not answer.
fn far(by: Instant) -> Instant {
    crate::cluster::later(by, Duration::from_secs(5))
}

/// The time until logs that could not be read are read again.
const RETRY: Duration = Duration::from_millis(500);
