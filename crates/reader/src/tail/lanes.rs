//! Which waiting fetch reads which logs, as a value without sockets or a clock.

use std::collections::BTreeMap;
use std::time::Duration;

/// The logs of one broker that callers wait for, and the waiting fetches that read them.
///
/// A broker answers the requests of a connection in order, and a waiting fetch cannot be changed. The first lane therefore waits
/// for all logs, and logs that join meanwhile wait together on another lane for a shorter time, until the first one returns and
/// takes them over. However many callers wait, there are at most [`LANES`] requests at a time, and few in a second while nothing
/// is written.
#[derive(Debug)]
pub(crate) struct Lanes<K> {
    logs: BTreeMap<K, Waiting>,
    lanes: [Lane; LANES],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Free,
    /// It will ask for its first request in a moment.
    Starting,
    Sent,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How many callers wait at which offset.
    callers: BTreeMap<i64, usize>,
    /// The lanes whose request reads the log from the lowest of these offsets on.
    lanes: [bool; LANES],
}

/// A waiting fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneRequest<K> {
    /// Each with the offset to read from, in the order of the logs.
    pub(crate) logs: Vec<(K, i64)>,
    /// How long the broker waits.
    pub(crate) wait: Duration,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self { logs: BTreeMap::new(), lanes: [Lane::Free; LANES] }
    }
}

impl<K: Ord + Clone> Lanes<K> {
    /// A caller waits for a record at `offset`. Gives the lane to start, if one must be.
    pub(crate) fn join(&mut self, log: &K, offset: i64) -> Option<usize> {
        let waiting = self.logs.entry(log.clone()).or_default();
        // A request that reads from a later offset does not cover this one.
        if waiting.callers.keys().next().is_some_and(|lowest| offset < *lowest) {
            waiting.lanes = [false; LANES];
        }
        let callers = waiting.callers.entry(offset).or_default();
        *callers = callers.saturating_add(1);
        if waiting.lanes.contains(&true) || self.lanes.contains(&Lane::Starting) {
            return None;
        }
        let (number, free) = self.lanes.iter_mut().enumerate().find(|(_, lane)| **lane == Lane::Free)?;
        *free = Lane::Starting;
        Some(number)
    }

    /// A caller no longer waits.
    pub(crate) fn leave(&mut self, log: &K, offset: i64) {
        let Some(waiting) = self.logs.get_mut(log) else { return };
        if let Some(callers) = waiting.callers.get_mut(&offset) {
            *callers = callers.saturating_sub(1);
            if *callers == 0 {
                waiting.callers.remove(&offset);
            }
        }
        if waiting.callers.is_empty() {
            self.logs.remove(log);
        }
    }

    /// Removes a log whose callers were notified.
    pub(crate) fn remove(&mut self, log: &K) {
        self.logs.remove(log);
    }

    /// The next request of a lane, after its last one has returned. `None` frees the lane.
    pub(crate) fn next(&mut self, lane: usize) -> Option<LaneRequest<K>> {
        let is_first = lane == 0;
        let mut logs = Vec::new();
        for (log, waiting) in &mut self.logs {
            if let Some(covers) = waiting.lanes.get_mut(lane) {
                *covers = false;
            }
            if !is_first && waiting.lanes.contains(&true) {
                continue;
            }
            if let (Some(covers), Some(offset)) = (waiting.lanes.get_mut(lane), waiting.callers.keys().next())
            {
                *covers = true;
                logs.push((log.clone(), *offset));
            }
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = if logs.is_empty() { Lane::Free } else { Lane::Sent };
        }
        let wait = if is_first { FIRST_WAIT } else { JOIN_WAIT };
        (!logs.is_empty()).then_some(LaneRequest { logs, wait })
    }

    /// Whether no caller waits and no request is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.logs.is_empty() && self.lanes.iter().all(|lane| *lane == Lane::Free)
    }

    /// Whether a caller waits for this log.
    pub(crate) fn contains(&self, log: &K) -> bool {
        self.logs.contains_key(log)
    }
}

/// Waiting fetches of one broker at a time.
const LANES: usize = 3;

/// The wait of the first lane: two requests a second while nothing is written.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The wait of the others, and so the time that a log waits for a lane if all are taken.
const JOIN_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(request: Option<LaneRequest<char>>) -> Vec<(char, i64)> {
        request.map(|request| request.logs).unwrap_or_default()
    }

    #[test]
    fn callers_of_a_log_share_one_request() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.join(&'a', 5), Some(0));
        assert_eq!(logs(lanes.next(0)), [('a', 5)]);
        for _ in 0..10_000 {
            assert_eq!(lanes.join(&'a', 5), None);
        }
        for _ in 0..=10_000 {
            assert!(lanes.contains(&'a'));
            lanes.leave(&'a', 5);
        }
        assert!(!lanes.contains(&'a'));
    }

    #[test]
    fn log_that_joins_waits_on_another_lane_until_the_first_takes_it() {
        let mut lanes = Lanes::default();
        lanes.join(&'a', 5);
        let first = lanes.next(0).expect("a request");
        assert_eq!(lanes.join(&'b', 1), Some(1));
        let joined = lanes.next(1).expect("a request");
        assert_eq!(joined.logs, [('b', 1)]);
        assert!(joined.wait < first.wait);
        assert_eq!(logs(lanes.next(0)), [('a', 5), ('b', 1)], "the first lane takes all");
        assert_eq!(lanes.next(1), None, "the other one has nothing left");
        assert_eq!(lanes.join(&'c', 1), Some(1), "and is free again");
    }

    #[test]
    fn logs_that_find_no_free_lane_join_the_next_request() {
        let mut lanes = Lanes::default();
        for (index, log) in ['a', 'b', 'c'].iter().enumerate() {
            assert_eq!(lanes.join(log, 0), Some(index));
            assert_eq!(logs(lanes.next(index)), [(*log, 0)]);
        }
        assert_eq!((lanes.join(&'d', 0), lanes.join(&'e', 0)), (None, None));
        assert_eq!(logs(lanes.next(2)), [('c', 0), ('d', 0), ('e', 0)]);
    }

    #[test]
    fn request_reads_from_the_lowest_offset() {
        let mut lanes = Lanes::default();
        lanes.join(&'a', 5);
        assert_eq!(lanes.join(&'a', 9), None, "the lane has not sent its request yet");
        assert_eq!(logs(lanes.next(0)), [('a', 5)]);
        assert_eq!(lanes.join(&'a', 9), None);
        assert_eq!(lanes.join(&'a', 3), Some(1), "no request covers a lower offset");
        assert_eq!(logs(lanes.next(1)), [('a', 3)]);
    }

    #[test]
    fn log_without_callers_is_not_requested_again() {
        let mut lanes = Lanes::default();
        lanes.join(&'a', 5);
        lanes.join(&'b', 5);
        assert_eq!(logs(lanes.next(0)), [('a', 5), ('b', 5)]);
        lanes.leave(&'a', 5);
        lanes.remove(&'b');
        assert!(!lanes.is_idle());
        assert_eq!(lanes.next(0), None);
        assert!(lanes.is_idle());
    }
}
