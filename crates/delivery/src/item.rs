//! Messages of a subscription to its client.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use sluicegate_backend::CommandError;

use super::subscribe::SubscribedTopic;

/// One message of a subscription to its client.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Item {
    /// The topics and partitions that are read from now on. A partition comes again once it begins, if it had not.
    Subscribed(Vec<SubscribedTopic>),
    /// The same of a table: the newest record of each key before these offsets follows. Others that the client has are no
    /// part of it any more.
    Snapshot(Vec<SubscribedTopic>),
    /// The group has given these logs, with the offsets at which they begin, instead of all before. The number is that of
    /// [`MemberState::Assigned`](sluicegate_backend::groups::MemberState::Assigned).
    Assigned { assignment: u64, topics: Vec<SubscribedTopic> },
    /// The group takes all logs back.
    Revoked,
    /// The log of `place` is read up to there for its table; the snapshot can begin at `end`.
    Building { place: Place, end: i64 },
    /// The snapshot is complete, without so many records that have no key.
    SnapshotEnd { skipped: u64 },
    /// The log has lost the records before this place: they are no part of the table any more.
    LogStart(Place),
    /// Records of one partition. Without records, the position has moved past some that were left out.
    Delivery {
        /// After the records.
        next: Place,
        /// Encoded as the `messages` of a `KafkaFetchResp`.
        messages: Bytes,
        /// The log's end as last known; −1 if unknown.
        end: i64,
    },
    /// The end of a log was reached, at `place`; or, where only committed records are read, the first record of an
    /// open transaction.
    CaughtUp {
        place: Place,
        /// The log's end, if a transaction keeps the subscription from it.
        blocked_until: Option<i64>,
    },
    /// The subscription continues at `to` instead of `from`, because of `cause`.
    Skipped { from: i64, to: Place, cause: SkipCause },
    /// The log of `place` cannot be read `since` then, because of `error`. The subscription keeps trying.
    Retrying { place: Place, error: CommandError, since: SystemTime },
    /// The subscription has ended at `place`, because of `error`.
    Ended { place: Place, error: CommandError },
}

/// A position in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The number of the partition.
    pub partition: i32,
    /// The offset of the next record.
    pub offset: i64,
}

/// Why records are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipCause {
    /// The log has lost them.
    Deleted,
    /// The client wants it, because it is behind.
    Lag,
}

impl Item {
    /// The size of its records in bytes.
    pub fn records_len(&self) -> usize {
        match self {
            Self::Delivery { messages, .. } => messages.len(),
            Self::Subscribed(_)
            | Self::Snapshot(_)
            | Self::Assigned { .. }
            | Self::Revoked
            | Self::Building { .. }
            | Self::SnapshotEnd { .. }
            | Self::LogStart(_)
            | Self::CaughtUp { .. }
            | Self::Skipped { .. }
            | Self::Retrying { .. }
            | Self::Ended { .. } => 0,
        }
    }
}
