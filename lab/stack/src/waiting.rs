//! Waiting in tests: poll a condition until it holds or a time limit passes.

#![expect(clippy::panic, reason = "test code: a failure is a panic")]

use std::fmt::{Debug, Display};
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Polls `condition` until it succeeds. Panics with the error of an attempt that began after `within`.
#[track_caller]
pub fn until<T>(
    what: impl Display,
    within: Duration,
    condition: impl AsyncFnMut() -> Result<T, String>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        match retry(within, condition).await {
            Ok(value) => value,
            Err(seen) => panic!("{caller}: {what}: {seen} after {within:?}"),
        }
    }
}

/// Repeats `attempt` until it succeeds. Gives the error of one that began after `within`: slow attempts do not count
/// against the limit.
pub(crate) async fn retry<T, E>(
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let start = Instant::now();
    loop {
        let begun = start.elapsed();
        match attempt().await {
            Err(_) if begun < within => sleep(POLL).await,
            done => return done,
        }
    }
}

/// Polls until `value` returns `want`, as [`until`] does; returns the time it took.
#[track_caller]
pub fn becomes<T: PartialEq + Debug>(
    what: impl Display,
    want: T,
    within: Duration,
    mut value: impl AsyncFnMut() -> T,
) -> impl Future<Output = Duration> {
    let start = Instant::now();
    let reached = until(what, within, async move || match value().await {
        seen if seen == want => Ok(()),
        seen => Err(format!("{seen:?} instead of {want:?}")),
    });
    async move {
        reached.await;
        start.elapsed()
    }
}

/// Polls until `value` stays the same for half a second.
#[track_caller]
pub fn settles(
    what: impl Display,
    within: Duration,
    mut value: impl AsyncFnMut() -> f64,
) -> impl Future<Output = ()> {
    let (mut last, mut since) = (f64::NAN, Instant::now());
    until(what, within, async move || {
        let seen = value().await;
        if seen != last {
            (last, since) = (seen, Instant::now());
        }
        if since.elapsed() >= STEADY { Ok(()) } else { Err(format!("{seen}, which still changes,")) }
    })
}

const POLL: Duration = Duration::from_millis(10);
const STEADY: Duration = Duration::from_millis(500);
