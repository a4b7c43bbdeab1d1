//! The labels of metrics, and their values.

use prometheus_client::encoding::EncodeLabelSet;

use sluicegate_backend::Fault;

/// The kind of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A question whether the session is alive.
    Ping,
    /// A read of one log.
    Fetch,
    /// A timestamp's offset.
    ListOffset,
    /// A read of many logs.
    MultiFetch,
    /// Timestamps' offsets in many logs.
    ListOffsets,
    /// A write.
    Produce,
    /// The list of topics, or where one is.
    Topics,
    /// The beginning of a subscription.
    Subscribe,
    /// A command for a group of consumers.
    Consume,
    /// The limits of a session.
    Session,
    /// Another token of the same person.
    Auth,
    /// Nothing that this version knows, or nothing that can be read.
    Unknown,
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// A result.
    Answered,
    /// An error by the client's fault or a broker's decision.
    Refused,
    /// No broker could be asked.
    Unavailable,
}

/// Why a record was not written.
#[derive(Debug, Clone, Copy)]
pub enum WriteFailure {
    /// The record is invalid or too large, or its topic missing or not granted.
    Refused,
    /// The messaging system does not authorize the cluster's user.
    NotAuthorized,
    /// The queue or the client's share of it is full.
    QueueFull,
    /// The cluster was unreachable, or did not acknowledge the record.
    Failed,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy)]
pub enum SessionEnd {
    /// The client or the filter closed it.
    Closed,
    /// The connection ended without a close.
    Left,
    /// The bridge shut down, or the cluster was removed.
    Drained,
    /// The client did not answer two pings.
    Silent,
    /// The client did not read its answers.
    Stalled,
    /// A message was not complete in time.
    Unfinished,
    /// Too many requests of a gRPC client waited.
    TooManyWaiting,
    /// A gRPC message was too large.
    TooLarge,
    /// A gRPC message was compressed.
    Compressed,
    /// The client's identity expired.
    Expired,
    /// The client's identity was revoked.
    Revoked,
    /// It reached the age at which sessions end.
    Aged,
    /// An operator ended it.
    Ended,
}

impl Kind {
    pub(super) const ALL: [Self; 12] = [
        Self::Ping,
        Self::Fetch,
        Self::ListOffset,
        Self::MultiFetch,
        Self::ListOffsets,
        Self::Produce,
        Self::Topics,
        Self::Subscribe,
        Self::Consume,
        Self::Session,
        Self::Auth,
        Self::Unknown,
    ];

    /// A name for metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Fetch => "fetch",
            Self::ListOffset => "list_offset",
            Self::MultiFetch => "multi_fetch",
            Self::ListOffsets => "list_offsets",
            Self::Produce => "produce",
            Self::Topics => "topics",
            Self::Subscribe => "subscribe",
            Self::Consume => "consume",
            Self::Session => "session",
            Self::Auth => "auth",
            Self::Unknown => "unknown",
        }
    }
}

impl Outcome {
    pub(super) const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Unavailable];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

impl WriteFailure {
    pub(super) const ALL: [Self; 4] = [Self::Refused, Self::NotAuthorized, Self::QueueFull, Self::Failed];

    /// The reason of a record's error.
    pub fn of(fault: Fault) -> Self {
        match fault {
            Fault::Invalid
            | Fault::OffsetOutOfRange
            | Fault::Forbidden
            | Fault::Unauthenticated
            | Fault::NotFound
            | Fault::Recreated
            | Fault::TooLarge
            | Fault::InvalidRecord
            | Fault::QuotaExceeded
            | Fault::OutOfOrder
            | Fault::Fenced
            | Fault::Expired => Self::Refused,
            Fault::NotAuthorized => Self::NotAuthorized,
            Fault::QueueFull => Self::QueueFull,
            Fault::Transient | Fault::Rejected | Fault::Unreachable { .. } | Fault::UnknownOutcome { .. } => {
                Self::Failed
            }
        }
    }

    /// The label and its meaning.
    pub(super) fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Refused => {
                ("refused", "the record is invalid or too large, or its topic missing or not granted")
            }
            Self::NotAuthorized => {
                ("not_authorized", "the cluster's user is not allowed to write to the topic")
            }
            Self::QueueFull => ("queue_full", "the queue was full, or already held the client's share"),
            Self::Failed => ("failed", "The cluster was unreachable, or did not acknowledge the record"),
        }
    }
}

impl SessionEnd {
    pub(super) const ALL: [Self; 13] = [
        Self::Closed,
        Self::Left,
        Self::Drained,
        Self::Silent,
        Self::Stalled,
        Self::Unfinished,
        Self::TooManyWaiting,
        Self::TooLarge,
        Self::Compressed,
        Self::Expired,
        Self::Revoked,
        Self::Aged,
        Self::Ended,
    ];

    /// A name for metrics and logs.
    pub fn label(self) -> &'static str {
        self.described().0
    }

    /// The label and its meaning.
    pub(super) fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Closed => ("closed", "client or filter closed the session"),
            Self::Left => ("left", "the connection ended without a close"),
            Self::Drained => ("drained", "the bridge shut down, or its cluster was removed (1001)"),
            Self::Silent => ("silent", "the client did not answer two pings (1011)"),
            Self::Stalled => ("stalled", "the client did not read its answers"),
            Self::Unfinished => ("unfinished", "a message was not complete in time (1008)"),
            Self::TooManyWaiting => {
                ("too_many_waiting", "a gRPC client had too many requests waiting (1008)")
            }
            Self::TooLarge => ("too_large", "a gRPC message exceeded `limits.max_request_bytes` (1009)"),
            Self::Compressed => ("compressed", "a gRPC message was compressed (1011)"),
            Self::Expired => ("expired", "the client's identity expired (3000)"),
            Self::Revoked => ("revoked", "the client's identity was revoked (3000)"),
            Self::Aged => ("aged", "the session reached `limits.max_session_age_ms` (1001)"),
            Self::Ended => ("ended", "an operator ended the session (1008)"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ClusterLabel {
    pub(super) cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) cluster: String,
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct QuotaLabels {
    pub(super) cluster: String,
    pub(super) quota: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabel {
    pub(super) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) cluster: String,
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CommandLabels {
    pub(super) cluster: String,
    pub(super) kind: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) cluster: String,
    pub(super) route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GatewayRouteLabels {
    pub(super) cluster: String,
    pub(super) gateway_route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct GroupLabels {
    pub(super) cluster: String,
    pub(super) gateway_route: String,
    pub(super) group: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StatusLabels {
    pub(super) cluster: String,
    pub(super) route: &'static str,
    pub(super) status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ApiLabels {
    pub(super) cluster: String,
    pub(super) api: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) cluster: String,
    pub(super) api: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) cluster: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RegistryLabel {
    pub(super) registry: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LookupLabels {
    pub(super) registry: String,
    pub(super) outcome: &'static str,
}
