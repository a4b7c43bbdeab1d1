//! The logs that a broker is slow to read.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A topic and a partition.
type Log<'a> = (&'a str, i32);

/// The logs whose fetches took long lately, such as those whose older segments are in tiered storage (KIP-405).
///
/// A log is slow for [`MAX_AGE`] after a slow fetch, up to where a later part of it was quick: its newest records
/// usually are. Or until some fetches in a row were quick ([`QUICK`]), not fewer, since brokers get large parts of a
/// segment at a time. When there are [`MAX_LOGS`], the one whose slow fetch is the oldest is forgotten, and found again
/// by its next fetch.
#[derive(Debug, Default)]
pub(crate) struct SlowLogs {
    topics: Mutex<BTreeMap<String, BTreeMap<i32, Slow>>>,
}

#[derive(Debug)]
struct Slow {
    /// The offset that follows the last slow part.
    to: i64,
    /// The offset from which it is quick.
    quick_from: i64,
    /// The end of the last slow fetch.
    at: Instant,
    /// Quick fetches of the slow part since then.
    quick: u32,
}

impl SlowLogs {
    /// Whether a fetch from `offset` will probably take long.
    pub(crate) fn has(&self, (topic, partition): Log<'_>, offset: i64, now: Instant) -> bool {
        let topics = self.topics.lock();
        let log = topics.get(topic).and_then(|logs| logs.get(&partition));
        log.is_some_and(|log| offset < log.quick_from && now.saturating_duration_since(log.at) < MAX_AGE)
    }

    /// Learns from a fetch from `offset` that the broker has answered within `took`; `to` is the offset that follows it.
    pub(crate) fn note(
        &self,
        (topic, partition): Log<'_>,
        (offset, to): (i64, i64),
        took: Duration,
        now: Instant,
    ) {
        let mut topics = self.topics.lock();
        let known = topics.get_mut(topic).and_then(|logs| logs.get_mut(&partition));
        match known {
            Some(log) if took >= SLOW => {
                (log.to, log.at, log.quick) = (log.to.max(to), now, 0);
                if log.quick_from <= log.to {
                    log.quick_from = i64::MAX;
                }
            }
            Some(log) if offset > log.to => log.quick_from = log.quick_from.min(offset),
            Some(log) => {
                (log.to, log.quick) = (log.to.max(to), log.quick.saturating_add(1));
                if log.quick >= QUICK {
                    remove(&mut topics, topic, partition);
                }
            }
            None if took >= SLOW => {
                make_room(&mut topics);
                let logs = topics.entry(topic.to_owned()).or_default();
                logs.insert(partition, Slow { to, quick_from: i64::MAX, at: now, quick: 0 });
            }
            None => {}
        }
    }
}

fn make_room(topics: &mut BTreeMap<String, BTreeMap<i32, Slow>>) {
    if topics.values().map(BTreeMap::len).sum::<usize>() < MAX_LOGS {
        return;
    }
    let logs = topics.iter().flat_map(|(topic, logs)| logs.iter().map(move |log| (topic, log)));
    let oldest =
        logs.min_by_key(|(_, (_, log))| log.at).map(|(topic, (partition, _))| (topic.clone(), *partition));
    if let Some((topic, partition)) = oldest {
        remove(topics, &topic, partition);
    }
}

fn remove(topics: &mut BTreeMap<String, BTreeMap<i32, Slow>>, topic: &str, partition: i32) {
    if let Some(logs) = topics.get_mut(topic) {
        logs.remove(&partition);
        if logs.is_empty() {
            topics.remove(topic);
        }
    }
}

/// A broker that takes so long for a fetch that does not wait gets the records from elsewhere, or is overloaded.
const SLOW: Duration = Duration::from_millis(50);

const MAX_AGE: Duration = Duration::from_secs(60);

const QUICK: u32 = 16;

const MAX_LOGS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn log_is_slow_up_to_where_it_was_quick() {
        let (logs, now) = (SlowLogs::default(), Instant::now());
        let is_slow = |offset| logs.has(("t", 1), offset, now);
        logs.note(("t", 1), (90, 100), MS, now);
        assert!(!is_slow(0));
        logs.note(("t", 1), (10, 20), SLOW, now);
        assert_eq!([0, 20, 90].map(is_slow), [true; 3]);
        assert!(!logs.has(("t", 0), 10, now) && !logs.has(("u", 1), 10, now));
        logs.note(("t", 1), (90, 100), MS, now);
        assert_eq!([0, 20, 89, 90].map(is_slow), [true, true, true, false]);
        // A walk goes on where its last fetch ended, however quick that was.
        logs.note(("t", 1), (20, 30), MS, now);
        assert_eq!([30, 90].map(is_slow), [true, false]);
        logs.note(("t", 1), (95, 96), SLOW, now);
        assert_eq!([30, 90, 96].map(is_slow), [true; 3]);
        assert!(!logs.has(("t", 1), 0, now + MAX_AGE));
    }

    #[test]
    fn log_is_quick_after_some_quick_fetches_in_a_row() {
        let (logs, now) = (SlowLogs::default(), Instant::now());
        let slow = || logs.note(("t", 0), (5, 6), SLOW, now);
        let quick = |times| (0..times).for_each(|_| logs.note(("t", 0), (5, 6), MS, now));
        let is_slow = || logs.has(("t", 0), 5, now);
        slow();
        quick(QUICK - 1);
        slow();
        quick(QUICK - 1);
        assert!(is_slow());
        quick(1);
        assert!(!is_slow());
        assert!(logs.topics.lock().is_empty());
    }

    #[test]
    fn oldest_log_makes_room_for_another() {
        let (logs, now) = (SlowLogs::default(), Instant::now());
        let many = i32::try_from(MAX_LOGS).expect("a few");
        for partition in 0..=many {
            let at = now + MS * u32::try_from(partition).expect("a number");
            logs.note(("t", partition), (0, 1), SLOW, at);
        }
        let is_slow = |partition| logs.has(("t", partition), 0, now + MS * 2_000);
        assert_eq!([0, 1, many].map(is_slow), [false, true, true]);
    }
}
