//! The progress of open subscriptions: their lag, which is the records between their positions and the ends of the logs,
//! and what they delivered and left out.
//!
//! It is looked at from outside and now and then: a subscription whose client does not read would not tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};
use sluicegate_backend::{Backend, Log};
use sluicegate_telemetry::metrics::{GroupLags, RouteMetrics};

use super::subscribe::NOT_BEGUN;

/// The progress of one subscription.
#[derive(Default)]
pub(crate) struct Progress {
    /// The filters of its request.
    filters: usize,
    /// The group whose member it is, and the route of its client.
    group: Option<(Arc<str>, Arc<RouteMetrics>)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    positions: Vec<Position>,
    /// In the order of the topics' names.
    tallies: Vec<(Arc<str>, Tally)>,
}

/// The records of one read, as rows and filters have selected them.
pub(super) struct Selection {
    pub(super) topic: Arc<str>,
    /// For the client.
    pub(super) delivered: usize,
    pub(super) hidden_by_rows: usize,
    pub(super) hidden_by_filters: usize,
}

/// The records that a subscription has read of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records for the client.
    pub delivered: u64,
    /// Records that are not among the client's rows.
    pub hidden_by_rows: u64,
    /// Others that its filters left out.
    pub hidden_by_filters: u64,
    /// When there were records for the client last.
    pub last_delivery: Option<SystemTime>,
}

/// A subscription at one of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSubscription {
    /// The topic.
    pub topic: Arc<str>,
    /// The group whose member it is.
    pub group: Option<Arc<str>>,
    /// Its partitions.
    pub partitions: usize,
    /// The records that the client is behind; None: the ends of some partitions are not known.
    pub lag: Option<u64>,
    /// The filters of the subscription.
    pub filters: usize,
    /// The records that were read.
    pub tally: Tally,
}

/// A position in a log.
pub(super) struct Position {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) next: i64,
    /// The log's end as last known; −1 if unknown.
    pub(super) end: i64,
}

/// The open subscriptions of a cluster.
#[derive(Default)]
pub(crate) struct OpenSubscriptions(Mutex<Listed>);

/// Subscriptions, and some that have ended. Since the last prune, at most as many were added as were open then, or
/// [`MIN_ADDED`].
#[derive(Default)]
struct Listed {
    subscriptions: Vec<Weak<Progress>>,
    /// The number of open ones at the last prune.
    open: usize,
}

impl Listed {
    /// Forgets those that have ended.
    fn prune(&mut self) {
        self.subscriptions.retain(|progress| progress.strong_count() > 0);
        self.open = self.subscriptions.len();
    }
}

impl Progress {
    /// Of a subscription with so many filters; a member's group, and the route of its client.
    pub(crate) fn new(filters: usize, group: Option<(Arc<str>, Arc<RouteMetrics>)>) -> Self {
        Self { filters, group, ..Self::default() }
    }

    pub(super) fn add(&self, positions: impl Iterator<Item = Position>) {
        lock(&self.state).positions.extend(positions);
    }

    /// Begins anew, without positions. Counts go on.
    pub(super) fn clear(&self) {
        lock(&self.state).positions.clear();
    }

    /// Moves the position with this index.
    pub(super) fn set(&self, index: usize, next: i64, end: i64) {
        if let Some(position) = lock(&self.state).positions.get_mut(index) {
            (position.next, position.end) = (next, end);
        }
    }

    /// Counts the records of a read.
    pub(super) fn count(&self, selection: &Selection, now: SystemTime) {
        let Selection { topic, delivered, hidden_by_rows, hidden_by_filters } = selection;
        let tallies = &mut lock(&self.state).tallies;
        let at = tallies.binary_search_by(|(known, _)| known.cmp(topic)).unwrap_or_else(|at| {
            tallies.insert(at, (Arc::clone(topic), Tally::default()));
            at
        });
        let Some((_, tally)) = tallies.get_mut(at) else { return };
        let add = |count: &mut u64, records: usize| *count = count.saturating_add(records as u64);
        add(&mut tally.delivered, *delivered);
        add(&mut tally.hidden_by_rows, *hidden_by_rows);
        add(&mut tally.hidden_by_filters, *hidden_by_filters);
        if *delivered > 0 {
            tally.last_delivery = Some(now);
        }
    }

    /// Whether one of the positions is in this topic.
    pub(super) fn reads(&self, topic: &str) -> bool {
        lock(&self.state).positions.iter().any(|position| *position.topic == *topic)
    }

    /// The subscription at each of its topics.
    pub(super) fn listed(&self, backend: &dyn Backend) -> Vec<ListedSubscription> {
        let State { positions, tallies } = &mut *lock(&self.state);
        let mut topics = BTreeMap::<Arc<str>, ListedSubscription>::new();
        for position in positions {
            let lag = position.lag(backend);
            let lag = (position.end >= 0).then_some(lag);
            let topic = &position.topic;
            let listed = topics.entry(Arc::clone(topic)).or_insert_with(|| ListedSubscription {
                topic: Arc::clone(topic),
                group: self.group.as_ref().map(|(group, _)| Arc::clone(group)),
                partitions: 0,
                lag: Some(0),
                filters: self.filters,
                tally: Tally::default(),
            });
            listed.partitions = listed.partitions.saturating_add(1);
            listed.lag = listed.lag.zip(lag).map(|(all, lag)| all.saturating_add(lag));
        }
        for (topic, tally) in tallies {
            if let Some(listed) = topics.get_mut(topic) {
                listed.tally = *tally;
            }
        }
        topics.into_values().collect()
    }

    /// The records behind all positions, and the number of positions. Asks no broker: a log's end is known from all
    /// reads there, for any client.
    fn lag(&self, backend: &dyn Backend) -> (u64, usize) {
        let positions = &mut lock(&self.state).positions;
        let lag = positions.iter_mut().map(|position| position.lag(backend)).fold(0, u64::saturating_add);
        (lag, positions.len())
    }
}

impl Position {
    fn lag(&mut self, backend: &dyn Backend) -> u64 {
        let Self { topic, partition, .. } = &*self;
        let known = backend.known_end(Log { topic, partition: *partition });
        self.end = self.end.max(known.unwrap_or(-1));
        if self.next == NOT_BEGUN {
            return 0;
        }
        u64::try_from(self.end.saturating_sub(self.next)).unwrap_or_default()
    }
}

impl OpenSubscriptions {
    pub(super) fn add(&self, progress: &Arc<Progress>) {
        let mut listed = lock(&self.0);
        let added = listed.subscriptions.len().saturating_sub(listed.open);
        if added >= listed.open.max(MIN_ADDED) {
            listed.prune();
        }
        listed.subscriptions.push(Arc::downgrade(progress));
    }

    /// The lag of each group of which members are here, and the route of its clients, in as many partitions as a sample
    /// has.
    pub(crate) fn groups(&self, backend: &dyn Backend) -> GroupLags {
        let open: Vec<Arc<Progress>> = lock(&self.0).subscriptions.iter().filter_map(Weak::upgrade).collect();
        let (mut lags, mut left) = (GroupLags::new(), MAX_POSITIONS);
        // Others in turn if there are too many positions.
        let first = fastrand::usize(..open.len().max(1));
        for progress in open.iter().cycle().skip(first).take(open.len()) {
            let Some((group, route)) = &progress.group else { continue };
            let (lag, positions) = progress.lag(backend);
            let sum = lags.entry((Arc::clone(group), Arc::clone(route.name()))).or_default();
            *sum = sum.saturating_add(lag);
            left = left.saturating_sub(positions);
            if left == 0 {
                break;
            }
        }
        lags
    }

    /// The lag of each subscription, or of some in turn if there are too many.
    pub(crate) fn sample(&self, backend: &dyn Backend) -> Vec<u64> {
        let open: Vec<Arc<Progress>> = {
            let mut listed = lock(&self.0);
            listed.prune();
            let open = &listed.subscriptions;
            let (first, count) = (fastrand::usize(..open.len().max(1)), open.len().min(MAX_SAMPLES));
            open.iter().cycle().skip(first).take(count).filter_map(Weak::upgrade).collect()
        };
        let mut left = MAX_POSITIONS;
        let mut lags = Vec::with_capacity(open.len());
        for progress in open {
            let (lag, positions) = progress.lag(backend);
            lags.push(lag);
            left = left.saturating_sub(positions);
            if left == 0 {
                break;
            }
        }
        lags
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// Subscriptions added between two prunes, however few are open.
const MIN_ADDED: usize = 1000;
/// Subscriptions of one sample.
const MAX_SAMPLES: usize = 1000;
/// Partitions of one sample: looking up their ends delays reads for a few milliseconds at most.
const MAX_POSITIONS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_subscriptions_are_forgotten_without_a_sample() {
        let subscriptions = OpenSubscriptions::default();
        let listed = || lock(&subscriptions.0).subscriptions.len();
        let open: Vec<Arc<Progress>> = (0..3 * MIN_ADDED).map(|_| Arc::default()).collect();
        open.iter().for_each(|progress| subscriptions.add(progress));
        assert_eq!(listed(), open.len());
        for _ in 0..10 * open.len() {
            subscriptions.add(&Arc::default());
            assert!(listed() <= 2 * open.len());
        }
        drop(open);
        for _ in 0..10 * MIN_ADDED {
            subscriptions.add(&Arc::default());
        }
        assert!(listed() <= 1 + MIN_ADDED);
    }
}
