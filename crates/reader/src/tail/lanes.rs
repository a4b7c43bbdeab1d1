//! Which fetches read the logs that callers wait for, as a value without sockets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The logs of one broker that callers wait for, and the fetches that read them.
///
/// A broker answers the requests of a connection in order, and a waiting fetch cannot be changed. The first lane therefore waits
/// for all logs, and logs that join meanwhile wait together on another lane for a shorter time, until an earlier one returns and
/// takes them over. However many callers wait, there are at most [`LANES`] requests at a time, and few in a second while nothing
/// is written.
///
/// A caller whose wait is over must be told that there is still no record, as seen by a request that was sent after it joined.
/// One *probe*, a fetch that does not wait, asks for all whose wait ends soon.
#[derive(Debug)]
pub(crate) struct Lanes<K> {
    logs: BTreeMap<K, Waiting>,
    lanes: [Lane; LANES],
    probe: Lane,
    /// Numbers callers and requests in the order in which they came.
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Free,
    /// It will ask for its first request in a moment.
    Starting,
    /// The answer should be there by then.
    Sent {
        until: Instant,
    },
}

#[derive(Debug, Default)]
struct Waiting {
    /// How many callers wait at which offset.
    callers: BTreeMap<i64, usize>,
    /// The offsets from which the lanes' requests in flight read the log.
    lanes: [Option<i64>; LANES],
    /// When the first wait ends of the callers that joined after the last probe.
    due: Option<Instant>,
    /// Whether a caller whose wait is over needs a probe.
    is_due: bool,
    /// The number of the last probe.
    probed: u64,
}

/// A fetch of many logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaneRequest<K> {
    /// Greater than that of each caller who joined before.
    pub(crate) number: u64,
    /// Each with the offset to read from, in the order of the logs.
    pub(crate) logs: Vec<(K, i64)>,
    /// How long the broker waits.
    pub(crate) wait: Duration,
}

impl<K> Default for Lanes<K> {
    fn default() -> Self {
        Self { logs: BTreeMap::new(), lanes: [Lane::Free; LANES], probe: Lane::Free, last: 0 }
    }
}

impl<K: Ord + Clone> Lanes<K> {
    /// A caller waits for a record at `offset`, and must know at `due` whether there is one. Gives its number, and the lane to
    /// start, if one must be.
    pub(crate) fn join(&mut self, log: &K, offset: i64, due: Option<Instant>) -> (u64, Option<usize>) {
        let number = self.count();
        let waiting = self.logs.entry(log.clone()).or_default();
        let callers = waiting.callers.entry(offset).or_default();
        *callers = callers.saturating_add(1);
        waiting.due = [waiting.due, due].into_iter().flatten().min();
        if waiting.is_read_from(offset) || self.lanes.contains(&Lane::Starting) {
            return (number, None);
        }
        let free = self.lanes.iter_mut().enumerate().find(|(_, lane)| **lane == Lane::Free);
        let start = free.map(|(index, lane)| {
            *lane = Lane::Starting;
            index
        });
        (number, start)
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
        if waiting.is_unused() {
            self.logs.remove(log);
        }
    }

    /// Removes a log whose callers were notified.
    pub(crate) fn remove(&mut self, log: &K) {
        self.logs.remove(log);
    }

    /// The next request of a lane, after its last one has returned. `None` frees the lane.
    pub(crate) fn next(&mut self, lane: usize, now: Instant) -> Option<LaneRequest<K>> {
        let (number, wait) = (self.count(), *WAITS.get(lane)?);
        let mut logs = Vec::new();
        self.logs.retain(|log, waiting| {
            if let Some(reads) = waiting.lanes.get_mut(lane) {
                *reads = None;
            }
            if let Some(offset) = waiting.lowest()
                && !waiting.lanes.iter().take(lane).flatten().any(|from| *from <= offset)
                && let Some(reads) = waiting.lanes.get_mut(lane)
            {
                *reads = Some(offset);
                logs.push((log.clone(), offset));
            }
            !waiting.is_unused()
        });
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = if logs.is_empty() { Lane::Free } else { Lane::sent(now, wait) };
        }
        (!logs.is_empty()).then_some(LaneRequest { number, logs, wait })
    }

    /// The wait of the caller with this number is over. Gives whether the probe must be started.
    pub(crate) fn prove(&mut self, log: &K, caller: u64, now: Instant) -> bool {
        let Some(waiting) = self.logs.get_mut(log) else { return false };
        if waiting.probed > caller {
            return false;
        }
        (waiting.due, waiting.is_due) = (Some(now), true);
        let is_free = self.probe == Lane::Free;
        if is_free {
            self.probe = Lane::Starting;
        }
        is_free
    }

    /// The last probe of this log has not answered its callers.
    pub(crate) fn probe_again(&mut self, log: &K, now: Instant) {
        if let Some(waiting) = self.logs.get_mut(log) {
            (waiting.due, waiting.is_due, waiting.probed) = (Some(now), true, 0);
        }
    }

    /// The next probe, after the last one has returned. `None` frees it.
    pub(crate) fn next_probe(&mut self, now: Instant) -> Option<LaneRequest<K>> {
        let number = self.count();
        let is_due_soon = |due: Instant| due.saturating_duration_since(now) <= AHEAD;
        let mut logs = Vec::new();
        if self.logs.values().any(|waiting| waiting.is_due && waiting.lowest().is_some()) {
            for (log, waiting) in &mut self.logs {
                if waiting.due.is_some_and(is_due_soon)
                    && let Some(offset) = waiting.lowest()
                {
                    (waiting.due, waiting.is_due, waiting.probed) = (None, false, number);
                    logs.push((log.clone(), offset));
                }
            }
        }
        self.probe = if logs.is_empty() { Lane::Free } else { Lane::sent(now, Duration::ZERO) };
        (!logs.is_empty()).then_some(LaneRequest { number, logs, wait: Duration::ZERO })
    }

    /// Whether no caller waits and no request is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.logs.is_empty() && self.lanes.iter().chain([&self.probe]).all(|lane| *lane == Lane::Free)
    }

    /// Whether a caller waits for this log.
    pub(crate) fn has_callers(&self, log: &K) -> bool {
        self.lowest(log).is_some()
    }

    /// Whether a waiting fetch reads the log from just this offset on: it was its end, and a record there will be noticed. Not if
    /// the broker seems to be silent.
    pub(crate) fn is_watched(&self, log: &K, offset: i64, now: Instant) -> bool {
        let Some(waiting) = self.logs.get(log) else { return false };
        let mut lanes = waiting.lanes.iter().zip(&self.lanes);
        lanes.any(|(reads, lane)| {
            *reads == Some(offset) && matches!(lane, Lane::Sent { until } if now < *until)
        })
    }

    /// The lowest offset at which a caller waits.
    pub(crate) fn lowest(&self, log: &K) -> Option<i64> {
        self.logs.get(log)?.lowest()
    }

    fn count(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

impl Lane {
    fn sent(now: Instant, wait: Duration) -> Self {
        let wait = wait.saturating_add(OVERDUE);
        Self::Sent { until: now.checked_add(wait).unwrap_or(now) }
    }
}

impl Waiting {
    fn lowest(&self) -> Option<i64> {
        self.callers.keys().next().copied()
    }

    fn is_read_from(&self, offset: i64) -> bool {
        self.lanes.iter().flatten().any(|from| *from <= offset)
    }

    fn is_unused(&self) -> bool {
        self.callers.is_empty() && self.lanes.iter().all(Option::is_none)
    }
}

/// Waiting fetches of one broker at a time.
const LANES: usize = 3;

/// The waits of the lanes. A log that joins waits on a later lane for up to the time of an earlier one.
const WAITS: [Duration; LANES] =
    [Duration::from_secs(2), Duration::from_millis(500), Duration::from_millis(100)];

/// How long an answer can take besides the broker's wait until nobody relies on it any more. Together with the longest wait it bounds
/// how soon a frozen broker is noticed.
pub(super) const OVERDUE: Duration = Duration::from_millis(500);

/// A probe also asks for those whose wait ends within this time: while nothing is written, there are at most ten probes a second
/// for any number of callers with longer waits.
const AHEAD: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(request: Option<LaneRequest<char>>) -> Vec<(char, i64)> {
        request.map(|request| request.logs).unwrap_or_default()
    }

    fn join(lanes: &mut Lanes<char>, log: char, offset: i64) -> Option<usize> {
        lanes.join(&log, offset, None).1
    }

    #[test]
    fn callers_of_a_log_share_one_request() {
        let mut lanes = Lanes::default();
        assert_eq!(join(&mut lanes, 'a', 5), Some(0));
        assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5)]);
        for _ in 0..10_000 {
            assert_eq!(join(&mut lanes, 'a', 5), None);
        }
        for _ in 0..=10_000 {
            assert!(lanes.has_callers(&'a'));
            lanes.leave(&'a', 5);
        }
        assert!(!lanes.has_callers(&'a'));
    }

    #[test]
    fn log_that_joins_waits_on_another_lane_until_an_earlier_one_takes_it() {
        let mut lanes = Lanes::default();
        join(&mut lanes, 'a', 5);
        let first = lanes.next(0, Instant::now()).expect("a request");
        assert_eq!(join(&mut lanes, 'b', 1), Some(1));
        let second = lanes.next(1, Instant::now()).expect("a request");
        assert_eq!(second.logs, [('b', 1)]);
        assert_eq!(join(&mut lanes, 'c', 1), Some(2));
        let third = lanes.next(2, Instant::now()).expect("a request");
        assert!(third.wait < second.wait && second.wait < first.wait);
        assert_eq!(
            logs(lanes.next(1, Instant::now())),
            [('b', 1), ('c', 1)],
            "the second lane takes the third's"
        );
        assert_eq!(
            logs(lanes.next(0, Instant::now())),
            [('a', 5), ('b', 1), ('c', 1)],
            "the first lane takes all"
        );
        assert_eq!(
            (lanes.next(1, Instant::now()), lanes.next(2, Instant::now())),
            (None, None),
            "the others have nothing left"
        );
        assert_eq!(join(&mut lanes, 'd', 1), Some(1), "and are free again");
    }

    #[test]
    fn logs_that_find_no_free_lane_join_the_next_request() {
        let mut lanes = Lanes::default();
        for (index, log) in ['a', 'b', 'c'].into_iter().enumerate() {
            assert_eq!(join(&mut lanes, log, 0), Some(index));
            assert_eq!(logs(lanes.next(index, Instant::now())), [(log, 0)]);
        }
        assert_eq!((join(&mut lanes, 'd', 0), join(&mut lanes, 'e', 0)), (None, None));
        assert_eq!(logs(lanes.next(2, Instant::now())), [('c', 0), ('d', 0), ('e', 0)]);
    }

    #[test]
    fn request_reads_from_the_lowest_offset() {
        let mut lanes = Lanes::default();
        join(&mut lanes, 'a', 5);
        assert_eq!(join(&mut lanes, 'a', 9), None, "the lane has not sent its request yet");
        assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5)]);
        assert_eq!(join(&mut lanes, 'a', 9), None);
        assert_eq!(join(&mut lanes, 'a', 3), Some(1), "no request covers a lower offset");
        assert_eq!(logs(lanes.next(1, Instant::now())), [('a', 3)]);
    }

    #[test]
    fn log_without_callers_is_not_requested_again() {
        let mut lanes = Lanes::default();
        join(&mut lanes, 'a', 5);
        join(&mut lanes, 'b', 5);
        assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5), ('b', 5)]);
        lanes.leave(&'a', 5);
        lanes.remove(&'b');
        assert!(!lanes.is_idle());
        assert_eq!(lanes.next(0, Instant::now()), None);
        assert!(lanes.is_idle());
    }

    #[test]
    fn caller_that_comes_back_is_still_watched_for() {
        let mut lanes = Lanes::default();
        join(&mut lanes, 'a', 5);
        assert!(!lanes.is_watched(&'a', 5, Instant::now()), "nothing was sent yet");
        lanes.next(0, Instant::now());
        assert!(lanes.is_watched(&'a', 5, Instant::now()));
        assert!(!lanes.is_watched(&'a', 6, Instant::now()), "that can be beyond the end");
        lanes.leave(&'a', 5);
        assert!(lanes.is_watched(&'a', 5, Instant::now()));
        assert_eq!(join(&mut lanes, 'a', 5), None);
        assert_eq!(logs(lanes.next(0, Instant::now())), [('a', 5)]);
        lanes.remove(&'a');
        assert!(!lanes.is_watched(&'a', 5, Instant::now()), "it has records");
    }

    #[test]
    fn nobody_relies_on_an_answer_that_is_overdue() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        join(&mut lanes, 'a', 5);
        let wait = lanes.next(0, now).expect("a request").wait;
        assert!(lanes.is_watched(&'a', 5, now + wait));
        assert!(!lanes.is_watched(&'a', 5, now + wait + OVERDUE));
    }

    #[test]
    fn one_probe_answers_all_whose_wait_ends_soon() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let wait = |millis| Some(now + Duration::from_millis(millis));
        let (first, _) = lanes.join(&'a', 5, wait(0));
        let (second, _) = lanes.join(&'b', 5, wait(90));
        lanes.join(&'c', 5, wait(5_000));
        assert!(lanes.prove(&'a', first, now));
        let probe = lanes.next_probe(now).expect("a request");
        assert_eq!(probe.logs, [('a', 5), ('b', 5)]);
        assert_eq!(probe.wait, Duration::ZERO);
        assert!(probe.number > second);
        assert!(!lanes.prove(&'b', second, now + Duration::from_millis(90)), "its probe is under way");
        assert_eq!(lanes.next_probe(now + Duration::from_millis(90)), None);
    }

    #[test]
    fn probe_does_not_answer_who_comes_later() {
        let (mut lanes, now) = (Lanes::default(), Instant::now());
        let (first, _) = lanes.join(&'a', 5, Some(now));
        lanes.prove(&'a', first, now);
        lanes.next_probe(now);
        let (later, _) = lanes.join(&'a', 5, Some(now));
        assert!(!lanes.prove(&'a', later, now), "one probe at a time");
        let next = lanes.next_probe(now).expect("a request");
        assert!(next.number > later);
        assert_eq!(lanes.next_probe(now), None);
        let (last, _) = lanes.join(&'a', 5, Some(now));
        assert!(lanes.prove(&'a', last, now), "it was free");
    }
}
