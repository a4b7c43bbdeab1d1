//! Asks the leader of a partition, wherever it moves meanwhile, or the replica that it names.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::api::{Api, TopicId};
use crate::backoff::{Backoff, jitter};
use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::error::ErrorCode;
use crate::target::Target;
use crate::view::{Leader, Replica, refusal};
use crate::{ConnectionError, ReadError};

/// Whom to ask, and what to tell it.
pub(crate) struct Source {
    pub(crate) broker: Arc<Broker>,
    pub(crate) role: Role,
    /// −1 where it is not known.
    pub(crate) leader_epoch: i32,
    pub(crate) topic_id: Option<TopicId>,
    /// Whether a broker was silent before in this call.
    again: bool,
}

impl Source {
    /// Sends a request that the broker answers at once.
    pub(crate) async fn call<A: Api>(&self, request: &A) -> Result<A::Answer, ConnectionError> {
        if self.again { self.broker.call_again(request).await } else { self.broker.call(request).await }
    }
}

/// Who may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    Leader,
    /// The leader, or the replica that it names as nearer (KIP-392).
    Nearest,
}

/// As what a broker is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// As the leader, which may name a nearer replica.
    Leader,
    /// As the leader, which is to answer itself.
    LeaderOnly,
    /// As the replica that the leader has named.
    Nearer,
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Final,
    Refused(ErrorCode),
    /// The leader names a nearer replica, by its node id.
    Elsewhere(i32),
    /// The nearer replica has not got so far yet.
    Behind,
}

/// Puts a question about `target`, again where the leader has changed, was lost, is missing or wants to be left alone,
/// until `deadline`.
///
/// A failure of a nearer replica is none of the call: the leader is asked instead, and alone for the rest of the call, so
/// that the two cannot send it back and forth.
///
/// While a broker that has been silent once is asked again, the cluster is asked whether another one leads meanwhile.
///
/// `put` sends the question; `judge` says what its answer means.
pub(crate) async fn ask<T, F>(
    cluster: &Cluster,
    target: Target<'_>,
    whom: Whom,
    deadline: Instant,
    put: impl Fn(Source) -> F,
    judge: impl Fn(&T, Role) -> Verdict,
) -> Result<T, ReadError>
where
    F: Future<Output = Result<T, ConnectionError>>,
{
    let mut pauses = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
    let mut behind = false;
    let mut hops_left = if whom == Whom::Nearest { MAX_HOPS } else { 0 };
    let mut silent = false;
    let mut after = None;
    let mut last = None;
    loop {
        let failure = match cluster.leader(target, after, deadline).await {
            Ok(leader) => {
                let source = source(cluster, &leader, hops_left > 0, silent);
                let (role, broker) = (source.role, Arc::clone(&source.broker));
                let asked = Instant::now();
                let address = || broker.address().to_string();
                let question = async {
                    tokio::select! {
                        answer = put(source) => Some(answer),
                        () = another_leads(cluster, target, &leader.address, deadline), if silent => None,
                    }
                };
                let Ok(answer) = timeout_at(deadline, question).await else {
                    let cause = ConnectionError::Silent { address: address(), after: asked.elapsed() };
                    // It had less time than its due: what went before says more.
                    return Err(last.unwrap_or(ReadError::Unanswered { broker: address(), cause }));
                };
                let Some(answer) = answer else {
                    after = Some(leader.learned);
                    continue;
                };
                let failure = match answer {
                    Ok(answer) => match judge(&answer, role) {
                        Verdict::Final => return Ok(answer),
                        Verdict::Refused(code) => refusal(named(code), target),
                        // It follows a moment later. A reader that went to the leader at once would be ahead of it
                        // again with the next record, and never come back.
                        Verdict::Behind => {
                            if behind {
                                hops_left = 0;
                            } else {
                                behind = true;
                                sleep(CATCH_UP).await;
                            }
                            continue;
                        }
                        Verdict::Elsewhere(node) => {
                            cluster.prefer(target, node);
                            hops_left = hops_left.saturating_sub(1);
                            continue;
                        }
                    },
                    Err(cause) => {
                        silent |= matches!(cause, ConnectionError::Silent { .. });
                        ReadError::Unanswered { broker: address(), cause }
                    }
                };
                let throttled = throttled(&failure).is_some();
                if role == Role::Nearer && !throttled {
                    tracing::debug!(%target, %failure, "back to the leader");
                    cluster.prefer_leader(target);
                    hops_left = 0;
                    continue;
                }
                if !throttled {
                    // Only what is learned later than this leader can lead to another one.
                    after = Some(leader.learned);
                }
                failure
            }
            // There was no time left to look for another leader.
            Err(failure) if failure.is_unavailable() && Instant::now() >= deadline => {
                return Err(last.unwrap_or(failure));
            }
            Err(failure) => {
                if !failure.is_unavailable() {
                    after = Some(Instant::now());
                }
                failure
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let pause = match throttled(&failure) {
            Some(throttled) => apart(throttled, left),
            // Half of what is left leaves the other half for a last try.
            None => pauses.next().min(left.checked_div(2).unwrap_or_default()),
        };
        if left < FIRST_PAUSE || left <= pause || !is_worth_another_try(&failure) {
            return Err(failure);
        }
        tracing::debug!(%target, %failure, "asking again");
        last = Some(failure);
        sleep(pause).await;
    }
}

/// Waits until another broker than that at `address` leads.
async fn another_leads(cluster: &Cluster, target: Target<'_>, address: &Address, deadline: Instant) {
    loop {
        let since = Instant::now();
        sleep(LOOK_AGAIN).await;
        if let Ok(leader) = cluster.leader(target, Some(since), deadline).await
            && leader.address != *address
        {
            return;
        }
    }
}

fn source(cluster: &Cluster, leader: &Leader, may_hop: bool, again: bool) -> Source {
    let Leader { address, epoch, topic_id, replica, learned: _ } = leader;
    let (role, address) = match replica {
        Replica::Nearer(replica) if may_hop => (Role::Nearer, replica),
        Replica::Leader if may_hop => (Role::Leader, address),
        Replica::Nearer(_) | Replica::Leader | Replica::LeaderOnly => (Role::LeaderOnly, address),
    };
    Source { broker: cluster.broker(address), role, leader_epoch: *epoch, topic_id: *topic_id, again }
}

/// A broker that does not know a partition which it leads, as the metadata says, is ahead of that or behind: only the
/// metadata can tell that there is none.
fn named(code: ErrorCode) -> ErrorCode {
    match code.0 {
        ResponseError::UnknownTopicOrPartition => ErrorCode(ResponseError::NotLeaderOrFollower),
        _ => code,
    }
}

/// How long the broker that failed wants to be left alone.
fn throttled(failure: &ReadError) -> Option<Duration> {
    match failure {
        ReadError::Unreachable { cause: ConnectionError::Throttled { left, .. }, .. }
        | ReadError::Unanswered { cause: ConnectionError::Throttled { left, .. }, .. } => Some(*left),
        _ => None,
    }
}

/// At least `pause`, and up to a quarter more where it fits into what is `left`: of many that were sent away together, the
/// first one back learns for the others whether the quota is still used up.
fn apart(pause: Duration, left: Duration) -> Duration {
    let spare = left.saturating_sub(pause).min(pause).checked_div(400).unwrap_or_default();
    pause.saturating_add(spare.saturating_mul(jitter(100)))
}

/// Where no broker can be reached, the caller is told soon.
fn is_worth_another_try(failure: &ReadError) -> bool {
    match failure {
        ReadError::Unreachable { cause, .. } => cause.passes(),
        _ => failure.retriable(),
    }
}

/// How often a call goes where a leader sends it: there, and once more if the metadata changes meanwhile.
const MAX_HOPS: u32 = 2;

/// How often another leader is looked for while one is waited for that was silent.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long a replica that is behind has to catch up before the leader is asked instead.
const CATCH_UP: Duration = Duration::from_millis(20);

const FIRST_PAUSE: Duration = Duration::from_millis(50);

const MAX_PAUSE: Duration = Duration::from_millis(400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_are_sent_away_together_come_back_apart_and_in_time() {
        let (second, quarter) = (Duration::from_secs(1), Duration::from_millis(250));
        let pauses: Vec<Duration> = (0..100).map(|_| apart(second, 5 * second)).collect();
        assert!(pauses.iter().all(|pause| (second..second + quarter).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        let left = second + quarter / 10;
        assert!((0..100).all(|_| (second..left).contains(&apart(second, left))));
        assert_eq!(apart(second, quarter), second);
    }
}
