//! Takes requests: starts what fits, lets the rest wait, and ends a session that lets too much wait.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::AnswerReservation;
use sluicegate_backend::command::ReadBounds;
use sluicegate_dialect::session::{Answer, ENVELOPE_BYTES, MAX_ERROR_BYTES, Request};
use sluicegate_protocol::control_req;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

use super::outbox::shrink;
use super::{End, GONE_INTERVAL, Overload, Session};

impl Session<'_> {
    /// Starts the requests that were read, or queues them. Other tasks have their turn in between:
    /// thousands of requests fit one read.
    pub(super) async fn start_requests(&mut self) -> Result<(), End> {
        let (mut requests, mut bytes) = (0_usize, 0_usize);
        self.rests_until = self.rests_until.filter(|until| Instant::now() < *until);
        while self.takes_requests() {
            tokio::task::consume_budget().await;
            let Some(message) = self.frames.next().map_err(End::Unreadable)? else { break };
            let len = message.len();
            (requests, bytes) = (requests.saturating_add(1), bytes.saturating_add(len));
            match Request::parse(message, self.codec, self.grant.system()).within(self.bound) {
                Request::Nothing
                | Request::Control(control_req::Control::Alive(_) | control_req::Control::Padding(_)) => {}
                Request::Control(control_req::Control::Unfinished(number)) => {
                    self.keepalive.unfinished(Instant::now(), number);
                }
                Request::Control(control_req::Control::Close(close)) => return Err(End::Closed(close)),
                request => {
                    if let Request::Limits { bound: Some(bound), .. } = request {
                        self.bound = bound;
                    }
                    let len = len.saturating_add(decoded_bytes(&request));
                    let bytes = self.reservation_bytes(&request, len);
                    let is_command = matches!(request, Request::Command { .. } | Request::Auth { .. });
                    let may_start = !is_command || self.commands.len() < self.limits.max_commands;
                    let lane = if is_command || bytes > OWN_ANSWER_BYTES {
                        &mut self.cluster
                    } else {
                        &mut self.own
                    };
                    match lane.reserve(bytes).filter(|_| may_start) {
                        Some(reserved) => self.start(request, reserved),
                        None => {
                            lane.push(request, bytes, len);
                            self.check_waiting()?;
                        }
                    }
                }
            }
        }
        if requests > 0 {
            self.rests_until = self.grant.count_requests(requests, bytes);
            self.rests_until.into_iter().for_each(|until| self.wake_by(until));
        }
        if !self.is_reading() {
            // While input is not read, it cannot show that the peer left.
            self.wake_by(Instant::now() + GONE_INTERVAL);
        }
        Ok(())
    }

    /// The bytes to reserve for `request`, which takes `len` bytes: its largest possible answer, and the records it
    /// contains. Capped at the session's answer bytes: a larger request runs alone.
    fn reservation_bytes(&self, request: &Request, len: usize) -> u32 {
        let max_fetch_bytes = self.grant.max_bytes(ReadBounds::default());
        let body = match request {
            // As text, its state takes no more bytes than in the request.
            Request::Ping { .. } => len,
            Request::Command { command, encoding, .. } => {
                Answer::max_bytes(command, len, max_fetch_bytes, *encoding)
            }
            Request::Control(control_req::Control::Pong(payload)) => payload.len(),
            Request::Control(control_req::Control::Refusal(refusal)) => refusal.message.len(),
            Request::Invalid { .. } | Request::Subscribe { .. } => MAX_ERROR_BYTES,
            Request::Auth { .. } => MAX_ERROR_BYTES.saturating_add(len),
            Request::Control(_)
            | Request::Nothing
            | Request::Limits { .. }
            | Request::Unsubscribe { .. }
            | Request::Credit(_)
            | Request::Unknown { .. }
            | Request::Wrong => 0,
        };
        u32::try_from(body.saturating_add(ENVELOPE_BYTES)).unwrap_or(u32::MAX).min(self.limits.answer_bytes)
    }

    /// Whether to take the peer's next request: if there is room, and the client's share is not used up, or if the peer
    /// must always be read.
    pub(super) fn takes_requests(&self) -> bool {
        let has_room = !self.own.is_full() && !self.cluster.is_full();
        let may_wait = self.overload != Overload::CloseSession;
        self.drain_by.is_none() && (!may_wait || has_room && self.rests_until.is_none())
    }

    pub(super) fn is_reading(&self) -> bool {
        self.takes_requests() || self.overload == Overload::CloseSession
    }

    /// Ends the session of a peer that is always read if too many of its requests wait.
    fn check_waiting(&self) -> Result<(), End> {
        let ((own, own_bytes), (cluster, cluster_bytes)) = (self.own.waiting(), self.cluster.waiting());
        let max_bytes = self.limits.max_request_bytes.saturating_mul(MAX_WAITING_REQUESTS_OF_FULL_SIZE);
        let is_over = own.saturating_add(cluster) > MAX_WAITING_REQUESTS
            || own_bytes.saturating_add(cluster_bytes) > max_bytes;
        match self.overload {
            Overload::CloseSession if is_over => {
                Err(End::TooManyWaiting { requests: MAX_WAITING_REQUESTS, bytes: max_bytes })
            }
            Overload::CloseSession | Overload::StopReading => Ok(()),
        }
    }
}

/// Waiting requests of a peer that is always read. Above this, its session ends. Each costs its own bytes, and keeps at
/// most the 16 KiB of the read that it came with.
pub(super) const MAX_WAITING_REQUESTS: usize = 1000;

/// The same in bytes, as a multiple of the largest request. Enough for a well-behaved client that pipelines writes.
const MAX_WAITING_REQUESTS_OF_FULL_SIZE: usize = 4;

/// Bytes of the session's own answers: pongs of usual size, refusals, control messages. Bounded separately from the
/// cluster's answers.
pub(super) const OWN_ANSWER_BYTES: u32 = 64 * 1024;

/// The memory of a decoded request besides the bytes of its message.
fn decoded_bytes(request: &Request) -> usize {
    match request {
        Request::Command { command, .. } => command.list_bytes(),
        Request::Ping { .. }
        | Request::Limits { .. }
        | Request::Auth { .. }
        | Request::Invalid { .. }
        | Request::Subscribe { .. }
        | Request::Unsubscribe { .. }
        | Request::Credit(_)
        | Request::Control(_)
        | Request::Nothing
        | Request::Unknown { .. }
        | Request::Wrong => 0,
    }
}

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
    use super::*;
    use futures_util::poll;
    use sluicegate_backend::WAITING_BYTES;
    use std::pin::pin;

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
