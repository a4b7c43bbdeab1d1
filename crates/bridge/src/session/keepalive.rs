//! Pings idle clients, many of them together, and ends the sessions of clients that do not answer, read or finish a message.
//! A function of time.

use std::time::Duration;

use tokio::time::Instant;

/// The keep-alive state of a session.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    /// The first of the ticks at which clients are pinged.
    first_tick: Instant,
    /// When the last byte arrived.
    inbound: Instant,
    /// When output last progressed, or began to wait.
    outbound: Instant,
    /// Pings without an answer.
    unanswered: u32,
    /// The number of the unfinished message, and when its first byte arrived.
    unfinished: Option<(u64, Instant)>,
}

/// The action that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ping the client.
    Ping,
    /// The client answered no ping.
    Silent,
    /// The client does not read.
    Stalled,
    /// The client did not finish a message within this time of its first byte.
    Unfinished(Duration),
}

impl Keepalive {
    /// Pings after an idle `interval`. Sessions with the same first tick are pinged together: one by one, each ping and each
    /// answer would wake the gateway and the bridge.
    pub(super) fn new(interval: Duration, first_tick: Instant, now: Instant) -> Self {
        Self { interval, first_tick, inbound: now, outbound: now, unanswered: 0, unfinished: None }
    }

    /// Bytes arrived.
    pub(super) fn inbound(&mut self, now: Instant) {
        self.inbound = now;
        self.unanswered = 0;
    }

    /// The client's message with this number is unfinished. 0: none is.
    pub(super) fn unfinished(&mut self, now: Instant, number: u64) {
        if self.unfinished.map_or(0, |(known, _)| known) != number {
            self.unfinished = (number != 0).then_some((number, now));
        }
    }

    /// Output progressed, or begins to wait.
    pub(super) fn outbound(&mut self, now: Instant) {
        self.outbound = now;
    }

    /// When to call [`due`](Self::due) next: within an interval and a tick, so that later changes of state are noticed in time.
    pub(super) fn deadline(&self, now: Instant, output_waits: bool) -> Instant {
        let deadline = if output_waits {
            self.outbound + self.timeout()
        } else {
            self.next_tick(self.inbound.max(self.outbound) + self.interval)
        };
        let finish_by = self.unfinished.map_or(deadline, |(_, since)| since + self.timeout());
        deadline.min(finish_by).clamp(now, self.next_tick(now + self.interval))
    }

    /// The action that is due. A due ping counts as sent.
    pub(super) fn due(&mut self, now: Instant, output_waits: bool) -> Option<Due> {
        // Even if the client is active otherwise: an unfinished message holds memory that others need.
        if self.unfinished.is_some_and(|(_, since)| now >= since + self.timeout()) {
            return Some(Due::Unfinished(self.timeout()));
        }
        if output_waits {
            // A ping would only queue behind unread output.
            return (now >= self.outbound + self.timeout()).then_some(Due::Stalled);
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

    /// The first tick at this time or after it.
    fn next_tick(&self, at: Instant) -> Instant {
        let tick = (self.interval / TICKS).as_nanos().max(1);
        let past = at.saturating_duration_since(self.first_tick).as_nanos() % tick;
        let left = if past == 0 { 0 } else { tick.saturating_sub(past) };
        at + Duration::from_nanos(u64::try_from(left).unwrap_or_default())
    }

    /// The time that output can stall, or a message stay unfinished.
    fn timeout(&self) -> Duration {
        self.interval * TIMEOUT_INTERVALS
    }
}

/// Ticks of an interval: of 10,000 idle sessions, 20 are pinged at a time.
const TICKS: u32 = 512;
/// Unanswered pings before the session ends.
const MAX_UNANSWERED: u32 = 2;
/// Intervals for stalled output and unfinished messages: as many as unanswered pings take.
const TIMEOUT_INTERVALS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn unfinished_message_times_out_despite_other_input() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(SECOND, start, start);
        // Each message finishes in time, and the next one has already begun.
        for n in 1..10 {
            keepalive.inbound(start + SECOND * 2 * n);
            keepalive.unfinished(start + SECOND * 2 * n, n.into());
            assert_eq!(keepalive.due(start + SECOND * 2 * n, false), None);
        }
        let begun = start + SECOND * 18;
        assert_eq!(keepalive.deadline(begun, false), begun + SECOND);
        for n in [10, 20, 29] {
            let now = begun + SECOND * n / 10;
            keepalive.inbound(now);
            keepalive.unfinished(now, 9);
            keepalive.outbound(now);
            assert_eq!((keepalive.due(now, false), keepalive.due(now, true)), (None, None));
        }
        let late = begun + SECOND * 29 / 10;
        assert_eq!(keepalive.deadline(late, false), begun + SECOND * 3);
        keepalive.outbound(begun + SECOND * 3);
        for output_waits in [false, true] {
            let due = keepalive.due(begun + SECOND * 3, output_waits);
            assert_eq!(due, Some(Due::Unfinished(SECOND * 3)));
        }
        keepalive.inbound(begun + SECOND * 3);
        keepalive.unfinished(begun + SECOND * 3, 0);
        assert_eq!(keepalive.due(begun + SECOND * 3, false), None);
    }

    #[test]
    fn output_without_progress_is_a_stall() {
        let start = Instant::now();
        let mut keepalive = Keepalive::new(SECOND, start, start);
        for n in 1..10 {
            keepalive.outbound(start + SECOND * n);
            assert_eq!(keepalive.due(start + SECOND * n, true), None);
        }
        assert_eq!(keepalive.due(start + SECOND * 11, true), None);
        assert_eq!(keepalive.due(start + SECOND * 12, true), Some(Due::Stalled));
    }

    #[test]
    fn sessions_are_pinged_together() {
        let start = Instant::now();
        let tick = SECOND / TICKS;
        let pinged_at = |part: u32| {
            let began = start + tick * part / 4;
            Keepalive::new(SECOND, start, began).deadline(began, false) - (start + SECOND)
        };
        assert_eq!([0, 1, 3, 4, 5].map(pinged_at), [0, 1, 1, 1, 2].map(|ticks| tick * ticks));
    }

    #[test]
    fn next_check_is_within_an_interval() {
        let start = Instant::now();
        let keepalive = Keepalive::new(SECOND, start, start);
        assert_eq!(keepalive.deadline(start, true), start + SECOND);
        assert_eq!(keepalive.deadline(start + SECOND * 9, false), start + SECOND * 9);
    }
}
