//! The seam to messaging systems: what commands need from one, and what they get back.
//!
//! A messaging system is one module that implements [`Backend`]; [`kafka`](crate::kafka) is the first. Names are those of
//! a partitioned log: topics have partitions, numbered from 0, and records have offsets.

mod error;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluicegate_protocol::ProduceRecord;
use sluicegate_ws_session::source::Source;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::error::{CommandError, Fault};

/// One cluster of a messaging system.
///
/// Errors are fit for clients: they name no broker, file or endpoint. The log has those.
///
/// # Cancel safety
/// A drop abandons a read and nothing else. For writes see [`Backend::hand_over`].
pub(crate) trait Backend: Send + Sync {
    /// Whether a broker answers within this time. If not, the log says why.
    fn is_ready(&self, within: Duration) -> BoxFuture<'_, bool>;

    /// Reads records from an offset on, in order, none skipped. Waits at the end of the log for no longer than `room`
    /// lasts.
    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        fetch: Fetch,
        room: &'a mut dyn Room,
    ) -> BoxFuture<'a, Result<Fetched, CommandError>>;

    /// The offset of the first record at or after `timestamp`, in milliseconds since 1970; -1 if every record is older.
    /// [`LOG_START`] and [`LOG_END`] stand for the ends of the log.
    fn list_offset<'a>(&'a self, log: Log<'a>, timestamp: i64) -> BoxFuture<'a, Result<i64, CommandError>>;

    /// The names of all topics that the cluster's user can see, in order, without the system's own.
    fn topics(&self) -> BoxFuture<'_, Result<Arc<[String]>, CommandError>>;

    /// The partitions of a topic.
    fn partitions<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Vec<Partition>, CommandError>>;

    /// Succeeds if the log exists, and never creates it.
    fn check_log<'a>(&'a self, log: Log<'a>) -> BoxFuture<'a, Result<(), CommandError>>;

    /// Gets ready for the first record.
    fn prepare_writes(&self) -> BoxFuture<'_, ()>;

    /// Queues records of `source` in their order, except for those with an error. From the first that finds no room on,
    /// none is queued: a later record must not overtake it.
    ///
    /// # Errors
    /// Nothing can be written now. None of the records is queued.
    ///
    /// # Cancel safety
    /// All records are queued, or none.
    fn hand_over<'a>(
        &'a self,
        source: Source,
        records: Vec<ProduceRecord>,
        errors: Vec<Option<CommandError>>,
        due: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<HandedOver<'a>, CommandError>>;

    /// Whether records are queued or in flight.
    fn has_queued_records(&self) -> bool;

    /// Delivers queued records until `by`, and ends writing.
    fn end_writes(&self, by: Instant) -> BoxFuture<'_, ()>;
}

/// A topic's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Log<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
}

/// What to read of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fetch {
    /// Of the first record wanted.
    pub(crate) offset: i64,
    /// Bytes of the encoded answer; one record is delivered even if it is larger.
    pub(crate) max_bytes: usize,
    /// How long to wait at the end of the log for a first record.
    pub(crate) wait: Duration,
}

/// Records that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The `messages` of a `KafkaFetchResp`, encoded. Empty at the end of the log.
    pub(crate) messages: Bytes,
    /// The number of records.
    pub(crate) count: usize,
    /// Where to read on. It can be beyond the asked offset even if there are no records.
    pub(crate) next_offset: i64,
}

/// The memory that a client holds for a fetch's answer.
pub(crate) trait Room: Send {
    /// The fetch waits at the end of the log: gives back all but [`WAITING_BYTES`]. Lasts for as long as it can wait.
    fn wait(&mut self) -> BoxFuture<'_, ()>;

    /// Takes back what [`Room::wait`] gave; false if there is no room for the answer now.
    fn refill(&mut self) -> BoxFuture<'_, bool>;
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) partition: i32,
    /// None if it has no leader at the moment.
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<Replica>,
}

/// A broker that keeps a copy of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) broker: i32,
    pub(crate) in_sync: bool,
}

/// Records that were handed over.
pub(crate) struct HandedOver<'a> {
    /// How many were queued.
    pub(crate) queued: usize,
    /// One report for each record, once all are known or writes are due. A drop changes nothing about the records.
    pub(crate) reports: BoxFuture<'a, Vec<DeliveryReport>>,
}

/// The result of writing one record.
pub(crate) type DeliveryReport = Result<Written, CommandError>;

/// Where a record is in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) partition: i32,
    /// -1 if the system did not tell.
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
}

/// The timestamp of the start of a log.
pub(crate) const LOG_START: i64 = -2;
/// The timestamp of the end of a log.
pub(crate) const LOG_END: i64 = -1;
/// The size of the answer to a fetch that had to wait, in bytes. Small, so that many can wait in one session.
pub(crate) const WAITING_BYTES: usize = 16 * 1024;
