//! Reads many logs, with one wait for all of them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use sluicegate_shared_log::Ends;
use tokio::time::{Instant, timeout_at};

use super::Cluster;
use super::gather::{gather, unanswered};
use crate::backend::{AnswerReservation, CommandError, Fetch, Fetched, Log, WAITING_BYTES};
use crate::metrics::Kind;

/// A fetch from many logs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MultiFetch {
    /// The size of all records in bytes. A single record is delivered even if it is larger.
    pub(crate) max_bytes: usize,
    /// How long to wait for `min_bytes` if there are fewer, and no error.
    pub(crate) wait: Duration,
    /// The records to wait for, in bytes. 0: one record.
    pub(crate) min_bytes: usize,
    /// As in [`Fetch`].
    pub(crate) committed: bool,
}

/// A log, and the offset of the first record to read.
pub(crate) type Place<'a> = (Log<'a>, i64);

impl Cluster {
    /// Reads records from each of `places`. The results are in their order.
    ///
    /// The places share `max_bytes`: each has an equal part, and what some do not need goes to those that have more. A record
    /// that is larger than its part is delivered if there is room left, or if the result would otherwise be empty. If there are
    /// several such records, chance decides which comes first, so that none has to wait for ever.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn multi_fetch(
        &self,
        places: &[Place<'_>],
        fetch: MultiFetch,
        reservation: &mut dyn AnswerReservation,
    ) -> Vec<Result<Fetched, CommandError>> {
        let reading = Reading::new(self, places, fetch);
        let read = async { Ok(reading.run(reservation).await) };
        self.measured(Kind::MultiFetch, read).await.unwrap_or_default()
    }
}

struct Reading<'a> {
    cluster: &'a Cluster,
    places: &'a [Place<'a>],
    fetch: MultiFetch,
    /// Each log's part of `max_bytes`.
    share: usize,
    results: Vec<Result<Fetched, CommandError>>,
}

impl<'a> Reading<'a> {
    fn new(cluster: &'a Cluster, places: &'a [Place<'a>], fetch: MultiFetch) -> Self {
        let share = fetch.max_bytes.checked_div(places.len()).unwrap_or_default().max(1);
        let results = places.iter().map(|_| Err(unanswered())).collect();
        Self { cluster, places, fetch, share, results }
    }

    async fn run(mut self, reservation: &mut dyn AnswerReservation) -> Vec<Result<Fetched, CommandError>> {
        self.look((0..self.places.len()).collect()).await;
        if !self.fetch.wait.is_zero() {
            self.wait(reservation).await;
        }
        self.keep_what_fits();
        self.use_spare_bytes().await;
        self.results
    }

    /// Reads at once what the logs of these numbers have, each up to its share.
    async fn look(&mut self, numbers: Vec<usize>) {
        let Self { cluster, places, fetch, share, ref mut results } = *self;
        let reads = numbers.into_iter().filter_map(|number| {
            let (log, offset) = *places.get(number)?;
            Some(async move { (number, cluster.read_now(log, offset, share, fetch.committed).await) })
        });
        gather(reads, PATIENCE, |(number, read)| {
            let is_news = !matches!(&read, Ok(Fetched { count: 0, .. }));
            if let Some(result) = results.get_mut(number) {
                *result = read;
            }
            is_news
        })
        .await;
    }

    /// Waits at the ends of the logs until there is enough.
    async fn wait(&mut self, reservation: &mut dyn AnswerReservation) {
        let until = Instant::now().checked_add(self.fetch.wait);
        let Some(until) = until.filter(|_| !self.has_enough()) else { return };
        let Self { cluster, places, fetch: MultiFetch { committed, .. }, .. } = *self;
        let wait = |number: usize, results: &[Result<Fetched, CommandError>]| {
            let ((log, offset), result) = (*places.get(number)?, results.get(number)?);
            let offset = result.as_ref().map_or(offset, |read| read.next_offset);
            Some(async move {
                cluster.backend.wait_for_records(log, offset, committed).await;
                number
            })
        };
        let keep = WAITING_BYTES.saturating_add(places.len().saturating_mul(WAITER_BYTES));
        let mut waits: FuturesUnordered<_> =
            (0..places.len()).filter_map(|number| wait(number, &self.results)).collect();
        while !self.has_enough() {
            let woken = tokio::select! {
                // Polled first: it makes room for others.
                biased;
                () = reservation.wait(keep) => return,
                woken = timeout_at(until, waits.next()) => woken,
            };
            let Ok(Some(first)) = woken else { return };
            if !reservation.refill().await {
                return;
            }
            let mut woken = vec![first];
            // A broker's answer can wake many.
            while let Some(Some(number)) = waits.next().now_or_never() {
                woken.push(number);
            }
            self.look(woken.clone()).await;
            waits.extend(woken.into_iter().filter_map(|number| wait(number, &self.results)));
        }
    }

    /// Whether to answer without a further wait: with enough records, with an error, or because a log has more than its share.
    fn has_enough(&self) -> bool {
        let mut bytes = 0_usize;
        for result in &self.results {
            match result {
                Ok(read) if !self.has_more(read) => bytes = bytes.saturating_add(read.messages.len()),
                Ok(_) | Err(_) => return true,
            }
        }
        bytes >= self.fetch.min_bytes.max(1)
    }

    /// Whether the log goes on after what was read.
    fn has_more(&self, read: &Fetched) -> bool {
        let Ends { stable, end, .. } = read.ends;
        read.next_offset < if self.fetch.committed { stable } else { end }
    }

    /// Drops records that are larger than their share, where there is no room for them.
    fn keep_what_fits(&mut self) {
        let Self { places, share, fetch: MultiFetch { max_bytes, .. }, ref mut results, .. } = *self;
        let is_large = |read: &Fetched| read.messages.len() > share;
        let mut used: usize = used(results.iter().flatten().filter(|read| !is_large(read)));
        let first = fastrand::usize(..places.len().max(1));
        let (before, after) = results.split_at_mut_checked(first).unwrap_or_default();
        let (from_before, from_after) = places.split_at_checked(first).unwrap_or_default();
        let in_turn = after.iter_mut().zip(from_after).chain(before.iter_mut().zip(from_before));
        for (result, (_, offset)) in in_turn {
            let Some(read) = result.as_mut().ok().filter(|read| is_large(read)) else { continue };
            let with_this = used.saturating_add(read.messages.len());
            if used == 0 || with_this <= max_bytes {
                used = with_this;
            } else {
                *read = Fetched { messages: Bytes::new(), count: 0, next_offset: *offset, ends: read.ends };
            }
        }
    }

    /// Gives what is left of `max_bytes` to the logs that have more than their share.
    async fn use_spare_bytes(&mut self) {
        let Self { cluster, places, fetch: MultiFetch { max_bytes, committed, .. }, share, .. } = *self;
        let spare = max_bytes.saturating_sub(used(self.results.iter().flatten()));
        let long = |read: &Fetched| read.count > 0 && self.has_more(read);
        let long: Vec<(usize, i64)> = self
            .results
            .iter()
            .enumerate()
            .filter_map(|(number, result)| {
                Some((number, result.as_ref().ok().filter(|read| long(read))?.next_offset))
            })
            .collect();
        let extra = spare.checked_div(long.len()).unwrap_or_default();
        if extra < share / WORTH_A_READ {
            return;
        }
        let reads = long.into_iter().filter_map(|(number, offset)| {
            let (log, _) = *places.get(number)?;
            Some(async move { (number, cluster.read_now(log, offset, extra, committed).await) })
        });
        let results = &mut self.results;
        gather(reads, PATIENCE, |(number, more)| {
            // An error comes again in the next answer, and so does a record that is too large.
            if let (Some(Ok(read)), Ok(more)) = (results.get_mut(number), more)
                && more.messages.len() <= extra
            {
                append(read, more);
            }
            true
        })
        .await;
    }
}

impl Cluster {
    /// Reads at once what a log has.
    async fn read_now(
        &self,
        log: Log<'_>,
        offset: i64,
        max_bytes: usize,
        committed: bool,
    ) -> Result<Fetched, CommandError> {
        let wait = Duration::ZERO;
        let fetch = Fetch { offset, max_bytes, wait, min_bytes: 0, max_records: 0, committed };
        self.backend.fetch(log, fetch, &mut ()).await
    }
}

fn used<'a>(reads: impl Iterator<Item = &'a Fetched>) -> usize {
    reads.map(|read| read.messages.len()).fold(0, usize::saturating_add)
}

fn append(read: &mut Fetched, more: Fetched) {
    let mut messages = BytesMut::from(std::mem::take(&mut read.messages));
    messages.extend_from_slice(&more.messages);
    let count = read.count.saturating_add(more.count);
    *read = Fetched { messages: messages.freeze(), count, ..more };
}

/// How long the other logs have once one has records or an error.
const PATIENCE: Duration = Duration::from_millis(500);

/// Places of one fetch.
pub(crate) const MAX_PARTITIONS: usize = 256;

/// Memory of the wait at the end of one log.
pub(crate) const WAITER_BYTES: usize = 1024;

/// Spare bytes of less than this fraction of a share are not used.
const WORTH_A_READ: usize = 4;

#[cfg(test)]
mod tests;
