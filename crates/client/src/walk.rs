//! Reading a partition in order.

use std::time::Duration;

use sluicegate_protocol::{KafkaFetchResp, KafkaMessage};
use tokio::time::{Instant, sleep_until};

use crate::{Client, Error};

/// Reads a partition batch after batch. Made by [`Client::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    client: &'a Client,
    topic: String,
    partition: i32,
    position: i64,
    /// Set by an empty answer: when to ask again at the earliest.
    rest: Option<Instant>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(client: &'a Client, topic: String, partition: i32, from: i64) -> Self {
        Self { client, topic, partition, position: from, rest: None }
    }

    /// The offset asked for next: after the last message, and after the offsets that the server says hold none.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The messages at and behind [`position`](Self::position), in order of offset; none where the log has no more
    /// of them yet. At the log end it asks at most every 100 ms.
    ///
    /// An empty batch does not prove the log end: a server may return one from inside a long range without messages
    /// (transaction markers, compacted records). The position then tells how far it has come.
    ///
    /// # Cancel safety
    /// Nothing is lost: the position moves only when a batch is returned.
    ///
    /// # Errors
    /// Those of [`Client::fetch`]. The position stays, so that calling again repeats the fetch.
    pub async fn next_batch(&mut self) -> Result<Vec<KafkaMessage>, Error> {
        if let Some(rest) = self.rest {
            sleep_until(rest).await;
        }
        let asked = Instant::now();
        let answer = self.client.fetched(&self.topic, self.partition, self.position).await?;
        let KafkaFetchResp { messages: mut batch, next_offset } = answer;
        // Some servers answer from the start of the stored batch, before the asked offset.
        batch.retain(|message| message.offset >= self.position);
        match batch.last() {
            Some(last) => {
                self.position = last.offset.saturating_add(1);
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

/// From one empty answer's question to the next, whether or not the server itself waits for messages.
const REST: Duration = Duration::from_millis(100);
