//! Reading a partition in order.

use std::time::Duration;

use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use tokio::time::{Instant, sleep_until};

use crate::{Client, Error};

/// Reads a partition batch by batch. Made by [`Client::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    client: &'a Client,
    topic: String,
    partition: i32,
    position: i64,
    /// The earliest time of the next fetch, set by an empty answer.
    rest: Option<Instant>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(client: &'a Client, topic: String, partition: i32, from: i64) -> Self {
        Self { client, topic, partition, position: from, rest: None }
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
    /// Those of [`Client::fetch`]. The position stays: the next call repeats the fetch.
    pub async fn next_batch(&mut self) -> Result<Vec<KafkaMessage>, Error> {
        if let Some(rest) = self.rest {
            sleep_until(rest).await;
        }
        let asked = Instant::now();
        let answer = self.client.fetched(&self.topic, self.partition, self.position).await?;
        let KafkaFetchResp { messages: mut batch, next_offset, .. } = answer;
        // Some servers answer from the start of the stored batch, before the requested offset.
        batch.retain(|message| message.offset >= self.position);
        match batch.last() {
            Some(last) => {
                // The gap after the last message, if the server knows of one.
                self.position = last.offset.saturating_add(1).max(next_offset);
                self.rest = None;
            }
            None if next_offset > self.position => {
                self.position = next_offset;
                self.rest = None;
            }
            None => self.rest = asked.checked_add(REST),
        }
        Ok(batch)
    }
}

/// The least time between two fetches at the log end, for servers that do not wait for messages themselves.
const REST: Duration = Duration::from_millis(100);
