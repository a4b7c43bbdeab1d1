//! Fetches of a client that sees, or wants, some of a topic's records: the others are counted to it, and read past.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::{AnswerReservation, Chunk, CommandError, Fault, Fetch, Log, Version, first_message};
use sluicegate_protocol::wire::Fields;
use sluicegate_rights::Rows;
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::{Kind, RouteMetrics};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::multi_fetch::{MultiFetch, Place};
use super::{Cluster, later};
use crate::filter::Filters;
use crate::selections::Selections;

/// The records of a topic that the client can read now.
///
/// # Errors
/// It cannot read the topic.
pub(crate) type RowsOf<'a> = dyn Fn(&str) -> Result<Rows, CommandError> + Sync + 'a;

/// The records that a client asks for, of those that it can read.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) filters: &'a Filters,
    /// Whether to read on to the first of them, however long that takes.
    pub(crate) reads_on: bool,
}

impl Cluster {
    /// Reads wanted records that the client sees, and counts the others to `route`. At the end of the log it waits until
    /// `reservation` ends the wait. Without `reads_on`, it answers after [`SEARCH_TIME`] if it has found none.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn fetch(
        &self,
        log: Log<'_>,
        fetch: Fetch,
        wanted: Wanted<'_>,
        rows: &RowsOf<'_>,
        route: &RouteMetrics,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Chunk, CommandError> {
        self.measured(Kind::Fetch, self.find(log, fetch, wanted, rows, route, reservation)).await
    }

    async fn find(
        &self,
        log: Log<'_>,
        fetch: Fetch,
        Wanted { filters, reads_on }: Wanted<'_>,
        rows: &RowsOf<'_>,
        route: &RouteMetrics,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Chunk, CommandError> {
        let (mut search, mut next) = (Search::new(fetch.wait), fetch);
        let mut found: Option<Chunk> = None;
        let mut passed = Passed::default();
        loop {
            let sees_all = rows(log.topic)?.is_all() && filters.is_empty();
            if !sees_all {
                passed.version.get_or_insert(self.backend().version(log));
            }
            (next.max_bytes, next.max_records) = match sees_all {
                true => (fetch.max_bytes, fetch.max_records),
                // The client's bounds are for what it sees.
                false => (fetch.max_bytes.max(SEARCH_BYTES.min(self.reads().max_bytes)), 0),
            };
            let read = self.backend().fetch(log, next, &self.scans(), reservation).await;
            // The records that were passed can be of another log: the answer is about the client's own offset.
            if passed.is_lost(&read, found.is_some(), || self.backend().version(log)) {
                if !passed.begin_again() || !next.wait.is_zero() && !reservation.refill().await {
                    return Ok(Chunk::nothing(fetch.offset, Ends::UNKNOWN));
                }
                (found, next.offset, next.wait) = (None, fetch.offset, search.wait());
                continue;
            }
            let read = match read {
                Err(error) if error.fault.is_retriable() && !reads_on => return found.ok_or(error),
                read => read?,
            };
            let still = rows(log.topic)?;
            if sees_all && still.is_all() {
                return Ok(read);
            }
            let (mut selected, work) = self.selections.select_both(read.clone(), &still, filters);
            self.scans().take(fetch.source, work).await;
            // A renewal can have changed them meanwhile.
            let now = rows(log.topic)?;
            if now != still {
                selected = self.selections.select_both(read.clone(), &now, filters).0;
            }
            route.hidden(read.count.saturating_sub(selected.count));
            let selected = cut(selected, fetch);
            if now.is_all() && filters.is_empty() {
                return Ok(selected);
            }
            let is_over = selected.next_offset <= next.offset
                || search.is_past_end(&selected, fetch.committed)
                || !reads_on && search.is_over();
            if selected.count > 0 || is_over || !next.wait.is_zero() && !reservation.refill().await {
                return Ok(selected);
            }
            (next.offset, next.wait) = (selected.next_offset, search.wait());
            found = Some(selected);
            // Reads from memory wait for nothing.
            yield_now().await;
        }
    }

    /// The same for many logs, as [`Cluster::multi_fetch`] reads them. Errors of offsets that logs do not have tell the
    /// ends of the logs, as far as they are known.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn fetch_each(
        &self,
        places: &[Place<'_>],
        fetch: MultiFetch,
        filters: &Filters,
        rows: &RowsOf<'_>,
        route: &RouteMetrics,
        reservation: &mut dyn AnswerReservation,
    ) -> Vec<Result<Chunk, CommandError>> {
        let find = self.find_in_each(places, fetch, filters, rows, route, reservation);
        self.measured_each(Kind::MultiFetch, find).await
    }

    async fn find_in_each(
        &self,
        places: &[Place<'_>],
        mut fetch: MultiFetch,
        filters: &Filters,
        rows: &RowsOf<'_>,
        route: &RouteMetrics,
        reservation: &mut dyn AnswerReservation,
    ) -> Vec<Result<Chunk, CommandError>> {
        let search = Search::new(fetch.wait);
        let (asked, mut places) = (places, places.to_vec());
        let mut passed = vec![Passed::default(); asked.len()];
        loop {
            for (passed, (log, _)) in passed.iter_mut().zip(&places) {
                let sees_all = |rows: Rows| rows.is_all() && filters.is_empty();
                if passed.version.is_none() && rows(log.topic).is_ok_and(|rows| !sees_all(rows)) {
                    passed.version = Some(self.backend().version(*log));
                }
            }
            let mut read = self.multi_fetch(&places, fetch, reservation).await;
            if self.begin_again(&mut places, &mut passed, asked, &mut read)
                && (fetch.wait.is_zero() || reservation.refill().await)
            {
                fetch.wait = search.wait();
                continue;
            }
            self.add_ends(fetch.source, &places, &mut read).await;
            let granted = rows_of_each(&places, rows);
            let (mut selected, work) = select_each(&self.selections, &read, &granted, filters);
            if work > 0 {
                self.scans().take(fetch.source, work).await;
                // A renewal can have changed the rows meanwhile.
                let now = rows_of_each(&places, rows);
                if now != granted {
                    (selected, _) = select_each(&self.selections, &read, &now, filters);
                }
            }
            for (read, selected) in read.iter().zip(&selected) {
                if let (Ok(read), Ok(selected)) = (read, selected) {
                    route.hidden(read.count.saturating_sub(selected.count));
                }
            }
            let is_found = |read: &Result<Chunk, _>| read.as_ref().map_or(true, |read| read.count > 0);
            let next = selected.iter().flatten().map(|read| read.next_offset);
            let moves = next.zip(&places).any(|(next, (_, offset))| next > *offset);
            let is_over = work == 0 || selected.iter().any(is_found) || !moves || search.is_over();
            if is_over || !fetch.wait.is_zero() && !reservation.refill().await {
                return selected;
            }
            for ((_, offset), read) in places.iter_mut().zip(selected.into_iter().flatten()) {
                *offset = read.next_offset;
            }
            fetch.wait = search.wait();
            yield_now().await;
        }
    }

    /// Resets places whose logs are not those that were passed to the offsets that the client asked for, and reads nothing
    /// there for now. True if any of them may be read again.
    fn begin_again<'a>(
        &self,
        places: &mut [Place<'a>],
        passed: &mut [Passed],
        asked: &[Place<'a>],
        read: &mut [Result<Chunk, CommandError>],
    ) -> bool {
        let mut are_any = false;
        let places = places.iter_mut().zip(passed).zip(asked);
        for (((place, passed), asked), read) in places.zip(read) {
            if passed.is_lost(read, place.1 > asked.1, || self.backend().version(place.0)) {
                are_any |= passed.begin_again();
                *place = *asked;
                *read = Ok(Chunk::nothing(asked.1, Ends::UNKNOWN));
            }
        }
        are_any
    }
}

/// The log of one place, whose records a search passes.
#[derive(Clone, Default)]
struct Passed {
    /// As of before the first read; `None` if the client sees everything.
    version: Option<Version>,
    /// The number of times that the search has begun again.
    repeats: u32,
}

impl Passed {
    /// Whether the records that were passed, and those that are read now, are not of one log: its topic was created again, or another leader can have
    /// other records. `has_passed` tells whether there was a read before this one.
    fn is_lost(
        &mut self,
        read: &Result<Chunk, CommandError>,
        has_passed: bool,
        now: impl FnOnce() -> Version,
    ) -> bool {
        let known = match (read, &mut self.version) {
            (Err(error), _) => return has_passed && error.fault == Fault::OffsetOutOfRange,
            (Ok(_), None) => return false,
            (Ok(_), Some(known)) => known,
        };
        let now = now();
        let is_other = known.topic_id.zip(now.topic_id).is_some_and(|(known, now)| known != now)
            || known.leader_epoch.zip(now.leader_epoch).is_some_and(|(known, now)| known != now);
        known.topic_id = known.topic_id.or(now.topic_id);
        known.leader_epoch = known.leader_epoch.or(now.leader_epoch);
        is_other
    }

    /// Forgets the log. False if the search has begun again often enough.
    fn begin_again(&mut self) -> bool {
        self.version = None;
        self.repeats = self.repeats.saturating_add(1);
        self.repeats <= MAX_REPEATS
    }
}

/// How far a search for records that a client sees goes.
struct Search {
    /// The end of the wait for records at the end of a log.
    wait: Instant,
    /// The end of the search.
    by: Instant,
    /// The end of the log then: others can write faster than the client may search.
    end: Option<i64>,
}

impl Search {
    fn new(wait: Duration) -> Self {
        let now = Instant::now();
        Self { wait: later(now, wait), by: later(now, wait.max(SEARCH_TIME)), end: None }
    }

    /// The rest of the wait.
    fn wait(&self) -> Duration {
        self.wait.saturating_duration_since(Instant::now())
    }

    fn is_over(&self) -> bool {
        self.by <= Instant::now()
    }

    /// Whether the search is over, and has passed what was in the log then. An end is known from memory, too, so that
    /// only what is read behind it proves that it was passed.
    fn is_past_end(&mut self, read: &Chunk, committed: bool) -> bool {
        let end = read.ends.visible(committed);
        if self.end.is_none() && end >= 0 && self.is_over() {
            self.end = Some(end);
        }
        self.end.is_some_and(|end| read.next_offset > end)
    }
}

fn rows_of_each(places: &[Place<'_>], rows: &RowsOf<'_>) -> Vec<Result<Rows, CommandError>> {
    places.iter().map(|(log, _)| rows(log.topic)).collect()
}

/// The records of each place that are among its rows and match the filters, and the work to select them.
fn select_each(
    selections: &Selections,
    read: &[Result<Chunk, CommandError>],
    rows: &[Result<Rows, CommandError>],
    filters: &Filters,
) -> (Vec<Result<Chunk, CommandError>>, usize) {
    let mut work = 0_usize;
    let select = |(read, rows): (&Result<Chunk, CommandError>, &Result<Rows, CommandError>)| {
        let (read, rows) = (read.clone()?, rows.as_ref().map_err(Clone::clone)?);
        if rows.is_all() && filters.is_empty() {
            return Ok(read);
        }
        let (selected, more) = selections.select_both(read, rows, filters);
        // Each place is a read of its own, however small.
        let least = MIN_WORK.saturating_sub(selected.messages.len());
        work = work.saturating_add(more.max(least));
        Ok(selected)
    };
    let selected = read.iter().zip(rows).map(select).collect();
    (selected, work)
}

/// The first records, as many as the client's bounds allow, but one at least.
fn cut(read: Chunk, Fetch { max_bytes, max_records, .. }: Fetch) -> Chunk {
    let mut fields = Fields::of(&read.messages);
    let mut count = 0_usize;
    loop {
        let before = read.messages.len().saturating_sub(fields.rest().len());
        if fields.next().is_none() {
            return read;
        }
        let bytes = read.messages.len().saturating_sub(fields.rest().len());
        if count > 0 && (bytes > max_bytes || count == max_records) {
            let left = read.messages.slice(before..);
            let next_offset = first_message(&left).map_or(read.next_offset, |(first, _)| first.offset);
            // A client that does not read must not hold more than its answer.
            let messages = Bytes::copy_from_slice(read.messages.get(..before).unwrap_or_default());
            return Chunk { messages, count, next_offset, ..read };
        }
        count = count.saturating_add(1);
    }
}

/// The time for which a fetch looks for the first record that its client sees: gateways end requests after 15 seconds.
const SEARCH_TIME: Duration = Duration::from_secs(5);

/// The number of times that a search begins again in another log.
const MAX_REPEATS: u32 = 3;

/// The bytes of each read of a search, at least, if the cluster allows them.
const SEARCH_BYTES: usize = 64 * 1024;

/// The bytes that the read of one log among others counts as, at least.
const MIN_WORK: usize = 4 * 1024;

#[cfg(test)]
mod tests;
