//! A member of a group as a value without sockets or a clock.
//!
//! Its rounds: join, sync, and heartbeats until the group rebalances; then it commits what is kept of the logs that it
//! gives up, and joins again. A member keeps its logs only as long as the coordinator does: until the session timeout
//! after the last request that it has answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::groups::{Ended, GroupLog, MAX_SETTINGS, MemberState, Membership as Wanted};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_reader::{Assignment, GroupMember, Joined, JoinedMember, Subscription, check_topic};
use tokio::time::Instant;

use super::assignors::{Candidate, PROTOCOLS, assign};
use super::note::Note;

/// A member of a group. The caller performs each [`Step`], and passes its [`Answer`].
#[derive(Debug)]
pub(super) struct Membership {
    member: GroupMember,
    topics: Arc<[Arc<str>]>,
    note: Note,
    phase: Phase,
    state: MemberState,
    assignments: u64,
    /// The member's id and generation in the last one.
    had: Option<(Arc<str>, i32)>,
    /// Whether the coordinator can know the member.
    was_sent: bool,
    /// When the request under way was sent.
    sent: Instant,
    /// When a request was sent or answered that has kept the session alive.
    heard: Instant,
    /// When its owner asked whether the group knows it.
    asked: Instant,
    /// Failed attempts to join, in a row.
    failures: u32,
    /// Why the last heartbeat has failed.
    silence: Option<CommandError>,
    leads: Option<Leads>,
}

/// The topics that a leader watches for the group.
#[derive(Debug)]
struct Leads {
    /// The number of partitions of each topic of the group, as far as it exists, when they were assigned.
    counts: BTreeMap<Arc<str>, i32>,
    /// The topics of all members.
    topics: Vec<Arc<str>>,
    /// When to look again.
    look: Instant,
}

#[derive(Debug)]
enum Phase {
    /// It joins, not before this instant.
    Join(Instant),
    /// It leads, and needs the numbers of partitions.
    Assign {
        protocol: String,
        members: Vec<Candidate>,
        skips: bool,
    },
    Sync {
        protocol: String,
        assignments: Arc<[(Arc<str>, Bytes)]>,
    },
    /// It has logs, and sends the next heartbeat then.
    Member(Instant),
    /// It commits what is kept of these logs.
    GiveUp {
        logs: Arc<[GroupLog]>,
        leaves: bool,
    },
    Leave,
    Ended,
}

/// The next thing to do.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Join {
        member: GroupMember,
        session_timeout: Duration,
        subscription: Bytes,
        deadline: Instant,
    },
    /// Finds the number of partitions of each topic that exists.
    Count {
        topics: Vec<Arc<str>>,
        deadline: Instant,
    },
    Sync {
        member: GroupMember,
        protocol: String,
        assignments: Arc<[(Arc<str>, Bytes)]>,
        deadline: Instant,
    },
    Heartbeat {
        member: GroupMember,
        deadline: Instant,
    },
    /// Commits what is kept: of these logs, or of any if the member subscribes to none.
    Commit {
        member: GroupMember,
        logs: Option<Arc<[GroupLog]>>,
        deadline: Instant,
    },
    Leave {
        member: GroupMember,
        deadline: Instant,
    },
    Wait(Instant),
    End,
}

/// The result of a step.
#[derive(Debug)]
pub(super) enum Answer {
    Joined(Result<Joined, Failure>),
    Counted(Result<BTreeMap<Arc<str>, i32>, Failure>),
    Synced(Result<Bytes, Failure>),
    Beaten(Result<(), Failure>),
    /// Or not: others read from what was committed before.
    Committed,
    /// Or not: the group notices after the session timeout.
    Left,
    Waited,
}

/// Why a request has failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Kafka's.
    pub(super) code: i16,
    /// Whether the coordinator refuses, and another attempt will not help.
    pub(super) is_final: bool,
    pub(super) error: CommandError,
}

impl Membership {
    pub(super) fn new(wanted: Wanted, now: Instant) -> Self {
        let Wanted { group, instance, topics, settings, session_timeout } = wanted;
        let mut member = Self {
            member: GroupMember::new(group, instance),
            topics: Arc::default(),
            note: Note { number: 0, session_timeout, settings: Bytes::new() },
            phase: Phase::Join(now),
            state: MemberState::Joining(None),
            assignments: 0,
            had: None,
            was_sent: false,
            sent: now,
            heard: now,
            asked: now,
            failures: 0,
            silence: None,
            leads: None,
        };
        member.want(topics, settings);
        member
    }

    pub(super) fn state(&self) -> &MemberState {
        &self.state
    }

    pub(super) fn member(&self) -> &GroupMember {
        &self.member
    }

    /// The time until which the group has known it, for all that was heard.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Whether it leaves, or has ended.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leave | Phase::GiveUp { leaves: true, .. } | Phase::Ended)
    }

    /// The step to perform now.
    pub(super) fn next(&mut self, now: Instant) -> Step {
        let session_ends = after(self.heard, self.note.session_timeout);
        if matches!(self.phase, Phase::Member(_)) && now >= session_ends {
            let error = self.silence.take();
            self.lose(now, error);
        }
        let step = self.step(now, session_ends);
        self.was_sent |= matches!(step, Step::Join { .. });
        if !matches!(step, Step::Wait(_)) {
            self.sent = now;
        }
        step
    }

    fn step(&self, now: Instant, session_ends: Instant) -> Step {
        let member = || self.member.clone();
        match &self.phase {
            Phase::Join(start) if *start > now => Step::Wait(*start),
            Phase::Join(_) => Step::Join {
                member: member(),
                session_timeout: self.note.session_timeout,
                subscription: self.subscription(),
                deadline: after(now, HELD),
            },
            Phase::Assign { members, .. } => {
                let topics: BTreeSet<_> =
                    members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
                Step::Count { topics: topics.into_iter().collect(), deadline: session_ends }
            }
            Phase::Sync { protocol, assignments } => Step::Sync {
                member: member(),
                protocol: protocol.clone(),
                assignments: Arc::clone(assignments),
                deadline: after(now, HELD),
            },
            Phase::Member(beat) if *beat <= now => {
                Step::Heartbeat { member: member(), deadline: session_ends }
            }
            Phase::Member(beat) => match &self.leads {
                Some(leads) if leads.look <= now => {
                    Step::Count { topics: leads.topics.clone(), deadline: after(now, self.interval()) }
                }
                leads => Step::Wait(leads.as_ref().map_or(*beat, |leads| leads.look.min(*beat))),
            },
            Phase::GiveUp { logs, .. } => {
                let logs = (!self.topics.is_empty()).then(|| Arc::clone(logs));
                Step::Commit { member: member(), logs, deadline: after(now, LAST_WORDS) }
            }
            Phase::Leave => Step::Leave { member: member(), deadline: after(now, LAST_WORDS) },
            Phase::Ended => Step::End,
        }
    }

    /// Goes on after a step.
    pub(super) fn answer(&mut self, now: Instant, answer: Answer) {
        match answer {
            Answer::Joined(Ok(Joined::WithId(id))) => {
                self.member.id = id;
                self.phase = Phase::Join(now);
            }
            Answer::Joined(Ok(Joined::Member {
                id,
                generation,
                protocol,
                leads,
                skips_assignment: skips,
            })) => {
                (self.member.id, self.member.generation, self.heard) = (id, generation, now);
                self.phase = match leads {
                    Some(members) => {
                        let members = members.into_iter().map(candidate).collect();
                        Phase::Assign { protocol, members, skips }
                    }
                    None => Phase::Sync { protocol, assignments: Arc::default() },
                };
            }
            Answer::Counted(counted) => self.counted(now, counted),
            Answer::Synced(Ok(assignment)) => self.synced(now, assignment),
            Answer::Beaten(Ok(())) => {
                (self.heard, self.silence) = (self.sent, None);
                self.phase = Phase::Member(after(now, self.interval()));
            }
            Answer::Joined(Err(failure)) | Answer::Synced(Err(failure)) | Answer::Beaten(Err(failure)) => {
                self.failed(now, failure);
            }
            Answer::Committed => {
                let leaves = matches!(self.phase, Phase::GiveUp { leaves: true, .. });
                self.phase = if leaves { Phase::Leave } else { Phase::Join(now) };
            }
            Answer::Left => self.end(Ended::Left),
            Answer::Waited => {}
        }
    }

    /// Asks for other topics, with other settings.
    pub(super) fn subscribe(&mut self, now: Instant, topics: Arc<[Arc<str>]>, settings: Bytes) {
        if self.is_leaving() || (&*self.topics, &self.note.settings) == (&*topics, &settings) {
            return;
        }
        match &self.phase {
            Phase::Member(_) => self.give_up(now, false),
            Phase::Assign { .. } | Phase::Sync { .. } => self.phase = Phase::Join(now),
            Phase::Join(_) | Phase::GiveUp { .. } | Phase::Leave | Phase::Ended => {}
        }
        self.want(topics, settings);
    }

    /// Lets the next heartbeat be sent at once, if its owner has `asked` since the last call.
    pub(super) fn confirm(&mut self, asked: Instant) {
        if let Phase::Member(beat) = &mut self.phase
            && self.asked < asked
        {
            *beat = (*beat).min(asked);
        }
        self.asked = asked;
    }

    /// Commits what is kept, and leaves.
    pub(super) fn leave(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Member(_) => self.give_up(now, true),
            Phase::GiveUp { leaves, .. } => *leaves = true,
            Phase::Join(_) | Phase::Assign { .. } | Phase::Sync { .. } if self.was_sent => {
                self.phase = Phase::Leave;
            }
            Phase::Join(_) | Phase::Assign { .. } | Phase::Sync { .. } => self.end(Ended::Left),
            Phase::Leave | Phase::Ended => {}
        }
    }

    fn want(&mut self, topics: Arc<[Arc<str>]>, settings: Bytes) {
        let problem = if settings.len() > MAX_SETTINGS {
            Some(format!("settings of {} bytes exceed the limit of {MAX_SETTINGS}", settings.len()))
        } else {
            topics.iter().find_map(|topic| check_topic(topic).err()).map(|error| error.to_string())
        };
        (self.topics, self.note.settings) = (topics, settings);
        if let Some(problem) = problem {
            self.end(Ended::Refused(CommandError::new(Fault::Invalid, INVALID_REQUEST.into(), problem)));
        }
    }

    fn subscription(&self) -> Bytes {
        Subscription { topics: self.topics.to_vec(), rack: Some(self.note.encode().into()) }.encode()
    }

    fn counted(&mut self, now: Instant, counted: Result<BTreeMap<Arc<str>, i32>, Failure>) {
        let look = after(now, LOOK);
        match (&mut self.phase, &mut self.leads, counted) {
            (Phase::Assign { protocol, members, skips }, leads, Ok(counts)) => {
                let (protocol, members) = (std::mem::take(protocol), std::mem::take(members));
                let topics: BTreeSet<_> = members.iter().flat_map(|of| of.topics.iter().cloned()).collect();
                // Nobody knows whether the assignment that stays has all partitions: the next look lets the group share anew.
                let (shares, counts) = match *skips {
                    true => (Vec::new(), BTreeMap::new()),
                    false => (assign(&protocol, members, &counts), counts),
                };
                let shares = shares.into_iter().map(|(id, logs)| (id, Assignment(logs).encode()));
                let assignments = shares.collect();
                *leads = Some(Leads { counts, topics: topics.into_iter().collect(), look });
                self.phase = Phase::Sync { protocol, assignments };
            }
            // The others wait for the assignment until this one joins again.
            (Phase::Assign { .. }, _, Err(failure)) => self.again(now, Some(failure.error)),
            (Phase::Member(_), Some(leads), Ok(counts)) if leads.counts != counts => self.give_up(now, false),
            (Phase::Member(_), Some(leads), _) => leads.look = look,
            _ => {}
        }
    }

    fn synced(&mut self, now: Instant, assignment: Bytes) {
        let Some(Assignment(mut logs)) = Assignment::decode(assignment) else {
            let text = format!("the leader of group {} has sent no valid assignment", self.member.group);
            return self.again(now, Some(CommandError::new(Fault::Transient, 0, text)));
        };
        let all = logs.len();
        logs.retain(|(topic, _)| self.topics.contains(topic));
        // A member that comes back with another subscription has the logs of the one before: the group has not noticed.
        if logs.len() < all && self.failures == 0 {
            self.note.number = self.note.number.wrapping_add(1);
            return self.again(now, None);
        }
        (self.failures, self.heard, self.silence) = (0, now, None);
        let GroupMember { id, generation, .. } = &self.member;
        let had = self.had.replace((Arc::clone(id), *generation));
        let is_next = had.is_none_or(|(of, before)| of == *id && before.checked_add(1) == Some(*generation));
        self.assignments = self.assignments.saturating_add(if is_next { 1 } else { 2 });
        self.state = MemberState::Assigned(self.assignments, logs.into());
        self.phase = Phase::Member(after(now, self.interval()));
    }

    fn failed(&mut self, now: Instant, failure: Failure) {
        match failure.code {
            REBALANCE_IN_PROGRESS if matches!(self.phase, Phase::Member(_)) => {
                self.heard = self.sent;
                self.give_up(now, false);
            }
            REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => self.again(now, None),
            UNKNOWN_MEMBER_ID => {
                self.member.id = Arc::default();
                self.again(now, None);
            }
            FENCED_INSTANCE_ID => self.end(Ended::Fenced),
            INCONSISTENT_GROUP_PROTOCOL => {
                let text = format!(
                    "members of group {} share by none of the protocols that this member offers ({})",
                    self.member.group,
                    PROTOCOLS.join(", ")
                );
                self.end(Ended::Refused(CommandError { message: text, ..failure.error }));
            }
            _ if failure.is_final => self.end(Ended::Refused(failure.error)),
            _ if matches!(self.phase, Phase::Member(_)) => {
                self.silence = Some(failure.error);
                self.phase = Phase::Member(after(now, FIRST_PAUSE));
            }
            _ => self.again(now, Some(failure.error)),
        }
    }

    /// Stops to read, and commits what is kept before it joins again or leaves.
    fn give_up(&mut self, now: Instant, leaves: bool) {
        self.leads = None;
        self.phase = match std::mem::replace(&mut self.state, MemberState::Joining(None)) {
            MemberState::Assigned(_, logs) => Phase::GiveUp { logs, leaves },
            _ if leaves => Phase::Leave,
            _ => Phase::Join(now),
        };
    }

    /// The logs are others' by now, for all that is known.
    fn lose(&mut self, now: Instant, error: Option<CommandError>) {
        self.leads = None;
        self.member.generation = -1;
        self.state = MemberState::Joining(error);
        self.phase = Phase::Join(now);
    }

    /// Joins again: at once after a first failure, later after a pause.
    fn again(&mut self, now: Instant, error: Option<CommandError>) {
        let pause = match self.failures {
            0 if error.is_none() => Duration::ZERO,
            failures => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(MAX_PAUSE),
        };
        self.failures = self.failures.saturating_add(1);
        self.lose(now, error);
        self.phase = Phase::Join(after(now, pause));
    }

    fn end(&mut self, ended: Ended) {
        self.leads = None;
        self.state = MemberState::Ended(ended);
        self.phase = Phase::Ended;
    }

    /// The time between heartbeats.
    fn interval(&self) -> Duration {
        self.note.session_timeout.checked_div(3).unwrap_or_default().min(MAX_INTERVAL)
    }
}

/// Of another program, if nothing can be read of what it wants.
fn candidate(JoinedMember { id, instance, subscription }: JoinedMember) -> Candidate {
    let topics = Subscription::decode(subscription).unwrap_or_default().topics.into_iter().collect();
    Candidate { id, instance, topics }
}

fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

/// The longest time for which a coordinator holds a request: other members have five minutes to join by default.
const HELD: Duration = Duration::from_secs(310);

/// The time for the last requests before logs are given up.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The interval in which a leader looks for new partitions.
const LOOK: Duration = Duration::from_secs(15);

/// The time between heartbeats, at most: within it, a member learns that the group rebalances.
const MAX_INTERVAL: Duration = Duration::from_secs(3);

/// Pauses between attempts to join.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(5);

pub(super) const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
pub(super) const UNKNOWN_MEMBER_ID: i16 = 25;
pub(super) const REBALANCE_IN_PROGRESS: i16 = 27;
const INVALID_REQUEST: i16 = 42;
pub(super) const FENCED_INSTANCE_ID: i16 = 82;

#[cfg(test)]
mod tests;
