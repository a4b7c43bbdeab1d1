//! The fetches that read the logs for which callers wait, as a value without sockets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The logs of one broker that callers wait for, and the fetches that read them.
///
/// A broker answers the requests of a connection in order, and a waiting fetch cannot be changed. The first long poll
/// therefore waits for all logs, and logs that join meanwhile wait together on another long poll for a shorter time,
/// until an earlier one returns and takes them over. However many callers wait, there are at most [`LONG_POLLS`]
/// requests at a time, and few in a second while nothing is written.
///
/// A record ends the request for all its logs, and the next one lists them again. So a long poll with more than
/// [`CROWD`] logs rests after each request, in proportion to its length ([`REST`]). Other long polls leave these logs
/// alone meanwhile, and go on. In such a crowd, the first long poll does not take over young logs: those at which
/// records arrive stay in short requests, which hardly rest, and seldom end the long one.
///
/// A caller whose wait is over must be told that there is still no record, as seen by a request that was sent after it
/// joined. One *probe*, a fetch that does not wait, asks for all whose wait ends soon.
#[derive(Debug)]
pub(crate) struct LongPolls<K> {
    logs: BTreeMap<K, Waiting>,
    polls: [LongPoll; LONG_POLLS],
    probe: LongPoll,
    /// Numbers callers and requests in the order in which they came.
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LongPoll {
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
    /// The number of waiting callers by offset.
    callers: BTreeMap<i64, usize>,
    /// The offsets from which the long polls' requests in flight read the log.
    polls: [Option<i64>; LONG_POLLS],
    /// When a request first read it after its last record.
    since: Option<Instant>,
    /// When the first wait ends of the callers that joined after the last probe.
    due: Option<Instant>,
    /// Whether a caller whose wait is over needs a probe.
    is_due: bool,
    /// The number of the last probe.
    probed: u64,
}

/// A fetch of many logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LongPollRequest<K> {
    /// Greater than that of each caller who joined before.
    pub(crate) number: u64,
    /// Each with the offset to read from, in the order of the logs.
    pub(crate) logs: Vec<(K, i64)>,
    /// The broker's wait.
    pub(crate) wait: Duration,
    /// The least time from this request to the next one of its long poll.
    pub(crate) interval: Duration,
}

impl<K> Default for LongPolls<K> {
    fn default() -> Self {
        Self { logs: BTreeMap::new(), polls: [LongPoll::Free; LONG_POLLS], probe: LongPoll::Free, last: 0 }
    }
}

impl<K: Ord + Clone> LongPolls<K> {
    /// A caller waits for a record at `offset`, and must know at `due` whether there is one. Gives its number, and the
    /// long poll to start, if one must be.
    pub(crate) fn join(&mut self, log: &K, offset: i64, due: Option<Instant>) -> (u64, Option<usize>) {
        let number = self.count();
        let waiting = self.logs.entry(log.clone()).or_default();
        let callers = waiting.callers.entry(offset).or_default();
        *callers = callers.saturating_add(1);
        waiting.due = [waiting.due, due].into_iter().flatten().min();
        if waiting.is_read_from(offset) || self.polls.contains(&LongPoll::Starting) {
            return (number, None);
        }
        let free = self.polls.iter_mut().enumerate().find(|(_, poll)| **poll == LongPoll::Free);
        let start = free.map(|(index, poll)| {
            *poll = LongPoll::Starting;
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

    /// The next request of a long poll, after its last one has returned. `None` frees the long poll.
    pub(crate) fn next(&mut self, index: usize, now: Instant) -> Option<LongPollRequest<K>> {
        let (number, wait) = (self.count(), *WAITS.get(index)?);
        let leaves_young = index == 0 && self.first_leaves_young();
        let mut logs = Vec::new();
        self.logs.retain(|log, waiting| {
            let was_read = waiting.polls.get_mut(index).and_then(Option::take).is_some();
            if let Some(offset) = waiting.lowest() {
                let is_left = leaves_young && !was_read && waiting.is_young(now);
                let is_read = waiting.polls.iter().take(index).flatten().any(|from| *from <= offset);
                if !is_left
                    && !is_read
                    && let Some(reads) = waiting.polls.get_mut(index)
                {
                    *reads = Some(offset);
                    waiting.since.get_or_insert(now);
                    logs.push((log.clone(), offset));
                }
            }
            !waiting.is_unused()
        });
        if let Some(poll) = self.polls.get_mut(index) {
            *poll = if logs.is_empty() { LongPoll::Free } else { LongPoll::sent(now, wait) };
        }
        let interval = rest(logs.len());
        (!logs.is_empty()).then_some(LongPollRequest { number, logs, wait, interval })
    }

    /// Whether the first long poll leaves young logs to others: they read those that joined while it was waiting, or
    /// will soon.
    fn first_leaves_young(&self) -> bool {
        let [first, others @ ..] = &self.polls;
        let is_waiting = matches!(first, LongPoll::Sent { .. });
        is_waiting && self.logs.len() > CROWD && others.iter().any(|poll| *poll != LongPoll::Free)
    }

    /// The wait of the caller with this number is over. Gives whether the probe must be started.
    pub(crate) fn prove(&mut self, log: &K, caller: u64, now: Instant) -> bool {
        let Some(waiting) = self.logs.get_mut(log) else { return false };
        if waiting.probed > caller {
            return false;
        }
        (waiting.due, waiting.is_due) = (Some(now), true);
        let is_free = self.probe == LongPoll::Free;
        if is_free {
            self.probe = LongPoll::Starting;
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
    pub(crate) fn next_probe(&mut self, now: Instant) -> Option<LongPollRequest<K>> {
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
        self.probe = if logs.is_empty() { LongPoll::Free } else { LongPoll::sent(now, Duration::ZERO) };
        (!logs.is_empty()).then_some(LongPollRequest {
            number,
            logs,
            wait: Duration::ZERO,
            interval: Duration::ZERO,
        })
    }

    /// Whether no caller waits and no request is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.logs.is_empty() && self.polls.iter().chain([&self.probe]).all(|poll| *poll == LongPoll::Free)
    }

    /// Whether a caller waits for this log.
    pub(crate) fn has_callers(&self, log: &K) -> bool {
        self.lowest(log).is_some()
    }

    /// Whether a waiting fetch reads the log from just this offset on: it was its end, and a record there will be
    /// noticed. Not if the broker seems to be silent.
    pub(crate) fn is_watched(&self, log: &K, offset: i64, now: Instant) -> bool {
        let Some(waiting) = self.logs.get(log) else { return false };
        let mut polls = waiting.polls.iter().zip(&self.polls);
        polls.any(|(reads, poll)| {
            *reads == Some(offset) && matches!(poll, LongPoll::Sent { until } if now < *until)
        })
    }

    /// The lowest offset at which a caller waits.
    pub(crate) fn lowest(&self, log: &K) -> Option<i64> {
        self.logs.get(log)?.lowest()
    }

    /// The highest offset at which a caller waits.
    pub(crate) fn highest(&self, log: &K) -> Option<i64> {
        self.logs.get(log)?.callers.keys().next_back().copied()
    }

    fn count(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

impl LongPoll {
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
        self.polls.iter().flatten().any(|from| *from <= offset)
    }

    fn is_young(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.saturating_duration_since(since) < YOUNG)
    }

    fn is_unused(&self) -> bool {
        self.callers.is_empty() && self.polls.iter().all(Option::is_none)
    }
}

/// The least time between a request of so many logs and the next one.
fn rest(logs: usize) -> Duration {
    let logs = if logs > CROWD { u32::try_from(logs).unwrap_or(u32::MAX) } else { 0 };
    REST.saturating_mul(logs)
}

/// Waiting fetches of one broker at a time.
const LONG_POLLS: usize = 3;

/// The waits of the long polls. A log that joins waits on a later long poll for up to the time of an earlier one.
const WAITS: [Duration; LONG_POLLS] =
    [Duration::from_secs(2), Duration::from_millis(500), Duration::from_millis(100)];

/// Long polls with more logs rest.
const CROWD: usize = 100;

/// The rest for each log of a request: a long poll lists at most 50,000 logs a second. Each costs some 3 µs of CPU in
/// Kafka and 2 µs here. With 5,000 logs at one broker, a record can be delivered up to 100 ms later. Fetch sessions
/// (KIP-227) would shorten the lists but save little: a broker checks all logs of a session for each request.
const REST: Duration = Duration::from_micros(20);

/// The time for which a log without records is young.
const YOUNG: Duration = Duration::from_secs(2);

/// The time that an answer can take besides the broker's wait. Callers no longer rely on a later one. Together with the
/// longest wait it bounds how soon a frozen broker is noticed.
pub(super) const OVERDUE: Duration = Duration::from_millis(500);

/// A probe also asks for those whose wait ends within this time: while nothing is written, there are at most ten probes
/// a second for any number of callers with longer waits.
const AHEAD: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
