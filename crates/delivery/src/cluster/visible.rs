//! Fetches of a client that sees some of a topic's records: those that it does not see are counted to it, and read past.

use std::time::Duration;

use sluicegate_backend::{AnswerReservation, CommandError, Fetch, Fetched, Log};
use sluicegate_fair_share::ClientKey;
use sluicegate_rights::Rows;
use sluicegate_telemetry::metrics::Kind;
use tokio::time::Instant;

use super::multi_fetch::{MultiFetch, Place};
use super::{Cluster, later};
use crate::filter::{Filters, Selection};

/// The records of a topic that the client can read now.
///
/// # Errors
/// It cannot read the topic.
pub(crate) type RowsOf<'a> = dyn Fn(&str) -> Result<Rows, CommandError> + Sync + 'a;

impl Cluster {
    /// Reads records that the client sees. At the end of the log it waits until `reservation` ends the wait. Without
    /// `reads_on`, it gives up after [`SEARCH_TIME`] if it has found none.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub(crate) async fn fetch(
        &self,
        log: Log<'_>,
        fetch: Fetch,
        reads_on: bool,
        rows: &RowsOf<'_>,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Fetched, CommandError> {
        self.measured(Kind::Fetch, self.find(log, fetch, reads_on, rows, reservation)).await
    }

    async fn find(
        &self,
        log: Log<'_>,
        mut fetch: Fetch,
        reads_on: bool,
        rows: &RowsOf<'_>,
        reservation: &mut dyn AnswerReservation,
    ) -> Result<Fetched, CommandError> {
        let (backend, scans) = (self.backend(), self.scans());
        let search = Search::new(fetch.wait);
        loop {
            let read = backend.fetch(log, fetch, &scans, reservation).await?;
            let (read, work) = select(read, &rows(log.topic)?);
            self.count(fetch.source, work).await;
            let is_over = read.next_offset <= fetch.offset || !reads_on && search.is_over();
            if work == 0 || read.count > 0 || is_over {
                return Ok(read);
            }
            if !fetch.wait.is_zero() && !reservation.refill().await {
                return Ok(read);
            }
            (fetch.offset, fetch.wait) = (read.next_offset, search.wait());
        }
    }

    /// The same for many logs, as [`Cluster::multi_fetch`] reads them.
    ///
    /// # Cancel safety
    /// A drop abandons the reads.
    pub(crate) async fn fetch_each(
        &self,
        places: &[Place<'_>],
        fetch: MultiFetch,
        rows: &RowsOf<'_>,
        reservation: &mut dyn AnswerReservation,
    ) -> Vec<Result<Fetched, CommandError>> {
        self.measured_each(Kind::MultiFetch, self.find_in_each(places, fetch, rows, reservation)).await
    }

    async fn find_in_each(
        &self,
        places: &[Place<'_>],
        mut fetch: MultiFetch,
        rows: &RowsOf<'_>,
        reservation: &mut dyn AnswerReservation,
    ) -> Vec<Result<Fetched, CommandError>> {
        let search = Search::new(fetch.wait);
        let mut places = places.to_vec();
        loop {
            let mut work = 0_usize;
            let results = self.multi_fetch(&places, fetch, reservation).await;
            let selected = results.into_iter().zip(&places).map(|(read, (log, _))| {
                let (read, left_out) = select(read?, &rows(log.topic)?);
                work = work.saturating_add(left_out);
                Ok(read)
            });
            let results: Vec<Result<Fetched, CommandError>> = selected.collect();
            self.count(fetch.source, work).await;
            let is_found = |read: &Result<Fetched, _>| read.as_ref().map_or(true, |read| read.count > 0);
            if work == 0 || results.iter().any(is_found) || search.is_over() {
                return results;
            }
            if !fetch.wait.is_zero() && !reservation.refill().await {
                return results;
            }
            for ((_, offset), read) in places.iter_mut().zip(results.into_iter().flatten()) {
                *offset = read.next_offset;
            }
            fetch.wait = search.wait();
        }
    }

    /// Counts the work to leave out records to the client, before it has more.
    async fn count(&self, source: ClientKey, work: usize) {
        if work > 0 {
            self.scans().take(source, work).await;
        }
    }
}

/// The time of a search for records that a client sees.
struct Search {
    /// The end of the wait for records at the end of a log.
    wait: Instant,
    /// The end of the search.
    by: Instant,
}

impl Search {
    fn new(wait: Duration) -> Self {
        let now = Instant::now();
        Self { wait: later(now, wait), by: later(now, wait.max(SEARCH_TIME)) }
    }

    /// What is left of the wait.
    fn wait(&self) -> Duration {
        self.wait.saturating_duration_since(Instant::now())
    }

    fn is_over(&self) -> bool {
        self.by <= Instant::now()
    }
}

/// Those that are among `rows`, and the work to leave out the others.
fn select(read: Fetched, rows: &Rows) -> (Fetched, usize) {
    let (bytes, filters) = (read.messages.len(), &Filters::default());
    let selection = Selection { filters, rows };
    let read = selection.of(read);
    let work = selection.work(bytes.saturating_sub(read.messages.len()));
    (read, work)
}

/// The time for which a fetch looks for the first record that its client sees: gateways end requests after 15 seconds.
const SEARCH_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
