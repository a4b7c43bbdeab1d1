//! A limit per second that can be used in advance, and that counts what is done before it is known how much it is.

use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A limit per second, of which [`ADVANCE`] can be used at once.
///
/// More than that is owed: [`Pace::check`] fails until its time is over. So one piece of work of any size is let in. This
/// is the generic cell rate algorithm (ITU-T I.371, as a virtual schedule) with work that is counted after it was let
/// in; crates for it refuse work that is larger than the advance.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: NonZeroU32,
    /// When all that was counted is paid for.
    paid_at: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self { per_second, paid_at: Mutex::new(Instant::now()) }
    }

    /// Whether nothing is owed.
    ///
    /// # Errors
    /// Something is: the time until it is paid.
    pub(super) fn check(&self) -> Result<(), Duration> {
        let ahead = self.paid_at.lock().saturating_duration_since(Instant::now());
        match ahead.checked_sub(ADVANCE) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(owed) => Err(owed),
        }
    }

    /// Counts what is done.
    pub(super) fn count(&self, amount: usize) {
        let amount = u128::try_from(amount).unwrap_or(u128::MAX);
        let nanos =
            amount.saturating_mul(SECOND).checked_div(self.per_second.get().into()).unwrap_or_default();
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_at = self.paid_at.lock();
        let begins = Instant::now().max(*paid_at);
        // Centuries ahead, it stays where it is.
        *paid_at = begins.checked_add(takes).unwrap_or(begins);
    }

    /// Whether it is as if nothing had ever been counted.
    pub(super) fn is_whole(&self, now: Instant) -> bool {
        *self.paid_at.lock() <= now
    }
}

/// The time whose part can be used at once: enough for a page that opens.
pub(super) const ADVANCE: Duration = Duration::from_secs(5);

/// In nanoseconds.
const SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    fn pace(per_second: u32) -> Pace {
        Pace::new(NonZeroU32::new(per_second).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn rate_holds_over_time_for_small_and_large_limits() {
        for (per_second, step) in
            [(1, 1), (3, 1), (1_000, 7), (9_999, 1), (67_108_864, 65_536), (u32::MAX, 9_999_999)]
        {
            let (pace, began, mut done) = (pace(per_second), Instant::now(), 0_u64);
            while began.elapsed() < Duration::from_secs(60) {
                match pace.check() {
                    Ok(()) => {
                        pace.count(step);
                        done += step as u64;
                    }
                    Err(wait) => sleep(wait).await,
                }
            }
            let expected = f64::from(per_second) * (60.0 + ADVANCE.as_secs_f64());
            let ratio = done as f64 / expected;
            assert!((0.99..1.02).contains(&ratio), "{per_second}: {done} of {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_larger_than_the_advance_is_let_in_and_paid_for() {
        let pace = pace(10);
        pace.count(200);
        let wait = pace.check().unwrap_err();
        assert_eq!(wait.as_secs_f64().round(), 15.0);
        let began = Instant::now();
        while let Err(wait) = pace.check() {
            sleep(wait).await;
        }
        // 50 were free, and 150 take their time.
        assert_eq!(began.elapsed().as_secs_f64().round(), 15.0);
        assert!(!pace.is_whole(Instant::now()));
        // It is paid for whether or not somebody asks.
        pace.count(1_000);
        advance(Duration::from_secs(100) + ADVANCE).await;
        assert!(pace.check().is_ok());
        assert!(pace.is_whole(Instant::now()));
    }
}
