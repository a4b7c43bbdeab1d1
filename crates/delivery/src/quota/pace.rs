//! A limit per second that can be used in advance, and that counts what is done before it is known how much it is.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A limit per second, of which [`ADVANCE`] can be used at once.
///
/// What is counted beyond that is owed: [`Pace::check`] fails until it is paid. So one piece of work of any size is let
/// in, and then nothing until its time is over.
#[derive(Debug)]
pub(super) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, Time, NoOpMiddleware<Duration>>,
    /// The limiter counts cells of so many. It rounds the time for a cell to nanoseconds, so there are not too many.
    cell: u64,
    /// The cells of [`ADVANCE`].
    burst: NonZeroU32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    owed: u64,
    /// When something was counted or paid last.
    touched: Instant,
}

impl Pace {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        let per_second = u64::from(per_second.get());
        let cell = per_second.div_ceil(MAX_CELLS_PER_SECOND);
        let nanos = SECOND.saturating_mul(cell).checked_div(per_second).unwrap_or_default().max(1);
        let burst = u64::try_from(ADVANCE.as_nanos()).unwrap_or(u64::MAX).checked_div(nanos);
        let burst = burst.and_then(|cells| u32::try_from(cells).ok()).and_then(NonZeroU32::new);
        let burst = burst.unwrap_or(NonZeroU32::MIN);
        // Never `None`: the period is not zero.
        let quota = Quota::with_period(Duration::from_nanos(nanos)).unwrap_or(Quota::per_second(burst));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), Time(Instant::now()));
        let state = Mutex::new(State { owed: 0, touched: Instant::now() });
        Self { limiter, cell, burst, state }
    }

    /// Whether nothing is owed.
    ///
    /// # Errors
    /// Something is: the time until a part of it can be paid.
    pub(super) fn check(&self) -> Result<(), Duration> {
        self.pay(&mut self.state.lock())
    }

    /// Counts what is done.
    pub(super) fn count(&self, amount: usize) {
        let mut state = self.state.lock();
        state.owed = state.owed.saturating_add(u64::try_from(amount).unwrap_or(u64::MAX));
        // What stays owed is found by the next check.
        let _ = self.pay(&mut state);
    }

    /// Whether it is as if nothing had ever been counted.
    pub(super) fn is_whole(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        self.pay(&mut state).is_ok() && now.saturating_duration_since(state.touched) >= ADVANCE
    }

    /// Pays whole cells.
    fn pay(&self, state: &mut State) -> Result<(), Duration> {
        loop {
            let owed = state.owed.checked_div(self.cell).unwrap_or_default();
            let cells = u32::try_from(owed).unwrap_or(u32::MAX).min(self.burst.get());
            let Some(cells) = NonZeroU32::new(cells) else { return Ok(()) };
            match self.limiter.check_n(cells) {
                Ok(Err(later)) => return Err(later.wait_time_from(self.limiter.clock().now())),
                // The burst holds all cells, so the limiter never lacks capacity.
                Ok(Ok(())) | Err(_) => {
                    state.owed = state.owed.saturating_sub(u64::from(cells.get()).saturating_mul(self.cell));
                    state.touched = Instant::now();
                }
            }
        }
    }
}

/// The time since a limiter was made. Tests can stop it, as all of tokio's.
#[derive(Debug, Clone)]
struct Time(Instant);

impl Clock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The time whose part can be used at once: enough for a page that opens.
pub(super) const ADVANCE: Duration = Duration::from_secs(5);

/// Cells of a limiter: each takes 100 µs or more, which a nanosecond changes by little.
const MAX_CELLS_PER_SECOND: u64 = 10_000;

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

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
        assert!(wait <= ADVANCE, "{wait:?}");
        let began = Instant::now();
        while let Err(wait) = pace.check() {
            sleep(wait).await;
        }
        // 50 were free, and 150 take their time.
        assert_eq!(began.elapsed().as_secs_f64().round(), 15.0);
        assert!(!pace.is_whole(Instant::now()));
        advance(ADVANCE).await;
        assert!(pace.is_whole(Instant::now()));
    }
}
