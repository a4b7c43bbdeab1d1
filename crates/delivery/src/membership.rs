//! The membership of a subscription in a group: the logs that it reads, and the end of its client's patience with it.
//!
//! A rebalance takes all logs. Those of the next share begin at the group's commits, whoever had them before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::groups::{
    Commit, Ended, GroupLog, Groups, Member, MemberState, Membership as Wanted, commit_own, log,
};
use sluicegate_backend::{Backend, CommandError, Fault, LOG_END};
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::error_code::{ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS, UNKNOWN_MEMBER_ID};
use sluicegate_telemetry::metrics::ConsumerMetrics;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Cluster, SOON, escape_for_message, later};
use crate::consumers::{Held, no_groups, not_assigned};
use crate::item::Item;
use crate::subscribe::{Source, Subscribe};

/// A subscription's membership. It leaves the group with a drop.
pub(crate) struct Membership {
    cluster: Arc<Cluster>,
    member: GroupMember,
    /// The one whose group it is.
    backend: Arc<dyn Backend>,
    /// The topics that it wants, with the places where logs without a commit begin.
    subscribe: Subscribe,
    state: watch::Receiver<MemberState>,
    /// Whether it has a share, or looks for the beginnings of one.
    has_share: bool,
    /// Whether the client knows that the group cannot be joined.
    knows_outage: bool,
    /// Since when records wait for the client.
    waits_since: Option<Instant>,
    _held: Held,
}

/// A member of a group, for its client's commits. Clones are the same.
#[derive(Clone)]
pub struct GroupMember {
    group: Arc<str>,
    member: Arc<dyn Member>,
    metrics: ConsumerMetrics,
}

/// A change of a membership. Each ends the share before.
#[derive(Debug)]
pub(crate) enum Change {
    /// The group gives out its logs anew; or it cannot be joined, for this reason.
    Revoked(Option<CommandError>),
    /// These logs are the member's, in the assignment of this number.
    Assigned(u64, Arc<[GroupLog]>),
    /// The membership is over.
    Ended(CommandError),
}

impl Membership {
    /// Joins a group.
    ///
    /// # Errors
    /// The cluster has no groups.
    pub(crate) fn join(
        cluster: &Arc<Cluster>,
        group: &str,
        subscribe: Subscribe,
        held: Held,
    ) -> Result<Self, CommandError> {
        let backend = cluster.backend();
        let mut topics: Vec<_> = subscribe.sources.iter().map(|source| Arc::clone(&source.topic)).collect();
        topics.sort_unstable();
        let wanted = Wanted {
            group: group.into(),
            // Nobody takes it over: its client comes back as another member.
            instance: None,
            topics: topics.into(),
            settings: Bytes::new(),
            session_timeout: SESSION_TIMEOUT,
        };
        let group = Arc::clone(&wanted.group);
        let member = backend.groups().ok_or_else(no_groups)?.join(subscribe.client, wanted);
        let mut state = member.state();
        state.mark_changed();
        Ok(Self {
            cluster: Arc::clone(cluster),
            member: GroupMember { group, member, metrics: cluster.metrics.consumers.clone() },
            backend,
            subscribe,
            state,
            has_share: false,
            knows_outage: false,
            waits_since: None,
            _held: held,
        })
    }

    pub(crate) fn member(&self) -> &GroupMember {
        &self.member
    }

    pub(crate) fn subscribe(&self) -> &Subscribe {
        &self.subscribe
    }

    /// The change since the last call.
    pub(crate) fn change(&mut self) -> Option<Change> {
        if !Arc::ptr_eq(&self.backend, &self.cluster.backend()) {
            let text = "the cluster's configuration has changed, subscribe again";
            return Some(Change::Ended(CommandError::new(Fault::Transient, 0, text).with_retry()));
        }
        if !self.state.has_changed().unwrap_or(true) {
            return None;
        }
        let state = self.state.borrow_and_update().clone();
        Some(match state {
            MemberState::Joining(error) => Change::Revoked(error),
            MemberState::Assigned(number, logs) => {
                self.member.metrics.rebalanced();
                Change::Assigned(number, logs)
            }
            MemberState::Ended(Ended::Refused(error)) => Change::Ended(error),
            MemberState::Ended(Ended::Left | Ended::Fenced) => {
                let text = "the group has ended the membership, subscribe again";
                Change::Ended(CommandError::new(Fault::Transient, 0, text).with_retry())
            }
        })
    }

    /// Waits for a change that [`Membership::change`] has not seen.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let (mut state, cluster, backend) =
            (self.state.clone(), Arc::clone(&self.cluster), Arc::clone(&self.backend));
        async move {
            let replaced = cluster.replaced();
            if Arc::ptr_eq(&backend, &cluster.backend()) {
                tokio::select! {
                    biased;
                    _ = state.changed() => {}
                    () = replaced.cancelled() => {}
                }
            }
        }
    }

    /// The share is over: keeps what the client must know all the same of what it was not told yet.
    pub(crate) fn revoke(&mut self, untold: VecDeque<Item>) -> VecDeque<Item> {
        let knows_share =
            take(&mut self.has_share) && !untold.iter().any(|item| matches!(item, Item::Assigned { .. }));
        self.waits_since = None;
        self.knows_outage &= !untold.iter().any(|item| matches!(item, Item::Retrying { .. }));
        let is_kept = |item: &Item| match item {
            Item::Subscribed(topics) => topics.iter().all(|topic| topic.partitions.is_empty()),
            item => matches!(item, Item::Revoked),
        };
        let revoked = knows_share.then_some(Item::Revoked);
        untold.into_iter().filter(is_kept).chain(revoked).collect()
    }

    /// The client is to be told of a failure to join: one is told until there is a share.
    pub(crate) fn tells_outage(&mut self) -> bool {
        !std::mem::replace(&mut self.knows_outage, true)
    }

    /// The client is told of its share.
    pub(crate) fn assigned(&mut self) {
        (self.has_share, self.knows_outage) = (true, false);
    }

    /// Records wait for the client.
    pub(crate) fn waits(&mut self) {
        self.waits_since.get_or_insert_with(Instant::now);
    }

    /// The client has taken records.
    pub(crate) fn taken(&mut self) {
        self.waits_since = None;
    }

    /// Waits until records have waited for the client for too long.
    pub(crate) fn idle(&self) -> impl Future<Output = CommandError> + use<> {
        let timeout = self.cluster.consumers.limits().idle_timeout();
        let due = self.waits_since.map(|since| later(since, timeout));
        async move {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
            idle(timeout)
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.cluster.consumers.leave(Arc::clone(&self.member.member));
    }
}

impl GroupMember {
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// Commits where logs without a commit begin: records that are written before the next commit would be left out after a
    /// rebalance, if logs began at their end once more.
    ///
    /// # Errors
    /// The group cannot be reached, or gives out its logs anew.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    pub(crate) async fn begin(&self, assignment: u64, begins: Vec<Commit>) -> Result<(), CommandError> {
        if begins.is_empty() {
            return Ok(());
        }
        let made = self.member.commit(Some(assignment), begins).await?;
        made.into_iter().collect::<Result<(), _>>().map_err(|error| match is_of_rebalance(error.code) {
            true => CommandError { fault: Fault::Transient, ..error },
            false => error,
        })
    }

    /// Commits positions of logs that the member has, and has in this assignment if there is a number. Others are refused.
    ///
    /// # Errors
    /// The group cannot be reached.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    pub(crate) async fn commit(
        &self,
        assignment: Option<u64>,
        commits: &[Commit],
    ) -> Result<Vec<Result<(), CommandError>>, CommandError> {
        let (current, logs): (Option<u64>, Arc<[GroupLog]>) = match &*self.member.state().borrow() {
            MemberState::Assigned(number, logs) => (Some(*number), Arc::clone(logs)),
            MemberState::Joining(_) | MemberState::Ended(_) => (None, Arc::default()),
        };
        let refusal = |commit: &Commit| match (assignment, current) {
            _ if logs.binary_search(&commit.log).is_err() => Some(not_assigned(&commit.log)),
            (Some(of), Some(current)) if of != current => Some(assigned_again(&commit.log, of, current)),
            _ => None,
        };
        let commit = async |own: Vec<Commit>| {
            let count = own.len();
            match self.member.commit(current, own).await {
                // Its logs are given out anew.
                Err(error) if is_of_rebalance(error.code) => Ok(vec![Err(error); count]),
                made => made,
            }
        };
        let results = commit_own(commits, refusal, commit).await?;
        self.metrics.committed(results.iter().filter(|result| result.is_ok()).count());
        Ok(results)
    }
}

/// The request for these logs, from the group's commits on, and the logs without a commit. These begin as
/// it says, and so do logs whose commit is beyond their end.
///
/// # Errors
/// The commits cannot be read now.
pub(crate) async fn share(
    cluster: &Cluster,
    subscribe: &Subscribe,
    group: &str,
    logs: &[GroupLog],
) -> Result<(Subscribe, BTreeSet<GroupLog>), CommandError> {
    let backend = cluster.backend();
    let groups: &dyn Groups = backend.groups().ok_or_else(no_groups)?;
    let committed = groups.committed(subscribe.client, group, logs).await?;
    let mut places = BTreeMap::<GroupLog, i64>::new();
    for (log, committed) in logs.iter().zip(committed) {
        places.extend(committed?.map(|commit| (log.clone(), commit.offset)));
    }
    let mut next = places_in_logs(cluster, subscribe.client, places).await;
    let without = logs.iter().filter(|log| !next.contains_key(*log)).cloned().collect();
    let source = |source: &Source| {
        let partitions: Vec<i32> = of_topic(logs, &source.topic).collect();
        let place =
            |partition: &i32| Some((*partition, next.remove(&(Arc::clone(&source.topic), *partition))?));
        let next = partitions.iter().filter_map(place).collect();
        Source { partitions, next, ..source.clone() }
    };
    let sources = subscribe.sources.iter().map(source).filter(|source| !source.partitions.is_empty());
    Ok((Subscribe { sources: sources.collect(), ..subscribe.clone() }, without))
}

fn of_topic(logs: &[GroupLog], topic: &Arc<str>) -> impl Iterator<Item = i32> {
    logs.iter().filter(move |(of, _)| of == topic).map(|(_, partition)| *partition)
}

/// The places without those beyond the ends of their logs, as far as the ends are known soon.
async fn places_in_logs(
    cluster: &Cluster,
    client: ClientKey,
    mut places: BTreeMap<GroupLog, i64>,
) -> BTreeMap<GroupLog, i64> {
    let logs: Vec<GroupLog> = places.keys().cloned().collect();
    let asked: Vec<_> = logs.iter().map(|of| (log(of), LOG_END)).collect();
    let ends = cluster.offsets_within(client, &asked, false, Instant::now().checked_add(SOON)).await;
    for (log, end) in logs.iter().zip(ends) {
        if let (Ok(end), Some(place)) = (end, places.get(log))
            && end.offset < *place
        {
            places.remove(log);
        }
    }
    places
}

fn assigned_again((topic, partition): &GroupLog, of: u64, current: u64) -> CommandError {
    let topic = escape_for_message(topic);
    let message = format!(
        "partition {partition} of topic {topic} was assigned again since assignment {of} (now {current}): it is read again from \
         the last commit"
    );
    CommandError::new(Fault::Rejected, ILLEGAL_GENERATION, message)
}

fn is_of_rebalance(code: i32) -> bool {
    matches!(code, ILLEGAL_GENERATION | UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS)
}

fn idle(timeout: Duration) -> CommandError {
    let message = format!(
        "the client has taken no records for {} s, and its group goes on without it (consumers.idle_timeout_ms): \
         subscribe again",
        timeout.as_secs()
    );
    CommandError::new(Fault::Transient, 0, message).with_retry()
}

/// The time after which the group gives the logs of a member to others whose bridge is gone.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);
