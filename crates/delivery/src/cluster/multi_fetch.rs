//! Reads many logs, with one wait for all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluicegate_backend::{AnswerReservation, Chunk, CommandError, Fetch, Log, WAITING_BYTES};
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::time::{Instant, timeout_at};

use super::gather::{gather, unanswered};
use super::{Cluster, later};

/// A fetch from many logs.
#[derive(Debug, Clone, Copy)]
pub struct MultiFetch {
    /// The size of all records in bytes. A single record is delivered even if it is larger.
    pub max_bytes: usize,
    /// The time to wait for `min_bytes` if there are fewer, and no error.
    pub wait: Duration,
    /// The records to wait for, in bytes. 0: one record.
    pub min_bytes: usize,
    /// As in [`Fetch`], for the part of each place.
    pub fill: bool,
    /// As in [`Fetch`].
    pub committed: bool,
    /// As in [`Fetch`].
    pub decode: bool,
    /// As in [`Fetch`].
    pub source: ClientKey,
}

impl MultiFetch {
    /// As `fetch`, from many logs.
    pub(crate) fn of(fetch: Fetch) -> Self {
        let Fetch { max_bytes, wait, min_bytes, fill, committed, decode, source, .. } = fetch;
        Self { max_bytes, wait, min_bytes, fill, committed, decode, source }
    }
}

/// A log, and the offset of the first record to read.
pub type Place<'a> = (Log<'a>, i64);

impl Cluster {
    /// Reads records from each of `places`. The results are in their order.
    ///
    /// The places share `max_bytes`: each has an equal part, and room that some do not need goes to those that have
    /// more. One record that is larger than its part is delivered in any case, others where there is room; chance
    /// decides which is first.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(super) async fn multi_fetch(
        &self,
        places: &[Place<'_>],
        fetch: MultiFetch,
        reservation: &mut dyn AnswerReservation,
    ) -> Vec<Result<Chunk, CommandError>> {
        Reading::new(self, places, fetch).run(reservation).await
    }

    /// Reads at once what a log has.
    async fn read_now(
        &self,
        (log, offset): Place<'_>,
        max_bytes: usize,
        MultiFetch { fill, committed, decode, source, .. }: MultiFetch,
    ) -> Result<Chunk, CommandError> {
        let wait = Duration::ZERO;
        let fetch =
            Fetch { offset, max_bytes, wait, min_bytes: 0, max_records: 0, fill, committed, decode, source };
        self.backend().fetch(log, fetch, &self.scans(), &mut ()).await
    }
}

struct Reading<'a> {
    cluster: &'a Cluster,
    places: &'a [Place<'a>],
    fetch: MultiFetch,
    /// When the wait ends.
    until: Instant,
    results: Vec<Result<Chunk, CommandError>>,
    /// The places where others wait, and of which nothing is known yet. They are left to a later fetch if there is
    /// enough without them.
    unread: BTreeSet<usize>,
}

impl<'a> Reading<'a> {
    fn new(cluster: &'a Cluster, places: &'a [Place<'a>], fetch: MultiFetch) -> Self {
        let is_watched = |(log, offset): Place<'_>| {
            !fetch.wait.is_zero() && cluster.backend().is_watched(log, offset, fetch.committed)
        };
        let watched = places.iter().enumerate().filter(|(_, place)| is_watched(**place));
        let unread = watched.map(|(index, _)| index).collect();
        let results = places.iter().map(|_| Err(unanswered())).collect();
        Self { cluster, places, fetch, until: after(fetch.wait), results, unread }
    }

    async fn run(mut self, reservation: &mut dyn AnswerReservation) -> Vec<Result<Chunk, CommandError>> {
        let read = (0..self.places.len()).filter(|index| !self.unread.contains(index)).collect();
        // Records of the others must not wait for a broker that is silent.
        let until = (!self.unread.is_empty()).then(|| after(PATIENCE));
        self.read(read, self.fetch.max_bytes, until).await;
        if self.fetch.wait.is_zero() || self.has_enough() {
            self.use_spare_bytes().await;
        } else {
            self.wait(reservation).await;
        }
        for index in self.unread {
            if let (Some(result), Some((_, offset))) = (self.results.get_mut(index), self.places.get(index)) {
                *result = Ok(Chunk::nothing(*offset, Ends::UNKNOWN));
            }
        }
        self.results
    }

    /// Reads at once what the logs at these indexes have, at most `room` bytes and one record. Those that are left at
    /// `until` keep their results.
    async fn read(&mut self, mut indexes: Vec<usize>, room: usize, until: Option<Instant>) {
        // The first has the best chance of a large record.
        let first = fastrand::usize(..indexes.len().max(1));
        indexes.rotate_left(first);
        let share = room.checked_div(indexes.len()).unwrap_or_default().max(1);
        let Self { cluster, places, fetch, ref mut results, .. } = *self;
        let mut used = 0_usize;
        let mut has_large = false;
        let reads = indexes.iter().filter_map(|&index| {
            let place = *places.get(index)?;
            Some(async move { (index, cluster.read_now(place, share, fetch).await) })
        });
        gather(reads, until, |(index, mut read)| {
            if let (Ok(read), Some((_, offset))) = (&mut read, places.get(index)) {
                let with_this = used.saturating_add(read.messages.len());
                let is_large = read.messages.len() > share;
                // Dropped now: together, large records could take any memory.
                if is_large && has_large && with_this > room {
                    leave_out(read, *offset);
                } else {
                    used = with_this;
                    has_large |= is_large;
                }
            }
            if let Some(result) = results.get_mut(index) {
                *result = read;
            }
            Some(after(PATIENCE))
        })
        .await;
        self.keep_what_fits(&indexes, share, room);
    }

    /// Leaves out records that are larger than their share, where there is no room for them. One is kept in any case.
    fn keep_what_fits(&mut self, indexes: &[usize], share: usize, room: usize) {
        let is_large = |read: &Chunk| read.messages.len() > share;
        let of = |index: &usize| self.results.get(*index)?.as_ref().ok();
        let mut used: usize = used(indexes.iter().filter_map(of).filter(|read| !is_large(read)));
        let mut has_large = false;
        for index in indexes {
            let (Some(Ok(read)), Some((_, offset))) = (self.results.get_mut(*index), self.places.get(*index))
            else {
                continue;
            };
            if !is_large(read) {
                continue;
            }
            let with_this = used.saturating_add(read.messages.len());
            if has_large && with_this > room {
                leave_out(read, *offset);
            } else {
                (used, has_large) = (with_this, true);
            }
        }
    }

    /// Waits at the ends of the logs until there is enough.
    async fn wait(&mut self, reservation: &mut dyn AnswerReservation) {
        let Self { cluster, places, fetch: MultiFetch { max_bytes, committed, .. }, until, .. } = *self;
        let wait = |index: usize, Self { results, unread, .. }: &Self| {
            let ((log, offset), result) = (*places.get(index)?, results.get(index)?);
            let offset = result.as_ref().map_or(offset, |read| read.next_offset);
            let until = unread.contains(&index).then_some(until);
            Some(async move {
                let backend = cluster.backend();
                (index, backend.wait_for_records(log, offset, committed, until, SeenEnds::ALL).await)
            })
        };
        let keep = WAITING_BYTES.saturating_add(places.len().saturating_mul(WAITER_BYTES));
        let mut waits: FuturesUnordered<_> =
            (0..places.len()).filter_map(|index| wait(index, self)).collect();
        while !self.has_enough() {
            // The proof of an end comes a little after the time.
            let until = if self.unread.is_empty() { until } else { later(until, PROOF) };
            let ended = tokio::select! {
                // Polled first: it makes room for others.
                biased;
                () = reservation.wait(keep) => None,
                ended = timeout_at(until, waits.next()) => ended.ok().flatten(),
            };
            let Some(first) = ended else { return self.read_unread().await };
            let mut woken = Vec::new();
            // A broker's answer can end many.
            let others = std::iter::from_fn(|| waits.next().now_or_never().flatten());
            for (index, ends) in [first].into_iter().chain(others) {
                self.unread.remove(&index);
                match (ends, self.results.get_mut(index), places.get(index)) {
                    (Some(ends), Some(result), Some((_, offset))) => {
                        *result = Ok(Chunk::nothing(*offset, ends))
                    }
                    _ => woken.push(index),
                }
            }
            if woken.is_empty() {
                continue;
            }
            let by = until.max(after(PATIENCE));
            self.read(woken.clone(), WAITING_BYTES, Some(by)).await;
            if self.used(&woken) > WAITING_BYTES {
                // A single record: a client that never reads must not hold unreserved memory.
                self.leave_out(&woken);
                match timeout_at(by, reservation.refill()).await {
                    Ok(true) => self.read(woken.clone(), max_bytes, Some(by)).await,
                    Ok(false) | Err(_) => return,
                }
            }
            waits.extend(woken.into_iter().filter_map(|index| wait(index, self)));
        }
    }

    /// Reads at once what is not known yet when the wait ends, if that is not too large.
    async fn read_unread(&mut self) {
        let unread: Vec<usize> = std::mem::take(&mut self.unread).into_iter().collect();
        self.read(unread.clone(), WAITING_BYTES, Some(after(PATIENCE))).await;
        if self.used(&unread) > WAITING_BYTES {
            self.leave_out(&unread);
        }
    }

    fn used(&self, indexes: &[usize]) -> usize {
        used(indexes.iter().filter_map(|index| self.results.get(*index)?.as_ref().ok()))
    }

    fn leave_out(&mut self, indexes: &[usize]) {
        for index in indexes {
            if let (Some(Ok(read)), Some((_, offset))) =
                (self.results.get_mut(*index), self.places.get(*index))
            {
                leave_out(read, *offset);
            }
        }
    }

    /// Whether to answer without a further wait: with enough records, with an error, or because a log has more of them.
    fn has_enough(&self) -> bool {
        let mut bytes = 0_usize;
        for (_, result) in self.results.iter().enumerate().filter(|(index, _)| !self.unread.contains(index)) {
            match result {
                Ok(read) if !self.has_more(read) => bytes = bytes.saturating_add(read.messages.len()),
                Ok(_) | Err(_) => return true,
            }
        }
        bytes >= self.fetch.min_bytes.max(1)
    }

    /// Whether the log has records after these.
    fn has_more(&self, read: &Chunk) -> bool {
        read.next_offset < read.ends.visible(self.fetch.committed)
    }

    /// Gives what is left of `max_bytes` to the logs that have more than their share.
    async fn use_spare_bytes(&mut self) {
        let Self { cluster, places, fetch, .. } = *self;
        let max_bytes = fetch.max_bytes;
        let spare = max_bytes.saturating_sub(used(self.results.iter().flatten()));
        let has_more = |read: &&Chunk| read.count > 0 && self.has_more(read);
        let len = |result: &Result<Chunk, _>| Some(result.as_ref().ok().filter(has_more)?.messages.len());
        let more = self.results.iter().zip(places).enumerate();
        let more: Vec<_> =
            more.filter_map(|(index, (result, place))| Some((index, *place, len(result)?))).collect();
        let extra = spare.checked_div(more.len()).unwrap_or_default();
        if extra < max_bytes.checked_div(places.len()).unwrap_or_default() / WORTH_A_READ {
            return;
        }
        // From the first record on, because another read can be of another leader's log. The first part is usually in
        // memory.
        let reads = more.into_iter().map(|(index, place, len)| async move {
            let max_bytes = len.saturating_add(extra);
            (index, cluster.read_now(place, max_bytes, fetch).await, max_bytes)
        });
        let results = &mut self.results;
        gather(reads, Some(after(PATIENCE)), |(index, read, max_bytes)| {
            let fits = read.as_ref().is_ok_and(|read| read.count > 0 && read.messages.len() <= max_bytes);
            if let Some(result) = results.get_mut(index).filter(|_| fits) {
                *result = read;
            }
            None
        })
        .await;
    }
}

/// Leaves the records to a later fetch from `offset`.
fn leave_out(read: &mut Chunk, offset: i64) {
    *read = Chunk::nothing(offset, read.ends);
}

fn used<'a>(reads: impl Iterator<Item = &'a Chunk>) -> usize {
    reads.map(|read| read.messages.len()).fold(0, usize::saturating_add)
}

fn after(time: Duration) -> Instant {
    later(Instant::now(), time)
}

/// The time that the other logs have once one has been read.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// The time that the proof of an end can take: a backend gives up before.
const PROOF: Duration = Duration::from_secs(1);

/// Places of one fetch.
pub const MAX_PARTITIONS: usize = 256;

/// Memory of the wait at the end of one log.
pub const WAITER_BYTES: usize = 1024;

/// Spare bytes of less than this fraction of a share are not used.
const WORTH_A_READ: usize = 4;

#[cfg(test)]
mod tests;
