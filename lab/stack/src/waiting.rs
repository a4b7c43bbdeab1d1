//! Waiting in tests: poll a condition until it holds or a time limit passes.

use std::fmt::{Debug, Display};
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Polls `condition` until it succeeds.
///
/// Panics with the last error if a poll that began after `within` fails, so slow polls do not count against the limit.
#[track_caller]
pub fn until<T>(
    what: impl Display,
    within: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        loop {
            let asked = start.elapsed();
            match condition().await {
                Ok(value) => return value,
                Err(seen) => assert!(asked < within, "{caller}: {what}: {seen} after {within:?}"),
            }
            sleep(POLL).await;
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
