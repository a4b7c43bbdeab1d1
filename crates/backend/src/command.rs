//! The commands of clients, in words that messaging systems share. Protobuf, JSON and HTTP parse into them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol::SchemaType;

use super::groups::Commit;
use super::{LOG_END, LOG_START, Log};

/// A command that is answered once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Command {
    /// Reads records of `log` from `offset` on that match all `filters`, within `bounds`.
    Fetch { log: LogName, offset: i64, bounds: ReadBounds, filters: Vec<RecordFilter> },
    /// Reads records of each of `places`, a log and an offset, that match all `filters`, within `bounds`.
    MultiFetch { places: Vec<(LogName, i64)>, bounds: ReadBounds, filters: Vec<RecordFilter> },
    /// Finds the offset of `timestamp` in `log`.
    ListOffset { log: LogName, timestamp: i64 },
    /// Finds the offset of each of `asked`, a log and a timestamp; if `committed`, among committed records.
    ListOffsets { asked: Vec<(LogName, i64)>, committed: bool },
    /// Describes topics.
    Describe(TopicNames),
    /// Writes records.
    Produce(Write),
    /// Commits positions for the group of `subscription`, a sequence.
    Commit { subscription: i64, assignment: Option<u64>, commits: Vec<Commit> },
}

impl Command {
    /// The name in metrics, traces and the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "fetch",
            Self::MultiFetch { .. } => "multi_fetch",
            Self::Produce(_) => "produce",
            Self::ListOffset { .. } => "list_offset",
            Self::ListOffsets { .. } => "list_offsets",
            Self::Describe(_) => "topics",
            Self::Commit { .. } => "commit",
        }
    }

    /// Whether it writes records.
    pub fn writes(&self) -> bool {
        match self {
            Self::Produce(_) => true,
            Self::Fetch { .. }
            | Self::MultiFetch { .. }
            | Self::ListOffset { .. }
            | Self::ListOffsets { .. }
            | Self::Describe(_)
            | Self::Commit { .. } => false,
        }
    }

    /// The memory of its lists, in bytes, besides the texts and bytes in them.
    pub fn list_bytes(&self) -> usize {
        match self {
            Self::ListOffset { .. } => 0,
            Self::Fetch { filters, .. } => filter_bytes(filters),
            Self::Produce(Write { records, .. }) => {
                let headers =
                    records.iter().map(|record| record.headers.len()).fold(0, usize::saturating_add);
                headers.saturating_mul(size_of::<Header>()).saturating_add(size_of_val(&records[..]))
            }
            Self::MultiFetch { places, filters, .. } => {
                size_of_val(&places[..]).saturating_add(filter_bytes(filters))
            }
            Self::ListOffsets { asked, .. } => size_of_val(&asked[..]),
            Self::Commit { commits, .. } => size_of_val(&commits[..]),
            Self::Describe(TopicNames { topics, prefixes, .. }) => {
                size_of_val(&topics[..]).saturating_add(size_of_val(&prefixes[..]))
            }
        }
    }
}

fn filter_bytes(filters: &[RecordFilter]) -> usize {
    let values = filters.iter().map(|RecordFilter { equals, prefixes, .. }| {
        size_of_val(&equals[..]).saturating_add(size_of_val(&prefixes[..]))
    });
    values.fold(size_of_val(filters), usize::saturating_add)
}

/// A log, as a client names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogName {
    /// The topic's name.
    pub topic: String,
    /// The number of the partition, from 0 on.
    pub partition: i32,
}

impl LogName {
    /// The only log of a stream.
    pub fn of_stream(stream: String) -> Self {
        Self { topic: stream, partition: Log::of_stream("").partition }
    }

    /// The same, borrowed.
    pub fn as_log(&self) -> Log<'_> {
        Log { topic: &self.topic, partition: self.partition }
    }
}

/// Bounds of a read, as far as a client gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadBounds {
    /// The largest answer in bytes. None: as many as the cluster allows.
    pub max_bytes: Option<usize>,
    /// The time to wait at the end of the log. None: the cluster's default.
    pub wait: Option<Duration>,
    /// The records to wait for, in bytes. 0: one record.
    pub min_bytes: usize,
    /// The largest number of records; 0: as many as fit.
    pub max_records: usize,
    /// Whether to read on until the answer is half full or the log ends.
    pub fill: bool,
    /// Whether records of open and aborted transactions are left out.
    pub committed: bool,
    /// Whether values and keys with a schema are given as JSON.
    pub decode: bool,
    /// Whether to read on to the first record that the client is granted, however long that takes: it cannot continue
    /// from an answer without records.
    pub reads_on: bool,
}

/// The topics to describe: those named, or all with one of the prefixes; without both, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicNames {
    /// The names of topics.
    pub topics: Vec<String>,
    /// The beginnings of names.
    pub prefixes: Vec<String>,
    /// Only topics whose name sorts after this one.
    pub after: String,
}

/// Records to write with one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Write {
    /// The records.
    pub records: Vec<Record>,
    /// By whom a repeat is recognized. None: it is not, and each record has a result of its own.
    pub producer: Option<Producer>,
    /// Whether the [`STREAM_SEQ`] of the records must ascend, which systems without partitions can compare.
    pub ascends: bool,
    /// Whether records are only checked and given their partitions.
    pub dry_run: bool,
}

impl From<Vec<Record>> for Write {
    fn from(records: Vec<Record>) -> Self {
        Self { records, ..Self::default() }
    }
}

/// The header of an opaque sequence of its clients' own, which ascends in the order of bytes, as in the Durable Streams
/// protocol.
pub const STREAM_SEQ: &str = "Stream-Seq";

/// A writer, as a client names it, and the place of a command among its records in one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The client's name for it.
    pub id: String,
    /// A later epoch ends the earlier ones.
    pub epoch: i16,
    /// The number of the command's first record in the log and epoch, from 0 to [`MAX_SEQUENCE`].
    pub sequence: i32,
    /// The time since this record was first sent.
    pub age: Duration,
}

impl Producer {
    /// A producer as a client gives it.
    ///
    /// # Errors
    /// The member that is invalid, and what was expected.
    pub fn new(
        id: String,
        epoch: u64,
        sequence: u64,
        age: Option<Duration>,
    ) -> Result<Self, InvalidProducer> {
        let invalid = |member, expected: String| InvalidProducer { member, expected };
        if id.is_empty() || id.len() > MAX_PRODUCER_ID {
            return Err(invalid("id", format!("1 to {MAX_PRODUCER_ID} bytes")));
        }
        let number = |member, given: u64, max: i32| {
            let number = i32::try_from(given).ok().filter(|number| *number <= max);
            number.ok_or_else(|| invalid(member, format!("a whole number from 0 to {max}")))
        };
        let epoch = number("epoch", epoch, i16::MAX.into())?;
        let sequence = number("sequence", sequence, MAX_SEQUENCE)?;
        let age = age.ok_or_else(|| {
            invalid("age", "the time since the first record was first sent, 0 for the first time".to_owned())
        })?;
        Ok(Self { id, epoch: i16::try_from(epoch).unwrap_or(i16::MAX), sequence, age })
    }
}

/// A member of a producer that is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidProducer {
    /// `id`, `epoch`, `sequence` or `age`.
    pub member: &'static str,
    /// The values that are accepted.
    pub expected: String,
}

/// The longest name of a producer, in bytes.
pub const MAX_PRODUCER_ID: usize = 256;
/// The last sequence of an epoch. After the next one, brokers would begin at 0 again.
pub const MAX_SEQUENCE: i32 = i32::MAX - 1;

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The topic's name; in NATS, that of a stream.
    pub topic: String,
    /// None or -1: the partitioner chooses.
    pub partition: Option<i32>,
    /// The key; in NATS, the subject.
    pub key: Option<Bytes>,
    /// None: a tombstone.
    pub value: Option<Bytes>,
    /// The headers, in their order.
    pub headers: Vec<Header>,
    /// Milliseconds since 1970. None, or −1 as of records that have none: the bridge's clock.
    pub timestamp: Option<i64>,
    /// The schema with which the value, which is JSON, is encoded. None: it is written as it is.
    pub value_schema: Option<SchemaChoice>,
    /// The same of the key.
    pub key_schema: Option<SchemaChoice>,
    /// The language that the client expects both schemas to have. None: any.
    pub schema_type: Option<SchemaType>,
}

impl Record {
    /// The bytes of its key, its value and its headers.
    pub fn bytes(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|Header { key, value }| key.len().saturating_add(value.as_ref().map_or(0, Bytes::len)));
        let parts = [&self.key, &self.value].map(|part| part.as_ref().map_or(0, Bytes::len));
        parts.into_iter().chain(headers).fold(0, usize::saturating_add)
    }

    /// The value of its first header with this name.
    pub fn header(&self, name: &str) -> Option<Bytes> {
        self.headers.iter().find(|header| header.key == name)?.value.clone()
    }

    /// The ids of the schemas of its key and its value, where the choice is an id.
    pub fn schema_ids(&self) -> [Option<u32>; 2] {
        [&self.key_schema, &self.value_schema].map(|choice| match choice {
            Some(SchemaChoice::Id(id)) => Some(*id),
            _ => None,
        })
    }
}

/// A schema for a value or key that a client gives as JSON. Null needs none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SchemaChoice {
    /// The latest one of the topic, on routes that encode JSON. On others, the JSON is written as it is.
    Topic,
    /// The latest one of a subject.
    Subject(Arc<str>),
    /// The one with this id.
    Id(u32),
    /// The topic's one with this text.
    Text {
        /// Its language.
        kind: SchemaType,
        /// The text, without references to others.
        text: Arc<str>,
        /// Whether it is registered if it is new, as the route says. Clients cannot.
        registers: bool,
    },
}

/// A header of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The name.
    pub key: String,
    /// None: null, which Kafka distinguishes from the empty value.
    pub value: Option<Bytes>,
}

/// Topics to deliver records of, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscribeCommand {
    /// The topics, each once.
    pub sources: Vec<Source>,
    /// Whether records of open and aborted transactions are left out.
    pub committed: bool,
    /// Whether values and keys with a schema are given as JSON.
    pub decode: bool,
    /// Records must match each.
    pub filters: Vec<RecordFilter>,
    /// The size of a delivery in bytes. 0: the bridge chooses.
    pub max_bytes: usize,
    /// The largest number of records in a delivery; 0: as many as fit.
    pub max_records: usize,
    /// The time that a record at the end of a log waits for others.
    pub linger: Duration,
    /// Whether to jump to the end of a log that a delivery does not reach.
    pub skips: bool,
    /// None: it is no table, but a part of a log.
    pub table: Option<TableCommand>,
    /// The group that gives the logs. None: the sources say which ones are read.
    pub group: Option<String>,
}

/// A table: the newest record of each key, and then each change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableCommand {
    /// If the sources say where to go on: the time since the client got something of the table last. None: not known, so
    /// that it begins anew.
    pub away: Option<Duration>,
}

/// A topic to deliver records of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The topic's name.
    pub topic: String,
    /// Empty: all, and those that the topic gets later.
    pub partitions: Vec<i32>,
    /// Where partitions begin.
    pub from: Start,
    /// Where single partitions continue; it overrides `from`. If not empty, other partitions of the topic are new.
    pub next: Vec<(i32, i64)>,
    /// The topic that `next` is about. None: not checked.
    pub topic_id: Option<u128>,
}

/// Where to begin, in each of many logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record of that time, as [`Backend::list_offsets`](super::Backend::list_offsets) finds it, or at the
    /// end.
    Timestamp(i64),
    /// At this offset.
    Offset(i64),
    /// So many offsets before the end, or at the start if the log has fewer.
    BeforeEnd(i64),
}

impl Start {
    /// The offset of a number, or a distance to the end if it is negative.
    pub fn at(number: i64) -> Self {
        match number {
            0.. => Self::Offset(number),
            ..0 => Self::BeforeEnd(number.saturating_neg()),
        }
    }

    /// The timestamp whose offset [`in_log`](Self::in_log) needs beside the end.
    pub fn timestamp(self) -> Option<i64> {
        match self {
            Self::Offset(_) | Self::Timestamp(LOG_END) => None,
            Self::Timestamp(timestamp) => Some(timestamp),
            Self::BeforeEnd(_) => Some(LOG_START),
        }
    }

    /// Whether it is the end, or counted from there.
    pub fn is_from_end(self) -> bool {
        matches!(self, Self::BeforeEnd(_) | Self::Timestamp(LOG_END))
    }

    /// The offset in a log that ends at `end`. `found` is that of [`timestamp`](Self::timestamp), negative if there is
    /// none. What is written between the two questions is at or after both, if the end was asked for first.
    pub fn in_log(self, end: i64, found: Option<i64>) -> i64 {
        let found = found.filter(|found| *found >= 0);
        match self {
            Self::Offset(offset) => offset,
            Self::Timestamp(_) => found.unwrap_or(end),
            Self::BeforeEnd(count) => end.saturating_sub(count).max(found.unwrap_or_default()),
        }
    }
}

impl Default for Start {
    fn default() -> Self {
        Self::Timestamp(LOG_END)
    }
}

/// A condition on records: the key, a header or a part of the value equals one of these, or begins with one of the
/// prefixes. Without both, there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RecordFilter {
    /// Any header of this key. None: the record's key, or a part of its value.
    pub header: Option<String>,
    /// A part of the record's value, which is JSON.
    pub value: Option<ValuePart>,
    /// The values to equal; of a part, JSON texts of scalars.
    pub equals: Vec<Bytes>,
    /// The beginnings of values; of a part that is a string.
    pub prefixes: Vec<Bytes>,
}

/// A part of a value, and what holds for it beside what it equals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ValuePart {
    /// Where it is: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// A JSON number: the part is a larger one.
    pub above: Option<String>,
    /// A JSON number: the part is a smaller one.
    pub below: Option<String>,
    /// Whether the value must have no such part.
    pub is_missing: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_found_in_each_log() {
        for (start, timestamp, end, found, want) in [
            (Start::at(7), None, 9, None, 7),
            (Start::default(), None, 9, None, 9),
            (Start::Timestamp(5), Some(5), 9, Some(3), 3),
            (Start::Timestamp(5), Some(5), 9, Some(-1), 9),
            (Start::at(-2), Some(LOG_START), 9, Some(3), 7),
            (Start::at(-7), Some(LOG_START), 9, Some(3), 3),
            (Start::at(i64::MIN), Some(LOG_START), 0, Some(0), 0),
        ] {
            assert_eq!((start.timestamp(), start.in_log(end, found)), (timestamp, want), "{start:?}");
        }
    }
}
