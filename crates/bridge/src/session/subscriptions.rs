//! The subscriptions of one session.
//!
//! Each of them reads in turn: a delivery is made when its bytes fit into the [`DeliveryBudget`] of the session's
//! output, in the order in which subscriptions ask for it. So a client that reads slowly holds no records, and a small
//! delivery waits for a few others at most.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::{GroupMember, Item, MAX_PARTITIONS, Subscription, too_many_partitions};
use sluicegate_dialect::Subscribed;
use sluicegate_dialect::session::{
    self as words, Answer, ENVELOPE_BYTES, Encoding, MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_ERROR_BYTES,
    MessageBound,
};
use sluicegate_protocol::error_code::INVALID_REQUEST;
use sluicegate_telemetry::metrics::{Kind, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

/// The open subscriptions of a session. One that ends is dropped at once, with all that it was doing.
pub(super) struct Subscriptions {
    /// Polled in this order. The one that was served last is behind the others.
    open: VecDeque<Open>,
    budget: DeliveryBudget,
    /// The cluster's.
    system: System,
}

struct Open {
    /// The sequence of its command.
    sequence: i64,
    encoding: Encoding,
    /// The largest message that the client takes.
    bound: MessageBound,
    /// Bytes that may be delivered. None: no limit.
    credit: Option<i64>,
    /// The topics that it reads.
    topics: Vec<String>,
    /// The group of which it is a member.
    group: Option<String>,
    /// The member, from its first message on.
    member: Option<GroupMember>,
    partitions: usize,
    state: State,
}

enum State {
    /// Waits for its next message.
    Busy(BoxFuture<'static, Step>),
    /// Has no credit.
    AtRest(Box<Subscription>),
    /// The same of a member of a group, which has to hear of it. It is told of bytes that it may deliver.
    Attending(BoxFuture<'static, Step>, oneshot::Sender<usize>),
}

/// A subscription's next message to the client.
struct Step {
    outcome: Result<(Subscription, Item), CommandError>,
    reserved: Option<OwnedSemaphorePermit>,
}

/// An item, and the room for it.
type Found = (Item, Option<OwnedSemaphorePermit>);

/// The bytes of deliveries that the transport has not taken yet.
#[derive(Debug, Clone)]
struct DeliveryBudget(Arc<Semaphore>);

impl Subscriptions {
    pub(super) fn new(system: System) -> Self {
        let budget = DeliveryBudget(Arc::new(Semaphore::new(ROOM_BYTES)));
        Self { open: VecDeque::new(), budget, system }
    }

    /// Begins a subscription within `grant`.
    ///
    /// # Errors
    /// There are too many already, or one of the same sequence. That one ends: its client could not tell them apart.
    pub(super) fn open(
        &mut self,
        sequence: i64,
        grant: &Grant,
        Subscribed { command, credit }: Subscribed,
        (encoding, bound): (Encoding, MessageBound),
    ) -> Result<(), CommandError> {
        let refused = |message: String| {
            grant.metrics().answered(Kind::Subscribe, Outcome::Refused);
            CommandError::new(Fault::Invalid, INVALID_REQUEST, message)
        };
        if self.close(sequence) {
            let message = format!(
                "sequence {sequence} is of an open subscription: both have ended, use another sequence"
            );
            return Err(refused(message));
        }
        if self.open.len() >= MAX_SUBSCRIPTIONS {
            let message =
                format!("too many subscriptions in this session: expected at most {MAX_SUBSCRIPTIONS}");
            return Err(refused(message));
        }
        let credit = credit.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let topics = command.sources.iter().map(|source| source.topic.clone()).collect();
        let group = command.group.clone();
        let (grant, budget) = (grant.clone(), self.budget.clone());
        let opening = async move {
            let opened = grant.subscribe(command).await;
            match opened {
                Ok(subscription) => step(subscription, 0, encoding, budget).await,
                Err(error) => fail(error, budget).await,
            }
        };
        let state = State::Busy(opening.boxed());
        let open =
            Open { sequence, encoding, bound, credit, topics, group, member: None, partitions: 0, state };
        self.open.push_back(open);
        Ok(())
    }

    /// Ends the subscription with this sequence. False if there is none.
    pub(super) fn close(&mut self, sequence: i64) -> bool {
        let at = self.open.iter().position(|open| open.sequence == sequence);
        at.and_then(|at| self.open.remove(at)).is_some()
    }

    /// The member of a group that the subscription with this sequence is; None: it is none, or is not open.
    pub(super) fn member(&self, sequence: i64) -> Option<GroupMember> {
        self.open.iter().find(|open| open.sequence == sequence)?.member.clone()
    }

    /// Ends those that `grant` does not cover any more.
    pub(super) fn recheck(&mut self, grant: &Grant) {
        for open in &mut self.open {
            let reads = open.topics.iter().try_for_each(|topic| grant.check_read(topic));
            let reads = reads.inspect_err(|error| grant.count_denied(Kind::Subscribe, error));
            let consumes = || open.group.iter().try_for_each(|group| grant.check_consume(group));
            if let Err(error) = reads.and_then(|()| consumes()) {
                open.state = State::Busy(fail(error, self.budget.clone()).boxed());
            }
        }
    }

    /// Ends all.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// Lets a subscription deliver so many bytes more.
    pub(super) fn add_credit(&mut self, sequence: i64, bytes: u64) {
        let Some(at) = self.open.iter().position(|open| open.sequence == sequence) else { return };
        let Some(open) = self.open.remove(at) else { return };
        let credit =
            open.credit.map(|credit| credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX)));
        let state = match open.state {
            State::AtRest(subscription) if has_credit(credit) => {
                go_on(*subscription, credit, open.encoding, &self.budget)
            }
            State::Attending(step, granted) if has_credit(credit) => {
                // It has just found something to tell if it does not listen.
                let _ = granted.send(max_bytes(credit));
                State::Busy(step)
            }
            state => state,
        };
        self.open.insert(at, Open { credit, state, ..open });
    }

    /// The next message of a subscription, with its reservation.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Answer, Option<OwnedSemaphorePermit>)> {
        let ready = self.open.iter_mut().enumerate().find_map(|(at, open)| match &mut open.state {
            State::Busy(step) | State::Attending(step, _) => match step.poll_unpin(cx) {
                Poll::Ready(step) => Some((at, step)),
                Poll::Pending => None,
            },
            State::AtRest(_) => None,
        });
        let Some((at, step)) = ready else { return Poll::Pending };
        let Some(open) = self.open.remove(at) else { return Poll::Pending };
        self.open.rotate_left(at);
        Poll::Ready(self.take(open, step))
    }

    /// The answer for a step of `open`, which goes on unless this is its end.
    fn take(&mut self, mut open: Open, step: Step) -> (Answer, Option<OwnedSemaphorePermit>) {
        let Step { outcome, reserved } = step;
        let (system, sequence, encoding) = (self.system, open.sequence, open.encoding);
        let failed = |error| Answer::failed(sequence, system, format_args!("subscribe"), error);
        let (mut subscription, item) = match outcome {
            Ok(found) => found,
            Err(error) => return (failed(error), reserved),
        };
        let item = open.bound.fit_item(item, system, encoding);
        if let Item::Subscribed(_) = item {
            open.member = subscription.member().cloned();
        }
        if let Item::Subscribed(_) | Item::Snapshot(_) | Item::Assigned { .. } = item {
            open.partitions = subscription.partitions();
            let partitions =
                self.open.iter().map(|open| open.partitions).fold(open.partitions, usize::saturating_add);
            if partitions > MAX_PARTITIONS {
                return (failed(too_many_partitions()), reserved);
            }
        }
        if let Some(credit) = &mut open.credit {
            *credit = credit.saturating_sub(i64::try_from(item.records_len()).unwrap_or(i64::MAX));
        }
        let is_over = matches!(item, Item::Ended { .. });
        let answer = Answer::item(sequence, system, item, encoding);
        if let Some(error) = open.bound.exceeded(&answer, encoding.codec()) {
            return (failed(error), reserved);
        }
        if !is_over {
            open.state = if has_credit(open.credit) {
                go_on(subscription, open.credit, encoding, &self.budget)
            } else if open.member.is_some() {
                attend(subscription, encoding, &self.budget)
            } else if subscription.has_items() {
                go_on(subscription, open.credit, encoding, &self.budget)
            } else {
                subscription.put_back();
                State::AtRest(Box::new(subscription))
            };
            self.open.push_back(open);
        }
        (answer, reserved)
    }
}

/// Ends a subscription. Until there is room for the error, it counts as open: a client that does not read cannot pile
/// up errors.
async fn fail(error: CommandError, budget: DeliveryBudget) -> Step {
    let reserved = budget.reserve(ENVELOPE_BYTES + MAX_ERROR_BYTES).await;
    Step { outcome: Err(error), reserved }
}

fn has_credit(credit: Option<i64>) -> bool {
    credit.is_none_or(|bytes| bytes > 0)
}

fn go_on(
    subscription: Subscription,
    credit: Option<i64>,
    encoding: Encoding,
    budget: &DeliveryBudget,
) -> State {
    State::Busy(step(subscription, max_bytes(credit), encoding, budget.clone()).boxed())
}

/// The size of the next delivery.
fn max_bytes(credit: Option<i64>) -> usize {
    credit.map_or(usize::MAX, |credit| usize::try_from(credit).unwrap_or_default())
}

async fn step(
    mut subscription: Subscription,
    max_bytes: usize,
    encoding: Encoding,
    budget: DeliveryBudget,
) -> Step {
    let (item, reserved) = next(&mut subscription, Some(max_bytes), encoding, &budget).await;
    Step { outcome: Ok((subscription, item)), reserved }
}

/// The same of a member of a group, which delivers no records until there is credit.
fn attend(mut subscription: Subscription, encoding: Encoding, budget: &DeliveryBudget) -> State {
    let (granted, credit) = oneshot::channel();
    let budget = budget.clone();
    let attending = async move {
        let (item, reserved) = tokio::select! {
            biased;
            Ok(max_bytes) = credit => return step(subscription, max_bytes, encoding, budget).await,
            found = next(&mut subscription, None, encoding, &budget) => found,
        };
        Step { outcome: Ok((subscription, item)), reserved }
    };
    State::Attending(attending.boxed(), granted)
}

/// Waits for a subscription's next message, and for room for it. Without `max_bytes`, it is none with records.
///
/// # Cancel safety
/// A drop has no effect.
async fn next(
    subscription: &mut Subscription,
    max_bytes: Option<usize>,
    encoding: Encoding,
    budget: &DeliveryBudget,
) -> Found {
    // A delivery that is larger than the whole room waits until it is empty.
    let needed = |(bytes, records)| encoding.max_delivery_bytes(bytes, records).min(ROOM_BYTES);
    loop {
        ready(subscription, max_bytes).await;
        let in_hand = subscription.in_hand();
        let bytes = needed(in_hand);
        let reserved = match timeout(HOLD, budget.reserve(bytes)).await {
            Ok(reserved) => reserved,
            Err(_) => {
                // The client is slow: what was read must not wait for it. It is usually in memory when there is room.
                subscription.put_back();
                let reserved = tokio::select! {
                    biased;
                    reserved = budget.reserve(bytes) => reserved,
                    error = subscription.idle() => {
                        subscription.leave(error);
                        continue;
                    }
                };
                let most = if in_hand.0 == 0 { usize::MAX } else { in_hand.0 };
                let max_bytes = max_bytes.map(|max_bytes| max_bytes.min(most));
                if timeout(HOLD, ready(subscription, max_bytes)).await.is_err() {
                    // Others can use the room while it is read.
                    continue;
                }
                reserved
            }
        };
        // A second read can give other records.
        let has_room = needed(subscription.in_hand()) <= bytes;
        if has_room && let Some(item) = subscription.take() {
            return (item, reserved);
        }
        // Filters can leave out all there is: others must have their turn.
        tokio::task::yield_now().await;
    }
}

async fn ready(subscription: &mut Subscription, max_bytes: Option<usize>) {
    match max_bytes {
        Some(max_bytes) => subscription.ready(max_bytes).await,
        None => subscription.attend().await,
    }
}

impl DeliveryBudget {
    /// Waits for room for so many bytes, at most [`ROOM_BYTES`].
    async fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok()
    }
}

/// Subscriptions of a session.
const MAX_SUBSCRIPTIONS: usize = 16;

/// A few deliveries of the usual size: enough to keep the output busy, and little enough that what comes behind them
/// waits only for a moment.
const ROOM_BYTES: usize = 256 * 1024;

/// A delivery of the largest size in JSON does not need to be alone.
const _: () = assert!(words::max_delivery_bytes(MAX_BATCH_BYTES, MAX_BATCH_RECORDS) <= ROOM_BYTES);

/// The time that records wait for room after they were read.
const HOLD: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
