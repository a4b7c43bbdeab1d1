//! When a failed read is repeated, and a subscription continued.

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
    /// The pause before another retry of a command that failed with `error` after `done` retries and `elapsed` of the
    /// time [within](Self::within) which they start. `None` if the command fails.
    pub(crate) fn pause(&self, error: &Error, done: u32, elapsed: Duration) -> Option<Duration> {
        let Error::Command { retriable: true, retry_after, .. } = error else { return None };
        let pause = retry_after.unwrap_or_default().saturating_add(backoff(done, MAX, 50));
        (done < self.max && elapsed.saturating_add(pause) <= self.within).then_some(pause)
    }
}

/// The pause before a subscription continues after `error`, the last of `failures` in a row. `None` if it ends. A client
/// that `logs_in` continues after the end of its identity, with another one.
///
/// Without a limit of attempts: the subscriber sees each of them, and can stop.
pub(crate) fn resume_pause(error: &Error, failures: u32, logs_in: bool) -> Option<Duration> {
    let asked = match error {
        Error::Command { retriable: true, retry_after, .. } => retry_after.unwrap_or_default(),
        Error::Lost { .. } | Error::Timeout { .. } | Error::Reconnect { retriable: true, .. } => {
            Duration::ZERO
        }
        Error::Closed { code, .. } if TEMPORARY_CLOSES.contains(code) => Duration::ZERO,
        // People who logged in together do not come back together.
        Error::Closed { code: UNAUTHORIZED, .. } if logs_in => {
            return Some(backoff(failures.saturating_sub(1).max(SPREAD), MAX_RESUME, 100));
        }
        _ => return None,
    };
    // A gateway that restarts loses all its clients at once: they return evenly spread.
    Some(asked.saturating_add(backoff(failures.saturating_sub(1), MAX_RESUME, 100)))
}

/// Doubles with every retry up to `max`, and is up to `jitter` percent shorter, so that clients that failed together do
/// not retry together.
fn backoff(done: u32, max: Duration, jitter: u32) -> Duration {
    let nominal = FIRST.saturating_mul(2_u32.saturating_pow(done)).min(max);
    let shorter = fastrand::u32(..=jitter.saturating_mul(10));
    nominal.saturating_sub(nominal.checked_div(1000).unwrap_or_default().saturating_mul(shorter))
}

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(2);
const MAX_RESUME: Duration = Duration::from_secs(20);

/// The close code of an identity that expired or was revoked.
pub(crate) const UNAUTHORIZED: u16 = 3000;
/// A pause of up to 3.2 s.
const SPREAD: u32 = 5;

/// RFC 6455, section 7.4.1, and its registry: going away, no status, abnormal, internal error, restart, try again
/// later, bad gateway. The same session can succeed later.
const TEMPORARY_CLOSES: [u16; 7] = [1001, 1005, 1006, 1011, 1012, 1013, 1014];

#[cfg(test)]
mod tests {
    use sluicegate_protocol::ErrorResp;

    use super::*;
    use crate::ConnectError;

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

    #[test]
    fn subscriptions_outlast_what_is_temporary() {
        let closed = |code| Error::Closed { code, reason: String::new() };
        let reconnect = |retriable| Error::Reconnect { detail: String::new(), retriable };
        let lost = Error::Lost { detail: String::new() };
        for error in [failed(true, 0), lost, closed(1001), closed(1012), closed(1013), reconnect(true)] {
            for (failures, nominal) in [(1, 100), (2, 200), (9, 20_000), (u32::MAX, 20_000)] {
                let pause = || resume_pause(&error, failures, false).unwrap().as_millis();
                assert!((0..100).all(|_| pause() <= nominal), "{error:?}");
                assert!((0..100).any(|_| pause() < nominal / 2), "{error:?}");
            }
        }
        assert!(resume_pause(&failed(true, 5000), 1, false).unwrap() >= Duration::from_secs(5));
        let unsupported = Error::CommandUnsupported { command: "subscribe" };
        for error in [failed(false, 0), closed(1000), closed(1008), reconnect(false), unsupported] {
            assert_eq!(resume_pause(&error, 1, true), None, "{error:?}");
        }
    }

    #[test]
    fn clients_that_log_in_outlast_their_identity() {
        let over = Error::Closed { code: UNAUTHORIZED, reason: String::new() };
        assert_eq!(resume_pause(&over, 1, false), None);
        let pauses: Vec<u128> = (0..100).map(|_| resume_pause(&over, 1, true).unwrap().as_millis()).collect();
        assert!(pauses.iter().all(|pause| *pause <= 3200), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause < 800) && pauses.iter().any(|pause| *pause > 2400));
        // The gateway can know sooner than the client.
        let refused = ConnectError::Refused { url: String::new(), status: 401, body: String::new() };
        for logs_in in [false, true] {
            let error = Error::reconnect(&refused, logs_in);
            assert_eq!(resume_pause(&error, 1, logs_in).is_some(), logs_in);
        }
    }
}
