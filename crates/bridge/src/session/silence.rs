//! Whether a session's peer is still there, as a function of time.

use std::time::Duration;

use tokio::time::Instant;

/// What happened last, and when the next thing is due.
#[derive(Debug)]
pub(super) struct Silence {
    interval: Duration,
    /// Last inbound byte, or what had to be said instead.
    inbound: Instant,
    /// Last time that output moved, or began to wait.
    outbound: Instant,
    unanswered: u32,
}

/// What silence asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the client whether it is there.
    Ping,
    /// It did not answer.
    Silent,
    /// It takes no more output.
    Stalled,
}

impl Silence {
    /// `interval`: how long nothing may happen before a ping.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, inbound: now, outbound: now, unanswered: 0 }
    }

    /// Bytes came in.
    pub(super) fn inbound(&mut self, now: Instant) {
        self.inbound = now;
        self.unanswered = 0;
    }

    /// Output moved, or there is some where there was none.
    pub(super) fn outbound(&mut self, now: Instant) {
        self.outbound = now;
    }

    /// When to ask again whether something is [`due`](Self::due). Never more than an interval ahead, so that a state
    /// that ends meanwhile delays nothing.
    pub(super) fn deadline(&self, now: Instant, output_waits: bool) -> Instant {
        let deadline = if output_waits {
            self.outbound + self.interval * STALLED_INTERVALS
        } else {
            self.inbound.max(self.outbound) + self.interval
        };
        deadline.clamp(now, now + self.interval)
    }

    /// What is due. A ping that is due counts as asked.
    pub(super) fn due(&mut self, now: Instant, output_waits: bool) -> Option<Due> {
        if output_waits {
            // A ping would only queue behind what is not taken.
            return (now >= self.outbound + self.interval * STALLED_INTERVALS).then_some(Due::Stalled);
        }
        if now < self.inbound.max(self.outbound) + self.interval {
            return None;
        }
        if self.unanswered >= MAX_UNANSWERED {
            return Some(Due::Silent);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.outbound = now;
        Some(Due::Ping)
    }
}

/// Pings that may stay without an answer.
const MAX_UNANSWERED: u32 = 2;
/// Intervals in which output may stand still: as long as it takes to give up on a client that answers no ping.
const STALLED_INTERVALS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn two_pings_without_an_answer_end_it() {
        let start = Instant::now();
        let mut silence = Silence::new(SECOND, start);
        let due: Vec<_> = (0..=3).map(|n| silence.due(start + SECOND * n, false)).collect();
        assert_eq!(due, [None, Some(Due::Ping), Some(Due::Ping), Some(Due::Silent)]);
    }

    #[test]
    fn any_inbound_byte_starts_over() {
        let start = Instant::now();
        let mut silence = Silence::new(SECOND, start);
        for n in 1..10 {
            assert_eq!(silence.due(start + SECOND * 2 * n, false), Some(Due::Ping));
            silence.inbound(start + SECOND * 2 * n);
        }
    }

    #[test]
    fn output_that_moves_is_no_silence_but_output_that_stands_still_is_a_stall() {
        let start = Instant::now();
        let mut silence = Silence::new(SECOND, start);
        for n in 1..10 {
            silence.outbound(start + SECOND * n);
            assert_eq!(silence.due(start + SECOND * n, true), None);
        }
        assert_eq!(silence.due(start + SECOND * 11, true), None);
        assert_eq!(silence.due(start + SECOND * 12, true), Some(Due::Stalled));
    }

    #[test]
    fn the_next_look_is_never_more_than_an_interval_away() {
        let start = Instant::now();
        let silence = Silence::new(SECOND, start);
        assert_eq!(silence.deadline(start, true), start + SECOND);
        assert_eq!(silence.deadline(start + SECOND * 9, false), start + SECOND * 9);
    }
}
