//! A limit on things that are open at the same time, which a new configuration can change.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One permit for each thing that can still be opened.
#[derive(Debug)]
pub(crate) struct Limit {
    permits: Arc<Semaphore>,
    max: Mutex<usize>,
}

impl Limit {
    pub(crate) fn new(max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), max: Mutex::new(max) }
    }

    /// Permits at most, in use or not.
    pub(crate) fn max(&self) -> usize {
        *self.max.lock()
    }

    /// A permit, unless all are in use.
    pub(crate) fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// A permit, once one is free. None only if the semaphore is closed, which never happens.
    ///
    /// # Cancel safety
    /// A drop gives up the place among those who wait.
    pub(crate) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Changes the limit. Permits in use above it stay valid; those that are freed are not given out again.
    pub(crate) fn set(&self, max: usize) {
        let mut current = self.max.lock();
        self.permits.add_permits(max.saturating_sub(*current));
        let excess = u32::try_from(current.saturating_sub(max)).unwrap_or(u32::MAX);
        *current = max;
        if excess > 0 {
            let permits = Arc::clone(&self.permits);
            // It takes what is free at once, and is served before later callers.
            tokio::spawn(async move {
                if let Ok(excess) = permits.acquire_many_owned(excess).await {
                    excess.forget();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn limit_grows_and_shrinks_while_permits_are_in_use() {
        let limit = Limit::new(3);
        let take_all = || iter::from_fn(|| limit.try_acquire()).collect::<Vec<_>>();
        let mut held = take_all();
        assert_eq!(held.len(), 3);
        limit.set(5);
        held.extend(take_all());
        assert_eq!((held.len(), limit.max()), (5, 5));
        limit.set(2);
        yield_now().await;
        held.truncate(2);
        assert!(take_all().is_empty(), "permits above the limit were given out again");
        held.truncate(1);
        assert_eq!(take_all().len(), 1);
        limit.set(4);
        assert_eq!(take_all().len(), 3);
    }
}
