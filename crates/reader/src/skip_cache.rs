//! Ranges of offsets without anything to deliver.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_shared_log::Version;
use tokio::time::Instant;

use crate::topic_partition::TopicPartition;

/// Caches ranges that fetches have skipped, such as aborted transactions, so that no fetch within them reads them
/// again. They are those of one version of their log, below its end as that isolation level shows it: such records
/// never come back, and nothing is written among them. Another version can have records there.
///
/// Ranges live for [`MAX_AGE`], which bounds the effect of a topic that was deleted and created again for brokers
/// without topic ids (before Kafka 3.1). When the cache is full, the range that was added or extended longest ago is
/// dropped, and skipped again by a fetch that needs it.
#[derive(Debug, Default)]
pub(crate) struct SkipCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None of them without ranges; at most [`MAX_RANGES`] of all logs together.
    logs: HashMap<LogName, LogRanges>,
    /// All ranges by their numbers: the log and the first offset.
    order: BTreeMap<u64, (LogName, i64)>,
    last_number: u64,
}

/// Topic and partition.
type LogName = (Arc<str>, i32);

/// Ranges of one version of a log.
#[derive(Debug)]
struct LogRanges {
    version: Version,
    /// By first offset. They neither overlap nor touch, other than those that are too old.
    ranges: BTreeMap<i64, Range>,
}

#[derive(Debug)]
struct Range {
    /// The offset after the range.
    to: i64,
    /// When its oldest part was read.
    at: Instant,
    /// Grows with each range that is added or extended.
    number: u64,
}

impl SkipCache {
    /// The end of the range that `offset` is in, and the version for which that holds.
    pub(crate) fn get(
        &self,
        target: TopicPartition<'_>,
        offset: i64,
        now: Instant,
    ) -> Option<(i64, Version)> {
        let state = self.state.lock();
        // The cache is usually empty: do not copy the name to find that out.
        if state.logs.is_empty() {
            return None;
        }
        let LogRanges { version, ranges } = state.logs.get(&name(target))?;
        let (_, range) = ranges.range(..=offset).next_back()?;
        (range.to > offset && range.is_valid(now)).then_some((range.to, *version))
    }

    /// Stores that this version of the log has nothing to deliver from `from` up to `to`. Gives the end of all that is
    /// known to follow without a gap.
    pub(crate) fn insert(
        &self,
        target: TopicPartition<'_>,
        (from, to): (i64, i64),
        version: Version,
        now: Instant,
    ) -> i64 {
        if from >= to {
            return to;
        }
        let mut state = self.state.lock();
        let name = name(target);
        match state.logs.get(&name).map(|log| log.version) {
            // A late answer of the former leader.
            Some(known) if known.is_newer_than(version) => return to,
            Some(known) if known != version => state.forget(&name),
            Some(_) | None => {}
        }
        let end = state.insert(&name, (from, to), version, now);
        while state.order.len() > MAX_RANGES {
            state.drop_oldest();
        }
        end
    }

    /// Drops the ranges of a log, because it has changed.
    pub(crate) fn forget(&self, target: TopicPartition<'_>) {
        self.state.lock().forget(&name(target));
    }
}

impl State {
    /// Adds a range, as one with those that it overlaps or touches. Gives the end of that one.
    fn insert(
        &mut self,
        name: &LogName,
        (mut from, mut to): (i64, i64),
        version: Version,
        now: Instant,
    ) -> i64 {
        let Self { logs, order, last_number } = self;
        let log = logs.entry(name.clone()).or_insert_with(|| LogRanges { version, ranges: BTreeMap::new() });
        let mut at = now;
        while let Some((start, end)) =
            log.ranges.range(..=to).next_back().map(|(start, last)| (*start, last.to))
            && end >= from
            && let Some(range) = log.ranges.remove(&start)
        {
            order.remove(&range.number);
            if range.is_valid(now) {
                (from, to, at) = (from.min(start), to.max(end), at.min(range.at));
            }
        }
        *last_number = last_number.saturating_add(1);
        log.ranges.insert(from, Range { to, at, number: *last_number });
        order.insert(*last_number, (name.clone(), from));
        to
    }

    fn drop_oldest(&mut self) {
        let Some((_, (name, from))) = self.order.pop_first() else { return };
        let Some(log) = self.logs.get_mut(&name) else { return };
        log.ranges.remove(&from);
        if log.ranges.is_empty() {
            self.logs.remove(&name);
        }
    }

    fn forget(&mut self, name: &LogName) {
        let Some(log) = self.logs.remove(name) else { return };
        for range in log.ranges.values() {
            self.order.remove(&range.number);
        }
    }
}

impl Range {
    fn is_valid(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < MAX_AGE
    }
}

fn name(target: TopicPartition<'_>) -> LogName {
    (target.topic().into(), target.partition())
}

const MAX_AGE: Duration = Duration::from_secs(30);

const MAX_RANGES: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: Version = Version { topic_id: None, leader_epoch: Some(0) };

    fn target(partition: i32) -> TopicPartition<'static> {
        crate::testing::target("topic", partition)
    }

    /// A cache with these ranges, inserted in this order.
    fn cache(ranges: &[(i64, i64)], now: Instant) -> SkipCache {
        let cache = SkipCache::default();
        for range in ranges {
            cache.insert(target(0), *range, VERSION, now);
        }
        cache
    }

    /// All ranges of partition 0. Checks the order on the way.
    fn ranges(cache: &SkipCache) -> Vec<(i64, i64)> {
        let state = cache.state.lock();
        let numbers = |log: &LogRanges| log.ranges.values().map(|range| range.number).collect::<Vec<_>>();
        let mut all: Vec<u64> = state.logs.values().flat_map(numbers).collect();
        all.sort_unstable();
        assert_eq!(all, state.order.keys().copied().collect::<Vec<_>>());
        assert!(state.logs.values().all(|log| !log.ranges.is_empty()));
        let log = state.logs.get(&name(target(0)));
        log.into_iter().flat_map(|log| &log.ranges).map(|(from, range)| (*from, range.to)).collect()
    }

    #[test]
    fn fetch_within_a_range_continues_at_its_end() {
        let (cache, now) = (SkipCache::default(), Instant::now());
        let version = Version { topic_id: Some(7), leader_epoch: Some(3) };
        assert_eq!(cache.get(target(0), 5, now), None);
        cache.insert(target(0), (5, 900), version, now);
        for offset in [5, 300, 899] {
            assert_eq!(cache.get(target(0), offset, now), Some((900, version)), "{offset}");
        }
        for (partition, offset) in [(0, 4), (0, 900), (1, 5)] {
            assert_eq!(cache.get(target(partition), offset, now), None, "{offset} of {partition}");
        }
        cache.forget(target(0));
        assert_eq!(cache.get(target(0), 5, now), None);
        assert_eq!(ranges(&cache), []);
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_merged() {
        let now = Instant::now();
        assert_eq!(cache(&[(15, 50)], now).insert(target(0), (10, 20), VERSION, now), 50);
        for (inserted, want) in [
            (&[(10, 20), (20, 30)][..], &[(10, 30)][..]),
            (&[(20, 30), (10, 20)], &[(10, 30)]),
            (&[(10, 20), (15, 30)], &[(10, 30)]),
            (&[(10, 30), (15, 20)], &[(10, 30)]),
            (&[(15, 20), (10, 30)], &[(10, 30)]),
            (&[(10, 20), (30, 40), (50, 60), (15, 50)], &[(10, 60)]),
            (&[(10, 20), (21, 30)], &[(10, 20), (21, 30)]),
            (&[(10, 20), (40, 50), (25, 30)], &[(10, 20), (25, 30), (40, 50)]),
            (&[(10, 10), (9, 8)], &[]),
        ] {
            assert_eq!(ranges(&cache(inserted, now)), want, "{inserted:?}");
        }
    }

    #[test]
    fn another_version_replaces_ranges_unless_it_is_older() {
        let now = Instant::now();
        let version = |topic_id, epoch| Version { topic_id: Some(topic_id), leader_epoch: Some(epoch) };
        for (other, want) in [
            (version(7, 4), (90, 99)),
            (version(7, 2), (10, 20)),
            (version(8, 2), (90, 99)),
            (version(7, 3), (10, 20)),
        ] {
            let cache = SkipCache::default();
            cache.insert(target(0), (10, 20), version(7, 3), now);
            cache.insert(target(0), (90, 99), other, now);
            assert_eq!(ranges(&cache).first(), Some(&want), "{other:?}");
        }
    }

    #[test]
    fn ranges_expire_with_their_oldest_part() {
        let start = Instant::now();
        let cache = cache(&[(5, 900)], start);
        let later = start + MAX_AGE / 2;
        cache.insert(target(0), (900, 1_000), VERSION, later);
        assert_eq!(cache.get(target(0), 5, later), Some((1_000, VERSION)));
        let expired = start + MAX_AGE;
        assert_eq!(cache.get(target(0), 950, expired), None);
        cache.insert(target(0), (700, 800), VERSION, expired);
        assert_eq!(ranges(&cache), [(700, 800)]);
    }

    #[test]
    fn full_cache_drops_the_range_that_was_extended_longest_ago() {
        let now = Instant::now();
        let cache = cache(&[(0, 1), (10, 11)], now);
        cache.insert(target(0), (1, 2), VERSION, now);
        for partition in 1..MAX_RANGES as i32 {
            cache.insert(target(partition), (0, 1), VERSION, now);
        }
        assert_eq!(ranges(&cache), [(0, 2)]);
        assert_eq!(cache.state.lock().order.len(), MAX_RANGES);
        for partition in 0..MAX_RANGES as i32 {
            cache.insert(target(partition), (5, 6), VERSION, now);
        }
        assert_eq!(ranges(&cache), [(5, 6)]);
        assert_eq!(cache.state.lock().order.len(), MAX_RANGES);
    }
}
