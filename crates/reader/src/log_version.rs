//! Changes whenever the records of a log may have changed.

use sluicegate_shared_log::LogKey;

use crate::api::TopicId;
use crate::topic_partition::TopicPartition;

/// A recreated topic has another id, and a new leader, which can have other records at the same offsets, another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogVersion {
    /// `None` in clusters without topic ids (before Kafka 2.8).
    pub(crate) topic_id: Option<TopicId>,
    /// As in the metadata; −1 if unknown.
    pub(crate) leader_epoch: i32,
}

impl LogVersion {
    /// Identifies this log of a partition.
    pub(crate) fn key(self, target: TopicPartition<'_>, committed: bool) -> LogKey {
        LogKey {
            topic: target.topic().into(),
            incarnation: self.topic_id.map_or(0, TopicId::get),
            partition: target.partition(),
            committed,
        }
    }

    /// Whether this is a later version of the same topic.
    pub(crate) fn is_newer_than(self, other: Self) -> bool {
        self.topic_id == other.topic_id && self.leader_epoch > other.leader_epoch
    }
}
