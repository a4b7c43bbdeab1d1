//! The calls: what a user of this crate sees.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Config, ConnectionError, ReadError};

/// Reads from one cluster. Clones share connections and metadata; dropping the last one closes them.
#[derive(Clone)]
pub struct Reader {
    config: Arc<Config>,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// 0 or more.
    pub partition: i32,
    /// The first offset wanted: from the log start up to and including the log end.
    pub offset: i64,
    /// The answer's size, in bytes: it ends before the record that would exceed it, but holds at least one record.
    pub max_bytes: usize,
    /// How long to wait at the log end for a first record; zero: not at all.
    pub max_wait: Duration,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The body of a `KafkaFetchResp`: its `messages`, encoded. Empty at the log end.
    pub messages: Bytes,
    /// How many there are.
    pub count: usize,
    /// Where to read on. Beyond the asked offset even without a message, where the log holds nothing to deliver.
    pub next_offset: i64,
}

impl Reader {
    /// A reader of the cluster that `config` describes. Nothing is sent before the first call.
    ///
    /// The calls must run inside a tokio runtime with time and I/O enabled.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Finds an offset of a partition: `timestamp` −1 gives the log end (the high watermark), −2 the log start, 0 and more
    /// the first record at or after so many milliseconds since 1970-01-01T00:00:00Z, −1 where there is none.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call loses its answer and nothing else.
    pub async fn list_offset(&self, topic: &str, partition: i32, timestamp: i64) -> Result<i64, ReadError> {
        let _ = (topic, partition, timestamp);
        Err(self.unreachable())
    }

    /// Reads records from an offset on, in order, none skipped.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms` besides `max_wait`.
    ///
    /// # Cancel safety
    /// Dropping the call loses its answer and nothing else: the log is not changed by reading it.
    pub async fn fetch(&self, fetch: Fetch<'_>) -> Result<Fetched, ReadError> {
        let _ = fetch;
        Err(self.unreachable())
    }

    /// Succeeds where a read would: metadata can be had, and a broker answers at the address that it advertises.
    ///
    /// # Errors
    /// [`ReadError`], in no more than `socket.timeout.ms`.
    ///
    /// # Cancel safety
    /// Dropping the call has no effect.
    pub async fn ready(&self) -> Result<(), ReadError> {
        Err(self.unreachable())
    }

    fn unreachable(&self) -> ReadError {
        let brokers: Vec<String> = self.config.bootstrap.iter().map(ToString::to_string).collect();
        let brokers = brokers.join(",");
        let within = self.config.request_timeout;
        let cause = ConnectionError::Silent { address: brokers.clone(), after: Duration::ZERO };
        ReadError::Unreachable { brokers, within, cause }
    }
}

/// A good size of an answer, in bytes: large enough for the broker's and our own fixed costs not to matter.
pub const DEFAULT_MAX_BYTES: usize = 256 * 1024;
