//! The one way in which tests wait: poll a condition until it holds or its time is over.

use std::fmt::{Debug, Display};
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Polls `condition` until it gives a value.
///
/// It fails as a test does, with the last error, where a poll that began after `within` still gives none: how long a poll
/// itself takes does not count.
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

/// Polls until `value` gives `want`, as [`until`] does; returns how long that took.
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
