//! The parameters and the result of a fetch.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_fair_share::Source;
use sluicegate_shared_log::Ends;

use crate::skip_meter::SkipMeter;

/// The records to read.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// 0 or more.
    pub partition: i32,
    /// The first offset to read: from the log start up to and including the log end.
    pub offset: i64,
    /// The maximum size of the result in bytes. A single record that exceeds it is still returned.
    pub max_bytes: usize,
    /// How long to wait at the log end for [`Fetch::min_bytes`], up to [`MAX_WAIT`]. Zero: no wait.
    pub max_wait: Duration,
    /// The messages to wait for, in bytes of the result. 0 and 1: one message.
    pub min_bytes: usize,
    /// The largest number of messages; 0: as many as fit.
    pub max_records: usize,
    /// Whether to read on until the result is half full or the log ends, for a quarter of a second at most. Otherwise the result is
    /// what is at hand: a single message, if others were written since it was read.
    pub fill: bool,
    /// Whether records of open and aborted transactions are left out (isolation level read_committed).
    pub committed: bool,
    /// The client for whom it is. Callers that share a request, or wait for the same limit, are told apart by it.
    pub source: Source,
    /// Counts what is skipped for that client: see [`Fetched::next_offset`].
    pub skips: &'a dyn SkipMeter,
    /// The ends of the log if `offset` was its end a moment ago: the call waits at once, without a look at the log before.
    pub at_end: Option<Ends>,
}

/// The records that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The body of a `KafkaFetchResp`: its `messages`, encoded. Empty at the log end.
    pub messages: Bytes,
    /// The number of messages.
    pub count: usize,
    /// The offset for the next fetch. It can be beyond the requested offset even if there are no messages, because batches
    /// without records for clients are skipped: up to 16 MiB, or until the client has to wait for more than a second.
    pub next_offset: i64,
    /// The ends of the log: log start offset, last stable offset and high watermark. Of records that were read before, they are
    /// as old as the last answer of a broker for the log.
    pub ends: Ends,
}

/// A good maximum size of a result, in bytes: large enough to make the fixed cost of a fetch negligible.
pub const DEFAULT_MAX_BYTES: usize = 256 * 1024;

/// The longest wait at the log end; longer waits are shortened to it.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long a fetch reads on to fill its result.
pub(crate) const FILL_TIME: Duration = Duration::from_millis(250);
