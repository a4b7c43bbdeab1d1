//! Whether a log has forgotten removals that its reader does not have: a client of a table, or the bridge's own table.
//!
//! A reader that misses a removal keeps a key that is gone. It can miss one only where the log has a gap, and only if it
//! was behind its log for longer than the topic keeps removals.

use std::time::Duration;

use sluicegate_backend::CommandError;
use tokio::time::Instant;

/// How long a reader has been behind its log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Staleness {
    /// When it had all that was in the log last. None: it has not read anything yet.
    current: Option<Instant>,
}

/// The time for which a topic keeps removals, as it was told at a time: it can be changed at any time, and those that
/// are written before count by the earlier one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    /// None: as long as any other record.
    time: Option<Duration>,
    told: Instant,
    /// Since when it was told and was never shorter. None: it was not, or is assumed.
    since: Option<Instant>,
}

/// The removals that were written while a reader was behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removals {
    /// The log has all of them.
    Kept,
    /// It can have forgotten some, which it keeps for this time.
    Forgotten(Duration),
    /// It has to be asked how long they are kept.
    Unknown,
}

impl Staleness {
    /// The reader has all that was in the log at this time.
    pub(crate) fn is_current_at(&mut self, time: Instant) {
        self.current = Some(time);
    }

    /// When the reader had all that was in the log last. None: it has not read anything yet.
    pub(crate) fn current_at(self) -> Option<Instant> {
        self.current
    }

    /// Whether the reader has been behind for longer than `max`. It is behind from its first read on.
    pub(crate) fn exceeds(&mut self, max: Duration, now: Instant) -> bool {
        self.current.get_or_insert(now);
        self.time(now) > max
    }

    /// The removals that it can have missed at a gap of its log, whose topic keeps them for this long as far as is known.
    pub(crate) fn removals(self, life: Option<Life>, now: Instant) -> Removals {
        let behind = self.time(now);
        if behind < SOONEST_FORGOTTEN {
            return Removals::Kept;
        }
        match life.filter(|life| now.saturating_duration_since(life.told) < KNOWN_FOR) {
            None => Removals::Unknown,
            Some(Life { time, since, .. }) => {
                let is_known = since.is_none_or(|since| self.current.is_some_and(|current| current >= since));
                time.filter(|life| !is_known || behind > *life).map_or(Removals::Kept, Removals::Forgotten)
            }
        }
    }

    fn time(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.current.unwrap_or(now))
    }
}

impl Life {
    /// The time that was told now, after what was told before.
    pub(crate) fn told(time: Option<Duration>, before: Option<Self>, now: Instant) -> Self {
        let is_longer =
            |before: &Self| before.time.is_some_and(|before| time.is_none_or(|time| time > before));
        let since = before.filter(|before| !is_longer(before)).and_then(|before| before.since);
        // A system in which removals stay as long as others has always been so.
        Self { time, told: now, since: time.and(since.or(Some(now))) }
    }

    /// The stand-in for an answer after this error: nothing is known while one can still come.
    pub(crate) fn untold(error: &CommandError, now: Instant) -> Self {
        let time = if error.fault.is_retriable() { Duration::ZERO } else { UNTOLD };
        Self { time: Some(time), told: now, since: None }
    }

    /// Whether a removal stays for so long.
    pub(crate) fn is_at_least(self, time: Duration) -> bool {
        self.time.is_none_or(|life| time <= life)
    }
}

/// No log forgets a removal sooner: a segment is closed first, compacted, and then compacted again.
const SOONEST_FORGOTTEN: Duration = Duration::from_secs(1);
/// The time after which a topic is asked again.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// The time for which removals count as kept where the cluster's user may not know it.
const UNTOLD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_kept_for_as_long_as_the_topic_says_now_and_said_meanwhile() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let (second, forgotten) = (1_000, |millis| Removals::Forgotten(Duration::from_millis(millis)));
        assert_eq!(Staleness::default().removals(None, at(90_000)), Removals::Kept);
        // Answers in seconds, and when they came: the last one counts, if it was known when the reader was current, 20 s after the first.
        for (told, now, want) in [
            (&[][..], 20_999, Removals::Kept),
            (&[], 21_000, Removals::Unknown),
            (&[(Some(0), 0)], 20_999, Removals::Kept),
            (&[(Some(5), 0), (Some(5), 25 * second)], 25_000, Removals::Kept),
            (&[(Some(5), 0), (Some(5), 25 * second)], 25_001, forgotten(5_000)),
            (&[(Some(3_600), 0), (Some(3_600), 25 * second)], 34_999, Removals::Kept),
            (&[(Some(3_600), 0), (Some(3_600), 25 * second)], 35_000, Removals::Unknown),
            (&[(None, 900 * second)], 900_000, Removals::Kept),
            (&[(Some(9), 0), (Some(6), 25 * second)], 26_000, Removals::Kept),
            (&[(Some(9), 0), (Some(6), 25 * second)], 26_001, forgotten(6_000)),
            // It was shorter, or is not known to have been as long.
            (&[(Some(1), 0), (Some(3_600), 25 * second)], 25_000, forgotten(3_600_000)),
            (&[(Some(3_600), 25 * second)], 25_000, forgotten(3_600_000)),
        ] {
            let mut staleness = Staleness::default();
            staleness.is_current_at(at(20 * second));
            let life = told.iter().fold(None, |before, (time, now)| {
                Some(Life::told(time.map(Duration::from_secs), before, at(*now)))
            });
            assert_eq!(staleness.removals(life, at(now)), want, "{told:?} at {now} ms");
        }
    }
}
