//! Reserves bytes for answers: requests wait until their largest possible answer fits into a bound.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::AnswerReservation;
use sluicegate_dialect::session::{ENVELOPE_BYTES, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use super::outbox::shrink;

/// A first-in, first-out queue of requests in front of a bound on answers.
#[derive(Debug)]
pub(super) struct RequestQueue {
    /// Bytes of answers that can still be reserved.
    budget: PollSemaphore,
    waiting: VecDeque<Waiting>,
    /// Bytes of the waiting requests.
    waiting_bytes: usize,
    max_waiting: usize,
    max_waiting_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    /// Bytes to reserve for its answer.
    answer_bytes: u32,
    /// Its own bytes.
    len: usize,
}

impl RequestQueue {
    /// Reserves at most `answer_bytes` at a time. Full at `max_waiting` requests or `max_waiting_bytes`.
    pub(super) fn new(answer_bytes: u32, max_waiting: usize, max_waiting_bytes: usize) -> Self {
        let permits = usize::try_from(answer_bytes).unwrap_or(Semaphore::MAX_PERMITS);
        let budget = PollSemaphore::new(Arc::new(Semaphore::new(permits)));
        Self { budget, waiting: VecDeque::new(), waiting_bytes: 0, max_waiting, max_waiting_bytes }
    }

    /// Reserves room for an answer of at most `answer_bytes`. None if it does not fit, or if other requests wait.
    pub(super) fn reserve(&self, answer_bytes: u32) -> Option<OwnedSemaphorePermit> {
        let permits = self.waiting.is_empty().then(|| self.budget.clone_inner())?;
        permits.try_acquire_many_owned(answer_bytes).ok()
    }

    /// Appends a request of `len` bytes, whose answer takes at most `answer_bytes`.
    pub(super) fn push(&mut self, request: Request, answer_bytes: u32, len: usize) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(len);
        self.waiting.push_back(Waiting { request, answer_bytes, len });
    }

    /// Whether the queue is full.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= self.max_waiting || self.waiting_bytes >= self.max_waiting_bytes
    }

    /// The number of waiting requests, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting_bytes)
    }

    /// Drops the waiting requests, so that running commands can use the whole bound: a fetch that waited reserves
    /// again.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.budget = PollSemaphore::new(self.budget.clone_inner());
    }

    /// Admits the first request once its answer fits.
    pub(super) fn poll_admit(&mut self, cx: &mut Context<'_>) -> Poll<(Request, OwnedSemaphorePermit)> {
        let Some(first) = self.waiting.front() else { return Poll::Pending };
        let Poll::Ready(Some(reserved)) = self.budget.poll_acquire_many(cx, first.answer_bytes) else {
            // The semaphore is never closed.
            return Poll::Pending;
        };
        let Some(Waiting { request, len, .. }) = self.waiting.pop_front() else { return Poll::Pending };
        self.waiting_bytes = self.waiting_bytes.saturating_sub(len);
        Poll::Ready((request, reserved))
    }
}

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
    use std::pin::pin;

    use futures_util::poll;
    use sluicegate_backend::WAITING_BYTES;

    use super::*;

    #[tokio::test]
    async fn closed_lane_leaves_the_semaphore_queue() {
        let mut lane = RequestQueue::new(100, 16, 1_000);
        let held = lane.reserve(60).unwrap();
        lane.push(Request::Wrong, 80, 1);
        assert!(poll!(pin!(std::future::poll_fn(|cx| lane.poll_admit(cx)))).is_pending());
        let mut behind = pin!(lane.budget.clone_inner().acquire_many_owned(40));
        assert!(poll!(behind.as_mut()).is_pending());
        lane.close();
        assert_eq!(behind.await.unwrap().num_permits(), 40);
        drop(held);
    }

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
