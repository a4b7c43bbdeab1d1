//! One consumer: its membership, and its positions.

mod commits;
mod subscription;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use sluicegate_backend::groups::{Ended, GroupLog, Groups, Member, MemberState, Membership, log};
use sluicegate_backend::{Backend, CommandError, LOG_END, LOG_START};
use sluicegate_fair_share::{ClientKey, Permit};
use sluicegate_telemetry::metrics::{ConsumerMetrics, OpenConsumer};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

pub(crate) use self::commits::not_assigned;
use super::positions::Positions;
use super::settings::Stored;
use super::{ConsumerError, ConsumerSettings};
use crate::cluster::{Cluster, SOON};
use crate::grant::Grant;
use crate::lag::Progress;
use crate::open_clients::Listed;

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
    shown: Shown,
    _held: Held,
}

/// The places that a consumer takes of its limits. A drop gives them back.
pub(crate) struct Held {
    pub(crate) _permit: Permit,
    pub(crate) _place: Option<OwnedSemaphorePermit>,
    pub(crate) _open: OpenConsumer,
}

/// The parts of a consumer that operators see.
pub(crate) struct Shown {
    /// Its place among the open clients.
    pub(crate) listed: Listed,
    /// Its positions.
    pub(crate) progress: Arc<Progress>,
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
    /// Calls in progress, and the beginning or end of the last one.
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
        (held, shown): (Held, Shown),
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
            shown,
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

    /// The logs that it has now, sorted: its share of the group's, or those that its client has assigned.
    pub fn assignment(self: &Arc<Self>) -> Vec<GroupLog> {
        let _use = self.begin_use();
        match &*self.state.lock().role.logs.borrow() {
            MemberState::Assigned(_, logs) => logs.to_vec(),
            MemberState::Joining(_) | MemberState::Ended(_) => Vec::new(),
        }
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
        // Before the ends of logs of others are asked for.
        check_assigned(&self.state.lock().role.logs.borrow(), logs.iter())?;
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
        if let MemberState::Assigned(number, logs) = &current {
            self.begin(grant, *number, logs).await?;
        }
        check_assigned(&current, positions.iter().map(|(log, _)| log))?;
        let mut state = self.state.lock();
        for (log, offset) in positions {
            if !state.positions.seek(log, *offset) {
                state.positions.reset(log, *offset);
            }
        }
        self.tell(&state);
        Ok(())
    }

    /// Lets others see its positions.
    pub(super) fn tell(&self, state: &State) {
        self.shown.progress.clear();
        self.shown.progress.add(state.positions.all());
    }

    /// Its place among the open clients.
    pub(super) fn listed(&self) -> &Listed {
        &self.shown.listed
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
            self.tell(&self.state.lock());
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
        let mut state = self.state.lock();
        self.keep(&mut state);
        self.tell(&state);
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

    /// The end of its membership, if it has ended.
    pub(super) fn ended(&self) -> Option<Ended> {
        match &*self.state.lock().role.logs.borrow() {
            MemberState::Ended(ended) => Some(ended.clone()),
            MemberState::Joining(_) | MemberState::Assigned(..) => None,
        }
    }

    /// Waits until the group tells again that this is its member, unless it was in use a moment ago: its client can have been
    /// at another bridge meanwhile, and have committed there.
    pub(crate) async fn confirm(&self) {
        let member = {
            let mut state = self.state.lock();
            let is_sure = state.used.elapsed() < MOMENT;
            state.used = Instant::now();
            state.role.member.clone().filter(|_| !is_sure)
        };
        if let Some(member) = member {
            member.confirm().await;
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

/// Checks that all of these logs are assigned.
fn check_assigned<'a>(
    state: &MemberState,
    mut logs: impl Iterator<Item = &'a GroupLog>,
) -> Result<(), ConsumerError> {
    let assigned: &[GroupLog] = match state {
        MemberState::Assigned(_, logs) => logs,
        MemberState::Joining(_) | MemberState::Ended(_) => &[],
    };
    let other = logs.find(|log| assigned.binary_search(log).is_err());
    other.map_or(Ok(()), |log| Err(ConsumerError::NotAssigned(log.clone())))
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

/// Kept in the group's mind for so long after a bridge is gone: enough for a restart, and for a client to come to
/// another one.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// The time without a call after which the group is asked: less than a client needs to read and commit at another bridge. A
/// client that reads all the time costs no requests.
const MOMENT: Duration = Duration::from_millis(200);

/// The topics of a subscription.
pub const MAX_TOPICS: usize = 256;

/// The partitions of a consumer.
pub const MAX_LOGS: usize = 4096;
