//! Reading a stream in order.

use super::{Fetched, Nats};
use crate::walk::Pace;
use crate::{Error, FetchOptions};

/// Reads a stream batch by batch. Made by [`Nats::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    nats: Nats<'a>,
    stream: String,
    options: FetchOptions,
    pace: Pace,
}

impl<'a> Walk<'a> {
    pub(super) fn new(nats: Nats<'a>, stream: String, from: i64) -> Self {
        Self { nats, stream, options: FetchOptions::new(), pace: Pace::new(from) }
    }

    /// Fetches with these options from the next batch on.
    #[must_use]
    pub fn with_options(mut self, options: FetchOptions) -> Self {
        self.options = options;
        self
    }

    /// The next sequence to fetch: after the last message, and after deleted sequences.
    pub fn position(&self) -> i64 {
        self.pace.position()
    }

    /// The next messages from [`position`](Self::position) on, in order; none if there are no more yet. At the end of
    /// the stream it fetches at most every 100 ms.
    ///
    /// # Cancel safety
    /// Nothing is lost: the position moves only when a batch is returned.
    ///
    /// # Errors
    /// The same as for [`Nats::fetch_with`]. The position stays: the next call repeats the fetch.
    pub async fn next_batch(&mut self) -> Result<Fetched, Error> {
        let asked = self.pace.wait().await;
        let batch = self.nats.fetch_with(&self.stream, self.position(), self.options.clone()).await?;
        self.pace.advance(asked, batch.next_sequence);
        Ok(batch)
    }
}
