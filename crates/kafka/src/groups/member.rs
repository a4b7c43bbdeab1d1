//! The task of a member: performs the steps of its [`Membership`], and commits beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use sluicegate_backend::groups::{
    CONFIRM_TIMEOUT, Commit, Ended, GroupLog, Member, MemberState, Membership as Wanted, commit_own,
};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::{GroupMember, Join, ReadError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::assignors::PROTOCOLS;
use super::membership::{
    Answer, Failure, ILLEGAL_GENERATION, Membership, REBALANCE_IN_PROGRESS, Step, UNKNOWN_MEMBER_ID,
};
use super::{Calls, offset};

/// A member, whose task ends with it.
pub(super) struct GroupMembership {
    shared: Arc<Shared>,
    wishes: watch::Sender<Wishes>,
}

/// The wishes of a member's owner: the last one counts.
#[derive(Debug, Clone)]
struct Wishes {
    topics: Arc<[Arc<str>]>,
    settings: Bytes,
    /// When the group was to be asked whether it knows the member.
    asked: Instant,
    leaves: bool,
}

/// The state that the task and callers share.
struct Shared {
    calls: Calls,
    source: ClientKey,
    state: watch::Sender<MemberState>,
    /// The time until which the group has known the member.
    heard: watch::Sender<Instant>,
    kept: Mutex<Vec<Commit>>,
    /// The member with the logs of the last assignment, as long as the group may still take commits from it.
    owner: Mutex<Option<Owner>>,
}

/// A member in one generation.
#[derive(Debug, Clone)]
struct Owner {
    assignment: u64,
    member: GroupMember,
    logs: Arc<[GroupLog]>,
}

impl GroupMembership {
    pub(super) fn join(calls: Calls, source: ClientKey, wanted: Wanted) -> Self {
        let (topics, settings) = (Arc::clone(&wanted.topics), wanted.settings.clone());
        let now = Instant::now();
        let (wishes, wished) = watch::channel(Wishes { topics, settings, asked: now, leaves: false });
        let (state, heard) = (watch::Sender::new(MemberState::Joining(None)), watch::Sender::new(now));
        let (kept, owner) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { calls, source, state, heard, kept, owner });
        tokio::spawn(run(Arc::clone(&shared), wished, Membership::new(wanted, now)));
        Self { shared, wishes }
    }
}

impl Member for GroupMembership {
    fn state(&self) -> watch::Receiver<MemberState> {
        self.shared.state.subscribe()
    }

    fn subscribe(&self, topics: Arc<[Arc<str>]>, settings: Bytes) {
        self.wishes.send_modify(|wishes| (wishes.topics, wishes.settings) = (topics, settings));
    }

    fn keep(&self, commits: Vec<Commit>) {
        *self.shared.kept.lock() = commits;
    }

    fn commit(
        &self,
        assignment: Option<u64>,
        commits: Vec<Commit>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), CommandError>>, CommandError>> {
        self.shared.commit(assignment, commits).boxed()
    }

    fn confirm(&self) -> BoxFuture<'_, ()> {
        let asked = Instant::now();
        self.wishes.send_modify(|wishes| wishes.asked = asked);
        async move {
            let (mut state, mut heard) = (self.shared.state.subscribe(), self.shared.heard.subscribe());
            let _ = timeout(CONFIRM_TIMEOUT, async {
                tokio::select! {
                    _ = heard.wait_for(|heard| *heard >= asked) => {}
                    _ = state.wait_for(|state| !matches!(state, MemberState::Assigned(..))) => {}
                }
            })
            .await;
        }
        .boxed()
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        self.wishes.send_modify(|wishes| wishes.leaves = true);
        async {
            let mut state = self.shared.state.subscribe();
            // It ends within the time for its last requests.
            let _ = state.wait_for(|state| matches!(state, MemberState::Ended(_))).await;
        }
        .boxed()
    }
}

async fn run(shared: Arc<Shared>, mut wishes: watch::Receiver<Wishes>, mut membership: Membership) {
    let mut is_wanted = true;
    loop {
        let step = membership.next(Instant::now());
        shared.tell(&membership);
        // A broker can take a second join before the first one, which would fence it then: only a leave is more urgent. What
        // is kept is committed once.
        let (joins, commits) = (matches!(step, Step::Join { .. }), matches!(step, Step::Commit { .. }));
        let changed = async {
            match () {
                () if commits => pending().await,
                () if joins => wishes.wait_for(|wishes| wishes.leaves).await.map(drop),
                () => wishes.changed().await,
            }
        };
        let answer = match step {
            Step::End => return,
            Step::Wait(until) => async move {
                sleep_until(until).await;
                Answer::Waited
            }
            .left_future(),
            // In memory of its own: most of the time, there is no request.
            step => shared.perform(step).boxed().right_future(),
        };
        tokio::select! {
            biased;
            answer = answer => membership.answer(Instant::now(), answer),
            changed = changed, if is_wanted => is_wanted = changed.is_ok(),
        }
        // Wishes that have not changed change nothing.
        let Wishes { topics, settings, asked, leaves } = wishes.borrow_and_update().clone();
        if leaves {
            membership.leave(Instant::now());
        } else {
            membership.subscribe(Instant::now(), topics, settings);
            membership.confirm(asked);
        }
        // Silent from now on, unless it leaves.
        if !is_wanted && !membership.is_leaving() {
            return;
        }
    }
}

impl Shared {
    /// Tells the state, if it has changed.
    fn tell(&self, membership: &Membership) {
        self.heard.send_replace(membership.heard());
        let state = membership.state();
        if *self.state.borrow() == *state {
            return;
        }
        if let MemberState::Assigned(number, logs) = state {
            let (member, logs) = (membership.member().clone(), Arc::clone(logs));
            *self.owner.lock() = Some(Owner { assignment: *number, member, logs });
            self.kept.lock().clear();
        }
        self.state.send_replace(state.clone());
    }

    async fn perform(&self, step: Step) -> Answer {
        let Calls { reader, .. } = &self.calls;
        match step {
            Step::Join { member, session_timeout, subscription, deadline } => {
                let join = Join {
                    member: &member,
                    session_timeout,
                    rebalance_timeout: REBALANCE_TIMEOUT,
                    protocols: &PROTOCOLS,
                    subscription: &subscription,
                };
                let joined = reader.join_group(self.source, join, deadline).await;
                Answer::Joined(joined.map_err(|error| self.failure(&error)))
            }
            Step::Count { topics, deadline } => {
                let counted = timeout_at(deadline, self.count(topics)).await;
                let late = || {
                    let text = "no metadata of the group's topics in time";
                    let error = CommandError::new(Fault::Transient, 0, text);
                    Err(Failure { code: 0, is_final: false, error })
                };
                Answer::Counted(counted.unwrap_or_else(|_| late()))
            }
            Step::Sync { member, protocol, assignments, deadline } => {
                let sync = reader.sync_group(self.source, &member, (&protocol, &assignments), deadline);
                Answer::Synced(sync.await.map_err(|error| self.failure(&error)))
            }
            Step::Heartbeat { member, deadline } => {
                let beaten = reader.heartbeat(&member, deadline).await;
                Answer::Beaten(beaten.map_err(|error| self.failure(&error)))
            }
            Step::Commit { member, logs, deadline } => {
                let is_given_up =
                    |commit: &&Commit| logs.as_ref().is_none_or(|logs| logs.contains(&commit.log));
                // Once: another member may have them next.
                let kept = std::mem::take(&mut *self.kept.lock());
                let offsets: Vec<_> = kept.iter().filter(is_given_up).map(offset).collect();
                let committed = reader.commit_offsets(&member, &offsets, deadline).await;
                if let Err(failure) = committed {
                    let group = &*member.group;
                    tracing::debug!(group, %failure, event = "last_commit_failed", "logs are given up without a commit");
                }
                Answer::Committed
            }
            Step::Leave { member, deadline } => {
                if let Err(failure) = reader.leave_group(&member, deadline).await {
                    let group = &*member.group;
                    tracing::debug!(group, %failure, event = "leave_failed", "group is left without its consent");
                }
                Answer::Left
            }
            Step::Wait(_) | Step::End => Answer::Waited,
        }
    }

    /// The number of partitions of each topic that exists, or that the cluster's user can see.
    async fn count(&self, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, i32>, Failure> {
        let count = |topic: Arc<str>| async move {
            match self.calls.reader.topic(self.source, &topic).await {
                Ok(found) => Ok(Some((topic, i32::try_from(found.partitions.len()).unwrap_or(i32::MAX)))),
                Err(error) if error.is_unavailable() || error.retriable() => Err(self.failure(&error)),
                Err(_) => Ok(None),
            }
        };
        let mut counted = stream::iter(topics).map(count).buffer_unordered(LOOKUPS);
        let mut counts = BTreeMap::new();
        while let Some(count) = counted.next().await {
            counts.extend(count?);
        }
        Ok(counts)
    }

    fn failure(&self, error: &ReadError) -> Failure {
        let is_refusal = match error {
            ReadError::Request { .. } => true,
            ReadError::Broker { .. } => !error.retriable() && error.code() != UNKNOWN_SERVER_ERROR,
            ReadError::Log { .. }
            | ReadError::Busy
            | ReadError::Unreachable { .. }
            | ReadError::Unanswered { .. } => false,
        };
        Failure { code: error.code(), is_final: is_refusal, error: self.calls.failed(error) }
    }

    /// Commits in the generation that the member knows, and in the next one if the group rebalances meanwhile.
    async fn commit(
        &self,
        assignment: Option<u64>,
        commits: Vec<Commit>,
    ) -> Result<Vec<Result<(), CommandError>>, CommandError> {
        let deadline = Instant::now().checked_add(PATIENCE).unwrap_or_else(Instant::now);
        let mut states = self.state.subscribe();
        let mut before: Option<Owner> = None;
        let mut moved = BTreeSet::<GroupLog>::new();
        loop {
            // Seen before the owner, so that the next assignment is not missed.
            let state = states.borrow_and_update().clone();
            if let MemberState::Ended(ended) = state {
                return Err(ended_error(ended));
            }
            let owner = self.owner.lock().clone();
            let is_next = |owner: &Owner| {
                before.as_ref().is_none_or(|before| before.member.generation != owner.member.generation)
            };
            if let Some(owner) = owner.filter(is_next) {
                let has_moved = |commit: &&Commit| match &before {
                    Some(before) => has_moved(before, &owner, commit),
                    None => assignment.is_some_and(|number| number != owner.assignment),
                };
                // One that comes back later has moved all the same.
                moved.extend(commits.iter().filter(has_moved).map(|commit| commit.log.clone()));
                let refusal = |commit: &Commit| moved.contains(&commit.log).then(moved_error);
                let made = commit_own(&commits, refusal, async |own| {
                    let offsets: Vec<_> = own.iter().map(offset).collect();
                    let results = self.calls.reader.commit_offsets(&owner.member, &offsets, deadline).await?;
                    let result = |of: Result<_, ReadError>| of.map_err(|error| self.calls.failed(&error));
                    Ok::<_, ReadError>(results.into_iter().map(result).collect())
                });
                match made.await {
                    Ok(results) => return Ok(results),
                    Err(error) if is_of_rebalance(error.code()) => before = Some(owner),
                    Err(error) => return Err(self.calls.failed(&error)),
                }
            }
            if timeout_at(deadline, states.changed()).await.is_err() {
                let text = "the group rebalances, and nothing was committed";
                let error = CommandError::new(Fault::Transient, REBALANCE_IN_PROGRESS.into(), text);
                return Err(error.with_retry());
            }
        }
    }
}

/// Whether another member may have read the log since: unless this one had it in two generations in a row.
fn has_moved(before: &Owner, now: &Owner, commit: &Commit) -> bool {
    let is_next = before.member.generation.checked_add(1) == Some(now.member.generation);
    let is_same = before.member.id == now.member.id && is_next;
    before.logs.contains(&commit.log) && !(is_same && now.logs.contains(&commit.log))
}

fn moved_error() -> CommandError {
    let text = "the log went to another member of the group meanwhile, which reads from the last commit";
    CommandError::new(Fault::Rejected, REBALANCE_IN_PROGRESS.into(), text)
}

fn ended_error(ended: Ended) -> CommandError {
    match ended {
        Ended::Left => {
            CommandError::new(Fault::Rejected, UNKNOWN_MEMBER_ID.into(), "the member has left its group")
        }
        Ended::Fenced => {
            let text = "another member has joined the group with the name of this one";
            CommandError::new(Fault::Rejected, super::membership::FENCED_INSTANCE_ID.into(), text)
        }
        Ended::Refused(error) => error,
    }
}

fn is_of_rebalance(code: i16) -> bool {
    matches!(code, REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION | UNKNOWN_MEMBER_ID)
}

/// The time that a group waits for a member to join its next generation, and nobody reads. A member that lives joins sooner, since
/// it does not wait for its client: it learns of the rebalance within 3 s, and commits within 5 s. After that, the group
/// goes on without one whose bridge is gone, and keeps its place until its session ends.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for a commit, with the rebalance that it waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Topics that are looked up at a time.
const LOOKUPS: usize = 100;

const UNKNOWN_SERVER_ERROR: i16 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_follow_logs_that_stay() {
        let owner = |id: &str, generation, logs: &[i32]| {
            let member = GroupMember { id: id.into(), generation, ..GroupMember::new("g".into(), None) };
            Owner { assignment: 1, member, logs: logs.iter().map(|log| ("t".into(), *log)).collect() }
        };
        let commit = |log| Commit { log: ("t".into(), log), offset: 1, metadata: Arc::default() };
        let before = owner("m", 3, &[0, 1]);
        for (now, log, want) in [
            (owner("m", 4, &[1, 2]), 1, false),
            (owner("m", 4, &[1, 2]), 0, true),
            // Not of the group's: whoever commits it knows why.
            (owner("m", 4, &[1, 2]), 7, false),
            (owner("m", 4, &[1, 2]), 2, false),
            // Another member can have had it in generation 4, or before this one joined anew.
            (owner("m", 5, &[1, 2]), 1, true),
            (owner("n", 4, &[1, 2]), 1, true),
        ] {
            assert_eq!(has_moved(&before, &now, &commit(log)), want, "{now:?} {log}");
        }
    }
}
