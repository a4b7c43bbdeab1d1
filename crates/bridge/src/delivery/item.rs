//! Messages of a subscription to its client.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::subscribe::SubscribedTopic;
use crate::backend::CommandError;

/// One message of a subscription to its client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// The topics and partitions that are read from now on.
    Subscribed(Vec<SubscribedTopic>),
    /// Records of one partition. Without records, the position has moved past some that were left out.
    Delivery {
        /// After the records.
        next: Place,
        /// Encoded as the `messages` of a `KafkaFetchResp`.
        messages: Bytes,
        /// The log's end as last known; −1 if unknown.
        end: i64,
    },
    /// The end of a log was reached, or, where only committed records are read, the first record of an open
    /// transaction.
    CaughtUp {
        place: Place,
        /// The log's end, if a transaction keeps the subscription from it.
        blocked_until: Option<i64>,
    },
    /// The subscription continues at `to`.
    Skipped { from: i64, to: Place, cause: SkipCause },
    /// The messaging system cannot be read. The subscription keeps trying.
    Retrying { place: Place, error: CommandError, since: SystemTime },
    /// The subscription has ended.
    Ended { place: Place, error: CommandError },
}

/// A position in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Why records are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipCause {
    /// The log has lost them.
    Deleted,
    /// The client wants it, because it is behind.
    Lag,
}

impl Item {
    /// The size of its records in bytes.
    pub(crate) fn records_len(&self) -> usize {
        match self {
            Self::Delivery { messages, .. } => messages.len(),
            Self::Subscribed(_)
            | Self::CaughtUp { .. }
            | Self::Skipped { .. }
            | Self::Retrying { .. }
            | Self::Ended { .. } => 0,
        }
    }
}
