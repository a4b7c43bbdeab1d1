//! Errors of consumers, by what the client has to change.

use sluicegate_backend::CommandError;
use sluicegate_backend::groups::GroupLog;

/// Why a consumer's command fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsumerError {
    /// The group has no such instance, or it has ended.
    #[error("the group has no such consumer: create it again")]
    Unknown,
    /// The group has an instance of this name.
    #[error("the group has a consumer of this name: delete it first, or choose another name")]
    Taken,
    /// Others have all consumers of the bridge, or the client its share.
    #[error("too many consumers at this bridge for this client (limits.consumers = {max})")]
    Limit {
        /// `limits.consumers`.
        max: usize,
    },
    /// A consumer has either a subscription or partitions that its client has assigned.
    #[error("a subscription and assigned partitions exclude each other: end the subscription first")]
    Conflict,
    /// A poll needs a subscription or partitions.
    #[error("the consumer has neither a subscription nor assigned partitions")]
    NotSubscribed,
    /// A position of a log that the consumer does not have.
    #[error("partition {} of topic {} is not assigned to this consumer", .0.1, .0.0)]
    NotAssigned(GroupLog),
    /// The group has no position in a log, and the consumer's `reset` is [`Reset::Error`](super::Reset::Error).
    #[error(
        "the group has no usable position in partition {} of topic {}, and auto.offset.reset is none", .0.1, .0.0
    )]
    NoPosition(GroupLog),
    /// A value is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The client lacks a right, or the cluster fails.
    #[error("{}", .0.message)]
    Command(CommandError),
}

impl From<CommandError> for ConsumerError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}
