//! When a failed read is repeated.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::Error;

/// The bounds of retries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retries {
    /// For each command; 0: none.
    pub(crate) max: u32,
    /// No retry starts later than this after the first failure, without the time that a server can wait for messages.
    pub(crate) within: Duration,
}

impl Retries {
    /// The pause before another retry of a command that failed with `error` after `done` retries and `elapsed` of the time
    /// [within](Self::within) which they start. `None` if the command fails.
    pub(crate) fn pause(&self, error: &Error, done: u32, elapsed: Duration) -> Option<Duration> {
        let Error::Command { retriable: true, retry_after, .. } = error else { return None };
        let pause = retry_after.unwrap_or_default().saturating_add(backoff(done));
        (done < self.max && elapsed.saturating_add(pause) <= self.within).then_some(pause)
    }
}

/// Doubles with every retry up to a maximum, and is up to half shorter, so that clients that failed together do not retry
/// together.
fn backoff(done: u32) -> Duration {
    let nominal = FIRST.saturating_mul(2_u32.saturating_pow(done)).min(MAX);
    // Each `RandomState` has its own keys.
    let random = RandomState::new().build_hasher().finish();
    let percent = random.checked_rem(51).and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
    nominal.saturating_sub(nominal.checked_div(100).unwrap_or_default().saturating_mul(percent))
}

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use sluicegate_protocol::ErrorResp;

    use super::*;

    const RETRIES: Retries = Retries { max: 3, within: Duration::from_secs(10) };

    fn failed(retriable: bool, retry_after_ms: u32) -> Error {
        Error::command(ErrorResp { code: 6, retriable, retry_after_ms, ..Default::default() })
    }

    #[test]
    fn pause_doubles_up_to_the_maximum_with_jitter() {
        let endless = Retries { max: u32::MAX, within: Duration::MAX };
        let error = failed(true, 0);
        for (done, nominal) in [(0, 100), (1, 200), (4, 1600), (5, 2000), (u32::MAX - 1, 2000)] {
            let pause = || endless.pause(&error, done, Duration::ZERO).unwrap().as_millis();
            let first = pause();
            assert!((nominal / 2..=nominal).contains(&first), "{first} ms after {done}");
            assert!((0..100).any(|_| pause() != first), "{done}");
        }
    }

    #[test]
    fn retries_end_by_number_time_and_fault() {
        let now = Duration::ZERO;
        let busy = failed(true, 0);
        assert!(RETRIES.pause(&busy, 2, now).is_some());
        assert_eq!(RETRIES.pause(&busy, 3, now), None);
        assert_eq!(RETRIES.pause(&busy, 0, RETRIES.within), None);
        assert_eq!(RETRIES.pause(&failed(false, 0), 0, now), None);
        assert_eq!(RETRIES.pause(&Error::Timeout { after: now }, 0, now), None);
    }

    #[test]
    fn pause_is_at_least_what_the_server_asks_for() {
        let (busy, asked) = (failed(true, 5000), Duration::from_secs(5));
        assert!(RETRIES.pause(&busy, 0, Duration::ZERO).unwrap() > asked);
        assert_eq!(RETRIES.pause(&busy, 0, asked), None);
    }
}
