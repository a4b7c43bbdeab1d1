//! Reads of many partitions at the same time.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use sluicegate_backend::{CommandError, Fault};

/// Performs `reads`, and passes each result to `take`. Abandons those that are left at `until`, or earlier if `take`
/// says so.
///
/// At most [`PLACES`] reads are under way. A read is counted for [`PLACE_TIME`]: one that takes longer waits for a
/// broker that is down or slow, and must not keep others from theirs.
///
/// # Cancel safety
/// A drop abandons the reads.
pub(super) async fn gather<T>(
    reads: impl Iterator<Item = impl Future<Output = T>>,
    mut until: Option<Instant>,
    mut take: impl FnMut(T) -> Option<Instant>,
) {
    let places = Semaphore::new(PLACES);
    let mut reads: FuturesUnordered<_> = reads.map(|read| in_place(&places, read)).collect();
    loop {
        let result = match until {
            Some(until) => timeout_at(until, reads.next()).await.unwrap_or_default(),
            None => reads.next().await,
        };
        let Some(result) = result else { return };
        until = [until, take(result)].into_iter().flatten().min();
    }
}

/// The error of a read whose result did not come in time.
pub(crate) fn unanswered() -> CommandError {
    CommandError::new(Fault::Transient, 0, "its leader has not answered yet")
}

async fn in_place<T>(places: &Semaphore, read: impl Future<Output = T>) -> T {
    // The semaphore is never closed.
    let place = places.acquire().await;
    tokio::pin!(read);
    tokio::select! {
        biased;
        result = &mut read => return result,
        () = sleep(PLACE_TIME) => drop(place),
    }
    read.await
}

/// Reads that are performed at the same time.
const PLACES: usize = 16;

/// The time that a read holds its place.
const PLACE_TIME: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reads_that_hang_keep_none_from_a_result() {
        let hanging = 10 * PLACES;
        let read = |number: usize| async move {
            let time = if number < hanging { Duration::from_secs(60) } else { Duration::ZERO };
            sleep(time).await;
            number
        };
        let (start, mut taken) = (Instant::now(), Vec::new());
        gather((0..hanging + 5).map(read), None, |number| {
            taken.push(number);
            Instant::now().checked_add(Duration::from_secs(1))
        })
        .await;
        taken.sort_unstable();
        assert_eq!(taken, (hanging..hanging + 5).collect::<Vec<_>>());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_is_abandoned() {
        let mut taken = 0;
        let read = |seconds| async move { sleep(Duration::from_secs(seconds)).await };
        gather([30, 40].into_iter().map(read), None, |()| {
            taken += 1;
            None
        })
        .await;
        assert_eq!(taken, 2);
    }
}
