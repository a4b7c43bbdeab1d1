//! One call to a partition's leader with its retries, as a value without sockets or a clock.

use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use crate::address::Address;
use crate::backoff::{Backoff, Jitter};
use crate::error::{ConnectionError, ErrorCode, ReadError};
use crate::metadata_cache::{Leader, ReadReplica, broker_error};
use crate::topic_partition::TopicPartition;

/// A call to the leader of a partition, retried on leader changes, connection loss and throttling until a deadline.
///
/// The caller performs each [`Step`] and passes its [`Outcome`] to [`Attempt::next`].
///
/// A preferred replica that fails is not retried: the rest of the call goes to the leader alone. Otherwise leader and
/// replica could redirect the call to each other forever.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    target: TopicPartition<'a>,
    deadline: Instant,
    backoff: Backoff,
    jitter: Jitter,
    /// Redirects to a preferred replica that this call still follows.
    redirects_left: u32,
    /// Whether a preferred replica was behind before.
    was_behind: bool,
    /// Whether a broker was silent before.
    was_silent: bool,
    /// Metadata that was requested at this instant or before is known to be wrong.
    newer_than: Option<Instant>,
    /// The failure before the current try.
    last_failure: Option<ReadError>,
}

/// The next thing to do.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// Find the leader, in metadata requested after `newer_than` if that is set.
    FindLeader {
        newer_than: Option<Instant>,
    },
    Call(Call),
    Sleep(Duration),
    /// Store the node as the partition's preferred replica, or that its preferred replica failed.
    Prefer(Option<i32>),
    Done(T),
    GiveUp(ReadError),
}

/// The result of a [`Step`].
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// The call begins, or continues after [`Step::Sleep`] or [`Step::Prefer`].
    Proceed,
    Leader(Result<Leader, ReadError>),
    Reply(Call, Result<Reply<T>, ConnectionError>),
    /// Another broker became the leader before the reply came.
    LeaderChanged(Call),
    /// The deadline passed before the reply came.
    TimedOut(Call),
    /// There is no reply, and the call must not be repeated.
    Failed(Call, ConnectionError),
}

/// The meaning of a broker's response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<T> {
    Success(T),
    Error(ErrorCode),
    /// The leader names its preferred read replica by node id.
    Redirect(i32),
    /// The preferred replica does not have the requested offset yet.
    Behind,
}

impl<T> Reply<T> {
    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Reply<U> {
        match self {
            Self::Success(answer) => Reply::Success(convert(answer)),
            Self::Error(code) => Reply::Error(code),
            Self::Redirect(node) => Reply::Redirect(node),
            Self::Behind => Reply::Behind,
        }
    }
}

/// A request to one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) address: Address,
    pub(crate) role: Role,
    /// As in the metadata; −1 if unknown.
    pub(crate) leader_epoch: i32,
    pub(crate) topic_id: Option<u128>,
    /// Set if a broker was silent before: how often to look for another leader while the call is in flight.
    pub(crate) leader_check: Option<Duration>,
    leader: Address,
    /// When the metadata that names the leader was requested.
    learned: Instant,
    sent: Instant,
}

/// The role in which a broker is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    /// The leader, which can redirect to a preferred replica.
    Leader,
    /// The leader, which must answer itself.
    LeaderOnly,
    /// The replica that the leader prefers.
    Replica,
}

impl<'a> Attempt<'a> {
    /// A call to the leader alone.
    pub(crate) fn at_leader(target: TopicPartition<'a>, deadline: Instant, jitter: Jitter) -> Self {
        Self {
            target,
            deadline,
            backoff: Backoff::new(FIRST_PAUSE, MAX_PAUSE),
            jitter,
            redirects_left: 0,
            was_behind: false,
            was_silent: false,
            newer_than: None,
            last_failure: None,
        }
    }

    /// A call to the leader, or to the replica that it prefers (KIP-392).
    pub(crate) fn at_nearest(target: TopicPartition<'a>, deadline: Instant, jitter: Jitter) -> Self {
        Self { redirects_left: MAX_REDIRECTS, ..Self::at_leader(target, deadline, jitter) }
    }

    pub(crate) fn target(&self) -> TopicPartition<'a> {
        self.target
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The step that follows an outcome.
    pub(crate) fn next<T>(&mut self, now: Instant, outcome: Outcome<T>) -> Step<T> {
        match outcome {
            Outcome::Proceed => self.find_leader(),
            Outcome::Leader(Ok(leader)) => Step::Call(self.call(leader, now)),
            Outcome::Leader(Err(failure)) => self.no_leader(now, failure),
            Outcome::LeaderChanged(call) => {
                self.newer_than = Some(call.learned);
                self.find_leader()
            }
            Outcome::TimedOut(call) => {
                let after = now.saturating_duration_since(call.sent);
                let cause = ConnectionError::Silent { address: call.address.to_string(), after };
                // This try may have had little time: the failure before it explains more.
                Step::GiveUp(self.last_failure.take().unwrap_or_else(|| unanswered(&call, cause)))
            }
            Outcome::Failed(call, cause) => Step::GiveUp(unanswered(&call, cause)),
            Outcome::Reply(_, Ok(Reply::Success(answer))) => Step::Done(answer),
            // The leader is asked again, with a version that has no redirects.
            Outcome::Reply(call, Ok(Reply::Redirect(_))) if call.role == Role::LeaderOnly => {
                self.find_leader()
            }
            Outcome::Reply(_, Ok(Reply::Redirect(node))) => {
                self.redirects_left = self.redirects_left.saturating_sub(1);
                Step::Prefer(Some(node))
            }
            Outcome::Reply(_, Ok(Reply::Behind)) if self.was_behind => {
                self.redirects_left = 0;
                self.find_leader()
            }
            // The replica catches up within moments. A reader that switched to the leader at once would be ahead of the
            // replica again with the next record, and never return to it.
            Outcome::Reply(_, Ok(Reply::Behind)) => {
                self.was_behind = true;
                Step::Sleep(CATCH_UP)
            }
            Outcome::Reply(call, Ok(Reply::Error(code))) => {
                let failure = broker_error(retriable_code(code), self.target);
                self.call_failed(now, &call, failure)
            }
            Outcome::Reply(call, Err(cause)) => {
                self.was_silent |= matches!(cause, ConnectionError::Silent { .. });
                let failure = unanswered(&call, cause);
                self.call_failed(now, &call, failure)
            }
        }
    }

    fn find_leader<T>(&self) -> Step<T> {
        Step::FindLeader { newer_than: self.newer_than }
    }

    fn call(&self, leader: Leader, now: Instant) -> Call {
        let (role, address) = match self.redirects_left {
            0 => (Role::LeaderOnly, leader.address.clone()),
            _ => nearest(&leader),
        };
        Call {
            address,
            role,
            leader_epoch: leader.epoch,
            topic_id: leader.topic_id,
            leader_check: self.was_silent.then_some(LEADER_CHECK),
            leader: leader.address,
            learned: leader.learned,
            sent: now,
        }
    }

    fn no_leader<T>(&mut self, now: Instant, failure: ReadError) -> Step<T> {
        if !failure.is_unavailable() {
            self.newer_than = Some(now);
        } else if now >= self.deadline {
            // The search for another leader had no time left.
            return Step::GiveUp(self.last_failure.take().unwrap_or(failure));
        }
        self.retry(now, failure)
    }

    fn call_failed<T>(&mut self, now: Instant, call: &Call, failure: ReadError) -> Step<T> {
        if throttled(&failure).is_none() {
            if call.role == Role::Replica {
                tracing::debug!(
                    log = %self.target,
                    %failure,
                    event = "replica_failed",
                    "preferred replica failed, reading from the leader"
                );
                self.redirects_left = 0;
                return Step::Prefer(None);
            }
            // Only newer metadata can name another leader.
            self.newer_than = Some(call.learned);
        }
        self.retry(now, failure)
    }

    fn retry<T>(&mut self, now: Instant, failure: ReadError) -> Step<T> {
        let left = self.deadline.saturating_duration_since(now);
        let pause = match throttled(&failure) {
            Some(throttle_time) => self.spread(throttle_time, left),
            // Half of the remaining time is left for a last try.
            None => self.backoff.next(self.jitter).min(left.checked_div(2).unwrap_or_default()),
        };
        if left < FIRST_PAUSE || left <= pause || !may_pass(&failure) {
            return Step::GiveUp(failure);
        }
        tracing::debug!(log = %self.target, %failure, event = "request_retried", "retrying");
        self.last_failure = Some(failure);
        Step::Sleep(pause)
    }

    /// At least `pause`, and up to a quarter more if the remaining time allows. Of many callers that were throttled
    /// together, the first to return finds out for all whether the quota is still exceeded.
    fn spread(&self, pause: Duration, left: Duration) -> Duration {
        let spare = left.saturating_sub(pause).min(pause).checked_div(400).unwrap_or_default();
        pause.saturating_add(spare.saturating_mul((self.jitter)(100)))
    }
}

impl Call {
    /// Whether metadata names another leader than the one of this call.
    pub(crate) fn is_superseded_by(&self, leader: &Leader) -> bool {
        leader.address != self.leader
    }
}

/// The replica to fetch from (KIP-392).
pub(crate) fn nearest(leader: &Leader) -> (Role, Address) {
    match &leader.replica {
        ReadReplica::Preferred(replica) => (Role::Replica, replica.clone()),
        ReadReplica::Leader => (Role::Leader, leader.address.clone()),
        ReadReplica::LeaderOnly => (Role::LeaderOnly, leader.address.clone()),
    }
}

fn unanswered(call: &Call, cause: ConnectionError) -> ReadError {
    ReadError::Unanswered { broker: call.address.to_string(), cause }
}

/// A broker that does not know a partition which it leads has older or newer metadata than ours. Only metadata can tell
/// that a partition does not exist.
fn retriable_code(code: ErrorCode) -> ErrorCode {
    match code.0 {
        ResponseError::UnknownTopicOrPartition => ErrorCode(ResponseError::NotLeaderOrFollower),
        _ => code,
    }
}

/// The remaining throttle time, if the broker throttles this client.
pub(crate) fn throttled(failure: &ReadError) -> Option<Duration> {
    match failure {
        ReadError::Unreachable { cause: ConnectionError::Throttled { left, .. }, .. }
        | ReadError::Unanswered { cause: ConnectionError::Throttled { left, .. }, .. } => Some(*left),
        _ => None,
    }
}

/// Whether to retry. A cluster that cannot be reached is reported to the caller at once.
pub(crate) fn may_pass(failure: &ReadError) -> bool {
    match failure {
        ReadError::Unreachable { cause, .. } => cause.is_temporary(),
        _ => failure.retriable(),
    }
}

/// One redirect to the preferred replica, and one more if the metadata changes meanwhile.
const MAX_REDIRECTS: u32 = 2;

/// The interval of the search for another leader while a broker that was silent is called again.
const LEADER_CHECK: Duration = Duration::from_millis(250);

/// The time for a preferred replica to catch up before the call moves to the leader.
const CATCH_UP: Duration = Duration::from_millis(20);

pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);

pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests;
