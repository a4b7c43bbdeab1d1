//! The identity of a log, and positions in it.

use std::sync::Arc;

/// A log by its name: the partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Log<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The number of the partition, from 0 on.
    pub partition: i32,
}

impl<'a> Log<'a> {
    /// The only partition of a stream.
    pub fn of_stream(stream: &'a str) -> Self {
        Self { topic: stream, partition: 0 }
    }
}

/// A log of one cluster in memory: one topic of that name, read in one way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey {
    /// The topic's name.
    pub topic: Arc<str>,
    /// Distinguishes the topic from an earlier one of the same name; 0 if unknown.
    pub incarnation: u128,
    /// The partition's number.
    pub partition: i32,
    /// Whether the log is read without records of open and aborted transactions.
    pub committed: bool,
}

/// Changes whenever the records of a log may have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Distinguishes the topic from others of the same name, before or after it. `None`: not known.
    pub topic_id: Option<u128>,
    /// Grows with each new leader, which can have other records at the same positions. `None`: not known.
    pub leader_epoch: Option<i32>,
}

impl Version {
    /// Whether this is a later version of the same topic.
    pub fn is_newer_than(self, other: Self) -> bool {
        self.topic_id == other.topic_id && self.leader_epoch > other.leader_epoch
    }
}

/// The position of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// −1 if every record is older.
    pub offset: i64,
    /// The timestamp of the record; −1 for an end of the log, and if there is no record.
    pub timestamp: i64,
}

/// The timestamp that asks for the start of a log.
pub const LOG_START: i64 = -2;

/// The timestamp that asks for the end of a log.
pub const LOG_END: i64 = -1;

/// The timestamp that asks for the record with the latest one.
pub const MAX_TIMESTAMP: i64 = -3;
