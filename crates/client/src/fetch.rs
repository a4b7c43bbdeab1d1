//! Fetches: their options and answers.

use std::time::Duration;

use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaMultiFetch, CmdNatsFetch, Isolation, KafkaFetchResp, KafkaMessage,
    PartitionOffset, RecordFilter,
};

use crate::answer::known;
use crate::{Error, Filter};

/// Limits of a fetch's wait and size, and the records of transactions that it sees.
///
/// ```
/// use sluicegate_client::{FetchOptions, Isolation};
///
/// let options = FetchOptions::new().isolation(Isolation::ReadCommitted).max_records(100);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct FetchOptions {
    max_wait: Option<Duration>,
    min_bytes: u32,
    max_bytes: u32,
    max_records: u32,
    isolation: Isolation,
    decode: bool,
    filters: Vec<RecordFilter>,
}

impl FetchOptions {
    /// The server's defaults: its wait at the log end, as many messages as fit in an answer, all records of
    /// transactions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the wait for [`min_bytes`](Self::min_bytes) of messages, at most 30 s; zero for no wait. The time comes
    /// on top of [`Builder::request_timeout`](crate::Builder::request_timeout): without this option 30 s, as the
    /// server's wait is unknown.
    pub fn max_wait(mut self, limit: Duration) -> Self {
        self.max_wait = Some(limit.min(MAX_WAIT));
        self
    }

    /// Bytes of messages to wait for, at most 16,384; one message by default.
    pub fn min_bytes(mut self, bytes: u32) -> Self {
        self.min_bytes = bytes;
        self
    }

    /// Bytes of messages in an answer, up to the server's own limit, which is the default. The first message is
    /// delivered even if it is larger.
    pub fn max_bytes(mut self, bytes: u32) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Messages in an answer; 0, the default, for as many as fit.
    pub fn max_records(mut self, count: u32) -> Self {
        self.max_records = count;
        self
    }

    /// Selects records of transactions; all by default. Has no effect on NATS streams, which have no transactions.
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Gives values with a schema as JSON, if the cluster has schemas: `value_schema` of a message says which schema it
    /// was, and `not_decoded` why a value is as it is stored. By default all values are. `key` is always as it is stored;
    /// with a `key_schema`, `key_json` is its JSON. Has no effect on NATS streams.
    pub fn decode(mut self) -> Self {
        self.decode = true;
        self
    }

    /// Gives only messages that match this filter and the others, at most 16. Without one in 5 s, or within
    /// [`max_wait`](Self::max_wait) if that is longer, there are no messages, and the next offset is behind those that were
    /// left out.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter.0);
        self
    }

    pub(crate) fn wait(&self) -> Wait {
        Wait { wanted: self.max_wait.unwrap_or_default(), longest: self.max_wait.unwrap_or(MAX_WAIT) }
    }

    pub(crate) fn command(&self, topic: &str, partition: i32, offset: i64) -> CmdKafkaFetch {
        CmdKafkaFetch {
            topic: topic.into(),
            partition,
            offset,
            max_wait_ms: self.max_wait_ms(),
            min_bytes: self.min_bytes,
            max_bytes: self.max_bytes,
            max_records: self.max_records,
            isolation: self.isolation.into(),
            decode: self.decode,
            filters: self.filters.clone(),
        }
    }

    pub(crate) fn multi_command(&self, partitions: Vec<PartitionOffset>) -> CmdKafkaMultiFetch {
        CmdKafkaMultiFetch {
            partitions,
            max_wait_ms: self.max_wait_ms(),
            min_bytes: self.min_bytes,
            max_bytes: self.max_bytes,
            isolation: self.isolation.into(),
            decode: self.decode,
            filters: self.filters.clone(),
        }
    }

    pub(crate) fn nats_command(&self, stream: &str, sequence: i64) -> CmdNatsFetch {
        CmdNatsFetch {
            stream: stream.into(),
            sequence,
            max_wait_ms: self.max_wait_ms(),
            min_bytes: self.min_bytes,
            max_bytes: self.max_bytes,
            max_messages: self.max_records,
            filters: self.filters.clone(),
        }
    }

    fn max_wait_ms(&self) -> Option<u32> {
        self.max_wait.map(|wait| u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
    }

    /// Completes an answer to a fetch from `offset`, also that of a server that knows no options.
    pub(crate) fn accept(&self, offset: i64, answer: KafkaFetchResp) -> Result<Fetched, Error> {
        // A server that knows isolation levels sends this with every answer.
        if self.isolation == Isolation::ReadCommitted && answer.last_stable_offset.is_none() {
            return Err(Error::IsolationUnsupported);
        }
        let KafkaFetchResp { mut messages, mut next_offset, .. } = answer;
        // Some servers answer from the start of the stored batch, before the requested offset.
        messages.retain(|message| message.offset >= offset);
        if let Ok(max @ 1..) = usize::try_from(self.max_records)
            && messages.len() > max
        {
            messages.truncate(max);
            next_offset = 0;
        }
        let after = messages.last().map_or(offset, |last| last.offset.saturating_add(1));
        Ok(Fetched {
            messages,
            next_offset: after.max(next_offset),
            high_watermark: answer.high_watermark.and_then(known),
            last_stable_offset: answer.last_stable_offset.and_then(known),
            log_start_offset: answer.log_start_offset.and_then(known),
        })
    }
}

/// A server's wait before it answers a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    /// The caller's choice.
    pub(crate) wanted: Duration,
    /// The longest possible wait: a server's default is unknown.
    pub(crate) longest: Duration,
}

pub(crate) const NO_WAIT: Wait = Wait { wanted: Duration::ZERO, longest: Duration::ZERO };

/// The answer to a fetch.
///
/// The ends of the log are `None` if the server does not know them. They are as of Kafka's last answer to the server:
/// newer than the fetch if there are no messages, otherwise up to the server's `read.cache_ms` old.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Fetched {
    /// From the requested offset on, in order.
    ///
    /// Keys and values are views into the answer, not copies: keeping one keeps the whole answer in memory.
    pub messages: Vec<KafkaMessage>,
    /// Where to continue: after the last message, and after a gap that the server reports. Without either, the
    /// requested offset.
    pub next_offset: i64,
    /// The log end: the offset of the next record to be written and replicated.
    pub high_watermark: Option<i64>,
    /// Where the first open transaction begins, or else the log end. [`Isolation::ReadCommitted`] reads up to here.
    pub last_stable_offset: Option<i64>,
    /// The first offset that is not deleted.
    pub log_start_offset: Option<i64>,
}

/// The longest wait that a server allows, also by default.
const MAX_WAIT: Duration = Duration::from_secs(30);
