//! A subscription's position in one log, as a value: each event leads to one next step.

mod steps;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sluicegate_backend::{Chunk, CommandError, Fault, Fetch, Log, System, Version};
use sluicegate_protocol::error_code::OFFSET_OUT_OF_RANGE;
use sluicegate_shared_log::SeenEnds;
use tokio::time::Instant;

pub(super) use self::steps::{Answer, Event, Question, Step};
use super::client::Client;
use super::failures::Failures;
use super::item::{Item, Place, SkipCause};
use super::lag::Position;
use super::staleness::{Life, Removals, Staleness};
use super::subscribe::{Later, NOT_BEGUN, Table, recreated};
use crate::cluster::unanswered;

/// A position in a log.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// The offset to read next, or [`NOT_BEGUN`].
    pub(super) next: i64,
    /// Where it begins, if it has not.
    later: Option<Later>,
    /// The log's end as last known; −1 if unknown.
    pub(super) end: i64,
    pub(super) state: State,
    /// The epoch of the leader that the records before `read_to` are from. None: nothing was read yet, or it is not
    /// known.
    epoch: Option<i32>,
    /// The epoch that was known when it was read last. A bridge can know an earlier leader than the one whose records a
    /// client has that comes from another bridge.
    asked: Option<i32>,
    /// The offset up to which the log was read. Records that are skipped after it can be from any leader.
    read_to: i64,
    /// The time since which leaders do not know that the records before the position are committed.
    beyond_since: Option<Instant>,
    told: Told,
    /// Whether the position has moved past records since the client was told of it last.
    pub(super) has_moved: bool,
    outage: Option<Outage>,
    pub(super) staleness: Staleness,
    /// How long the topic keeps removals. None: it was not asked.
    life: Option<Life>,
    /// The log's start that the client of a table knows.
    start: i64,
    /// Records before this offset have replaced others in the snapshot of a table.
    seen: i64,
}

/// The event that a cursor waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its turn to be read.
    Ready,
    /// Its turn, once there are fewer questions.
    Unasked,
    /// The client's room for records.
    InHand,
    /// An answer.
    Asking,
    /// The end of an earlier epoch, from the leader of this one.
    Verifying { leader: i32 },
    /// Records at the end of its log.
    AtEnd,
    /// The end of a pause.
    Sleeping,
    /// Nothing more.
    Ended,
}

/// The client's knowledge of the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It was not told that the cursor has reached the end.
    Behind,
    AtEnd,
    /// It was told that records after the position wait for a transaction.
    Blocked,
}

/// A time in which the log cannot be read.
#[derive(Debug)]
struct Outage {
    since: SystemTime,
    /// Whether the client knows of it.
    is_told: bool,
    failures: Failures,
}

impl Outage {
    fn new(since: SystemTime) -> Self {
        Self { since, is_told: false, failures: Failures::default() }
    }
}

/// Time and chance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) date: SystemTime,
    /// Random, from 0 to 1.
    pub(super) jitter: f64,
}

impl Moment {
    pub(super) fn after(&self, wait: Duration) -> Instant {
        self.at.checked_add(wait).unwrap_or(self.at)
    }
}

impl Cursor {
    pub(super) fn new(topic: Arc<str>, partition: i32, next: i64) -> Self {
        Self {
            topic,
            partition,
            next,
            later: None,
            end: -1,
            state: State::Ready,
            epoch: None,
            asked: None,
            read_to: next,
            beyond_since: None,
            told: Told::Behind,
            has_moved: false,
            outage: None,
            staleness: Staleness::default(),
            life: None,
            start: -1,
            seen: 0,
        }
    }

    pub(super) fn log(&self) -> Log<'_> {
        Log { topic: &self.topic, partition: self.partition }
    }

    pub(super) fn position(&self) -> Position {
        Position { topic: Arc::clone(&self.topic), partition: self.partition, next: self.next, end: self.end }
    }

    pub(super) fn place(&self) -> Place {
        Place { topic: Arc::clone(&self.topic), partition: self.partition, offset: self.next }
    }

    /// All records before it, and before `seen`, are those of the leader of this epoch.
    pub(super) fn know(&mut self, epoch: Option<i32>, seen: i64) {
        (self.epoch, self.seen) = (epoch, seen);
    }

    /// Its log cannot be read yet. It begins later, unless it is at the beginning of the log.
    pub(super) fn begin_later(&mut self, later: Later, client: &mut Client, now: Moment) {
        self.later = (self.next == NOT_BEGUN).then_some(later);
        self.tell_outage(unanswered(), client, now);
    }

    /// The next step after an event. None: it still waits.
    pub(super) fn handle(&mut self, event: Event, client: &mut Client, now: Moment) -> Option<Step> {
        let next = match (self.state, event) {
            (State::Ready | State::Unasked, Event::Turn { fetch, version, recent }) => {
                self.read(fetch, version, recent, client, now)
            }
            (State::Asking, Event::Answered(answer, version)) => self.answered(answer, version, client, now),
            (State::Verifying { leader }, Event::Answered(answer, version)) => {
                self.verified(leader, answer, version, client, now)
            }
            (State::Asking | State::Verifying { .. }, Event::Unanswered) => {
                self.tell_outage(not_answered(client.system), client, now);
                return None;
            }
            // A record that has come waits for others; a failure is told at once.
            (State::AtEnd, Event::Woken { end }) if end.is_some_and(|end| end > self.next) => {
                Step::Sleep { until: now.after(client.request.linger) }
            }
            // The log can be another one.
            (State::AtEnd, Event::StillAtEnd { end, .. })
                if client.is_table() && (0..self.next.max(self.seen)).contains(&end) =>
            {
                Step::Turn
            }
            (State::AtEnd, Event::StillAtEnd { start, end }) => {
                self.end = self.end.max(end);
                self.tell_start(start, client);
                if self.told == Told::AtEnd && self.end > self.next {
                    self.told = Told::Behind;
                }
                self.wait_at_end(client, now)
            }
            (State::AtEnd, Event::Woken { .. }) | (State::Sleeping, Event::Due) => Step::Turn,
            // No such event was scheduled.
            (_, _) => return None,
        };
        Some(next)
    }

    /// Moves past what was read. Gives the delivery, if there is one, with the number of its records.
    pub(super) fn advance(
        &mut self,
        fetched: Chunk,
        version: Version,
        client: &mut Client,
        now: Moment,
    ) -> (Option<(Item, usize)>, Step) {
        if client.is_other_topic(&self.topic, version.topic_id) {
            return (None, Step::Ask(Question::TopicId));
        }
        let is_behind = fetched.count == 0 && (0..self.next).contains(&fetched.ends.end);
        match (self.epoch, version.leader_epoch) {
            // The records are read again when the new leader is known to have those before them.
            (Some(before), Some(leader)) if before != leader => return (None, Step::FirstTurn),
            // The leader of these records is not known. They are read again when it is.
            (Some(_), None) => return (None, Step::Ask(Question::TopicId)),
            // Their leader can be an earlier one than that.
            (None, leader) if leader != self.asked => return (None, Step::FirstTurn),
            // A leader that is none any more can lack records before the cursor.
            (_, _) if is_behind => {}
            (_, leader) => self.epoch = leader,
        }
        if client.is_table() && fetched.has_gap_from(self.next) {
            match self.staleness.removals(self.life, now.at) {
                Removals::Kept => {}
                Removals::Forgotten(_) => return (None, lose(client)),
                Removals::Unknown => return (None, Step::Ask(Question::TombstoneLife)),
            }
        }
        self.end_outage(client);
        let (count, next_offset, ends) = (fetched.count, fetched.next_offset, fetched.ends);
        let limit = ends.visible(client.request.committed);
        let moves = next_offset > self.next;
        self.has_moved |= moves;
        self.next = next_offset.max(self.next);
        if !is_behind {
            (self.read_to, self.beyond_since) = (self.next, None);
        }
        if moves && self.told == Told::Blocked {
            self.told = Told::AtEnd;
        }
        self.end = ends.end.max(self.end);
        self.tell_start(ends.start, client);
        let mut is_at_end = count == 0 && next_offset >= limit || limit >= 0 && self.next >= limit;
        let selected = client.select(&self.place(), fetched, true);
        let delivery = (selected.count > 0).then(|| {
            self.has_moved = false;
            (
                Item::Delivery { next: self.place(), messages: selected.messages, end: self.end },
                selected.count,
            )
        });
        if !is_at_end {
            self.told = Told::Behind;
            if client.request.skips && limit > self.next {
                self.skip_to(limit, SkipCause::Lag, client);
                is_at_end = true;
            }
        }
        let next = match is_at_end {
            _ if is_behind => self.wait_for_leader(now),
            // At the end for the first time, it looks again before it says so.
            true if self.told != Told::Behind || count == 0 && !moves => self.wait_at_end(client, now),
            _ if count > 0 || moves => Step::Turn,
            // The replica is behind its leader: try again soon.
            _ => pause(now),
        };
        (delivery, next)
    }

    /// Takes what is known of the log. If that is nothing, asks for what there is.
    fn read(
        &mut self,
        fetch: Fetch,
        version: Version,
        recent: Option<Chunk>,
        client: &mut Client,
        now: Moment,
    ) -> Step {
        if let Some(later) = self.later {
            return Step::Ask(Question::Begin(later));
        }
        if let Some(Table { max_away, .. }) = client.request.table
            && self.staleness.exceeds(max_away, now.at)
        {
            // Removals that the client does not know can be forgotten by now.
            return lose(client);
        }
        let leader = version.leader_epoch;
        if let (Some(epoch), Some(leader)) = (self.epoch, leader)
            && epoch != leader
        {
            if client.is_other_topic(&self.topic, version.topic_id) {
                // Its epochs mean nothing here.
                return Step::Ask(Question::TopicId);
            }
            // An election can lose records before the cursor, and put others in their place.
            return Step::Ask(Question::EndOfEpoch { epoch, leader });
        }
        self.asked = leader;
        recent.map_or(Step::Ask(Question::Records(fetch)), Step::Hold)
    }

    fn answered(&mut self, answer: Answer, version: Version, client: &mut Client, now: Moment) -> Step {
        match answer {
            Answer::Kept => Step::TurnForKept,
            Answer::Begin(_) if client.is_other_topic(&self.topic, version.topic_id) => {
                Step::Ask(Question::TopicId)
            }
            Answer::Begin(Ok(offset)) => self.begin(offset, client),
            Answer::Begin(Err(error)) => self.retry(error, client, now),
            Answer::Records(Ok(fetched)) if fetched.count > 0 => Step::TurnFor(fetched),
            Answer::Records(Ok(nothing)) => self.advance(nothing, version, client, now).1,
            Answer::Records(Err(error)) if error.lacks_ends() => Step::Ask(Question::Ends(error)),
            Answer::Records(Err(error)) => self.fail(error, version, client, now),
            Answer::TopicId(Ok(id)) if client.is_other_topic(&self.topic, id) => match client.is_table() {
                true => lose(client),
                false => self.end(recreated(client.system, &self.topic), client),
            },
            // The records are read again once their leader is known.
            Answer::TopicId(Ok(_)) if self.epoch.is_some() && version.leader_epoch.is_none() => pause(now),
            Answer::TopicId(Ok(_)) => Step::Turn,
            Answer::TopicId(Err(error)) => self.retry(error, client, now),
            Answer::TombstoneLife(life) => {
                self.life = Some(life.unwrap_or_else(|error| Life::untold(&error, now.at)));
                Step::FirstTurn
            }
            Answer::Ends(error) => self.fail(error, version, client, now),
            Answer::EndOfEpoch(_) | Answer::Nothing => pause(now),
        }
    }

    /// Goes on with the records of a new leader if it has those before the cursor.
    fn verified(
        &mut self,
        leader: i32,
        answer: Answer,
        version: Version,
        client: &mut Client,
        now: Moment,
    ) -> Step {
        if client.is_other_topic(&self.topic, version.topic_id) {
            // The answer can be about that one.
            return Step::Ask(Question::TopicId);
        }
        match answer {
            Answer::EndOfEpoch(Ok(Some(end))) if end < self.read_to.max(self.seen) => {
                Step::Ask(Question::Ends(lost(end)))
            }
            Answer::EndOfEpoch(Err(error))
                if error.fault.is_retriable() || error.fault == Fault::NotFound =>
            {
                self.fail(error, version, client, now)
            }
            // A leader that does not know the epoch cannot verify the records.
            Answer::EndOfEpoch(_) => {
                self.epoch = Some(leader);
                Step::Turn
            }
            Answer::Ends(_) if client.is_table() => lose(client),
            Answer::Ends(lost) => self.end(lost, client),
            Answer::Kept
            | Answer::Records(_)
            | Answer::Begin(_)
            | Answer::TopicId(_)
            | Answer::TombstoneLife(_)
            | Answer::Nothing => pause(now),
        }
    }

    /// Begins at an offset, and tells the client.
    fn begin(&mut self, offset: i64, client: &mut Client) -> Step {
        (self.later, self.next, self.read_to) = (None, offset, offset);
        self.end_outage(client);
        client.tell_begin(self.place());
        Step::Turn
    }

    fn end_outage(&mut self, client: &mut Client) {
        if let Some(outage) = self.outage.take() {
            self.told = Told::Behind;
            client.knows_outage &= !outage.is_told;
        }
    }

    /// Waits for a leader that was just elected, which does not know yet how far records are committed: as long as it has
    /// waited so far, since that can last while replicas are missing.
    fn wait_for_leader(&mut self, now: Moment) -> Step {
        let since = *self.beyond_since.get_or_insert(now.at);
        let pause = now.at.saturating_duration_since(since).clamp(PAUSE, LONGEST_PAUSE);
        Step::Sleep { until: now.after(pause) }
    }

    /// Tells the client of a table that the log begins later.
    fn tell_start(&mut self, start: i64, client: &mut Client) {
        if client.is_table() && start > self.known_start(client) {
            self.start = start;
            client.items.push_back(Item::LogStart(Place { offset: start, ..self.place() }));
        }
    }

    /// The start of the log that the client of a table knows.
    fn known_start(&self, client: &Client) -> i64 {
        self.start.max(client.system.first_offset)
    }

    /// Waits for records at the end of the log.
    fn wait_at_end(&mut self, client: &mut Client, now: Moment) -> Step {
        self.staleness.is_current_at(now.at);
        let committed = client.request.committed;
        if self.told == Told::Behind {
            let blocked_until = (committed && self.end > self.next).then_some(self.end);
            self.told = if blocked_until.is_some() { Told::Blocked } else { Told::AtEnd };
            self.has_moved = false;
            client.items.push_back(Item::CaughtUp { place: self.place(), blocked_until });
        }
        let table = client.request.table;
        let mut seen = SeenEnds::ALL;
        if committed && self.told != Told::Blocked {
            // A transaction can begin after the end was reached.
            seen.end = self.next;
        }
        if table.is_some() {
            seen.start = self.known_start(client);
        }
        // A table is current only if its log still ends there, and is the one that the client has seen.
        let until = table.map(|table| now.after((table.max_away / 4).min(CURRENT)));
        Step::WaitAtEnd { until, seen }
    }

    /// Reacts to a failed read: goes on after what was deleted, tries again, or ends.
    fn fail(&mut self, error: CommandError, version: Version, client: &mut Client, now: Moment) -> Step {
        if client.is_other_topic(&self.topic, version.topic_id) {
            return Step::Ask(Question::TopicId);
        }
        match error.ends {
            Some((start, _)) if start > self.next && client.is_table() => lose(client),
            Some((start, _)) if start > self.next => {
                self.skip_to(start, SkipCause::Deleted, client);
                self.told = Told::Behind;
                // A log that discards what is read must not be asked without a pause.
                pause(now)
            }
            _ => self.retry(error, client, now),
        }
    }

    fn skip_to(&mut self, offset: i64, cause: SkipCause, client: &mut Client) {
        let from = std::mem::replace(&mut self.next, offset);
        self.has_moved = false;
        client.items.push_back(Item::Skipped { from, to: self.place(), cause });
    }

    /// Tries again later, or ends.
    fn retry(&mut self, error: CommandError, client: &mut Client, now: Moment) -> Step {
        let outage = self.outage.get_or_insert_with(|| Outage::new(now.date));
        let is_missing = matches!(error.fault, Fault::NotFound | Fault::OffsetOutOfRange);
        if !outage.failures.is_passing(error.fault, is_missing, now.at) {
            if is_missing && client.is_table() {
                // Another topic of the same name can have fewer partitions.
                return lose(client);
            }
            return self.end(error, client);
        }
        let mut wait = outage.failures.back_off(error.retry_after, now.jitter);
        if is_missing {
            wait = wait.min(MISSING);
        }
        self.tell_outage(error, client, now);
        Step::Sleep { until: now.after(wait) }
    }

    /// Tells the client that the cursor cannot be read. One outage is told at a time: when it ends, the next cursor
    /// that fails tells its own.
    fn tell_outage(&mut self, error: CommandError, client: &mut Client, now: Moment) {
        let place = self.place();
        let outage = self.outage.get_or_insert_with(|| Outage::new(now.date));
        if !std::mem::replace(&mut client.knows_outage, true) {
            outage.is_told = true;
            client.items.push_back(Item::Retrying { place, error, since: outage.since });
        }
    }

    fn end(&mut self, error: CommandError, client: &mut Client) -> Step {
        client.items.push_back(Item::Ended { place: self.place(), error });
        Step::End
    }
}

/// Lets a table begin anew.
fn lose(client: &mut Client) -> Step {
    client.is_lost = true;
    Step::End
}

fn pause(now: Moment) -> Step {
    Step::Sleep { until: now.after(PAUSE) }
}

/// The error of records from `end` on that an election has lost.
fn lost(end: i64) -> CommandError {
    let message = format!("records from offset {end} on were lost when the partition got another leader");
    CommandError::new(Fault::OffsetOutOfRange, OFFSET_OUT_OF_RANGE, message)
}

/// The error of a question that is not answered yet.
fn not_answered(system: System) -> CommandError {
    let fault = Fault::Unreachable { retriable: true };
    CommandError::new(fault, 0, format!("{} has not answered yet", system.name))
}

/// The time after which the client is told of a question without an answer.
pub(super) const SLOW: Duration = Duration::from_millis(1_200);

/// The time between proofs that a table is current, while nothing comes.
const CURRENT: Duration = Duration::from_secs(30);

/// The longest pause before the next look for a log that was deleted, and may be created again.
const MISSING: Duration = Duration::from_secs(1);

/// The pause after an answer that says nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause of a cursor that is beyond what its leader knows to be committed.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
