//! Pauses after failures, and instants that lie ahead.

use std::time::Duration;

use tokio::time::Instant;

/// A delay that doubles with each consecutive failure, up to a maximum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, failures: 0 }
    }

    /// The delay after another failure. It is up to a fifth shorter than its nominal length, so that callers that
    /// failed together do not retry together.
    pub(crate) fn next(&mut self, jitter: Jitter) -> Duration {
        let factor = 2u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let nominal = self.first.saturating_mul(factor).min(self.max);
        let percent = jitter(21);
        nominal.saturating_sub(nominal.checked_div(100).unwrap_or_default().saturating_mul(percent))
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Gives a random number below its argument.
pub(crate) type Jitter = fn(u32) -> u32;

/// A random number below `end`.
pub(crate) fn jitter(end: u32) -> u32 {
    fastrand::u32(..end.max(1))
}

/// `start` plus `duration`; `start` itself on overflow.
pub(crate) fn after(start: Instant, duration: Duration) -> Instant {
    start.checked_add(duration).unwrap_or(start)
}

/// So long after now; now itself on overflow.
pub(crate) fn in_future(time: Duration) -> Instant {
    after(Instant::now(), time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jittered_delay_doubles_up_to_the_maximum_until_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1000));
        for nominal in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.next(jitter).as_millis();
            assert!((nominal * 80 / 100..=nominal).contains(&delay), "{delay} ms for {nominal} ms");
        }
        backoff.reset();
        assert!(backoff.next(jitter) <= Duration::from_millis(100));
        let mut backoff = Backoff { first: Duration::MAX, max: Duration::from_secs(1), failures: u32::MAX };
        assert!(backoff.next(jitter) <= Duration::from_secs(1));
        let delay = || Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).next(jitter);
        let first = delay();
        assert!((0..100).any(|_| delay() != first));
    }
}
