//! Groups in memory: eager rebalances, which take no time unless a test holds them, and commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use sluicegate_backend::groups::{Commit, Ended, GroupLog, Groups, Member, MemberState, Membership};
use sluicegate_backend::{CommandError, CommandFuture, Fault};
use sluicegate_fair_share::ClientKey;
use tokio::sync::watch;
use tokio::time::sleep;

use super::PARTITIONS;

/// The groups. Clones are the same. Each topic has [`PARTITIONS`] partitions.
#[derive(Debug, Clone, Default)]
pub struct MemoryGroups(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<Arc<str>, Group>,
    /// Whether members wait for their shares.
    is_held: bool,
    /// Of commits and reads of them.
    refusal: Option<CommandError>,
}

#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<u64, Joined>,
    /// The number of the last member.
    last: u64,
    committed: BTreeMap<GroupLog, Commit>,
    rebalances: u64,
    /// The commits that were made, one after the other.
    commits: Vec<(i32, i64)>,
    /// Members that do not know yet that others have their names.
    fenced: BTreeMap<u64, watch::Sender<MemberState>>,
}

#[derive(Debug)]
struct Joined {
    membership: Membership,
    state: watch::Sender<MemberState>,
    kept: Vec<Commit>,
}

/// A partition of topic `t`.
pub fn log(partition: i32) -> GroupLog {
    (Arc::from("t"), partition)
}

/// The commit of an offset there.
pub fn at(partition: i32, offset: i64) -> Commit {
    Commit { log: log(partition), offset, metadata: Arc::from("") }
}

#[derive(Debug)]
struct MemoryMember {
    groups: MemoryGroups,
    group: Arc<str>,
    id: u64,
    state: watch::Receiver<MemberState>,
}

impl MemoryGroups {
    /// Lets members wait for their shares, or ends the wait.
    pub fn hold(&self, holds: bool) {
        let mut state = self.state();
        state.is_held = holds;
        state.groups.values_mut().for_each(|group| group.rebalance(holds));
    }

    /// Tells this state to the members of a group.
    pub fn tell(&self, group: &str, state: &MemberState) {
        self.change(&Arc::from(group), |group, _| group.tell(state));
    }

    /// Refuses commits and reads of them, or takes them again.
    pub fn refuse(&self, refusal: Option<CommandError>) {
        self.state().refusal = refusal;
    }

    /// The commits of a group since the last call, in their order: partition and offset.
    pub fn commits(&self, group: &str) -> Vec<(i32, i64)> {
        self.change(&Arc::from(group), |group, _| std::mem::take(&mut group.commits))
    }

    /// The instances of a group.
    pub fn instances(&self, group: &str) -> Vec<Membership> {
        let members =
            |group: &mut Group, _| group.members.values().map(|joined| joined.membership.clone()).collect();
        self.change(&Arc::from(group), members)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn change<T>(&self, group: &Arc<str>, change: impl FnOnce(&mut Group, bool) -> T) -> T {
        let mut state = self.state();
        let is_held = state.is_held;
        change(state.groups.entry(Arc::clone(group)).or_default(), is_held)
    }
}

impl Group {
    /// Commits what members keep, and gives the logs out anew.
    fn rebalance(&mut self, is_held: bool) {
        let kept: Vec<Commit> = self.members.values_mut().flat_map(|joined| joined.kept.drain(..)).collect();
        self.commit(kept);
        self.tell(&MemberState::Joining(None));
        if is_held {
            return;
        }
        self.rebalances += 1;
        let mut shares: BTreeMap<u64, Vec<GroupLog>> = self.members.keys().map(|id| (*id, vec![])).collect();
        let topics = self.members.values().flat_map(|joined| joined.membership.topics.iter());
        for topic in topics.collect::<BTreeSet<_>>() {
            let wants = |(_, joined): &(&u64, &Joined)| joined.membership.topics.contains(topic);
            let wanting: Vec<u64> = self.members.iter().filter(wants).map(|(id, _)| *id).collect();
            for (partition, id) in (0..PARTITIONS).zip(wanting.iter().cycle()) {
                shares.entry(*id).or_default().push((Arc::clone(topic), partition));
            }
        }
        for (id, mut share) in shares {
            share.sort_unstable();
            let joined = self.members.get(&id).unwrap();
            joined.state.send_replace(MemberState::Assigned(self.rebalances, share.into()));
        }
    }

    fn tell(&self, state: &MemberState) {
        self.members.values().for_each(|joined| drop(joined.state.send_replace(state.clone())));
    }

    /// Tells a member that another one has its name.
    fn fence(&mut self, id: u64) {
        if let Some(state) = self.fenced.remove(&id) {
            state.send_replace(MemberState::Ended(Ended::Fenced));
        }
    }

    fn commit(&mut self, commits: Vec<Commit>) {
        for commit in commits {
            self.commits.push((commit.log.1, commit.offset));
            self.committed.insert(commit.log.clone(), commit);
        }
    }
}

impl Groups for MemoryGroups {
    fn join(&self, _: ClientKey, membership: Membership) -> Arc<dyn Member> {
        let group = Arc::clone(&membership.group);
        let (sender, state) = watch::channel(MemberState::Joining(None));
        let id = self.change(&group, |group, is_held| {
            let is_same = |_: &u64, joined: &mut Joined| {
                membership.instance.is_some() && joined.membership.instance == membership.instance
            };
            for (id, Joined { state, .. }) in group.members.extract_if(.., is_same) {
                group.fenced.insert(id, state);
                let (groups, group) = (self.clone(), Arc::clone(&membership.group));
                tokio::spawn(async move {
                    sleep(HEARTBEAT).await;
                    groups.change(&group, |group, _| group.fence(id));
                });
            }
            group.last += 1;
            group.members.insert(group.last, Joined { membership, state: sender, kept: Vec::new() });
            group.rebalance(is_held);
            group.last
        });
        Arc::new(MemoryMember { groups: self.clone(), group, id, state })
    }

    fn find<'a>(
        &'a self,
        _: ClientKey,
        group: &'a str,
        instance: &'a str,
    ) -> CommandFuture<'a, Option<Membership>> {
        let is_it = |membership: &Membership| membership.instance.as_deref() == Some(instance);
        ready(Ok(self.instances(group).into_iter().find(is_it))).boxed()
    }

    fn committed<'a>(
        &'a self,
        _: ClientKey,
        group: &'a str,
        logs: &'a [GroupLog],
    ) -> CommandFuture<'a, Vec<Result<Option<Commit>, CommandError>>> {
        let state = self.state();
        let known = |log| state.groups.get(group).and_then(|group| group.committed.get(log)).cloned();
        let found = logs.iter().map(|log| Ok(known(log))).collect();
        ready(state.refusal.clone().map_or(Ok(found), Err)).boxed()
    }

    fn commit<'a>(
        &'a self,
        _: ClientKey,
        group: &'a str,
        commits: &'a [Commit],
    ) -> CommandFuture<'a, Vec<Result<(), CommandError>>> {
        let refusal = self.state().refusal.clone();
        let made = self.change(&Arc::from(group), |group, _| {
            let members = || CommandError::new(Fault::Rejected, 25, "the group has members");
            group.members.is_empty().then(|| group.commit(commits.to_vec())).ok_or_else(members)
        });
        ready(refusal.map_or(made, Err).map(|()| vec![Ok(()); commits.len()])).boxed()
    }
}

impl Member for MemoryMember {
    fn state(&self) -> watch::Receiver<MemberState> {
        self.state.clone()
    }

    fn subscribe(&self, topics: Arc<[Arc<str>]>, settings: Bytes) {
        self.groups.change(&self.group, |group, is_held| {
            if let Some(joined) = group.members.get_mut(&self.id) {
                (joined.membership.topics, joined.membership.settings) = (topics, settings);
                group.rebalance(is_held);
            }
        });
    }

    fn keep(&self, commits: Vec<Commit>) {
        self.groups.change(&self.group, |group, _| {
            if let Some(joined) = group.members.get_mut(&self.id) {
                joined.kept = commits;
            }
        });
    }

    fn commit(
        &self,
        _: Option<u64>,
        commits: Vec<Commit>,
    ) -> BoxFuture<'_, Result<Vec<Result<(), CommandError>>, CommandError>> {
        let refusal = self.groups.state().refusal.clone();
        let results = vec![Ok(()); commits.len()];
        let made = self.groups.change(&self.group, |group, is_held| {
            if is_held || refusal.is_some() || !group.members.contains_key(&self.id) {
                let rebalancing =
                    || CommandError::new(Fault::Transient, 27, "the group gives out its logs anew");
                return Err(refusal.unwrap_or_else(rebalancing));
            }
            group.commit(commits);
            Ok(results)
        });
        ready(made).boxed()
    }

    fn confirm(&self) -> BoxFuture<'_, ()> {
        self.groups.change(&self.group, |group, _| group.fence(self.id));
        ready(()).boxed()
    }

    /// Ends the membership: the rest of the group shares its logs.
    fn leave(&self) -> BoxFuture<'_, ()> {
        self.groups.change(&self.group, |group, is_held| {
            if let Some(joined) = group.members.remove(&self.id) {
                group.commit(joined.kept);
                joined.state.send_replace(MemberState::Ended(Ended::Left));
                group.rebalance(is_held);
            }
        });
        ready(()).boxed()
    }
}

/// The time in which a member notices that another one has its name.
const HEARTBEAT: Duration = Duration::from_secs(3);

impl Drop for MemoryMember {
    /// The member is silent: its group waits for it.
    fn drop(&mut self) {
        let (groups, group, id) = (self.groups.clone(), Arc::clone(&self.group), self.id);
        let timeout = groups.change(&group, |group, _| {
            let joined = group.members.get_mut(&id)?;
            joined.kept.clear();
            Some(joined.membership.session_timeout)
        });
        if let (Some(timeout), Ok(runtime)) = (timeout, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                sleep(timeout).await;
                groups.change(&group, |group, is_held| {
                    if group.members.remove(&id).is_some() {
                        group.rebalance(is_held);
                    }
                });
            });
        }
    }
}
