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
    position: i64,
    options: FetchOptions,
    /// The earliest time of the next fetch, set by an empty answer.
    rest: Option<Instant>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(client: &'a Client, topic: String, partition: i32, from: i64) -> Self {
        Self { client, topic, partition, position: from, options: FetchOptions::new(), rest: None }
    }

    /// Fetches with these options from the next batch on.
    #[must_use]
    pub fn with_options(mut self, options: FetchOptions) -> Self {
        self.options = options;
        self
    }

    /// The next offset to fetch: after the last message, and after offsets that the server reports as empty.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next messages from [`position`](Self::position) on, in order; none if there are no more yet. At the log end it
    /// fetches at most every 100 ms.
    ///
    /// An empty batch does not prove the log end: it can come from a long range without messages (transaction markers,
    /// compacted records). The position then shows the progress.
    ///
    /// # Cancel safety
    /// Nothing is lost: the position moves only when a batch is returned.
    ///
    /// # Errors
    /// Those of [`Client::fetch_with`]. The position stays: the next call repeats the fetch.
    pub async fn next_batch(&mut self) -> Result<Fetched, Error> {
        if let Some(rest) = self.rest {
            sleep_until(rest).await;
        }
        let asked = Instant::now();
        let batch = self.client.fetch_with(&self.topic, self.partition, self.position, self.options).await?;
        let stays = batch.messages.is_empty() && batch.next_offset == self.position;
        self.rest = if stays { asked.checked_add(REST) } else { None };
        self.position = batch.next_offset;
        Ok(batch)
    }
}

/// The least time between two fetches at the log end, for servers that do not wait for messages themselves.
const REST: Duration = Duration::from_millis(100);
