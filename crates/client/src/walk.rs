//! Reading a partition in order.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{Client, Error, FetchOptions, Fetched};

/// Reads a partition batch by batch. Made by [`Client::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    client: &'a Client,
    topic: String,
    partition: i32,
    options: FetchOptions,
    pace: Pace,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(client: &'a Client, topic: String, partition: i32, from: i64) -> Self {
        Self { client, topic, partition, options: FetchOptions::new(), pace: Pace::new(from) }
    }

    /// Fetches with these options from the next batch on.
    #[must_use]
    pub fn with_options(mut self, options: FetchOptions) -> Self {
        self.options = options;
        self
    }

    /// The next offset to fetch: after the last message, and after offsets that the server reports as empty.
    pub fn position(&self) -> i64 {
        self.pace.position()
    }

    /// The next messages from [`position`](Self::position) on, in order; none if there are no more yet. At the log end
    /// it fetches at most every 100 ms.
    ///
    /// An empty batch does not prove the log end: it can come from a long range without messages (transaction markers,
    /// compacted records, records that filters leave out). The position then shows the progress.
    ///
    /// # Cancel safety
    /// Nothing is lost: the position moves only when a batch is returned.
    ///
    /// # Errors
    /// The same as for [`Client::fetch_with`]. The position stays: the next call repeats the fetch.
    pub async fn next_batch(&mut self) -> Result<Fetched, Error> {
        let asked = self.pace.wait().await;
        let options = self.options.clone();
        let fetched = self.client.fetch_with(&self.topic, self.partition, self.position(), options);
        let batch = fetched.await?;
        self.pace.advance(asked, batch.next_offset);
        Ok(batch)
    }
}

/// Where a walk is, and when it fetches next.
#[derive(Debug)]
pub(crate) struct Pace {
    position: i64,
    /// The earliest time of the next fetch, set by an empty answer.
    rest: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(position: i64) -> Self {
        Self { position, rest: None }
    }

    pub(crate) fn position(&self) -> i64 {
        self.position
    }

    /// Waits until the next fetch is due, and returns when it begins.
    pub(crate) async fn wait(&self) -> Instant {
        if let Some(rest) = self.rest {
            sleep_until(rest).await;
        }
        Instant::now()
    }

    /// Continues at `next`, after the answer to the fetch that began at `asked`.
    pub(crate) fn advance(&mut self, asked: Instant, next: i64) {
        self.rest = if next == self.position { asked.checked_add(REST) } else { None };
        self.position = next;
    }
}

/// The least time between two fetches at the log end, for servers that do not wait for messages themselves.
const REST: Duration = Duration::from_millis(100);
