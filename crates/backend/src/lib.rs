//! The seam to messaging systems: what commands need from one, and what they get back.
//!
//! - [`command`]: the commands, in words that all systems share; each way in parses into them
//! - here: [`Backend`], one cluster of a system, and the results; [`CommandError`] says by [`Fault`] who can mend it
//! - [`System`]: its words in errors, logs and traces
//! - [`groups`]: groups of consumers, where the system has them
//! - [`rate`]: limits per second that clients share
//! - [`write_queue`], [`delivery_reports`]: bounds, order and results of writes, for all systems
//! - [`accounts`]: which records of a producer a log has, and what becomes of the next ones
//! - [`table_entry`]: records as entries of a table, which the system's words tell apart from removals
//! - [`number`], [`suggestion`], [`file_hash`]: what configurations and parsers share
//!
//! Records travel in the protocol's encoding, so that a fetch copies each payload once: [`Chunk::messages`] is a part
//! of a `KafkaFetchResp`. A messaging system is a crate with a type that implements [`Backend`]. Names are those of a
//! partitioned log: topics have partitions, numbered from 0, and records have offsets.

pub mod accounts;
pub mod command;
pub mod delivery_reports;
mod description;
mod error;
mod fetched;
pub mod file_hash;
pub mod groups;
pub mod number;
pub mod rate;
pub mod suggestion;
pub mod table_entry;
mod words;
pub mod write_queue;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::BoxStream;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::INVALID_REQUEST;
pub use sluicegate_shared_log::{
    AnswerReservation, Chunk, Fetch, LOG_END, LOG_START, ListedOffset, Log, MAX_TIMESTAMP, Version,
    WAITING_BYTES,
};
use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::command::Record;
pub use self::description::{ClusterMembers, Description, Partition, Properties, Replica};
pub use self::error::{CommandError, Fault, MissingRight, ProducerState};
pub use self::fetched::{DecodeMessages, first_message};
pub use self::words::System;
use crate::groups::Groups;
use crate::rate::{ClientRate, ClusterRate};

/// One cluster of a messaging system.
///
/// Errors are safe to show to clients: they name no broker, file or endpoint. Those are only logged.
///
/// Each read is for a client, the `source`: clients that share a request or wait for the same limit are told apart by
/// it.
///
/// # Cancel safety
/// A drop abandons a read and nothing else. For writes see [`Backend::enqueue`].
pub trait Backend: Send + Sync {
    /// Succeeds if a broker answers within this time, and says in words what did. If none does, the reason is logged.
    fn ready(&self, within: Duration) -> BoxFuture<'_, Result<String, Unready>>;

    /// Reads consecutive records from an offset on. At the end of the log it waits until `reservation` ends the wait.
    /// Bytes that are read only to be skipped are counted to the client in `scans`, before more of them are requested.
    fn fetch<'a>(
        &'a self,
        log: Log<'a>,
        fetch: Fetch,
        scans: &'a ClusterRate,
        reservation: &'a mut dyn AnswerReservation,
    ) -> CommandFuture<'a, Chunk>;

    /// The records that a fetch would find without asking the messaging system; `None` if it has to be asked.
    fn recent(&self, log: Log<'_>, fetch: Fetch) -> Option<Chunk>;

    /// Drops the records of a log that were read before: fetches ask the messaging system for them again.
    fn forget(&self, log: Log<'_>);

    /// The version of the log as far as it is known. It can be out of date: see [`Backend::ask_version`].
    fn version(&self, log: Log<'_>) -> Version;

    /// Whether the log has a leader, as far as is known. Without one, it is neither read nor written.
    fn may_have_leader(&self, log: Log<'_>) -> bool {
        let _ = log;
        true
    }

    /// The epoch of the log's last leader, also if there is none now; `None` if it is not known, or there are no epochs.
    fn last_epoch(&self, log: Log<'_>) -> Option<i32> {
        let _ = log;
        None
    }

    /// The log's version, as told to a request that is sent after the call. It is known from then on.
    fn ask_version<'a>(&'a self, source: ClientKey, log: Log<'a>) -> CommandFuture<'a, Version>;

    /// The end of the log as known from all that was read there lately, without a request.
    fn known_end(&self, log: Log<'_>) -> Option<i64>;

    /// The offset up to which the log has the records that it had under a leader of this epoch; `None` if the leader
    /// does not know, as in a system without epochs.
    fn end_of_epoch<'a>(
        &'a self,
        source: ClientKey,
        log: Log<'a>,
        epoch: i32,
    ) -> CommandFuture<'a, Option<i64>> {
        let _ = (source, log, epoch);
        ready(Ok(None)).boxed()
    }

    /// The time for which a topic keeps a record that removes its key; `None`: as long as others, or it is not known.
    fn tombstone_life<'a>(
        &'a self,
        source: ClientKey,
        topic: &'a str,
    ) -> CommandFuture<'a, Option<Duration>> {
        let _ = (source, topic);
        ready(Ok(None)).boxed()
    }

    /// Whether others wait at this offset, the end of the log, and will be told of a record: a wait there needs no look
    /// before.
    fn is_watched(&self, log: Log<'_>, offset: i64, committed: bool) -> bool;

    /// Waits until a log may have records at `offset` or after it. If `until` is set, the wait ends then: a request
    /// that was sent after the call proves that there is none, and gives the ends of the log. It gives them earlier, too,
    /// if the log begins after `seen`, or has had records after it for some seconds that wait for a transaction.
    ///
    /// # Cancel safety
    /// A drop ends the wait.
    fn wait_for_records<'a>(
        &'a self,
        log: Log<'a>,
        offset: i64,
        committed: bool,
        until: Option<Instant>,
        seen: SeenEnds,
    ) -> BoxFuture<'a, Option<Ends>>;

    /// The first record of each log at or after a timestamp, in milliseconds since 1970. [`LOG_START`] and [`LOG_END`]
    /// ask for the ends of the log, [`MAX_TIMESTAMP`] for the record with the latest timestamp. `committed` as in
    /// [`Fetch`]. Gives each with its number as it is known.
    fn list_offsets<'a>(
        &'a self,
        source: ClientKey,
        asked: &'a [(Log<'a>, i64)],
        committed: bool,
    ) -> BoxStream<'a, (usize, Result<ListedOffset, CommandError>)>;

    /// The names of all topics that the cluster's user can see, sorted, without internal topics.
    fn topics(&self) -> CommandFuture<'_, Arc<[String]>>;

    /// Groups of consumers; `None`: there are none here.
    fn groups(&self) -> Option<&dyn Groups> {
        None
    }

    /// The number of a topic's partitions, as far as it is known without a request.
    fn known_partitions(&self, topic: &str) -> usize;

    /// The partitions of a topic.
    fn partitions<'a>(&'a self, source: ClientKey, topic: &'a str) -> CommandFuture<'a, Arc<Description>>;

    /// The cluster's own id, and its brokers.
    fn members(&self, source: ClientKey) -> CommandFuture<'_, ClusterMembers> {
        let _ = source;
        ready(Ok(ClusterMembers::default())).boxed()
    }

    /// The properties of a topic as far as they are known without a request.
    fn known_properties(&self, topic: &str) -> Option<Properties> {
        let _ = topic;
        None
    }

    /// The properties of a topic as they are configured, or by default. They can be some seconds old.
    fn properties<'a>(&'a self, source: ClientKey, topic: &'a str) -> CommandFuture<'a, Properties> {
        let _ = (source, topic);
        ready(Ok(Properties::default())).boxed()
    }

    /// Succeeds if the log exists, and never creates it.
    fn check_log<'a>(&'a self, source: ClientKey, log: Log<'a>) -> CommandFuture<'a, ()>;

    /// Prepares for the first record, if that takes time.
    fn prepare_writes(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    /// Encodes the values and keys of records without an error that have a schema, and leaves the id of that schema as their
    /// choice. Those that cannot be encoded get an error. The work is counted to the client in `scans`.
    ///
    /// # Cancel safety
    /// After a drop, some of the records have lost their schemas.
    fn encode<'a>(
        &'a self,
        source: ClientKey,
        records: &'a mut [Record],
        errors: &'a mut [Option<CommandError>],
        scans: &'a ClusterRate,
    ) -> BoxFuture<'a, ()> {
        let _ = (source, scans);
        refuse_schemas(records, errors);
        ready(()).boxed()
    }

    /// Queues records of `source` in order, except those with an error. If a record finds no room, no later one is
    /// queued either: it must not overtake.
    ///
    /// # Errors
    /// The cluster cannot be written to now. No record is queued.
    ///
    /// # Cancel safety
    /// The records are queued all or none.
    fn enqueue<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        errors: Vec<Option<CommandError>>,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>>;

    /// Gives each record without an error its partition: the one that it names, that of its key, or any. Those of a
    /// producer without a key have all the same one, which depends on the producer alone.
    ///
    /// # Cancel safety
    /// A drop leaves records and errors as they are.
    fn place<'a>(
        &'a self,
        source: ClientKey,
        records: &'a mut [Record],
        errors: &'a mut [Option<CommandError>],
        producer: Option<i64>,
    ) -> BoxFuture<'a, ()> {
        let _ = (source, errors, producer);
        records.iter_mut().for_each(|record| record.partition = Some(0));
        ready(()).boxed()
    }

    /// For how long repeats of a producer's writes are recognized, in words; `None`: that depends on the topic.
    fn recognition(&self) -> CommandFuture<'_, Option<String>> {
        ready(Ok(None)).boxed()
    }

    /// Queues records of a producer, all of one log, behind those that were queued before: all are queued or none, and none is
    /// written a second time. In a system that writes them one by one, those before a failure are written.
    ///
    /// # Errors
    /// As [`Backend::enqueue`].
    ///
    /// # Cancel safety
    /// The records are queued all or none.
    fn enqueue_once<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        account: Account,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        let _ = (source, records, account, due);
        ready(Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, NO_PRODUCERS))).boxed()
    }

    /// The same for records each of which has a [`STREAM_SEQ`](command::STREAM_SEQ): they are written if it is greater than that
    /// of their subject's last one, or if there is none, and then one after the other.
    ///
    /// # Errors
    /// As [`Backend::enqueue`]. Their reports have [`Fault::OutOfOrder`] if the sequence does not ascend.
    ///
    /// # Cancel safety
    /// The records are queued all or none.
    fn enqueue_after<'a>(
        &'a self,
        source: ClientKey,
        records: Vec<Record>,
        account: Option<Account>,
        due: &'a CancellationToken,
    ) -> CommandFuture<'a, Enqueued<'a>> {
        let _ = (source, records, account, due);
        ready(Err(CommandError::new(Fault::Invalid, INVALID_REQUEST, NO_SEQUENCE))).boxed()
    }

    /// Whether records are queued or in flight.
    fn has_queued_records(&self) -> bool;

    /// Delivers queued records until `by`, and ends writing.
    fn end_writes(&self, by: Instant) -> BoxFuture<'_, ()>;
}

/// Gives records with a schema an error: the cluster has none.
pub fn refuse_schemas(records: &[Record], errors: &mut [Option<CommandError>]) {
    for (record, error) in records.iter().zip(errors) {
        let has_one = [(&record.value, &record.value_schema), (&record.key, &record.key_schema)]
            .iter()
            .any(|(json, schema)| json.is_some() && schema.is_some());
        if has_one && error.is_none() {
            *error = Some(CommandError::new(Fault::Invalid, INVALID_REQUEST, NO_SCHEMAS));
        }
    }
}

/// A command, or a part of one, under way.
pub type CommandFuture<'a, T> = BoxFuture<'a, Result<T, CommandError>>;

/// Why a cluster does not answer. Only for operators: it can name brokers and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready {
    /// The key of the cluster's configuration to look at.
    pub key: &'static str,
    /// The cause.
    pub cause: String,
}

/// A producer as the log of its records counts them.
#[derive(Debug, Clone)]
pub struct Account {
    /// A positive number with the second bit set, which no broker gives out.
    pub id: i64,
    /// As in [`Producer`](command::Producer).
    pub epoch: i16,
    /// As in [`Producer`](command::Producer).
    pub sequence: i32,
    /// As in [`Producer`](command::Producer).
    pub age: Duration,
    /// Whether the bridge chooses the partition. It can have chosen another one for an earlier try.
    pub is_placed: bool,
    /// The producers that logs do not know yet, as its client may bring some.
    pub new: ClientRate,
    /// Requests for which clients take turns: a question about a producer makes a broker list all of a log.
    pub questions: ClientRate,
}

/// Records that were enqueued.
pub struct Enqueued<'a> {
    /// The number of queued records.
    pub queued: usize,
    /// One report per record, once all are known or writes are due. A drop does not affect the records.
    pub reports: BoxFuture<'a, Vec<DeliveryReport>>,
}

/// The result of writing one record.
pub type DeliveryReport = Result<Written, CommandError>;

/// A written record's place in its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// The number of the partition.
    pub partition: i32,
    /// -1 if unknown.
    pub offset: i64,
    /// -1 if the messaging system does not tell.
    pub timestamp: i64,
    /// Set if the messaging system recognizes repetitions of the record, by a message id or its producer.
    pub dedup: Option<Dedup>,
    /// The id of the schema with which the key was encoded.
    pub key_schema_id: Option<u32>,
    /// The same of the value.
    pub value_schema_id: Option<u32>,
}

/// The outcome of a record whose repetitions are recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dedup {
    /// Whether the record was in the log already. The offset is that one's then, and nothing was written.
    pub is_duplicate: bool,
    /// For how long after a record a repetition is not written again, up to [`Dedup::UNLIMITED`].
    pub window: Duration,
    /// Whether gaps and older epochs are recognized, too.
    pub in_order: bool,
    /// The highest sequence that the record's producer is known to have written in its epoch, if it has one.
    pub last: Option<i32>,
}

impl Dedup {
    /// As long as the log is there. In milliseconds it is the largest number that every JSON parser keeps (RFC 8259, section 6).
    pub const UNLIMITED: Duration = Duration::from_millis((1 << 53) - 1);
}

const NO_SEQUENCE: &str = "this cluster compares no sequence of its clients: leave it out";
const NO_PRODUCERS: &str = "this cluster does not recognize repeats by their producer: leave it out";
const NO_SCHEMAS: &str = "the record has a schema, and its cluster no schema registry: expected `schemas` in the bridge's \
                          configuration of the cluster";
