//! One consumer: what it subscribes to, its membership, and its positions.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use sluicegate_backend::groups::{Commit, Ended, GroupLog, Groups, Member, MemberState, Membership, log};
use sluicegate_backend::{Backend, CommandError, LOG_END, LOG_START};
use sluicegate_fair_share::{ClientKey, Permit};
use sluicegate_rights::name::{CHARACTERS, is_topic};
use sluicegate_telemetry::metrics::{ConsumerMetrics, OpenConsumer};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout};

use super::pattern::TopicPattern;
use super::positions::Positions;
use super::settings::Stored;
use super::{ConsumerError, ConsumerSettings};
use crate::cluster::{Cluster, SOON};
use crate::grant::Grant;

/// A consumer of a group: a member of it, or a reader of partitions that its client has assigned.
///
/// Memory: about 1 KiB, and 100 bytes for each of at most [`MAX_LOGS`] logs and 300 for each of [`MAX_TOPICS`] topics.
pub struct Consumer {
    pub(super) group: Arc<str>,
    pub(super) instance: Arc<str>,
    settings: ConsumerSettings,
    /// The one whose groups it uses. Another one is used by another consumer.
    pub(super) backend: Arc<dyn Backend>,
    source: ClientKey,
    metrics: ConsumerMetrics,
    pub(super) state: Mutex<State>,
    /// Of the poll whose answer is being given.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Of the one who looks for positions.
    pub(super) beginning: tokio::sync::Mutex<()>,
    _held: Held,
}

/// The places that a consumer takes of its limits. A drop gives them back.
pub(crate) struct Held {
    pub(crate) _permit: Permit,
    pub(crate) _place: Option<OwnedSemaphorePermit>,
    pub(crate) _open: OpenConsumer,
}

pub(super) struct State {
    pub(super) role: Role,
    /// Sorted.
    topics: Arc<[Arc<str>]>,
    pattern: Option<Pattern>,
    pub(super) positions: Positions,
    /// The number of manual assignments.
    assigned: u64,
    /// When a commit was begun last.
    committed: Option<Instant>,
    is_committing: bool,
    /// Calls in progress, and the end of the last one.
    uses: usize,
    used: Instant,
}

/// The way in which a consumer has logs.
pub(super) struct Role {
    /// None: its client has assigned them.
    member: Option<Arc<dyn Member>>,
    pub(super) logs: watch::Receiver<MemberState>,
    /// Keeps the channel of assigned logs open.
    _assigned: Option<watch::Sender<MemberState>>,
}

struct Pattern {
    text: String,
    /// The last look at the topics; None: the next poll has one.
    looked: Option<Instant>,
}

/// Topics to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscribed {
    /// These, at most [`MAX_TOPICS`].
    Topics(Vec<String>),
    /// All that match a regular expression, of those that the client can read; at most [`MAX_TOPICS`], the first by
    /// name.
    Pattern(String),
}

/// An end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEnd {
    /// The first record.
    Beginning,
    /// After the last one.
    End,
}

/// Marks a call, during which a consumer is not idle.
pub(super) struct Use(Arc<Consumer>);

impl Consumer {
    /// Joins the group. None: the backend has no groups.
    pub(crate) fn join(
        backend: Arc<dyn Backend>,
        source: ClientKey,
        membership: Membership,
        instance: Arc<str>,
        stored: Stored,
        metrics: ConsumerMetrics,
        held: Held,
    ) -> Option<Self> {
        let group = Arc::clone(&membership.group);
        let topics = Arc::clone(&membership.topics);
        let member = backend.groups()?.join(source, membership);
        let state = State {
            role: Role::of(member),
            topics,
            pattern: stored.pattern.map(|text| Pattern { text, looked: None }),
            positions: Positions::default(),
            assigned: 0,
            committed: None,
            is_committing: false,
            uses: 0,
            used: Instant::now(),
        };
        Some(Self {
            group,
            instance,
            settings: stored.settings,
            backend,
            source,
            state: Mutex::new(state),
            turn: Arc::default(),
            beginning: tokio::sync::Mutex::default(),
            metrics,
            _held: held,
        })
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Its name in the group.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Its settings.
    pub fn settings(&self) -> &ConsumerSettings {
        &self.settings
    }

    /// The topics that it subscribes to, sorted.
    pub fn subscription(self: &Arc<Self>) -> Vec<String> {
        let _use = self.begin_use();
        self.state.lock().topics.iter().map(|topic| topic.to_string()).collect()
    }

    /// The logs that it has now, sorted: its share of the group's, or those that its client has assigned.
    pub fn assignment(self: &Arc<Self>) -> Vec<GroupLog> {
        let _use = self.begin_use();
        match &*self.state.lock().role.logs.borrow() {
            MemberState::Assigned(_, logs) => logs.to_vec(),
            MemberState::Joining(_) | MemberState::Ended(_) => Vec::new(),
        }
    }

    /// Subscribes to these topics instead of those before.
    ///
    /// # Errors
    /// The client cannot read one of them, they are too many, or it has assigned partitions.
    ///
    /// # Cancel safety
    /// The subscription is as before, or the new one.
    pub async fn subscribe(self: &Arc<Self>, grant: &Grant, topics: Subscribed) -> Result<(), ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        let (topics, pattern) = match topics {
            Subscribed::Topics(topics) => (literal(grant, topics)?, None),
            Subscribed::Pattern(text) => (matching(grant, &text).await?, Some(text)),
        };
        self.set_subscription(topics, pattern)
    }

    /// Ends the subscription, or the assignment by the client. It stays an instance of its group.
    ///
    /// # Cancel safety
    /// It is ended all the same.
    pub async fn unsubscribe(self: &Arc<Self>, grant: &Grant) -> Result<(), ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        let is_member = self.state.lock().role.member.is_some();
        if !is_member {
            self.stop().await;
            let membership = self.membership()?;
            let groups = self.groups()?;
            let mut state = self.state.lock();
            state.role = Role::of(groups.join(self.source, membership));
            state.positions = Positions::default();
        }
        self.set_subscription([].into(), None)
    }

    /// Reads these partitions, at most [`MAX_LOGS`], as no member of the group: nobody else notices. Without any, it ends
    /// the assignment.
    ///
    /// # Errors
    /// The client cannot read a topic, or has a subscription.
    ///
    /// # Cancel safety
    /// After a drop, it can have left the group without an assignment.
    pub async fn assign(
        self: &Arc<Self>,
        grant: &Grant,
        mut logs: Vec<GroupLog>,
    ) -> Result<(), ConsumerError> {
        if logs.is_empty() {
            return self.unsubscribe(grant).await;
        }
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        if logs.len() > MAX_LOGS {
            return Err(ConsumerError::Invalid(format!(
                "{} partitions: expected at most {MAX_LOGS}",
                logs.len()
            )));
        }
        grant.check_reads(logs.iter().map(|(topic, _)| &**topic))?;
        logs.sort_unstable();
        logs.dedup();
        let member = {
            let mut state = self.state.lock();
            if !state.topics.is_empty() || state.pattern.is_some() {
                return Err(ConsumerError::Conflict);
            }
            let number = MANUAL.saturating_add(state.assigned);
            state.assigned = state.assigned.saturating_add(1);
            let (assigned, of) = watch::channel(MemberState::Assigned(number, logs.into()));
            let role = Role { member: None, logs: of, _assigned: Some(assigned) };
            let member = std::mem::replace(&mut state.role, role).member;
            if member.is_some() {
                state.positions = Positions::default();
            }
            member
        };
        if let Some(member) = member {
            // Commits without being a member need a group without members.
            member.leave().await;
        }
        Ok(())
    }

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
        self.commit_as(commits, true).await
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

    /// Reads on from these offsets.
    ///
    /// # Errors
    /// It does not have a log, and none was moved.
    ///
    /// # Cancel safety
    /// None was moved, or all.
    pub async fn seek(
        self: &Arc<Self>,
        grant: &Grant,
        positions: Vec<(GroupLog, i64)>,
    ) -> Result<(), ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        grant.check_reads(positions.iter().map(|((topic, _), _)| &**topic))?;
        self.move_to(grant, &positions).await
    }

    /// Reads on from an end of these logs.
    ///
    /// # Errors
    /// It does not have a log, or an end is not known. None was moved.
    ///
    /// # Cancel safety
    /// None was moved, or all.
    pub async fn seek_to(
        self: &Arc<Self>,
        grant: &Grant,
        end: LogEnd,
        logs: Vec<GroupLog>,
    ) -> Result<(), ConsumerError> {
        let _use = self.begin_use();
        grant.begin_consumer_command(&self.group).await?;
        if logs.is_empty() {
            return Ok(());
        }
        let timestamp = if end == LogEnd::End { LOG_END } else { LOG_START };
        let asked: Vec<_> = logs.iter().map(|of| (log(of), timestamp)).collect();
        let listed = grant.list_offsets(&asked, self.settings.committed).await?;
        let offsets = listed.into_iter().collect::<Result<Vec<_>, CommandError>>()?;
        let positions: Vec<_> =
            logs.iter().cloned().zip(offsets.into_iter().map(|listed| listed.offset)).collect();
        self.move_to(grant, &positions).await
    }

    async fn move_to(
        self: &Arc<Self>,
        grant: &Grant,
        positions: &[(GroupLog, i64)],
    ) -> Result<(), ConsumerError> {
        let current = self.state.lock().role.logs.borrow().clone();
        let logs = match &current {
            MemberState::Assigned(number, logs) => {
                self.begin(grant, *number, logs).await?;
                &logs[..]
            }
            MemberState::Joining(_) | MemberState::Ended(_) => &[],
        };
        if let Some((log, _)) = positions.iter().find(|(log, _)| logs.binary_search(log).is_err()) {
            return Err(ConsumerError::NotAssigned(log.clone()));
        }
        let mut state = self.state.lock();
        for (log, offset) in positions {
            if !state.positions.seek(log, *offset) {
                state.positions.reset(log, *offset);
            }
        }
        Ok(())
    }

    /// Changes the subscription if the client has assigned nothing.
    fn set_subscription(
        &self,
        topics: Arc<[Arc<str>]>,
        pattern: Option<String>,
    ) -> Result<(), ConsumerError> {
        let stored = Stored::new(self.settings.clone(), pattern.clone()).to_bytes()?;
        let mut state = self.state.lock();
        let Some(member) = &state.role.member else { return Err(ConsumerError::Conflict) };
        member.subscribe(Arc::clone(&topics), stored);
        state.topics = topics;
        state.pattern = pattern.map(|text| Pattern { text, looked: Some(Instant::now()) });
        Ok(())
    }

    /// Looks at the topics again that its pattern matches, once in a while. As long as they are not known, it keeps
    /// those that it has.
    pub(super) async fn look_at_topics(&self, grant: &Grant) {
        let text = {
            let mut state = self.state.lock();
            let due = |looked: Instant| looked.elapsed() >= LOOK_INTERVAL;
            match &mut state.pattern {
                Some(Pattern { text, looked }) if looked.is_none_or(due) => {
                    *looked = Some(Instant::now());
                    text.clone()
                }
                Some(_) | None => return,
            }
        };
        let Ok(topics) = matching(grant, &text).await else { return };
        let is_same = {
            let state = self.state.lock();
            state.topics == topics || state.pattern.as_ref().is_none_or(|pattern| pattern.text != text)
        };
        if !is_same {
            // The client can have assigned partitions meanwhile.
            let _ = self.set_subscription(topics, Some(text));
        }
    }

    /// Lets the next poll look at the topics: the client has lost one.
    pub(super) fn look_soon(&self) {
        if let Some(pattern) = &mut self.state.lock().pattern {
            pattern.looked = None;
        }
    }

    /// Whether there is something that a poll could wait for.
    pub(super) fn is_subscribed(&self) -> bool {
        let state = self.state.lock();
        state.role.member.is_none() || !state.topics.is_empty() || state.pattern.is_some()
    }

    /// The client came back after so many answers. What it has is kept for the group, and committed when that is due.
    pub(super) fn came_back(self: &Arc<Self>, takings: u64) {
        let mut state = self.state.lock();
        state.positions.came_back(takings);
        self.keep(&mut state);
        drop(state);
        self.auto_commit();
    }

    /// Commits what the client has if that is due.
    pub(super) fn auto_commit(self: &Arc<Self>) {
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
            Some(member) => member.commit(commits.clone()).await?,
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

    /// Finds the positions of an assignment that are not known yet.
    ///
    /// # Errors
    /// The group's positions cannot be read, or a log has none and its client does not want another one.
    pub(super) async fn begin(
        self: &Arc<Self>,
        grant: &Grant,
        number: u64,
        logs: &[GroupLog],
    ) -> Result<(), ConsumerError> {
        let _one = self.beginning.lock().await;
        if logs.len() > MAX_LOGS {
            return Err(ConsumerError::Invalid(format!(
                "the consumer's share has {} partitions: expected at most {MAX_LOGS}, create more consumers",
                logs.len()
            )));
        }
        let unknown = {
            let mut state = self.state.lock();
            if state.positions.are_later_than(number) {
                return Ok(());
            }
            if state.positions.assign(number, logs) && state.role.member.is_some() {
                self.metrics.rebalanced();
            }
            state.positions.unknown(logs)
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let committed = self.groups()?.committed(self.source, &self.group, &unknown).await?;
        let offsets = committed
            .into_iter()
            .map(|committed| Ok(committed?.map(|commit| commit.offset)))
            .collect::<Result<Vec<Option<i64>>, CommandError>>()?;
        let lost: Vec<GroupLog> = {
            let mut state = self.state.lock();
            let positions = &mut state.positions;
            let known = unknown.iter().zip(offsets);
            known
                .filter(|(log, offset)| !positions.set_committed(log, *offset))
                .map(|(log, _)| log.clone())
                .collect()
        };
        self.reset(grant.cluster(), &lost).await?;
        self.keep(&mut self.state.lock());
        Ok(())
    }

    /// Begins at the logs' ends by the consumer's settings. Logs whose ends are not known soon are left for later.
    pub(super) async fn reset(
        self: &Arc<Self>,
        cluster: &Cluster,
        lost: &[GroupLog],
    ) -> Result<(), ConsumerError> {
        let Some(first) = lost.first() else { return Ok(()) };
        let timestamp = match self.settings.reset {
            super::Reset::Earliest => LOG_START,
            super::Reset::Latest => LOG_END,
            super::Reset::Error => return Err(ConsumerError::NoPosition(first.clone())),
        };
        let asked: Vec<_> = lost.iter().map(|of| (log(of), timestamp)).collect();
        let until = Instant::now().checked_add(SOON);
        let listed = cluster.offsets_within(self.source, &asked, self.settings.committed, until).await;
        {
            let mut state = self.state.lock();
            for (log, listed) in lost.iter().zip(listed) {
                if let Ok(listed) = listed {
                    state.positions.reset(log, listed.offset);
                    // At once: a bridge that takes the consumer over would begin later, and miss records in between.
                    state.committed = None;
                }
            }
        }
        self.auto_commit();
        Ok(())
    }

    /// Keeps for the group what the client has, if the bridge commits. Logs that were given up are another member's to
    /// commit.
    fn keep(&self, state: &mut State) {
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

    /// Commits what the client has, and does not leave: another bridge can take the consumer over.
    pub(super) async fn stop(&self) {
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

    /// The end of its membership, if it has ended.
    pub(super) fn ended(&self) -> Option<Ended> {
        match &*self.state.lock().role.logs.borrow() {
            MemberState::Ended(ended) => Some(ended.clone()),
            MemberState::Joining(_) | MemberState::Assigned(..) => None,
        }
    }

    /// Whether nobody has used it for so long.
    pub(super) fn is_idle(&self, for_time: Duration) -> bool {
        let state = self.state.lock();
        state.uses == 0 && state.used.elapsed() >= for_time
    }

    pub(super) fn begin_use(self: &Arc<Self>) -> Use {
        let mut state = self.state.lock();
        state.uses = state.uses.saturating_add(1);
        Use(Arc::clone(self))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn membership(&self) -> Result<Membership, ConsumerError> {
        membership(&self.group, &self.instance, [].into(), &Stored::new(self.settings.clone(), None))
    }

    fn groups(&self) -> Result<&dyn Groups, CommandError> {
        self.backend.groups().ok_or_else(super::no_groups)
    }
}

impl State {
    /// Whether the positions are those of the logs that it has now.
    fn has_its_logs(&self) -> bool {
        matches!(*self.role.logs.borrow(), MemberState::Assigned(number, _) if self.positions.is_of(number))
    }
}

impl Role {
    fn of(member: Arc<dyn Member>) -> Self {
        Self { logs: member.state(), member: Some(member), _assigned: None }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.uses = state.uses.saturating_sub(1);
        state.used = Instant::now();
    }
}

impl Use {
    pub(super) fn consumer(&self) -> &Arc<Consumer> {
        &self.0
    }
}

/// The membership of an instance.
///
/// # Errors
/// Its settings are too long.
pub(crate) fn membership(
    group: &Arc<str>,
    instance: &Arc<str>,
    topics: Arc<[Arc<str>]>,
    stored: &Stored,
) -> Result<Membership, ConsumerError> {
    Ok(Membership {
        group: Arc::clone(group),
        instance: Some(Arc::clone(instance)),
        topics,
        settings: stored.to_bytes()?,
        session_timeout: SESSION_TIMEOUT,
    })
}

/// Topics that the client names, sorted.
fn literal(grant: &Grant, mut topics: Vec<String>) -> Result<Arc<[Arc<str>]>, ConsumerError> {
    if topics.is_empty() || topics.len() > MAX_TOPICS {
        return Err(ConsumerError::Invalid(format!("{} topics: expected 1 to {MAX_TOPICS}", topics.len())));
    }
    grant.check_reads(topics.iter().map(String::as_str))?;
    for topic in &topics {
        if !is_topic(topic) {
            let shown = crate::cluster::escape_for_message(topic);
            let message = format!("topic {shown}: expected {CHARACTERS}");
            return Err(ConsumerError::Invalid(message));
        }
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(topics.into_iter().map(Arc::from).collect())
}

/// Topics that match a pattern, of those that the client can read, sorted.
async fn matching(grant: &Grant, text: &str) -> Result<Arc<[Arc<str>]>, ConsumerError> {
    let pattern = TopicPattern::compile(text)?;
    let names = grant.readable_topics().await?;
    let bytes = names.iter().map(String::len).fold(0, usize::saturating_add);
    // Counted as what filters leave out, which costs about as much.
    grant.cluster().scans().take(grant.client(), bytes).await;
    let matching = names.iter().filter(|name| pattern.matches(name)).take(MAX_TOPICS);
    Ok(matching.map(|name| Arc::from(name.as_str())).collect())
}

/// Kept in the group's mind for so long after a bridge is gone: enough for a restart, and for a client to come to
/// another one.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// The time between two looks at the topics that a pattern matches.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// The time that a commit of the bridge's can take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The topics of a subscription.
pub const MAX_TOPICS: usize = 256;

/// The partitions of a consumer.
pub const MAX_LOGS: usize = 4096;

/// The number of the first assignment by a client: members have others.
const MANUAL: u64 = 1 << 63;
