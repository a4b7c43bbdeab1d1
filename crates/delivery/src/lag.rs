//! The lag of open subscriptions: records between their positions and the ends of the logs.
//!
//! It is looked at from outside and now and then: a subscription whose client does not read would not tell.

use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use sluicegate_backend::{Backend, Log};

/// The positions of one subscription.
#[derive(Default)]
pub(crate) struct Progress(Mutex<Vec<Position>>);

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
    pub(super) fn add(&self, positions: impl Iterator<Item = Position>) {
        lock(&self.0).extend(positions);
    }

    /// Begins anew, without positions.
    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Moves the position with this index.
    pub(super) fn set(&self, index: usize, next: i64, end: i64) {
        if let Some(position) = lock(&self.0).get_mut(index) {
            (position.next, position.end) = (next, end);
        }
    }

    /// Whether one of the positions is in this topic.
    pub(super) fn reads(&self, topic: &str) -> bool {
        lock(&self.0).iter().any(|position| *position.topic == *topic)
    }

    /// Calls `see` with the topic of each position and the records behind it; None: the log's end is not known.
    pub(super) fn visit(&self, backend: &dyn Backend, mut see: impl FnMut(&Arc<str>, Option<u64>)) {
        for position in &mut *lock(&self.0) {
            let lag = position.lag(backend);
            see(&position.topic, (position.end >= 0).then_some(lag));
        }
    }

    /// The records behind all positions, and the number of positions. Asks no broker: a log's end is known from all
    /// reads there, for any client.
    fn lag(&self, backend: &dyn Backend) -> (u64, usize) {
        let mut positions = lock(&self.0);
        let lag = positions.iter_mut().map(|position| position.lag(backend)).fold(0, u64::saturating_add);
        (lag, positions.len())
    }
}

impl Position {
    fn lag(&mut self, backend: &dyn Backend) -> u64 {
        let Self { topic, partition, .. } = &*self;
        let known = backend.known_end(Log { topic, partition: *partition });
        self.end = self.end.max(known.unwrap_or(-1));
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
