//! A consumer's positions in the logs that it has, as values.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use sluicegate_backend::groups::{Commit, GroupLog};

use crate::lag::Position;

/// The positions in the logs of one assignment.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// The assignment's number; None: there was none.
    number: Option<u64>,
    places: BTreeMap<GroupLog, Place>,
    /// The first log of the next window.
    next_window: usize,
    /// The answers that the client has taken.
    takings: u64,
    /// The last answer, and the connection over which it was sent, as long as the client has not come back.
    sent: Option<(Weak<()>, Vec<Advance>)>,
    /// Whether the client can have something that the group does not know.
    is_dirty: bool,
}

#[derive(Debug)]
struct Place {
    /// The offset of the next record to answer with.
    next: i64,
    /// The same of what the client surely has: it came back for more.
    got: i64,
    /// The position that the group has, as far as is known.
    committed: Option<i64>,
    /// Whether it is of an earlier assignment, after which another member can have committed.
    is_earlier: bool,
}

impl Positions {
    /// Begins an assignment, and forgets logs that are not part of it. True if it is another one.
    pub(super) fn assign(&mut self, number: u64, logs: &[GroupLog]) -> bool {
        if self.is_of(number) {
            return false;
        }
        self.is_dirty = true;
        self.number = Some(number);
        // The logs of an assignment are sorted.
        self.places.retain(|log, _| logs.binary_search(log).is_ok());
        self.places.values_mut().for_each(|place| place.is_earlier = true);
        true
    }

    /// The logs with a position, sorted.
    pub(super) fn logs(&self) -> impl Iterator<Item = &GroupLog> {
        self.places.keys()
    }

    /// Whether they are of the assignment with this number.
    pub(super) fn is_of(&self, number: u64) -> bool {
        self.number == Some(number)
    }

    /// Whether they are of the assignment before the one with this number.
    pub(super) fn are_just_before(&self, number: u64) -> bool {
        self.number.and_then(|of| of.checked_add(1)) == Some(number)
    }

    /// Whether they are of a later assignment.
    pub(super) fn are_later_than(&self, number: u64) -> bool {
        self.number.is_some_and(|known| known > number)
    }

    /// The logs whose positions have to be asked for.
    pub(super) fn unknown(&self, logs: &[GroupLog]) -> Vec<GroupLog> {
        let is_unknown = |log: &&GroupLog| self.places.get(log).is_none_or(|place| place.is_earlier);
        logs.iter().filter(is_unknown).cloned().collect()
    }

    /// The group has this position. False: the log needs a reset.
    ///
    /// A log that stays is read on from where it was, unless another member has committed meanwhile.
    pub(super) fn set_committed(&mut self, log: &GroupLog, committed: Option<i64>) -> bool {
        match (self.places.get_mut(log), committed) {
            (Some(place), committed) => {
                let is_own = committed == place.committed || committed == Some(place.got);
                if let (false, Some(offset)) = (is_own, committed) {
                    (place.next, place.got) = (offset, offset);
                }
                (place.committed, place.is_earlier) = (committed, false);
                true
            }
            (None, Some(offset)) => {
                self.insert(log, offset, committed);
                true
            }
            (None, None) => false,
        }
    }

    /// Begins at an offset that the group does not know.
    pub(super) fn reset(&mut self, log: &GroupLog, offset: i64) {
        let committed = self.places.get(log).and_then(|place| place.committed);
        self.insert(log, offset, committed);
    }

    fn insert(&mut self, log: &GroupLog, offset: i64, committed: Option<i64>) {
        let place = Place { next: offset, got: offset, committed, is_earlier: false };
        self.is_dirty = true;
        self.places.insert(log.clone(), place);
    }

    /// Moves to where the client wants to read. False: it does not have the log.
    pub(super) fn seek(&mut self, log: &GroupLog, offset: i64) -> bool {
        let place = self.places.get_mut(log);
        place.map(|place| place.next = offset).is_some()
    }

    /// The next logs in turn, at most `max`, each with its position. The second value is the number of logs with one.
    pub(super) fn window(&mut self, logs: &[GroupLog], max: usize) -> (Vec<(GroupLog, i64)>, usize) {
        let known: Vec<(GroupLog, i64)> =
            logs.iter().filter_map(|log| Some((log.clone(), self.places.get(log)?.next))).collect();
        let count = known.len();
        let first = self.next_window.checked_rem(count).unwrap_or_default();
        let window = known.iter().cycle().skip(first).take(count.min(max)).cloned().collect();
        self.next_window = if count > max { first.saturating_add(max) } else { 0 };
        (window, count)
    }

    /// An answer that the client has not taken does not move its position.
    pub(super) fn advance(&mut self, advances: &[Advance]) {
        for Advance { log, from, to } in advances {
            if let Some(place) = self.places.get_mut(log).filter(|place| place.next == *from) {
                place.next = *to;
            }
        }
    }

    /// All of them, as others see them.
    pub(super) fn all(&self) -> impl Iterator<Item = Position> {
        let place = |((topic, partition), place): (&GroupLog, &Place)| Position {
            topic: Arc::clone(topic),
            partition: *partition,
            next: place.next,
            end: -1,
        };
        self.places.iter().map(place)
    }

    /// The client has taken an answer, as far as that is known while its connection, if one is given, is open.
    pub(super) fn take(&mut self, advances: Vec<Advance>, connection: Option<Weak<()>>) {
        self.advance(&advances);
        self.takings = self.takings.saturating_add(1);
        self.sent = connection.map(|connection| (connection, advances));
    }

    /// Goes back to before the last answer if its connection has ended since: it may have been lost with a gateway.
    /// Positions that the client has moved or committed since stay.
    fn check_sent(&mut self) {
        let Some((connection, advances)) = self.sent.take() else { return };
        if connection.strong_count() > 0 {
            self.sent = Some((connection, advances));
            return;
        }
        for Advance { log, from, to } in advances {
            if let Some(place) = self.places.get_mut(&log).filter(|place| place.next == to && place.got < to)
            {
                place.next = from;
            }
        }
    }

    /// The number of answers that were taken.
    pub(super) fn takings(&self) -> u64 {
        self.takings
    }

    /// The client came back after so many answers: it has them.
    pub(super) fn came_back(&mut self, takings: u64) {
        if takings == self.takings {
            self.check_sent();
            self.sent = None;
            self.is_dirty = true;
            self.places.values_mut().for_each(|place| place.got = place.next);
        }
    }

    /// The positions of the client that the group does not know.
    pub(super) fn uncommitted(&mut self) -> Vec<Commit> {
        if !self.is_dirty {
            return Vec::new();
        }
        let places = self.places.iter().filter(|(_, place)| place.committed != Some(place.got));
        let commits: Vec<Commit> = places.map(|(log, place)| commit(log, place.got)).collect();
        self.is_dirty = !commits.is_empty();
        commits
    }

    /// All that was answered.
    pub(super) fn answered(&mut self) -> Vec<Commit> {
        self.check_sent();
        self.places.iter().map(|(log, place)| commit(log, place.next)).collect()
    }

    /// The group has these positions. With `by_client`, the client has what is before them.
    pub(super) fn committed<'a>(&mut self, commits: impl Iterator<Item = &'a Commit>, by_client: bool) {
        for Commit { log, offset, .. } in commits {
            if let Some(place) = self.places.get_mut(log) {
                place.committed = Some(*offset);
                if by_client {
                    place.got = *offset;
                }
            }
        }
    }
}

/// A move of a position by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advance {
    pub(super) log: GroupLog,
    pub(super) from: i64,
    pub(super) to: i64,
}

fn commit(log: &GroupLog, offset: i64) -> Commit {
    Commit { log: log.clone(), offset, metadata: Arc::from("") }
}
