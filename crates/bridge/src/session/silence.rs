//! Whether a session's peer is still there and gets on, as a function of time.

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
    /// The message that is not whole, and when its first byte came.
    unfinished: Option<(u64, Instant)>,
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
    /// It does not finish a message, which was to be whole within this time of its first byte.
    Unfinished(Duration),
}

impl Silence {
    /// `interval`: how long nothing may happen before a ping.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, inbound: now, outbound: now, unanswered: 0, unfinished: None }
    }

    /// Bytes came in.
    pub(super) fn inbound(&mut self, now: Instant) {
        self.inbound = now;
        self.unanswered = 0;
    }

    /// The client's message of this number has begun and is not whole; 0: none is under way.
    pub(super) fn unfinished(&mut self, now: Instant, number: u64) {
        if self.unfinished.map_or(0, |(known, _)| known) != number {
            self.unfinished = (number != 0).then_some((number, now));
        }
    }

    /// Output moved, or there is some where there was none.
    pub(super) fn outbound(&mut self, now: Instant) {
        self.outbound = now;
    }

    /// When to ask again whether something is [`due`](Self::due). Never more than an interval ahead, so that a state
    /// that ends meanwhile delays nothing.
    pub(super) fn deadline(&self, now: Instant, output_waits: bool) -> Instant {
        let deadline = if output_waits {
            self.outbound + self.patience()
        } else {
            self.inbound.max(self.outbound) + self.interval
        };
        let whole_by = self.unfinished.map_or(deadline, |(_, since)| since + self.patience());
        deadline.min(whole_by).clamp(now, now + self.interval)
    }

    /// What is due. A ping that is due counts as asked.
    pub(super) fn due(&mut self, now: Instant, output_waits: bool) -> Option<Due> {
        // However lively it is otherwise: what it has begun takes memory that others cannot have meanwhile.
        if self.unfinished.is_some_and(|(_, since)| now >= since + self.patience()) {
            return Some(Due::Unfinished(self.patience()));
        }
        if output_waits {
            // A ping would only queue behind what is not taken.
            return (now >= self.outbound + self.patience()).then_some(Due::Stalled);
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

    fn patience(&self) -> Duration {
        self.interval * PATIENCE_INTERVALS
    }
}

/// Pings that may stay without an answer.
const MAX_UNANSWERED: u32 = 2;
/// Intervals in which output may stand still, and a message stay unfinished: as long as it takes to give up on a client that answers
/// no ping.
const PATIENCE_INTERVALS: u32 = 3;

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
    fn a_message_has_to_be_whole_in_time_whatever_else_is_sent() {
        let start = Instant::now();
        let mut silence = Silence::new(SECOND, start);
        // Each is finished within its time, while the next one has begun already.
        for n in 1..10 {
            silence.inbound(start + SECOND * 2 * n);
            silence.unfinished(start + SECOND * 2 * n, n.into());
            assert_eq!(silence.due(start + SECOND * 2 * n, false), None);
        }
        let begun = start + SECOND * 18;
        assert_eq!(silence.deadline(begun, false), begun + SECOND);
        for n in [10, 20, 29] {
            let now = begun + SECOND * n / 10;
            silence.inbound(now);
            silence.unfinished(now, 9);
            silence.outbound(now);
            assert_eq!((silence.due(now, false), silence.due(now, true)), (None, None));
        }
        let late = begun + SECOND * 29 / 10;
        assert_eq!(silence.deadline(late, false), begun + SECOND * 3);
        silence.outbound(begun + SECOND * 3);
        for output_waits in [false, true] {
            let due = silence.due(begun + SECOND * 3, output_waits);
            assert_eq!(due, Some(Due::Unfinished(SECOND * 3)));
        }
        silence.inbound(begun + SECOND * 3);
        silence.unfinished(begun + SECOND * 3, 0);
        assert_eq!(silence.due(begun + SECOND * 3, false), None);
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
