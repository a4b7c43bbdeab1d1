//! What each group has received and committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::Summary;

/// A topic and a partition.
pub(super) type Log = (Arc<str>, i32);

/// The deliveries and commits of all groups.
pub(super) struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    groups: Vec<BTreeMap<Log, Place>>,
    /// The last record of each group.
    received: Vec<Instant>,
    /// When something was broken, from the first moment until everything ran again.
    harms: Vec<(Instant, Instant)>,
    summary: Summary,
    wrongs: Vec<String>,
}

#[derive(Default)]
struct Place {
    seen: BTreeSet<i64>,
    received: Option<Instant>,
    /// Acknowledged commits by clients, with rising positions.
    committed: Vec<(Instant, i64)>,
    /// The same of what a client surely had when it came back for more of the log.
    had: Vec<(Instant, i64)>,
    /// The last answer with records of the log: its member, and its end.
    last: Option<(usize, i64)>,
}

/// One answer of a poll.
pub(super) struct Answer<'a> {
    pub(super) group: usize,
    pub(super) member: usize,
    /// When the poll began.
    pub(super) began: Instant,
    /// Whether the bridge commits what the client has.
    pub(super) is_auto: bool,
    pub(super) records: &'a [(Log, i64)],
}

impl Ledger {
    pub(super) fn new(groups: usize) -> Self {
        let received = vec![Instant::now(); groups];
        let groups = (0..groups).map(|_| BTreeMap::new()).collect();
        Self(Mutex::new(Book { groups, received, ..Book::default() }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub(super) fn received(&self, Answer { group, member, began, is_auto, records }: Answer<'_>) {
        let now = Instant::now();
        let mut book = self.book();
        let Book { groups, received, harms, summary, wrongs } = &mut *book;
        if !records.is_empty() {
            *received.get_mut(group).unwrap() = now;
        }
        summary.delivered += records.len();
        let logs = groups.get_mut(group).unwrap();
        let mut ends = BTreeMap::new();
        for (log, offset) in records {
            let place = logs.entry(log.clone()).or_default();
            place.received = Some(now);
            let end = ends.entry(log).or_insert(0);
            *end = (*end).max(offset.saturating_add(1));
            if place.seen.insert(*offset) {
                continue;
            }
            summary.repeats += 1;
            let told = |what: &str, (at, end): (Instant, i64)| {
                format!(
                    "group {group}, member {member}: {offset} of {log:?} came again, though {end} was {what} {:?} before the poll",
                    began - at
                )
            };
            if let Some(commit) = place.committed.iter().rev().find(|(at, _)| *at < began)
                && commit.1 > *offset
            {
                wrongs.push(told("committed", *commit));
            }
            // The bridge commits once in a while, or when the group rebalances.
            let settled = place.had.iter().rev().find(|(at, _)| *at + SETTLED < began);
            if let Some(had) = settled.filter(|had| had.1 > *offset && is_calm(harms, had.0, began)) {
                wrongs.push(told("given to a client that came back", *had));
            }
        }
        for (log, end) in ends {
            let place = logs.entry(log.clone()).or_default();
            if let Some((last, had)) = place.last.replace((member, end))
                && (last, is_auto) == (member, true)
            {
                place.had.push((now, had));
            }
        }
    }

    pub(super) fn committed(&self, group: usize, commits: &BTreeMap<Log, i64>) {
        let now = Instant::now();
        let mut book = self.book();
        let logs = book.groups.get_mut(group).unwrap();
        for (log, offset) in commits {
            let committed = &mut logs.entry(log.clone()).or_default().committed;
            let last = committed.last().map_or(0, |last| last.1);
            committed.push((now, last.max(*offset)));
        }
    }

    /// An answer other than the usual one.
    pub(super) fn answered(&self, what: String) {
        *self.book().summary.answers.entry(what).or_default() += 1;
    }

    /// A group does not know a member whose client has not ended it.
    pub(super) fn lost_member(&self, group: usize, member: usize) {
        let now = Instant::now();
        let mut book = self.book();
        book.summary.lost_members += 1;
        if is_calm(&book.harms, now - SESSION, now) {
            book.wrongs.push(format!("group {group} has lost member {member} while all was well"));
        }
    }

    pub(super) fn wrong(&self, what: String) {
        self.book().wrongs.push(what);
    }

    pub(super) fn groups(&self) -> usize {
        self.book().groups.len()
    }

    /// Something was broken from this moment until now.
    pub(super) fn harmed(&self, since: Instant) {
        let now = Instant::now();
        self.book().harms.push((since, now));
    }

    /// Watches the time since each group's last record while nothing is broken.
    pub(super) fn watch(&self, calm_since: Instant) {
        let mut book = self.book();
        for group in 0..book.received.len() {
            let still = book.received.get(group).unwrap().max(&calm_since).elapsed();
            book.summary.standstill = book.summary.standstill.max(still);
        }
    }

    /// Logs from which a group has received nothing since this moment.
    pub(super) fn silent(&self, group: usize, logs: impl Iterator<Item = Log>, since: Instant) -> Vec<Log> {
        let book = self.book();
        let known = book.groups.get(group).unwrap();
        logs.filter(|log| known.get(log).is_none_or(|place| place.received.is_none_or(|at| at <= since)))
            .collect()
    }

    /// The written records of these topics that a group has not received.
    pub(super) fn missing(
        &self,
        group: usize,
        topics: &[Arc<str>],
        written: &BTreeMap<Log, Vec<i64>>,
    ) -> Vec<String> {
        let book = self.book();
        let known = book.groups.get(group).unwrap();
        let logs = written.iter().filter(|((topic, _), _)| topics.contains(topic));
        logs.filter_map(|(log, offsets)| {
            let is_missing = |offset: &&i64| known.get(log).is_none_or(|place| !place.seen.contains(*offset));
            let missing: Vec<&i64> = offsets.iter().filter(is_missing).collect();
            let (first, last) = (missing.first()?, missing.last()?);
            Some(format!("group {group}: {} of {log:?}, {first} to {last}", missing.len()))
        })
        .collect()
    }

    pub(super) fn wrongs(&self) -> Vec<String> {
        self.book().wrongs.clone()
    }

    pub(super) fn summary(&self) -> Summary {
        self.book().summary.clone()
    }
}

/// Whether nothing was broken between these moments, and groups had time to come back before.
fn is_calm(harms: &[(Instant, Instant)], from: Instant, to: Instant) -> bool {
    harms.iter().all(|(begin, end)| *begin > to || *end + SESSION < from)
}

/// Time after which the bridge has committed what a client has.
const SETTLED: Duration = Duration::from_secs(5);

/// The session timeout of members, and a rebalance.
const SESSION: Duration = Duration::from_secs(45);
