//! The logs that a broker is slow to read, and the clients whose fetches have held up those of others.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use sluicegate_fair_share::Holder;
use sluicegate_shared_log::Log;
use tokio::time::Instant;

/// The logs whose fetches took long lately, such as those whose older segments are in tiered storage (KIP-405).
///
/// A log is slow for [`MAX_AGE`] after a slow fetch, up to where a later part of it was quick: its newest records
/// usually are. It is quick again with the first quick fetch that comes [`HEALS`] after the last slow one. When there are
/// [`MAX_LOGS`], the one whose slow fetch is the oldest is forgotten, and found again by its next fetch.
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
}

impl SlowLogs {
    /// Whether a fetch from `offset` will probably take long.
    pub(crate) fn has(&self, Log { topic, partition }: Log<'_>, offset: i64, now: Instant) -> bool {
        let topics = self.topics.lock();
        let log = topics.get(topic).and_then(|logs| logs.get(&partition));
        log.is_some_and(|log| offset < log.quick_from && now.saturating_duration_since(log.at) < MAX_AGE)
    }

    /// Learns that a fetch has taken [`SLOW`]; `to` is the offset that follows it.
    pub(crate) fn note_slow(&self, Log { topic, partition }: Log<'_>, to: i64, now: Instant) {
        let mut topics = self.topics.lock();
        match topics.get_mut(topic).and_then(|logs| logs.get_mut(&partition)) {
            Some(log) => {
                (log.to, log.at) = (log.to.max(to), now);
                if log.quick_from <= log.to {
                    log.quick_from = i64::MAX;
                }
            }
            None => {
                make_room(&mut topics);
                let logs = topics.entry(topic.to_owned()).or_default();
                logs.insert(partition, Slow { to, quick_from: i64::MAX, at: now });
            }
        }
    }

    /// Learns that a fetch from `offset` was quick; `to` is the offset that follows it.
    pub(crate) fn note_quick(
        &self,
        Log { topic, partition }: Log<'_>,
        (offset, to): (i64, i64),
        now: Instant,
    ) {
        let mut topics = self.topics.lock();
        let Some(log) = topics.get_mut(topic).and_then(|logs| logs.get_mut(&partition)) else { return };
        if offset > log.to {
            log.quick_from = log.quick_from.min(offset);
        } else if now.saturating_duration_since(log.at) >= HEALS {
            remove(&mut topics, topic, partition);
        } else {
            log.to = log.to.max(to);
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

/// A broker that takes so long for a fetch that does not wait gets the records from elsewhere, or is overloaded. The time
/// on the way does not count.
pub(crate) const SLOW: Duration = Duration::from_millis(50);

/// Nobody reads the log meanwhile, or it is slow all the time, and found to be so again.
const MAX_AGE: Duration = Duration::from_secs(60);

/// Longer than a walk takes from one part of a segment that a broker gets at a time to the next, and short for a log
/// that a pause of the broker has made slow.
const HEALS: Duration = Duration::from_secs(3);

/// Half a megabyte of the longest names.
const MAX_LOGS: usize = 1_000;

/// Counts the fetches behind which those of others waited, by client.
///
/// The first fetch of a slow log comes without a warning, and a client can read many of them. One with [`MAX_STALLS`] in
/// [`PERIOD`] fetches as if all logs were slow until the period ends. When there are [`MAX_HOLDERS`], the one whose
/// period began first is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    /// The beginning of the period, and the number.
    by_holder: Mutex<BTreeMap<Holder, (Instant, u32)>>,
}

impl Stalls {
    pub(crate) fn note(&self, holder: Holder, now: Instant) {
        let mut by_holder = self.by_holder.lock();
        if by_holder.len() >= MAX_HOLDERS
            && !by_holder.contains_key(&holder)
            && let Some(oldest) = by_holder.iter().min_by_key(|(_, (begun, _))| *begun)
        {
            let oldest = *oldest.0;
            by_holder.remove(&oldest);
        }
        let (begun, count) = by_holder.entry(holder).or_insert((now, 0));
        if now.saturating_duration_since(*begun) >= PERIOD {
            (*begun, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }

    /// Whether a client has held up others too often.
    pub(crate) fn are_many(&self, holder: Holder, now: Instant) -> bool {
        let by_holder = self.by_holder.lock();
        by_holder.get(&holder).is_some_and(|(begun, count)| {
            *count >= MAX_STALLS && now.saturating_duration_since(*begun) < PERIOD
        })
    }
}

const MAX_STALLS: u32 = 2;

const PERIOD: Duration = Duration::from_secs(10);

const MAX_HOLDERS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate_fair_share::ClientKey;
    use std::net::IpAddr;

    fn of(topic: &str, partition: i32) -> Log<'_> {
        Log { topic, partition }
    }

    #[test]
    fn log_is_slow_up_to_where_it_was_quick() {
        let (logs, now) = (SlowLogs::default(), Instant::now());
        let log = of("t", 1);
        let is_slow = |offset| logs.has(log, offset, now);
        logs.note_quick(log, (90, 100), now);
        assert!(!is_slow(0));
        logs.note_slow(log, 20, now);
        assert_eq!([0, 20, 90].map(is_slow), [true; 3]);
        assert!(!logs.has(of("t", 0), 10, now) && !logs.has(of("u", 1), 10, now));
        logs.note_quick(log, (90, 100), now);
        assert_eq!([0, 20, 89, 90].map(is_slow), [true, true, true, false]);
        // A walk goes on where its last fetch ended, however quick that was.
        logs.note_quick(log, (20, 30), now);
        assert_eq!([30, 90].map(is_slow), [true, false]);
        logs.note_slow(log, 96, now);
        assert_eq!([30, 90, 96].map(is_slow), [true; 3]);
        assert!(!logs.has(log, 0, now + MAX_AGE));
    }

    #[test]
    fn log_is_quick_again_some_time_after_its_last_slow_fetch() {
        let (logs, now) = (SlowLogs::default(), Instant::now());
        let log = of("t", 0);
        let is_slow = || logs.has(log, 5, now + HEALS);
        logs.note_slow(log, 6, now);
        logs.note_quick(log, (5, 6), now + HEALS / 2);
        logs.note_slow(log, 6, now + HEALS / 2);
        logs.note_quick(log, (5, 6), now + HEALS);
        assert!(is_slow());
        logs.note_quick(log, (5, 6), now + HEALS / 2 + HEALS);
        assert!(!is_slow());
        assert!(logs.topics.lock().is_empty());
    }

    #[test]
    fn oldest_log_makes_room_for_another() {
        let (logs, now) = (SlowLogs::default(), Instant::now());
        let many = i32::try_from(MAX_LOGS).expect("a few");
        let at = |partition| now + Duration::from_millis(u64::try_from(partition).expect("a number"));
        for partition in 0..=many {
            logs.note_slow(of("t", partition), 1, at(partition));
        }
        let is_slow = |partition| logs.has(of("t", partition), 0, at(many));
        assert_eq!([0, 1, many].map(is_slow), [false, true, true]);
    }

    fn holder(number: u16) -> Holder {
        let [high, low] = number.to_be_bytes();
        ClientKey::from(IpAddr::from([192, 0, high, low])).into()
    }

    #[test]
    fn client_with_many_stalls_is_known_until_its_period_ends() {
        let (stalls, now) = (Stalls::default(), Instant::now());
        (1..MAX_STALLS).for_each(|_| stalls.note(holder(1), now));
        assert!(!stalls.are_many(holder(1), now));
        stalls.note(holder(1), now);
        assert!(stalls.are_many(holder(1), now) && !stalls.are_many(holder(2), now));
        assert!(!stalls.are_many(holder(1), now + PERIOD));
        stalls.note(holder(1), now + PERIOD);
        assert!(!stalls.are_many(holder(1), now + PERIOD));
    }

    #[test]
    fn clients_are_bounded() {
        let (stalls, now) = (Stalls::default(), Instant::now());
        for number in 0..2_000 {
            stalls.note(holder(number), now + Duration::from_millis(number.into()));
        }
        assert_eq!(stalls.by_holder.lock().len(), MAX_HOLDERS);
        assert!(stalls.by_holder.lock().contains_key(&holder(1_999)));
    }
}
