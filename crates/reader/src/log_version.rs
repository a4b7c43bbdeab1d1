//! Changes whenever the records of a log may have changed.

use crate::api::TopicId;

/// A recreated topic has another id, and a new leader, which can have other records at the same offsets, another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogVersion {
    /// `None` in clusters without topic ids (before Kafka 2.8).
    pub(crate) topic_id: Option<TopicId>,
    /// As in the metadata; −1 if unknown.
    pub(crate) leader_epoch: i32,
}

impl LogVersion {
    /// Whether this is a later version of the same topic.
    pub(crate) fn is_newer_than(self, other: Self) -> bool {
        self.topic_id == other.topic_id && self.leader_epoch > other.leader_epoch
    }
}
