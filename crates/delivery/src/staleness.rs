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

/// The time for which a topic keeps removals, as it was told at a time: it can be changed at any time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    told: Instant,
    /// None: as long as any other record.
    time: Option<Duration>,
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
            Some(Life { time, .. }) => {
                time.filter(|life| behind > *life).map_or(Removals::Kept, Removals::Forgotten)
            }
        }
    }

    fn time(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.current.unwrap_or(now))
    }
}

impl Life {
    /// The answer to the question for it, which came now. A reader that stayed counts as keeping up for a while without one.
    pub(crate) fn of(answer: Result<Option<Duration>, CommandError>, now: Instant) -> Self {
        Self { told: now, time: answer.unwrap_or(Some(UNKNOWN)) }
    }
}

/// No log forgets a removal sooner: a segment is closed first, compacted, and then compacted again.
const SOONEST_FORGOTTEN: Duration = Duration::from_secs(1);
/// The life of removals of a topic that does not tell it.
const UNKNOWN: Duration = Duration::from_secs(60);
/// The time after which a topic is asked again.
const KNOWN_FOR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use sluicegate_backend::Fault;

    use super::*;

    #[test]
    fn removals_are_kept_for_as_long_as_the_topic_says_now() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let told = |millis| Ok(Some(Duration::from_millis(millis)));
        let refused = Err(CommandError::new(Fault::Rejected, 29, "no right"));
        let mut staleness = Staleness::default();
        assert_eq!(staleness.removals(None, at(90_000)), Removals::Kept);
        staleness.is_current_at(began);
        for (answer, now, want) in [
            (None, 999, Removals::Kept),
            (None, 1_000, Removals::Unknown),
            (Some((told(0), 0)), 999, Removals::Kept),
            (Some((told(5_000), 0)), 5_000, Removals::Kept),
            (Some((told(5_000), 0)), 5_001, Removals::Forgotten(Duration::from_secs(5))),
            (Some((told(3_600_000), 0)), 9_999, Removals::Kept),
            (Some((told(3_600_000), 0)), 10_000, Removals::Unknown),
            (Some((Ok(None), 900_000)), 900_000, Removals::Kept),
            (Some((refused.clone(), 60_000)), 60_000, Removals::Kept),
            (Some((refused, 60_000)), 60_001, Removals::Forgotten(Duration::from_secs(60))),
        ] {
            let life = answer.clone().map(|(answer, told)| Life::of(answer, at(told)));
            assert_eq!(staleness.removals(life, at(now)), want, "{answer:?} at {now} ms");
        }
    }
}
