//! The ends of a log that waiting callers have not seen.

use std::time::Duration;

use sluicegate_shared_log::{Ends, SeenEnds};
use tokio::time::Instant;

/// Tells when the ends of a log are news to a caller.
#[derive(Debug)]
pub(super) struct EndsNews {
    /// The lowest ends that callers have seen.
    seen: SeenEnds,
    /// The place of the transaction that records wait for, and when it was first seen there.
    open: Option<(i64, Instant)>,
}

impl Default for EndsNews {
    fn default() -> Self {
        Self { seen: SeenEnds::ALL, open: None }
    }
}

impl EndsNews {
    /// A caller that has seen these ends wants to know of later ones.
    pub(super) fn want(&mut self, seen: SeenEnds) {
        self.seen = SeenEnds { start: self.seen.start.min(seen.start), end: self.seen.end.min(seen.end) };
    }

    /// The ends to tell, if they are news to some callers. Records that wait for a transaction count after [`OPEN`].
    pub(super) fn news(&mut self, ends: Ends, now: Instant) -> Option<Ends> {
        self.open = match self.open {
            _ if !(0..ends.end).contains(&ends.stable) => None,
            Some(known) if known.0 == ends.stable => Some(known),
            Some(_) | None => Some((ends.stable, now)),
        };
        let is_open = self.open.is_some_and(|(_, since)| now.saturating_duration_since(since) >= OPEN);
        let ends = if is_open { ends } else { Ends { end: ends.stable, ..ends } };
        if !ends.is_beyond(self.seen) {
            return None;
        }
        // Callers that are told wait again, with what they have seen by then.
        if ends.end > self.seen.end {
            self.seen.end = if is_open { i64::MAX } else { ends.end };
        }
        self.seen.start = self.seen.start.max(ends.start);
        Some(ends)
    }
}

/// The time after which callers are told of a transaction: most end sooner.
const OPEN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: i64 = i64::MAX;

    fn news(news: &mut EndsNews, (start, stable, end): (i64, i64, i64), now: Instant) -> Option<(i64, i64)> {
        news.news(Ends { start, stable, end }, now).map(|ends| (ends.start, ends.end))
    }

    #[test]
    fn transaction_is_told_once_when_it_stays_open() {
        let (mut log, now) = (EndsNews::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        log.want(SeenEnds { start: NONE, end: 8 });
        assert_eq!(news(&mut log, (0, 8, 8), at(0)), None);
        assert_eq!(news(&mut log, (0, 8, 12), at(1)), None);
        assert_eq!(news(&mut log, (0, 8, 13), at(5)), None);
        assert_eq!(news(&mut log, (0, 8, 14), at(6)), Some((0, 14)));
        assert_eq!(news(&mut log, (0, 8, 15), at(7)), None, "all know");
        log.want(SeenEnds { start: NONE, end: 8 });
        assert_eq!(news(&mut log, (0, 8, 15), at(8)), Some((0, 15)), "one does not");
        log.want(SeenEnds { start: NONE, end: 9 });
        assert_eq!(news(&mut log, (0, 9, 15), at(9)), None, "another transaction");
        // Also after a caller was behind.
        let (mut log, now) = (EndsNews::default(), Instant::now());
        log.want(SeenEnds { start: NONE, end: 8 });
        log.want(SeenEnds { start: NONE, end: 5 });
        assert_eq!(news(&mut log, (0, 8, 8), now), Some((0, 8)));
        assert_eq!(news(&mut log, (0, 8, 12), now), None);
        assert_eq!(news(&mut log, (0, 8, 12), now + OPEN), Some((0, 12)));
    }

    #[test]
    fn only_a_later_known_start_is_told_to_callers_that_have_not_seen_it() {
        let (mut log, now) = (EndsNews::default(), Instant::now());
        assert_eq!(news(&mut log, (5, 8, 8), now), None, "nobody wants to know");
        log.want(SeenEnds { start: 5, end: 8 });
        log.want(SeenEnds { start: NONE, end: 8 });
        assert_eq!(news(&mut log, (5, 8, 8), now), None);
        assert_eq!(news(&mut log, (6, 8, 8), now), Some((6, 8)));
        assert_eq!(news(&mut log, (6, 8, 8), now), None);
        log.want(SeenEnds { start: 5, end: NONE });
        assert_eq!(news(&mut log, (6, 8, 8), now), Some((6, 8)));
        assert_eq!(news(&mut log, (7, 8, 8), now), Some((7, 8)));
        let (mut log, now) = (EndsNews::default(), Instant::now());
        log.want(SeenEnds { start: -1, end: 0 });
        for _ in 0..2 {
            assert_eq!(news(&mut log, (-1, -1, -1), now), None);
            assert_eq!(news(&mut log, (-1, -1, 9), now + OPEN), None);
        }
    }
}
