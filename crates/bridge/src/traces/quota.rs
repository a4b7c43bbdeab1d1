//! Bounds the spans of a second: any client can ask its gateway to sample each of its requests.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sluicegate_fair_share::{Holder, Ledger, Source};
use tokio::time::Instant;

/// The spans of this second. Memory: two entries per source with a span.
#[derive(Debug)]
pub(super) struct Quota {
    second: Mutex<Second>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    spans: Ledger,
}

impl Quota {
    pub(super) fn new(max: usize) -> Self {
        Self { second: Mutex::new(Second { began: Instant::now(), spans: Ledger::of_one_cluster(max) }) }
    }

    /// Takes one for this source, if it may.
    pub(super) fn take(&self, source: Source) -> bool {
        let now = Instant::now();
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(second.began) >= SECOND {
            second.began = now;
            second.spans.clear();
        }
        second.spans.take(Holder { source, ..Holder::default() }, 1)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn greedy_client_leaves_some_of_each_second_to_others() {
        let [greedy, other] = [&b"192.0.2.1"[..], b"192.0.2.2"].map(Source::parse);
        let quota = Quota::new(100);
        for _ in 0..2 {
            assert_eq!((0..1000).filter(|_| quota.take(greedy)).count(), 75);
            assert_eq!((0..100).filter(|_| quota.take(other)).count(), 19);
            tokio::time::advance(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn smallest_quota_traces_something() {
        let quota = Quota::new(1);
        assert_eq!([(); 2].map(|()| quota.take(Source::default())), [true, false]);
    }
}
