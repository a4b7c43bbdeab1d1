//! The identity of a log, and positions in it.

/// Changes whenever the records of a log may have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Distinguishes the topic from others of the same name, before or after it. `None`: not known.
    pub topic_id: Option<u128>,
    /// Grows with each new leader, which can have other records at the same positions. `None`: not known.
    pub leader_epoch: Option<i32>,
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
