//! The permits that a request holds on shared limits.

use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sluicegate_backend::AnswerReservation;
use sluicegate_delivery::drain::Drain;
use sluicegate_fair_share::{Holder, Permit, Permits as SharedPermits};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A request until its work ends, which can be after its response. The drain waits for it.
pub(crate) struct RequestPermits {
    permits: Mutex<Permits>,
    calls: Arc<SharedPermits>,
    holder: Holder,
    waiting: Arc<SharedPermits>,
    drain: Drain,
    _open: TaskTrackerToken,
}

/// At most one of the two.
#[derive(Default)]
struct Permits {
    call: Option<Permit>,
    _waiter: Option<Permit>,
}

impl RequestPermits {
    /// Starts a request with a permit of `calls`, which it can trade for one of `waiting`. None if `calls` has no
    /// permit for its source and cluster.
    pub(crate) fn begin(
        calls: &Arc<SharedPermits>,
        holder: Holder,
        waiting: &Arc<SharedPermits>,
        drain: &Drain,
        open: TaskTrackerToken,
    ) -> Option<Arc<Self>> {
        let call = calls.try_acquire(holder, 1)?;
        Some(Arc::new(Self {
            permits: Mutex::new(Permits { call: Some(call), _waiter: None }),
            calls: Arc::clone(calls),
            holder,
            waiting: Arc::clone(waiting),
            drain: drain.clone(),
            _open: open,
        }))
    }

    /// Frees the call permit early: the remaining work uses no shared limit.
    pub(crate) fn free_call(&self) {
        self.replace_permits(Permits::default());
    }

    /// Trades the call permit for a waiter permit, for as long as the request lives. False if `waiting` has no permit
    /// for its source and cluster.
    pub(crate) fn stay(&self) -> bool {
        let waiter = self.waiting.try_acquire(self.holder, 1);
        let found = waiter.is_some();
        if found {
            self.replace_permits(Permits { call: None, _waiter: waiter });
        }
        found
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    fn replace_permits(&self, permits: Permits) {
        *self.permits.lock() = permits;
    }
}

impl AnswerReservation for &RequestPermits {
    /// Trades the call permit for a waiter permit, and waits until the bridge drains. Ready at once if `waiting` has no
    /// permit for its source and cluster.
    fn wait(&mut self, _: usize) -> BoxFuture<'_, ()> {
        match self.stay() {
            true => self.drain.begun().boxed(),
            false => ready(()).boxed(),
        }
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        if self.permits.lock().call.is_some() {
            return ready(true).boxed();
        }
        let call = self.calls.try_acquire(self.holder, 1);
        let found = call.is_some();
        if found {
            self.replace_permits(Permits { call, _waiter: None });
        }
        ready(found).boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use sluicegate_fair_share::Ledger;
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn request_that_waited_needs_a_call_permit_to_continue() {
        let [calls, waiting] = [(); 2].map(|()| SharedPermits::new(Ledger::new(1)));
        let (drain, open) = (Drain::default(), TaskTracker::new());
        let holder = Holder::default();
        let begin = || RequestPermits::begin(&calls, holder, &waiting, &drain, open.token());
        let request = begin().unwrap();
        assert!(begin().is_none());
        assert!((&mut &*request).refill().await, "it has its permit");
        assert!(poll!((&mut &*request).wait(0)).is_pending());
        let other = begin().expect("the call permit of the waiting request");
        assert!(!(&mut &*request).refill().await);
        drop(other);
        assert!((&mut &*request).refill().await);
        assert!(begin().is_none());
        assert!(waiting.try_acquire(holder, 1).is_some());
    }
}
