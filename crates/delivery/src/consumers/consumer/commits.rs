//! The commits of a consumer: those of its client, and those of the bridge for what the client has.

use std::sync::Arc;
use std::time::Duration;

use sluicegate_backend::groups::{Commit, GroupLog, MemberState, commit_own};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_protocol::error_code::REBALANCE_IN_PROGRESS;
use tokio::time::{Instant, timeout};

use super::{Consumer, ConsumerError, State};
use crate::cluster::escape_for_message;
use crate::grant::Grant;

impl Consumer {
    /// Commits these positions; None: all that was answered.
    ///
    /// # Errors
    /// The whole command is refused. Each commit has its own result.
    ///
    /// # Cancel safety
    /// The commits can be made all the same.
    pub async fn commit(
        self: &Arc<Self>,
        grant: &Grant,
        commits: Option<Vec<Commit>>,
    ) -> Result<Vec<Result<(), CommandError>>, ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        let commits = commits.unwrap_or_else(|| self.state.lock().positions.answered());
        grant.check_reads(commits.iter().map(|commit| &*commit.log.0))?;
        let lost = self.state.lock().lost();
        if lost.is_empty() {
            return self.commit_as(commits, true).await;
        }
        let is_lost = |commit: &Commit| lost.binary_search(&commit.log).is_ok();
        let refusal = |commit: &Commit| is_lost(commit).then(|| not_assigned(&commit.log));
        commit_own(&commits, refusal, async |own| self.commit_as(own, true).await).await
    }

    /// The group's last commit in each of these logs; None: nothing.
    ///
    /// # Errors
    /// The whole command is refused. Each log has its own result.
    ///
    /// # Cancel safety
    /// A drop abandons the read.
    pub async fn committed(
        self: &Arc<Self>,
        grant: &Grant,
        logs: &[GroupLog],
    ) -> Result<Vec<Result<Option<Commit>, CommandError>>, ConsumerError> {
        let _use = self.begin_use();
        grant.committed(&self.group, logs).await
    }

    /// The client came back after so many answers. What it has is kept for the group, and committed when that is due.
    pub(in crate::consumers) fn came_back(self: &Arc<Self>, takings: u64) {
        let mut state = self.state.lock();
        state.positions.came_back(takings);
        self.keep(&mut state);
        drop(state);
        self.auto_commit();
    }

    /// Commits what the client has if that is due.
    pub(in crate::consumers) fn auto_commit(self: &Arc<Self>) {
        let Some(interval) = self.settings.auto_commit else { return };
        let commits = {
            let mut state = self.state.lock();
            let is_due = state.committed.is_none_or(|at| at.elapsed() >= interval);
            if !is_due || state.is_committing || !state.has_its_logs() {
                return;
            }
            let commits = state.positions.uncommitted();
            if commits.is_empty() {
                return;
            }
            (state.committed, state.is_committing) = (Some(Instant::now()), true);
            commits
        };
        let consumer = Arc::clone(self);
        tokio::spawn(async move {
            // A commit that fails is made again with the next one.
            let _ = timeout(COMMIT_TIMEOUT, consumer.commit_as(commits, false)).await;
            consumer.state.lock().is_committing = false;
        });
    }

    async fn commit_as(
        &self,
        commits: Vec<Commit>,
        by_client: bool,
    ) -> Result<Vec<Result<(), CommandError>>, ConsumerError> {
        let member = self.state.lock().role.member.clone();
        let results = match member {
            Some(member) => member.commit(None, commits.clone()).await?,
            None => self.groups()?.commit(self.source, &self.group, &commits).await?,
        };
        let made: Vec<&Commit> = commits
            .iter()
            .zip(&results)
            .filter(|(_, result)| result.is_ok())
            .map(|(commit, _)| commit)
            .collect();
        self.metrics.committed(made.len());
        let mut state = self.state.lock();
        state.positions.committed(made.into_iter(), by_client);
        self.keep(&mut state);
        Ok(results)
    }

    /// Keeps for the group what the client has, if the bridge commits. Logs that were given up are another member's to
    /// commit.
    pub(super) fn keep(&self, state: &mut State) {
        if let (true, true, Some(member)) =
            (self.settings.auto_commit.is_some(), state.has_its_logs(), &state.role.member)
        {
            member.keep(state.positions.uncommitted());
        }
    }

    /// Commits what the client has, and leaves the group.
    pub(crate) async fn leave(&self) {
        let member = self.state.lock().role.member.clone();
        match member {
            Some(member) => member.leave().await,
            None => self.stop().await,
        }
    }

    /// Waits for the end of a rebalance: without this member, its group would wait for it until its session is over, and not
    /// tell the bridge that takes it over what it wants.
    pub(in crate::consumers) async fn settle(&self) {
        let mut logs = self.state.lock().role.logs.clone();
        let is_settled = |state: &MemberState| !matches!(state, MemberState::Joining(_));
        let _ = timeout(REBALANCE, logs.wait_for(is_settled)).await;
    }

    /// Commits what the client has, and does not leave: another bridge can take the consumer over.
    pub(in crate::consumers) async fn stop(&self) {
        if self.settings.auto_commit.is_some() {
            let commits = {
                let mut state = self.state.lock();
                if state.has_its_logs() { state.positions.uncommitted() } else { Vec::new() }
            };
            if !commits.is_empty() {
                let _ = timeout(COMMIT_TIMEOUT, self.commit_as(commits, false)).await;
            }
        }
    }
}

impl State {
    /// Logs, sorted, whose positions are of an earlier share, and which other members can have had since: whatever they have
    /// committed stays.
    fn lost(&self) -> Vec<GroupLog> {
        match &*self.role.logs.borrow() {
            MemberState::Assigned(number, logs)
                if self.role.member.is_some() && !self.positions.is_of(*number) =>
            {
                let stays = self.positions.are_just_before(*number);
                let is_lost = |log: &&GroupLog| !(stays && logs.binary_search(log).is_ok());
                self.positions.logs().filter(is_lost).cloned().collect()
            }
            _ => Vec::new(),
        }
    }
}

pub(crate) fn not_assigned((topic, partition): &GroupLog) -> CommandError {
    let topic = escape_for_message(topic);
    let message = format!(
        "partition {partition} of topic {topic} is not this subscription's now: whoever reads it begins at the last commit"
    );
    CommandError::new(Fault::Rejected, REBALANCE_IN_PROGRESS, message)
}

/// The time for which the end of the bridge waits for the end of a rebalance: that of one whose members are all there.
const REBALANCE: Duration = Duration::from_secs(5);

/// The time that a commit of the bridge's can take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
