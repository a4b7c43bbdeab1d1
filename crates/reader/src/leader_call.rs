//! Performs the steps of an [`Attempt`] on a cluster's brokers.

use std::sync::Arc;

use sluicegate_fair_share::{ClientKey, Holder, Place};
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{Api, FetchAnswer, FetchRequest};
use crate::attempt::{Attempt, Call, Outcome, Reply, Step};
use crate::broker::Broker;
use crate::brokers::Brokers;
use crate::connection::Answered;
use crate::connection_error::ConnectionError;
use crate::read_error::ReadError;

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
