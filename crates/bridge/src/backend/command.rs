//! The commands of clients, in words that messaging systems share. Protobuf, JSON and HTTP parse into them.

use std::time::Duration;

use bytes::Bytes;

use super::Log;

/// A command that is answered once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Reads records from an offset on.
    Fetch { log: LogName, offset: i64, bounds: ReadBounds },
    /// Reads records of many logs, each from an offset on.
    MultiFetch { places: Vec<(LogName, i64)>, bounds: ReadBounds },
    /// Finds the offset of a timestamp.
    ListOffset { log: LogName, timestamp: i64 },
    /// Finds the offset of a timestamp in each of many logs.
    ListOffsets { asked: Vec<(LogName, i64)>, committed: bool },
    /// Describes topics.
    Describe(TopicNames),
    /// Writes records.
    Produce(Vec<Record>),
}

impl Command {
    /// The name in metrics, traces and the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "fetch",
            Self::MultiFetch { .. } => "multi_fetch",
            Self::Produce(_) => "produce",
            Self::ListOffset { .. } => "list_offset",
            Self::ListOffsets { .. } => "list_offsets",
            Self::Describe(_) => "topics",
        }
    }

    /// The memory of its lists, in bytes, besides the texts and bytes in them.
    pub(crate) fn list_bytes(&self) -> usize {
        match self {
            Self::Fetch { .. } | Self::ListOffset { .. } => 0,
            Self::Produce(records) => {
                let headers =
                    records.iter().map(|record| record.headers.len()).fold(0, usize::saturating_add);
                headers.saturating_mul(size_of::<Header>()).saturating_add(size_of_val(&records[..]))
            }
            Self::MultiFetch { places: logs, .. } | Self::ListOffsets { asked: logs, .. } => {
                size_of_val(&logs[..])
            }
            Self::Describe(TopicNames { topics, prefixes, .. }) => {
                size_of_val(&topics[..]).saturating_add(size_of_val(&prefixes[..]))
            }
        }
    }
}

/// A log, as a client names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogName {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

impl LogName {
    /// The only log of a stream.
    pub(crate) fn of_stream(stream: String) -> Self {
        Self { topic: stream, partition: Log::of_stream("").partition }
    }

    pub(crate) fn as_log(&self) -> Log<'_> {
        Log { topic: &self.topic, partition: self.partition }
    }
}

/// Bounds of a read, as far as a client gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReadBounds {
    /// The largest answer in bytes. None: as many as the cluster allows.
    pub(crate) max_bytes: Option<usize>,
    /// The time to wait at the end of the log. None: the cluster's default.
    pub(crate) wait: Option<Duration>,
    /// The records to wait for, in bytes. 0: one record.
    pub(crate) min_bytes: usize,
    /// The largest number of records; 0: as many as fit.
    pub(crate) max_records: usize,
    /// Whether to read on until the answer is half full or the log ends.
    pub(crate) fill: bool,
    /// Whether records of open and aborted transactions are left out.
    pub(crate) committed: bool,
}

/// The topics to describe: those named, or all with one of the prefixes; without both, all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicNames {
    pub(crate) topics: Vec<String>,
    pub(crate) prefixes: Vec<String>,
    /// Only topics whose name sorts after this one.
    pub(crate) after: String,
}

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    /// None or -1: the partitioner chooses.
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
    /// Milliseconds since 1970, at least 1. None: the bridge's clock.
    pub(crate) timestamp: Option<i64>,
}

/// A header of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) key: String,
    pub(crate) value: Option<Bytes>,
}

/// Topics to deliver records of, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubscribeCommand {
    pub(crate) sources: Vec<Source>,
    pub(crate) committed: bool,
    /// Records must match each.
    pub(crate) filters: Vec<RecordFilter>,
    /// The size of a delivery in bytes. 0: the bridge chooses.
    pub(crate) max_bytes: usize,
    /// The largest number of records in a delivery; 0: as many as fit.
    pub(crate) max_records: usize,
    /// The time that a record at the end of a log waits for others.
    pub(crate) linger: Duration,
    /// Whether to jump to the end of a log that a delivery does not reach.
    pub(crate) skips: bool,
}

/// A topic to deliver records of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) topic: String,
    /// Empty: all, and those that the topic gets later.
    pub(crate) partitions: Vec<i32>,
    pub(crate) from: Start,
    /// Where single partitions continue; it overrides `from`. If not empty, other partitions of the topic are new.
    pub(crate) next: Vec<(i32, i64)>,
    /// The topic that `next` is about. None: not checked.
    pub(crate) topic_id: Option<u128>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the first record of that time, as [`Backend::list_offsets`](super::Backend::list_offsets) finds it, or at the
    /// end.
    Timestamp(i64),
    Offset(i64),
}

impl Default for Start {
    fn default() -> Self {
        Self::Timestamp(super::LOG_END)
    }
}

/// A condition on records: a value equals one of these, or begins with one of the prefixes. Without both, there is a
/// value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordFilter {
    /// Any header of this key. None: the record's key.
    pub(crate) header: Option<String>,
    pub(crate) equals: Vec<Bytes>,
    pub(crate) prefixes: Vec<Bytes>,
}
