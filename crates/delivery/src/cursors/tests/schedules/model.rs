//! Logs as lists of entries, and what a client knows of them.

use std::collections::BTreeMap;

use sluicegate_shared_log::SeenEnds;

use super::*;
use crate::item::SkipCause;

pub(super) const PARTITIONS: usize = 6;

/// The cursors, their client, and all that is under way.
pub(super) struct Model {
    cursors: Cursors,
    logs: Vec<LogModel>,
    histories: Vec<History>,
    under_way: Vec<UnderWay>,
    progress: usize,
    are_kept: bool,
    is_recreated: bool,
    now: Moment,
}

/// A log with all that was ever written there.
#[derive(Default)]
struct LogModel {
    start: i64,
    /// The epoch in which each was written, and whether it is a record.
    entries: Vec<(i32, bool)>,
    /// The entries at the end of each earlier epoch.
    earlier: BTreeMap<i32, Vec<(i32, bool)>>,
    epoch: i32,
    /// The epoch that the bridge knows.
    known: Option<i32>,
    open: Option<i64>,
    fault: Option<Fault>,
    faults: Vec<Fault>,
    /// The highest start.
    deleted: i64,
    /// The lowest offset that an election has lost.
    lost: Option<i64>,
}

/// Messages to the client about one log.
#[derive(Default)]
struct History {
    next: i64,
    /// Offsets and epochs of records.
    records: Vec<(i64, i32)>,
    skipped: Vec<(i64, i64)>,
    is_caught_up: bool,
    ended: Option<CommandError>,
    /// The end of what can be read, in the last answer without records.
    limit: i64,
}

#[derive(Debug)]
enum UnderWay {
    Question { index: usize, question: Question, is_late: bool },
    Answer { index: usize, answer: Answer },
    Wait { index: usize, offset: i64, until: Option<Instant>, seen: SeenEnds, lingers: bool },
    Sleep { index: usize, until: Instant },
}

impl Model {
    pub(super) fn new(request: Subscribe) -> Self {
        let new_log = |_| LogModel { known: Some(0), ..Default::default() };
        Self {
            cursors: subscribed(request, PARTITIONS as i32),
            logs: (0..PARTITIONS).map(new_log).collect(),
            histories: (0..PARTITIONS).map(|_| History::default()).collect(),
            under_way: Vec::new(),
            progress: 0,
            are_kept: true,
            is_recreated: false,
            now: *NOW,
        }
    }

    pub(super) fn perform(&mut self, step: Step) {
        let count = self.logs.len();
        let log = |partition: usize| partition % count;
        match step {
            Step::Append { partition, count, are_records } => {
                let log = &mut self.logs[log(partition)];
                log.entries.extend(std::iter::repeat_n((log.epoch, are_records), count));
            }
            Step::Delete { partition, count } => {
                let log = &mut self.logs[log(partition)];
                // Lost records that would have been deleted meanwhile cannot be told from deleted ones.
                let end = log.lost.unwrap_or(i64::MAX).min(log.ends().stable);
                log.start = (log.start + count).min(end);
                log.deleted = log.deleted.max(log.start);
            }
            Step::Elect { partition, lost } => self.logs[log(partition)].elect(lost),
            Step::Learn { partition, is_known } => {
                let (log, cursor) = (&mut self.logs[log(partition)], &self.cursors.cursors[log(partition)]);
                // The first leader is known: without it, nothing can be verified.
                if is_known || cursor.has_epoch() {
                    log.known = is_known.then_some(log.epoch);
                }
            }
            Step::Transact { partition } => {
                let log = &mut self.logs[log(partition)];
                let end = log.ends().end;
                log.open = if log.open.is_some() { None } else { Some(end) };
            }
            Step::Break { partition, fault } => {
                let log = &mut self.logs[log(partition)];
                log.fault = fault;
                log.faults.extend(fault);
            }
            Step::Keep(are_kept) => self.are_kept = are_kept,
            Step::Recreate => self.is_recreated = true,
            Step::Grow => {
                let partitions: Vec<i32> = (0..=count as i32).collect();
                self.logs.push(LogModel { known: Some(0), ..Default::default() });
                self.histories.push(History::default());
                self.cursors.grow(&TOPIC.into(), None, &partitions);
            }
            Step::Read(records) => self.read(10 * records),
            Step::Take => self.take(),
            Step::PutBack => self.cursors.put_back(self.now),
            Step::Progress(which) => {
                if !self.under_way.is_empty() {
                    self.go_on(which % self.under_way.len());
                }
            }
            Step::Disturb(which) => {
                if !self.under_way.is_empty() {
                    self.disturb(which % self.under_way.len());
                }
            }
            Step::TellProgress => {
                if self.progress > 0 {
                    self.progress -= 1;
                    self.cursors.tell_progress();
                }
            }
        }
    }

    /// Checks the invariants that hold after each event.
    pub(super) fn check(&mut self) {
        let Cursors { cursors, turns, unasked, in_hand, spare, .. } = &self.cursors;
        for (index, cursor) in cursors.iter().enumerate() {
            let in_turns = turns.iter().filter(|turn| **turn == index).count();
            let in_unasked = unasked.iter().filter(|turn| **turn == index).count();
            let in_hand = usize::from(in_hand.as_ref().is_some_and(|(of, _)| *of == index));
            let (mut asking, mut waiting, mut sleeping) = (0, 0, 0);
            for under_way in self.under_way.iter().filter(|under_way| under_way.index() == index) {
                match under_way {
                    UnderWay::Question { .. } | UnderWay::Answer { .. } => asking += 1,
                    UnderWay::Wait { .. } => waiting += 1,
                    UnderWay::Sleep { .. } => sleeping += 1,
                }
            }
            let scheduled = [in_turns, in_unasked, in_hand, asking, waiting, sleeping];
            let want = match cursor.state {
                State::Ready => [1, 0, 0, 0, 0, 0],
                State::Unasked => [0, 1, 0, 0, 0, 0],
                State::InHand => [0, 0, 1, 0, 0, 0],
                State::Asking | State::Verifying { .. } => [0, 0, 0, 1, 0, 0],
                State::AtEnd => [0, 0, 0, 0, 1, 0],
                State::Sleeping => [0, 0, 0, 0, 0, 1],
                State::Ended => [0; 6],
            };
            assert_eq!(scheduled, want, "{cursor:?}");
            assert!(cursor.next >= self.histories[index].next);
        }
        let asked =
            cursors.iter().filter(|cursor| matches!(cursor.state, State::Asking | State::Verifying { .. }));
        assert_eq!(asked.count(), self.cursors.asked);
        assert!(spare.len() <= MAX_SPARE && spare.iter().all(|(index, _)| turns.contains(index)));
        assert!(unasked.is_empty() || self.cursors.may_ask() || self.cursors.asked > 0 || !spare.is_empty());
        let told = cursors.iter().filter(|cursor| cursor.is_outage_told()).count();
        assert_eq!(told, usize::from(self.cursors.client.knows_outage), "one outage is told at a time");
        assert_eq!(self.progress, usize::from(self.cursors.tells_progress));
        let waits_to_be_told = |cursor: &Cursor| cursor.has_moved && cursor.state != State::Ended;
        assert!(self.progress == 1 || !cursors.iter().any(waits_to_be_told), "moves are told in time");
    }

    /// Mends all, and lets everything happen that can. The client then has all that there is.
    pub(super) fn come_to_rest(&mut self) {
        for log in &mut self.logs {
            (log.known, log.open, log.fault) = (Some(log.epoch), None, None);
        }
        // A log that is shorter than before gives no records that would end a wait.
        while let Some(wait) = self.under_way.iter().position(|of| matches!(of, UnderWay::Wait { .. })) {
            self.disturb(wait);
        }
        let mut turns = 0;
        loop {
            turns += 1;
            assert!(turns < 10_000, "no end: {:?}", self.under_way);
            self.read(1000);
            while self.cursors.is_ready() {
                self.take();
            }
            self.check();
            let can_go_on = |under_way: &UnderWay| match under_way {
                UnderWay::Wait { index, offset, .. } => self.limit(*index) > *offset,
                _ => true,
            };
            let next = self.under_way.iter().position(can_go_on);
            match next {
                Some(next) => self.go_on(next),
                None if self.cursors.turns.is_empty() && self.cursors.unasked.is_empty() => break,
                None => {}
            }
        }
        self.cursors.tell_progress();
        while self.cursors.is_ready() {
            self.take();
        }
        for (index, (log, history)) in self.logs.iter().zip(&self.histories).enumerate() {
            let cursor = &self.cursors.cursors[index];
            if let Some(error) = &history.ended {
                assert_eq!(cursor.state, State::Ended);
                let is_due = match error.fault {
                    Fault::OffsetOutOfRange if error.message.contains("were lost") => {
                        log.lost.is_some_and(|lost| lost < cursor.next)
                    }
                    // Offset and topic were missing for too long.
                    Fault::OffsetOutOfRange => log.lost.is_some() || !log.faults.is_empty(),
                    Fault::Recreated => self.is_recreated,
                    fault => log.faults.contains(&fault),
                };
                assert!(is_due, "{error:?}");
                continue;
            }
            assert_eq!((cursor.state, cursor.next), (State::AtEnd, log.entries.len() as i64));
            assert_eq!(history.next, cursor.next);
            assert!(history.is_caught_up, "{cursor:?}");
            let is_skipped = |at: i64| history.skipped.iter().any(|(from, to)| (*from..*to).contains(&at));
            let all = log
                .entries
                .iter()
                .enumerate()
                .map(|(at, (epoch, is_record))| (at as i64, *epoch, *is_record));
            let want = all.filter(|(at, _, is_record)| *is_record && !is_skipped(*at));
            let want: Vec<(i64, i32)> = want.map(|(at, epoch, _)| (at, epoch)).collect();
            assert_eq!(history.records, want, "partition {index}");
        }
    }

    fn limit(&self, index: usize) -> i64 {
        let ends = self.logs[index].ends();
        ends.visible(self.cursors.client.request.committed)
    }

    /// Gives a turn to the next cursor.
    fn read(&mut self, max_bytes: usize) {
        let Some(Turn { index, fetch }) = self.cursors.next_turn(max_bytes, self.now) else { return };
        let (version, log) = (self.version(index), &self.logs[index]);
        // An epoch that has ended is still what was read of it.
        let entries = log.known.and_then(|known| log.earlier.get(&known)).unwrap_or(&log.entries);
        let recent = (log.known.is_some() && self.are_kept).then(|| log.read(entries, fetch)).flatten();
        let recent = recent.filter(|read| read.count > 0);
        self.handle(index, Event::Turn { fetch, version, recent });
    }

    fn take(&mut self) {
        let index = self.cursors.in_hand.as_ref().map_or(0, |(index, _)| *index);
        let version = self.version(index);
        if let Some(item) = self.cursors.take(version, self.now) {
            self.tell(item);
        }
        self.collect();
    }

    fn version(&self, index: usize) -> Version {
        let topic_id = if self.is_recreated { OTHER_TOPIC.topic_id } else { LEADER.topic_id };
        Version { topic_id, leader_epoch: self.logs[index].known }
    }

    fn handle(&mut self, index: usize, event: Event) {
        let (known, before) = (self.cursors.client.knows_outage, self.cursors.client.items.len());
        self.cursors.handle(index, event, self.now);
        let new = self.cursors.client.items.iter().skip(before);
        let told = new.filter(|item| matches!(item, Item::Retrying { .. })).count();
        assert!(told <= usize::from(!known));
        self.collect();
    }

    /// Takes the effects.
    fn collect(&mut self) {
        while let Some(effect) = self.cursors.next_effect() {
            match effect {
                Effect::Ask { index, question, .. } => {
                    self.under_way.push(UnderWay::Question { index, question, is_late: false });
                }
                Effect::WaitAtEnd { index, until, seen, lingers } => {
                    let offset = self.cursors.cursors[index].next;
                    self.under_way.push(UnderWay::Wait { index, offset, until, seen, lingers });
                }
                Effect::Sleep { index, until } => self.under_way.push(UnderWay::Sleep { index, until }),
                Effect::SleepBeforeProgress { .. } => self.progress += 1,
                Effect::Moved { .. } | Effect::Delivered { .. } => {}
            }
        }
    }

    fn go_on(&mut self, which: usize) {
        match self.under_way.swap_remove(which) {
            UnderWay::Question { index, question, .. } => {
                let answer = self.answer(index, question);
                self.under_way.push(UnderWay::Answer { index, answer });
            }
            UnderWay::Answer { index, answer } => {
                if let Answer::Records(Ok(Fetched { count: 0, ends, .. })) = &answer {
                    let committed = self.cursors.client.request.committed;
                    self.histories[index].limit = ends.visible(committed);
                }
                let version = self.version(index);
                self.handle(index, Event::Answered(answer, version));
            }
            UnderWay::Wait { index, offset, until, seen, lingers } => {
                let end = self.logs[index].ends().end;
                if self.limit(index) > offset || self.logs[index].fault.is_some() {
                    self.handle(index, Event::Woken { end: lingers.then_some(end) });
                } else if end > seen.end {
                    self.handle(index, Event::StillAtEnd { start: -1, end });
                } else if let Some(until) = until {
                    self.now.at = self.now.at.max(until);
                    self.handle(index, Event::StillAtEnd { start: -1, end });
                } else {
                    self.under_way.push(UnderWay::Wait { index, offset, until, seen, lingers });
                }
            }
            UnderWay::Sleep { index, until } => {
                self.now.at = self.now.at.max(until);
                self.handle(index, Event::Due);
            }
        }
    }

    fn disturb(&mut self, which: usize) {
        match &mut self.under_way[which] {
            UnderWay::Wait { index, .. } => {
                let index = *index;
                self.under_way.swap_remove(which);
                self.handle(index, Event::Woken { end: None });
            }
            UnderWay::Question { index, is_late, .. } => {
                if !std::mem::replace(is_late, true) {
                    let index = *index;
                    self.now.at += SLOW;
                    self.handle(index, Event::Unanswered);
                }
            }
            UnderWay::Answer { .. } | UnderWay::Sleep { .. } => {}
        }
    }

    fn answer(&mut self, index: usize, question: Question) -> Answer {
        let topic_id = self.version(index).topic_id;
        let are_kept = self.are_kept;
        let log = &mut self.logs[index];
        let failed = log.fault.map(error);
        if failed.is_none() {
            log.known = Some(log.epoch);
        }
        match (question, failed) {
            (Question::Ends(error), failed) => {
                let ends = failed.is_none().then(|| (log.start, log.ends().end));
                Answer::Ends(CommandError { ends, ..error })
            }
            (Question::Records(_), Some(error)) => Answer::Records(Err(error)),
            (Question::EndOfEpoch { .. }, Some(error)) => Answer::EndOfEpoch(Err(error)),
            (Question::TopicId, Some(error)) => Answer::TopicId(Err(error)),
            (Question::Records(fetch), None) => match log.read(&log.entries, fetch) {
                Some(read) if read.count > 0 && are_kept => Answer::Kept,
                Some(read) => Answer::Records(Ok(read)),
                None => Answer::Records(Err(error(Fault::OffsetOutOfRange))),
            },
            (Question::EndOfEpoch { epoch, .. }, None) => {
                let end = log.entries.iter().take_while(|(written, _)| *written <= epoch).count() as i64;
                // An epoch without entries ends where the next one has its first.
                Answer::EndOfEpoch(Ok(Some(end.max(log.start))))
            }
            (Question::TopicId, None) => Answer::TopicId(Ok(topic_id)),
        }
    }

    fn tell(&mut self, item: Item) {
        let of = |partition: i32| partition as usize;
        match item {
            Item::Snapshot(_) | Item::Building { .. } | Item::SnapshotEnd { .. } | Item::LogStart(_) => {
                panic!("no table")
            }
            Item::Subscribed(topics) => assert_eq!(topics[0].partitions.len(), 1),
            Item::Delivery { next, messages, .. } => {
                let history = &mut self.histories[of(next.partition)];
                for record in messages.chunks(10) {
                    let offset = i64::from_be_bytes(record[..8].try_into().unwrap());
                    assert!((history.next..next.offset).contains(&offset), "{offset} from {}", history.next);
                    let epoch = u16::from_be_bytes(record[8..].try_into().unwrap());
                    history.records.push((offset, epoch.into()));
                    history.next = offset + 1;
                }
                history.move_to(next.offset);
            }
            Item::CaughtUp { place, blocked_until } => {
                let history = &mut self.histories[of(place.partition)];
                history.move_to(place.offset);
                assert!(place.offset >= history.limit, "caught up before the end");
                assert!(blocked_until.is_none_or(|end| end > place.offset));
                history.is_caught_up = true;
            }
            Item::Skipped { from, to, cause } => {
                let (log, history) = (&self.logs[of(to.partition)], &mut self.histories[of(to.partition)]);
                history.move_to(from);
                match cause {
                    SkipCause::Deleted => assert!(to.offset <= log.deleted),
                    SkipCause::Lag => assert!(self.cursors.client.request.skips),
                }
                history.skipped.push((from, to.offset));
                history.move_to(to.offset);
                history.is_caught_up = false;
            }
            Item::Retrying { place, .. } => {
                let history = &mut self.histories[of(place.partition)];
                history.move_to(place.offset);
                history.is_caught_up = false;
            }
            Item::Ended { place, error } => {
                let history = &mut self.histories[of(place.partition)];
                assert!(history.ended.replace(error).is_none());
            }
        }
    }
}

impl LogModel {
    fn ends(&self) -> Ends {
        let end = self.entries.len() as i64;
        Ends { start: self.start, stable: self.open.unwrap_or(end).min(end), end }
    }

    fn elect(&mut self, lost: usize) {
        self.earlier.insert(self.epoch, self.entries.clone());
        self.epoch += 1;
        if lost > 0 {
            let kept = self.entries.len().saturating_sub(lost);
            self.entries.truncate(kept);
            let kept = kept as i64;
            self.lost = Some(self.lost.unwrap_or(kept).min(kept));
            self.start = self.start.min(kept);
            self.open = self.open.map(|open| open.min(kept));
        }
    }

    /// Each record is its offset and its epoch. None: the offset is out of range.
    fn read(&self, entries: &[(i32, bool)], fetch: Fetch) -> Option<Fetched> {
        let end = entries.len() as i64;
        let ends = Ends { start: self.start, stable: self.open.unwrap_or(end).min(end), end };
        let limit = ends.visible(fetch.committed);
        if fetch.offset < ends.start || fetch.offset > end {
            return None;
        }
        let (mut messages, mut count, mut next_offset) = (Vec::new(), 0, fetch.offset);
        while next_offset < limit && (count == 0 || messages.len() + 10 <= fetch.max_bytes) {
            let (epoch, is_record) = entries[next_offset as usize];
            if is_record {
                messages.extend(next_offset.to_be_bytes());
                messages.extend((epoch as u16).to_be_bytes());
                count += 1;
            }
            next_offset += 1;
        }
        Some(Fetched { messages: messages.into(), count, next_offset, ends })
    }
}

impl History {
    fn move_to(&mut self, offset: i64) {
        assert!(offset >= self.next, "{offset} after {}", self.next);
        self.next = offset;
    }
}

impl UnderWay {
    fn index(&self) -> usize {
        match self {
            Self::Question { index, .. }
            | Self::Answer { index, .. }
            | Self::Wait { index, .. }
            | Self::Sleep { index, .. } => *index,
        }
    }
}
