//! Performs the steps of an [`Attempt`] on a cluster's brokers, and with it the requests of a [`FetchPlan`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_fair_share::{ClientKey, Holder, Place};
use sluicegate_shared_log::{Chunk, ClusterLogs, Version};
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{Api, FetchAnswer, FetchPartition, FetchRequest};
use crate::attempt::{Attempt, Call, Outcome, Reply, Role, Step};
use crate::backoff::jitter;
use crate::broker::Broker;
use crate::brokers::Brokers;
use crate::connection::Answered;
use crate::encoder_pool::EncoderPool;
use crate::error::{ConnectionError, ReadError};
use crate::fetch_plan::{self, FetchPlan, RecordsFrom, reply};
use crate::metadata_cache::log_version;

/// The broker of one [`Call`].
pub(crate) struct Recipient {
    pub(crate) broker: Arc<Broker>,
    pub(crate) call: Call,
}

impl Recipient {
    /// Sends a request that the broker answers at once.
    pub(crate) async fn send<A: Api>(&self, request: &A) -> Result<A::Answer, ConnectionError> {
        match self.call.leader_check {
            Some(_) => self.broker.call_on_dedicated(request).await,
            None => self.broker.call(request).await,
        }
    }

    /// Sends a fetch that does not wait for records. `None` as for [`Broker::fetch`].
    pub(crate) async fn fetch(
        &self,
        (holder, place): (Holder, Option<&Arc<Place>>),
        request: &FetchRequest<'_>,
        is_dedicated: bool,
    ) -> Result<Option<Answered<Vec<FetchAnswer>>>, ConnectionError> {
        self.broker.fetch((holder, place), request, is_dedicated || self.call.leader_check.is_some()).await
    }
}

/// Calls the leader of a partition, or the replica that it prefers, with the retries of `attempt`. `send` sends the
/// request to a broker and interprets the response.
pub(crate) async fn leader_call<T, F>(
    brokers: &Brokers,
    source: ClientKey,
    mut attempt: Attempt<'_>,
    send: impl Fn(Recipient) -> F,
) -> Result<T, ReadError>
where
    F: Future<Output = Result<Reply<T>, ConnectionError>>,
{
    let (target, deadline) = (attempt.target(), attempt.deadline());
    let mut outcome = Outcome::Proceed;
    loop {
        outcome = match attempt.next(Instant::now(), outcome) {
            Step::FindLeader { newer_than } => {
                Outcome::Leader(brokers.leader(source, target, newer_than, deadline).await)
            }
            Step::Call(call) => {
                let recipient = Recipient { broker: brokers.at(&call.address), call: call.clone() };
                let reply = async {
                    tokio::select! {
                        biased;
                        reply = send(recipient) => Some(reply),
                        () = leader_changed(brokers, source, &attempt, &call), if call.leader_check.is_some() => None,
                    }
                };
                match timeout_at(deadline, reply).await {
                    Ok(Some(reply)) => Outcome::Reply(call, reply),
                    Ok(None) => Outcome::LeaderChanged(call),
                    Err(_) => Outcome::TimedOut(call),
                }
            }
            Step::Sleep(pause) => {
                sleep(pause).await;
                Outcome::Proceed
            }
            Step::Prefer(replica) => {
                brokers.prefer(target, replica);
                Outcome::Proceed
            }
            Step::Done(answer) => return Ok(answer),
            Step::GiveUp(failure) => return Err(failure),
        }
    }
}

/// Waits until metadata names another leader than the one of `call`.
async fn leader_changed(brokers: &Brokers, source: ClientKey, attempt: &Attempt<'_>, call: &Call) {
    loop {
        let since = Instant::now();
        sleep(call.leader_check.unwrap_or_default()).await;
        if let Ok(leader) = brokers.leader(source, attempt.target(), Some(since), attempt.deadline()).await
            && call.is_superseded_by(&leader)
        {
            return;
        }
    }
}

/// Fetches from the leader, or from the replica that it prefers. Gives the records, or `None` once it has skipped a
/// part of the log: another call goes on then.
///
/// Each request has one of the broker's places for fetches, until its answer is encoded: so many answers can be in
/// memory.
pub(crate) async fn fetch_call(
    brokers: &Brokers,
    (logs, encoders): (&ClusterLogs, &EncoderPool),
    plan: &mut FetchPlan<'_>,
    (committed, source): (bool, ClientKey),
    deadline: Instant,
) -> Result<Option<Chunk>, ReadError> {
    let holder = Holder { cluster: std::ptr::from_ref(brokers).addr(), source };
    let (mut step, mut served) = (fetch_plan::Step::Request(plan.request()), None);
    loop {
        step = match step {
            fetch_plan::Step::Request(request) => {
                drop(served.take());
                let answer = match call(brokers, plan, request, (committed, holder), deadline).await {
                    Ok((answer, version, by)) => {
                        logs.count_received(answer.records.len());
                        served = Some(by);
                        Ok((answer, version))
                    }
                    Err(error) => Err(error),
                };
                plan.next(answer)?
            }
            fetch_plan::Step::Encode(encoding, answer) => {
                let from = encoding.from;
                let encoded = encoders.encode(holder, encoding).await;
                if let Some(Served { broker, took, .. }) = &served {
                    let next = encoded.as_ref().map_or(from, |(encoded, _)| encoded.next_offset);
                    broker.note_fetched(plan.target().log(), (from, next), *took);
                }
                plan.encoded(Instant::now(), &answer, encoded)?
            }
            fetch_plan::Step::Skipped => return Ok(None),
            fetch_plan::Step::Done(chunk) => return Ok(Some(chunk)),
        };
    }
}

/// A broker that has answered a request, and the time it took, if that is known.
struct Served {
    broker: Arc<Broker>,
    took: Option<Duration>,
    /// The request's place at the broker.
    _place: Arc<Place>,
}

/// The answer to one request, and the log's version in the metadata.
async fn call(
    brokers: &Brokers,
    plan: &FetchPlan<'_>,
    from: RecordsFrom,
    (committed, holder): (bool, Holder),
    deadline: Instant,
) -> Result<(FetchAnswer, Version, Served), ReadError> {
    let target = plan.target();
    let max_bytes = i32::try_from(from.max_bytes).unwrap_or(i32::MAX);
    let waits = &AtomicBool::new(false);
    let send = |recipient: Recipient| async move {
        let partition = FetchPartition {
            topic: target.topic(),
            topic_id: recipient.call.topic_id,
            partition: target.partition(),
            leader_epoch: recipient.call.leader_epoch,
            offset: from.offset,
            max_bytes,
        };
        let Call { role, leader_epoch, topic_id, .. } = recipient.call;
        let rack = brokers.rack(role);
        let request = FetchRequest { partitions: vec![partition], max_bytes, max_wait: 0, committed, rack };
        let (broker, log) = (&recipient.broker, target.log());
        let (mut tries, mut last) = (0_u32, None);
        let (mut answered, place) = loop {
            let is_slow = broker.is_slow(holder, log, from.offset);
            // One of the other kind is given back before the wait for one of this kind.
            let place = match last.take().filter(|(of_slow, _)| *of_slow == is_slow) {
                Some((_, place)) => place,
                None => {
                    waits.store(true, Ordering::Relaxed);
                    let place = broker.fetch_place(holder, is_slow).await;
                    waits.store(false, Ordering::Relaxed);
                    place
                }
            };
            let kept = is_slow.then_some(&place);
            let fetch = || recipient.fetch((holder, kept), &request, is_slow || tries >= MAX_TRIES);
            match broker.fetch_in_turn(holder, deadline, fetch).await? {
                Some(answered) => break (answered, place),
                None => (tries, last) = (tries.saturating_add(1), Some((is_slow, place))),
            }
        };
        let Some(answer) = answered.answer.pop() else {
            let address = recipient.call.address.to_string();
            return Err(ConnectionError::Protocol {
                address,
                what: "fetch without the partition".to_owned(),
            });
        };
        let version = log_version(topic_id, leader_epoch);
        let reply = reply(answer, role, from.offset);
        if let (Role::LeaderOnly, Reply::Redirect(node)) = (role, &reply) {
            brokers.redirected(target, role, *node);
        }
        let served = Served { broker: recipient.broker, took: answered.took, _place: place };
        Ok(reply.map(|answer| (answer, version, served)))
    };
    let answered =
        leader_call(brokers, holder.source, Attempt::at_nearest(target, deadline, jitter), send).await;
    match answered {
        Err(ReadError::Unanswered { .. }) if waits.load(Ordering::Relaxed) => Err(ReadError::Busy),
        answered => answered,
    }
}

/// Shared connections that a fetch tries before it gets a dedicated one.
const MAX_TRIES: u32 = 2;
