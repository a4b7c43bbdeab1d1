//! Errors of commands, by fault.

use std::time::Duration;

use sluicegate_protocol::Reason;

use super::System;

/// The error of a command, or of one record of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// The kind.
    pub fault: Fault,
    /// The code of a Kafka broker, or of the bridge in its place, or of JetStream; 0 if there is none for this error.
    pub code: i32,
    /// Safe to show to clients.
    pub message: String,
    /// The time to wait before a retry; zero if unknown.
    pub retry_after: Duration,
    /// With [`Fault::OffsetOutOfRange`], if known: the first offset of the log, and the one after its last record.
    pub ends: Option<(i64, i64)>,
    /// With [`Fault::Forbidden`]: the right that the client lacks. None: another reason.
    pub lacks: Option<Box<MissingRight>>,
    /// With [`Fault::OutOfOrder`], [`Fault::Fenced`] and [`Fault::Expired`], if known: the producer as its log has it.
    pub producer: Option<Box<ProducerState>>,
}

/// A producer in one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Its latest epoch.
    pub epoch: i16,
    /// The sequence of its next record.
    pub sequence: i32,
}

/// A right that a client lacks, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    /// The right, by the route's key.
    pub right: &'static str,
    /// The topic; None: the command has none, or several.
    pub topic: Option<String>,
}

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command is invalid.
    Invalid,
    /// The log has no such offset.
    OffsetOutOfRange,
    /// The route or the bridge does not allow it.
    Forbidden,
    /// The client's identity has expired, or was revoked.
    Unauthenticated,
    /// The messaging system does not authorize the cluster's user.
    NotAuthorized,
    /// The topic or partition does not exist.
    NotFound,
    /// The topic or stream was deleted and created again.
    Recreated,
    /// The record is larger than the cluster accepts.
    TooLarge,
    /// The topic does not accept the record's content.
    InvalidRecord,
    /// The queue is full, or the client already holds its share of it.
    QueueFull,
    /// The client's identity has used up its quota.
    QuotaExceeded,
    /// The cluster or the bridge refuses now; a retry can succeed.
    Transient,
    /// The cluster refuses; a retry will not help.
    Rejected,
    /// Records of the producer are missing before this one.
    OutOfOrder,
    /// The producer has begun a later epoch.
    Fenced,
    /// Nobody can tell any more whether the producer's record was written before.
    Expired,
    /// No broker was reachable.
    Unreachable {
        /// False if an operator must fix something first.
        retriable: bool,
    },
    /// A record may have been written.
    UnknownOutcome {
        /// Whether a retry can succeed. It can also write the record twice.
        retriable: bool,
    },
}

impl CommandError {
    /// An error without a time to wait and without ends.
    pub fn new(fault: Fault, code: i32, message: impl Into<String>) -> Self {
        Self {
            fault,
            code,
            message: message.into(),
            retry_after: Duration::ZERO,
            ends: None,
            lacks: None,
            producer: None,
        }
    }

    /// The route or the bridge does not allow it.
    pub fn forbidden(code: i32, message: impl Into<String>) -> Self {
        Self::new(Fault::Forbidden, code, message)
    }

    /// This error of a producer, as its log has it.
    #[must_use]
    pub fn of_producer(self, producer: Option<ProducerState>) -> Self {
        Self { producer: producer.map(Box::new), ..self }
    }

    /// This error of a client that lacks a right at a topic; None: at none in particular.
    #[must_use]
    pub fn lacking(self, right: &'static str, topic: Option<&str>) -> Self {
        let lacks = Some(Box::new(MissingRight { right, topic: topic.map(str::to_owned) }));
        Self { lacks, ..self }
    }

    /// A write that comes too late to be enqueued.
    pub fn shutting_down() -> Self {
        Self::new(Fault::Transient, 0, "the bridge is shutting down, nothing was written").with_retry()
    }

    /// The code for clients of a cluster of `system`: the bridge's own errors have Kafka's codes.
    pub fn code_for(&self, system: System) -> i32 {
        if self.code < system.min_code { 0 } else { self.code }
    }

    /// A record of a producer's command that is fine by itself.
    pub fn beside_refused() -> Self {
        Self::new(Fault::Transient, 0, BESIDE_REFUSED).with_retry()
    }

    /// No room for a record until others have been delivered.
    pub fn queue_full() -> Self {
        let message = "the write queue is full, or holds too many of this client's records";
        Self { retry_after: QUEUE_RETRY, ..Self::new(Fault::QueueFull, 0, message) }
    }

    /// Whether an offset is not between the ends of its log, and these are not known.
    pub fn lacks_ends(&self) -> bool {
        self.fault == Fault::OffsetOutOfRange && self.ends.is_none()
    }

    /// Adds when to retry, if a retry can help.
    pub fn with_retry(self) -> Self {
        let retry_after = if self.fault.is_retriable() { RETRY_AFTER } else { Duration::ZERO };
        Self { retry_after, ..self }
    }
}

impl Fault {
    /// Whether a retry of the same command can succeed.
    pub fn is_retriable(self) -> bool {
        match self {
            Self::QueueFull | Self::QuotaExceeded | Self::Transient => true,
            Self::Unreachable { retriable } | Self::UnknownOutcome { retriable } => retriable,
            Self::Invalid
            | Self::OffsetOutOfRange
            | Self::Forbidden
            | Self::Unauthenticated
            | Self::NotAuthorized
            | Self::NotFound
            | Self::Recreated
            | Self::TooLarge
            | Self::InvalidRecord
            | Self::OutOfOrder
            | Self::Fenced
            | Self::Expired
            | Self::Rejected => false,
        }
    }

    /// The reason for clients.
    pub fn reason(self) -> Reason {
        match self {
            Self::Invalid => Reason::InvalidCommand,
            Self::OffsetOutOfRange => Reason::OffsetOutOfRange,
            Self::Forbidden | Self::Unauthenticated => Reason::Denied,
            Self::NotAuthorized => Reason::Unauthorized,
            Self::NotFound => Reason::NotFound,
            Self::Recreated => Reason::Recreated,
            Self::TooLarge => Reason::TooLarge,
            Self::InvalidRecord => Reason::InvalidRecord,
            Self::QueueFull => Reason::QueueFull,
            Self::QuotaExceeded => Reason::QuotaExceeded,
            Self::Transient => Reason::Transient,
            Self::Rejected => Reason::Rejected,
            Self::OutOfOrder => Reason::OutOfOrder,
            Self::Fenced => Reason::Fenced,
            Self::Expired => Reason::Expired,
            Self::Unreachable { .. } => Reason::Unreachable,
            Self::UnknownOutcome { .. } => Reason::UnknownOutcome,
        }
    }
}

const BESIDE_REFUSED: &str =
    "another record of the command was refused, and a producer's command is written all or not at all";
/// Retries within the timeouts are already done by the backend. Enough for a client to reach another bridge.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The time after which a full queue can have room again.
const QUEUE_RETRY: Duration = Duration::from_millis(100);
