//! A command's share of its session's answer bytes.

use std::future::pending;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::AnswerReservation;
use sluicegate_dialect::session::ENVELOPE_BYTES;
use tokio::sync::OwnedSemaphorePermit;

use super::outbox::shrink;

/// Bytes reserved for an answer. A fetch holds less of them while it waits at the log end.
#[derive(Debug)]
pub(super) struct Reservation {
    permit: OwnedSemaphorePermit,
    /// The bytes reserved when the command was admitted.
    whole: u32,
}

impl Reservation {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        let whole = u32::try_from(permit.num_permits()).unwrap_or(u32::MAX);
        Self { permit, whole }
    }

    /// The reservation for the finished answer.
    pub(super) fn into_permit(self) -> OwnedSemaphorePermit {
        self.permit
    }
}

impl AnswerReservation for Reservation {
    fn wait(&mut self, keep: usize) -> BoxFuture<'_, ()> {
        shrink(&mut self.permit, keep.saturating_add(ENVELOPE_BYTES));
        pending().boxed()
    }

    fn refill(&mut self) -> BoxFuture<'_, bool> {
        async move {
            if u32::try_from(self.permit.num_permits()) == Ok(self.whole) {
                return true;
            }
            let budget = Arc::clone(self.permit.semaphore());
            // Released first: commands that each held a part would wait for each other.
            shrink(&mut self.permit, 0);
            // The semaphore is never closed.
            if let Ok(permit) = budget.acquire_many_owned(self.whole).await {
                self.permit = permit;
            }
            true
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use sluicegate_backend::WAITING_BYTES;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn waiting_fetches_refill_one_after_the_other() {
        const WHOLE: usize = 100_000;
        const PART: usize = WAITING_BYTES + ENVELOPE_BYTES;
        let budget = Arc::new(Semaphore::new(WHOLE + PART));
        let reserve = || {
            let permit = Arc::clone(&budget).try_acquire_many_owned(u32::try_from(WHOLE).unwrap());
            Reservation::new(permit.unwrap())
        };
        let mut first = reserve();
        assert!(first.refill().now_or_never().unwrap(), "it has given nothing back");
        assert!(poll!(first.wait(WAITING_BYTES)).is_pending());
        let mut second = reserve();
        assert!(poll!(second.wait(WAITING_BYTES)).is_pending());
        assert_eq!(budget.available_permits(), WHOLE - PART);

        first.refill().await;
        let mut second = tokio::spawn(async move {
            second.refill().await;
            second.into_permit().num_permits()
        });
        tokio::task::yield_now().await;
        assert!(poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await.unwrap(), WHOLE);
        assert_eq!(budget.available_permits(), WHOLE + PART);
    }
}
