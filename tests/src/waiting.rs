//! Conditions that are awaited.

use std::fmt::Debug;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Asks until `value` gives `want`, and says how long that took.
///
/// It fails as a test does where one that was asked for `within` the time or later is another: how long asking takes does
/// not count.
#[track_caller]
pub fn becomes<T: PartialEq + Debug>(
    what: &str,
    want: T,
    within: Duration,
    mut value: impl AsyncFnMut() -> T,
) -> impl Future<Output = Duration> {
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        loop {
            let asked = start.elapsed();
            let seen = value().await;
            if seen == want {
                return start.elapsed();
            }
            assert!(asked < within, "{caller}: {what}: {seen:?} instead of {want:?} after {within:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}
