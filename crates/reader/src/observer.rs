//! Tells the embedding program of requests to brokers and of their connections, for metrics and traces.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use tokio::time::Instant;

use crate::address::Address;
use crate::error::ConnectionError;

/// Watches the requests of a [`Reader`](crate::Reader). Its methods must return at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// The current task sends a request. What is returned is given back when the request ends.
    fn begin(&self, request: BrokerRequest, host: &str, port: u16) -> Option<Box<dyn Any + Send>>;

    /// A request has ended.
    fn end(
        &self,
        request: BrokerRequest,
        outcome: RequestOutcome,
        took: Duration,
        begun: Option<Box<dyn Any + Send>>,
    );

    /// A connection was opened, or could not be.
    fn connected(&self, is_open: bool);
}

/// A request of Kafka's protocol, other than those that open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerRequest {
    /// Records that exist.
    Fetch,
    /// Records that may still be written: the broker holds the request for a while.
    WaitingFetch,
    /// The offset of a timestamp, or an end of a log.
    ListOffsets,
    /// Brokers, topics, leaders.
    Metadata,
    /// The end of a leader's epoch.
    OffsetForLeaderEpoch,
    /// The coordinator of a group.
    FindCoordinator,
    /// A member joins its group: the broker holds the request until all have.
    JoinGroup,
    /// A member gets its share of the logs: the broker holds the request until there are shares.
    SyncGroup,
    /// A member is alive.
    Heartbeat,
    /// A member leaves its group.
    LeaveGroup,
    /// Positions for a group to keep.
    OffsetCommit,
    /// Positions that a group keeps.
    OffsetFetch,
    /// The members of a group.
    DescribeGroups,
    /// The members of a group that has some of another protocol.
    ConsumerGroupDescribe,
    /// A batch of records to write.
    Produce,
    /// The producers that a partition knows.
    DescribeProducers,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The broker has answered. The answer can be an error of Kafka's protocol.
    Answered,
    /// The broker refuses to serve this client for a while.
    Throttled,
    /// No answer in time.
    TimedOut,
    /// The connection was lost, or the answer was invalid.
    Failed,
    /// Nobody waits for the answer any more.
    Abandoned,
}

/// The number of brokers that a reader knows, by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerStates {
    /// With an open connection.
    pub connected: u64,
    /// Without a connection, since none was needed or it was idle.
    pub idle: u64,
    /// Without an answer or a connection at the last attempt: in back-off, or about to be tried again.
    pub failed: u64,
}

impl BrokerRequest {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Fetch,
        Self::WaitingFetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::OffsetForLeaderEpoch,
        Self::FindCoordinator,
        Self::JoinGroup,
        Self::SyncGroup,
        Self::Heartbeat,
        Self::LeaveGroup,
        Self::OffsetCommit,
        Self::OffsetFetch,
        Self::DescribeGroups,
        Self::ConsumerGroupDescribe,
        Self::Produce,
        Self::DescribeProducers,
    ];

    /// The name of its API in Kafka's protocol; that of a waiting fetch is its own.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetch => "Fetch",
            Self::WaitingFetch => "WaitingFetch",
            Self::ListOffsets => "ListOffsets",
            Self::Metadata => "Metadata",
            Self::OffsetForLeaderEpoch => "OffsetForLeaderEpoch",
            Self::FindCoordinator => "FindCoordinator",
            Self::JoinGroup => "JoinGroup",
            Self::SyncGroup => "SyncGroup",
            Self::Heartbeat => "Heartbeat",
            Self::LeaveGroup => "LeaveGroup",
            Self::OffsetCommit => "OffsetCommit",
            Self::OffsetFetch => "OffsetFetch",
            Self::DescribeGroups => "DescribeGroups",
            Self::ConsumerGroupDescribe => "ConsumerGroupDescribe",
            Self::Produce => "Produce",
            Self::DescribeProducers => "DescribeProducers",
        }
    }

    /// `None` for a request that opens a connection.
    pub(crate) fn of(key: ApiKey, is_waiting: bool) -> Option<Self> {
        match key {
            ApiKey::Fetch if is_waiting => Some(Self::WaitingFetch),
            ApiKey::Fetch => Some(Self::Fetch),
            ApiKey::ListOffsets => Some(Self::ListOffsets),
            ApiKey::Metadata => Some(Self::Metadata),
            ApiKey::OffsetForLeaderEpoch => Some(Self::OffsetForLeaderEpoch),
            ApiKey::FindCoordinator => Some(Self::FindCoordinator),
            ApiKey::JoinGroup => Some(Self::JoinGroup),
            ApiKey::SyncGroup => Some(Self::SyncGroup),
            ApiKey::Heartbeat => Some(Self::Heartbeat),
            ApiKey::LeaveGroup => Some(Self::LeaveGroup),
            ApiKey::OffsetCommit => Some(Self::OffsetCommit),
            ApiKey::OffsetFetch => Some(Self::OffsetFetch),
            ApiKey::DescribeGroups => Some(Self::DescribeGroups),
            ApiKey::ConsumerGroupDescribe => Some(Self::ConsumerGroupDescribe),
            ApiKey::Produce => Some(Self::Produce),
            ApiKey::DescribeProducers => Some(Self::DescribeProducers),
            _ => None,
        }
    }
}

impl RequestOutcome {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Throttled, Self::TimedOut, Self::Failed, Self::Abandoned];

    /// A name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Throttled => "throttled",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    fn of<T>(answered: &Result<T, ConnectionError>) -> Self {
        match answered {
            Ok(_) => Self::Answered,
            Err(ConnectionError::Throttled { .. }) => Self::Throttled,
            Err(ConnectionError::Silent { .. }) => Self::TimedOut,
            Err(_) => Self::Failed,
        }
    }
}

/// A request in flight. A drop tells that it was abandoned.
pub(crate) struct Observed<'a> {
    observer: &'a dyn Observer,
    request: BrokerRequest,
    sent: Instant,
    outcome: RequestOutcome,
    begun: Option<Box<dyn Any + Send>>,
}

impl<'a> Observed<'a> {
    pub(crate) fn begin(observer: &'a dyn Observer, request: BrokerRequest, address: &Address) -> Self {
        let begun = observer.begin(request, &address.host, address.port);
        Self { observer, request, sent: Instant::now(), outcome: RequestOutcome::Abandoned, begun }
    }

    pub(crate) fn end<T>(mut self, answered: &Result<T, ConnectionError>) {
        self.outcome = RequestOutcome::of(answered);
    }
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        self.observer.end(self.request, self.outcome, self.sent.elapsed(), self.begun.take());
    }
}
