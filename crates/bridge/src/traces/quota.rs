//! Bounds the spans of a second: any client can ask its gateway to sample each of its requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sluicegate_ws_session::source::Source;
use tokio::time::Instant;

/// The spans that can still begin in this second. A source can take as many as are left after it: the first half of all, then
/// less. So the largest loses first, and a source that has none yet finds one unless all are taken. Memory: an entry per span.
#[derive(Debug)]
pub(super) struct Quota {
    max: usize,
    second: Mutex<Option<Second>>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    left: usize,
    by_source: BTreeMap<Source, usize>,
}

impl Quota {
    pub(super) fn new(max: usize) -> Self {
        Self { max, second: Mutex::default() }
    }

    /// Takes one for this source, if it may.
    pub(super) fn take(&self, source: Source) -> bool {
        let now = Instant::now();
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let second = match &mut *second {
            Some(second) if now.duration_since(second.began) < SECOND => second,
            past => past.insert(Second { began: now, left: self.max, by_source: BTreeMap::new() }),
        };
        let taken = second.by_source.get(&source).copied().unwrap_or_default();
        if taken >= second.left {
            return false;
        }
        second.left = second.left.saturating_sub(1);
        second.by_source.insert(source, taken.saturating_add(1));
        true
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn greedy_client_leaves_half_of_each_second_to_others() {
        let [greedy, other] = [&b"192.0.2.1"[..], b"192.0.2.2"].map(Source::parse);
        let quota = Quota::new(100);
        for _ in 0..2 {
            assert_eq!((0..1000).filter(|_| quota.take(greedy)).count(), 50);
            assert_eq!((0..25).filter(|_| quota.take(other)).count(), 25);
            tokio::time::advance(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn smallest_quota_traces_something() {
        let quota = Quota::new(1);
        assert_eq!([(); 2].map(|()| quota.take(Source::default())), [true, false]);
    }
}
