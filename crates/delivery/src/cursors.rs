//! The cursors of a subscription, as a value without a runtime or a clock.
//!
//! Events lead to [`Item`]s for the client, and to [`Step`]s, some of which the owner performs in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_backend::{Chunk, Fetch, System, Version};
use tokio::time::Instant;

use super::client::Client;
use super::cursor::{Cursor, Event, Moment, Question, State, Step};
use super::item::{Item, Place};
use super::selections::Selections;
use super::subscribe::{Later, MAX_PARTITIONS, Subscribe, SubscribedTopic, too_many_partitions};

/// The cursors, and what was read for them.
pub(super) struct Cursors {
    pub(super) client: Client,
    cursors: Vec<Cursor>,
    /// Cursors that are [`State::Ready`], in turn.
    turns: VecDeque<usize>,
    /// Cursors that are [`State::Unasked`].
    unasked: VecDeque<usize>,
    /// Records of the cursor that is [`State::InHand`].
    in_hand: Option<(usize, Chunk)>,
    /// Records of cursors that are [`State::Ready`], and are not kept for all clients: at most [`MAX_SPARE`].
    spare: VecDeque<(usize, Chunk)>,
    /// Cursors that are [`State::Asking`] or [`State::Verifying`].
    asked: usize,
    /// Whether the records of the last answer are kept for all clients.
    is_kept: bool,
    /// Whether the owner waits until [`Cursors::progress_due`].
    tells_progress: bool,
    /// Steps that the owner performs, with the indices of their cursors.
    steps: VecDeque<(usize, Step)>,
}

/// A cursor to be read: the caller gives it [`Event::Turn`].
pub(super) struct Turn {
    pub(super) index: usize,
    pub(super) fetch: Fetch,
}

impl Cursors {
    pub(super) fn new(request: Subscribe, system: System, selections: Arc<Selections>) -> Self {
        Self {
            client: Client::new(request, system, selections),
            cursors: Vec::new(),
            turns: VecDeque::new(),
            unasked: VecDeque::new(),
            in_hand: None,
            spare: VecDeque::new(),
            asked: 0,
            is_kept: true,
            tells_progress: false,
            steps: VecDeque::new(),
        }
    }

    /// Adds cursors for topics, and tells the client.
    pub(super) fn add(&mut self, topics: Vec<SubscribedTopic>) {
        self.add_cursors(&topics);
        self.client.add(topics);
    }

    /// The same for topics of which a snapshot comes first.
    pub(super) fn add_tables(&mut self, topics: Vec<SubscribedTopic>) {
        self.add_cursors(&topics);
        self.client.add_tables(topics);
    }

    fn add_cursors(&mut self, topics: &[SubscribedTopic]) {
        for SubscribedTopic { topic, partitions, .. } in topics {
            for (partition, offset) in partitions {
                self.turns.push_back(self.cursors.len());
                self.cursors.push(Cursor::new(Arc::clone(topic), *partition, *offset));
            }
        }
    }

    /// Partitions of these topics cannot be read yet.
    pub(super) fn begin_later<'a>(
        &mut self,
        later: impl Iterator<Item = (&'a Arc<str>, BTreeMap<i32, Later>)>,
        now: Moment,
    ) {
        let later: BTreeMap<&Arc<str>, _> = later.collect();
        for cursor in &mut self.cursors {
            if let Some(later) = later.get(&cursor.topic).and_then(|later| later.get(&cursor.partition)) {
                cursor.begin_later(*later, &mut self.client, now);
            }
        }
    }

    /// Adds cursors for those of a topic's `partitions` that are new. They are those of the topic with this id; None: it
    /// is not known.
    pub(super) fn grow(&mut self, topic: &Arc<str>, topic_id: Option<u128>, partitions: &[i32]) {
        if self.client.is_other_topic(topic, topic_id) {
            // One that was there before, or that the reads will tell of.
            return;
        }
        let Some(grown) = self.client.growth(topic, partitions) else { return };
        if self.cursors.len().saturating_add(grown.partitions.len()) <= MAX_PARTITIONS {
            return self.add(vec![grown]);
        }
        let (partition, offset) = grown.partitions.first().copied().unwrap_or_default();
        let place = Place { topic: grown.topic, partition, offset };
        self.client.items.push_back(Item::Ended { place, error: too_many_partitions() });
    }

    /// The table begins anew: tells the client so, and nothing else any more.
    pub(super) fn lose(&mut self) {
        self.in_hand = None;
        self.spare.clear();
        let mut topics: BTreeMap<Arc<str>, Vec<(i32, i64)>> = BTreeMap::new();
        for cursor in &self.cursors {
            topics.entry(Arc::clone(&cursor.topic)).or_default().push((cursor.partition, cursor.next));
        }
        self.client.lose(topics);
    }

    /// The client has all that was in the logs at this time.
    pub(super) fn are_current_at(&mut self, time: Instant) {
        self.cursors.iter_mut().for_each(|cursor| cursor.staleness.is_current_at(time));
    }

    /// When the client had all that was in the logs last. None: nothing was read yet.
    pub(super) fn current_at(&self) -> Option<Instant> {
        self.cursors.iter().filter_map(|cursor| cursor.staleness.current_at()).min()
    }

    /// Lets cursors know the epoch of the leader that has all records before their place, and before the offset.
    pub(super) fn know(&mut self, known: impl Iterator<Item = (Place, Option<i32>, i64)>) {
        let mut known: BTreeMap<(Arc<str>, i32), (Option<i32>, i64)> =
            known.map(|(place, epoch, seen)| ((place.topic, place.partition), (epoch, seen))).collect();
        for cursor in &mut self.cursors {
            if let Some((epoch, seen)) = known.remove(&(Arc::clone(&cursor.topic), cursor.partition)) {
                cursor.know(epoch, seen);
            }
        }
    }

    /// All cursors, in the order of their indices.
    pub(super) fn all(&self) -> &[Cursor] {
        &self.cursors
    }

    /// The next cursor to be read, with room for `max_bytes`. None if there is something to tell, or nothing to read.
    pub(super) fn next_turn(&mut self, max_bytes: usize) -> Option<Turn> {
        if self.is_ready() {
            return None;
        }
        let index = match self.turns.pop_front() {
            None if self.may_ask() => self.unasked.pop_front()?,
            turn => turn?,
        };
        if let Some(at) = self.spare.iter().position(|(of, _)| *of == index)
            && let Some((_, spare)) = self.spare.remove(at)
            && (spare.count <= 1 || spare.messages.len() <= max_bytes)
        {
            self.schedule(index, Step::Hold(spare));
            return None;
        }
        let fetch = self.client.fetch(self.cursors.get(index)?.next, max_bytes);
        Some(Turn { index, fetch })
    }

    /// Gives an event to its cursor.
    pub(super) fn handle(&mut self, index: usize, event: Event, now: Moment) {
        if let Event::Answered(..) = event {
            self.asked = self.asked.saturating_sub(1);
        }
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        if let Some(step) = cursor.handle(event, &mut self.client, now) {
            self.schedule(index, step);
        }
    }

    /// When to tell progress, if this cursor has moved without a delivery, and the owner does not wait for that already.
    pub(super) fn progress_due(&mut self, index: usize, now: Moment) -> Option<Instant> {
        let has_moved = self.cursors.get(index)?.has_moved;
        (has_moved && !std::mem::replace(&mut self.tells_progress, true)).then(|| now.after(PROGRESS))
    }

    /// Tells the positions that have moved without a delivery.
    pub(super) fn tell_progress(&mut self) {
        self.tells_progress = false;
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.has_moved) {
            cursor.has_moved = false;
            let progress = Item::Delivery { next: cursor.place(), messages: Bytes::new(), end: cursor.end };
            self.client.items.push_back(progress);
        }
    }

    /// Whether there is something to tell, or there was when it was read.
    pub(super) fn is_ready(&self) -> bool {
        !self.client.items.is_empty() || self.in_hand.is_some()
    }

    /// The records that [`Cursors::take`] gives, with the index of their cursor. None if it gives something else first.
    pub(super) fn in_hand(&self) -> Option<(usize, &Chunk)> {
        let (index, fetched) = self.in_hand.as_ref().filter(|_| self.client.items.is_empty())?;
        Some((*index, fetched))
    }

    /// Drops the records that were read.
    pub(super) fn put_back(&mut self) {
        self.spare.clear();
        if let Some((index, _)) = self.in_hand.take() {
            self.schedule(index, Step::FirstTurn);
        }
    }

    /// The next item, and the number of its records. None if there is nothing to tell after all. `version` is the known
    /// one of the log of [`Cursors::in_hand`].
    pub(super) fn take(&mut self, version: Version, now: Moment) -> Option<(Item, usize)> {
        if let Some(item) = self.client.items.pop_front() {
            return Some((item, 0));
        }
        let (index, fetched) = self.in_hand.take()?;
        let cursor = self.cursors.get_mut(index)?;
        let (delivery, step) = cursor.advance(fetched, version, &mut self.client, now);
        self.schedule(index, step);
        delivery
    }

    /// The next step to perform, with the index of its cursor.
    pub(super) fn next_step(&mut self) -> Option<(usize, Step)> {
        self.steps.pop_front()
    }

    /// Takes a cursor's next step, or leaves it to the owner. In each state but [`State::Ended`], something is under way
    /// that ends it.
    fn schedule(&mut self, index: usize, step: Step) {
        let may_ask = self.may_ask();
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        cursor.state = match step {
            Step::FirstTurn => {
                self.turns.push_front(index);
                State::Ready
            }
            Step::Turn => {
                self.turns.push_back(index);
                State::Ready
            }
            Step::TurnForKept => {
                self.is_kept = true;
                self.turns.push_back(index);
                State::Ready
            }
            Step::TurnFor(fetched) => {
                self.is_kept = false;
                self.turns.push_back(index);
                if self.spare.len() < MAX_SPARE {
                    self.spare.push_back((index, fetched));
                }
                State::Ready
            }
            Step::Hold(fetched) => {
                self.in_hand = Some((index, fetched));
                State::InHand
            }
            Step::Ask(Question::Records(_) | Question::Begin(_) | Question::EndOfEpoch { .. })
                if !may_ask =>
            {
                self.unasked.push_back(index);
                State::Unasked
            }
            Step::Ask(ref question) => {
                let state = match question {
                    Question::Records(_)
                    | Question::Begin(_)
                    | Question::TopicId
                    | Question::TombstoneLife => State::Asking,
                    Question::EndOfEpoch { leader, .. } => State::Verifying { leader: *leader },
                    // A part of the question before.
                    Question::Ends(_) => cursor.state,
                };
                self.asked = self.asked.saturating_add(1);
                self.steps.push_back((index, step));
                state
            }
            Step::WaitAtEnd { .. } => {
                self.steps.push_back((index, step));
                State::AtEnd
            }
            Step::Sleep { .. } => {
                self.steps.push_back((index, step));
                State::Sleeping
            }
            Step::End => State::Ended,
        };
    }

    /// Whether one more question is within the bounds.
    fn may_ask(&self) -> bool {
        let unkept = self.asked.saturating_add(self.spare.len());
        if self.is_kept { self.asked < MAX_ASKED } else { unkept < MAX_SPARE }
    }
}

/// The longest time in which a position moves without a message to the client.
const PROGRESS: Duration = Duration::from_millis(900);

/// Questions to the messaging system at the same time, while what they find is kept for all clients.
const MAX_ASKED: usize = 32;

/// Batches that a subscription keeps for itself, and questions at the same time while it has to.
const MAX_SPARE: usize = 4;

#[cfg(test)]
mod tests;
