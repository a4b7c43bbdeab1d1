//! Calls to the coordinators of groups.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use sluicegate_shared_log::SingleFlight;
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::api::{FindCoordinatorAnswer, FindCoordinatorRequest};
use crate::attempt::{FIRST_PAUSE, MAX_PAUSE, may_pass, throttled};
use crate::backoff::{Backoff, in_future, jitter};
use crate::broker::Broker;
use crate::broker_failures::BrokerFailures;
use crate::brokers::Brokers;
use crate::error::{ConnectionError, ErrorCode, ReadError};

/// The coordinators of groups, as far as they are known.
#[derive(Default)]
pub(crate) struct Coordinators {
    /// At most [`MAX_GROUPS`].
    known: Mutex<HashMap<String, Coordinator>>,
    finds: SingleFlight<String, Result<Coordinator, ReadError>>,
}

/// The broker that has a group.
#[derive(Debug, Clone)]
struct Coordinator {
    address: Address,
    /// When it was asked for.
    learned: Instant,
}

/// One call to a group's coordinator.
#[derive(Clone, Copy)]
pub(crate) struct GroupCall<'a> {
    pub(crate) brokers: &'a Brokers,
    pub(crate) coordinators: &'a Coordinators,
    pub(crate) group: &'a str,
    pub(crate) deadline: Instant,
    /// Whether the coordinator holds the request, so that another coordinator is looked for meanwhile.
    pub(crate) is_held: bool,
}

impl GroupCall<'_> {
    /// Calls the coordinator, and again where it has moved, was lost, has not loaded the group, or throttles, until the
    /// deadline. `send` sends the request to a broker, and gives the answer or the error of the whole group.
    pub(crate) async fn run<T, F>(self, send: impl Fn(Arc<Broker>) -> F) -> Result<T, ReadError>
    where
        F: Future<Output = Result<Result<T, ErrorCode>, ConnectionError>>,
    {
        let mut backoff = Backoff::new(FIRST_PAUSE, MAX_PAUSE);
        let (mut newer_than, mut last) = (None, None);
        loop {
            let failure = match self.find(newer_than).await {
                Ok(found) => {
                    let broker = found.address.to_string();
                    match timeout_at(self.deadline, self.send(&found, &send)).await {
                        Ok(Some(Ok(Ok(answer)))) => return Ok(answer),
                        Ok(Some(Ok(Err(code)))) => {
                            // One that loads the group is the right one.
                            if code.0 != ResponseError::CoordinatorLoadInProgress {
                                newer_than = Some(found.learned);
                            }
                            self.error(code)
                        }
                        Ok(Some(Err(cause))) => {
                            let failure = ReadError::Unanswered { broker, cause };
                            if throttled(&failure).is_none() {
                                newer_than = Some(found.learned);
                            }
                            failure
                        }
                        // It has moved.
                        Ok(None) => continue,
                        Err(_) => return Err(last.unwrap_or_else(|| self.silent(broker))),
                    }
                }
                Err(failure) if Instant::now() >= self.deadline => return Err(last.unwrap_or(failure)),
                Err(failure) => failure,
            };
            let left = self.deadline.saturating_duration_since(Instant::now());
            let half = left.checked_div(2).unwrap_or_default();
            let pause = throttled(&failure).unwrap_or_else(|| backoff.next(jitter).min(half));
            if left < FIRST_PAUSE || left <= pause || !may_pass(&failure) {
                return Err(failure);
            }
            let group = self.group;
            tracing::debug!(group, %failure, event = "group_request_retried", "retrying");
            last = Some(failure);
            sleep(pause).await;
        }
    }

    /// `None` if the coordinator is another one meanwhile.
    async fn send<T, F>(&self, to: &Coordinator, send: &impl Fn(Arc<Broker>) -> F) -> Option<T>
    where
        F: Future<Output = T>,
    {
        let answer = send(self.brokers.at(&to.address));
        if !self.is_held {
            return Some(answer.await);
        }
        tokio::select! {
            biased;
            answer = answer => Some(answer),
            () = self.moved(to) => None,
        }
    }

    /// Waits until the group has another coordinator.
    async fn moved(&self, from: &Coordinator) {
        loop {
            sleep(CHECK).await;
            // All who wait for this group share a question.
            let newer_than = Instant::now().checked_sub(CHECK);
            if let Ok(found) = self.find(newer_than).await
                && found.address != from.address
            {
                return;
            }
        }
    }

    /// The coordinator, asked for after an instant if one is given.
    async fn find(&self, newer_than: Option<Instant>) -> Result<Coordinator, ReadError> {
        let known = || {
            let known = self.coordinators.known.lock().get(self.group).cloned();
            known.filter(|known| newer_than.is_none_or(|instant| known.learned > instant)).map(Ok)
        };
        let find = self.coordinators.finds.run(self.group.to_owned(), |_| false, known, || self.request());
        timeout_at(self.deadline, find)
            .await
            .unwrap_or_else(|_| Err(self.brokers.unreachable(BrokerFailures::default())))
    }

    async fn request(&self) -> Result<Coordinator, ReadError> {
        let learned = Instant::now();
        let ask = |broker: Arc<Broker>| {
            let request = FindCoordinatorRequest { group: self.group.to_owned() };
            async move { broker.call(&request).await }
        };
        // From when it is sent: others can share the request.
        let within = in_future(self.brokers.config().request_timeout);
        let asked = timeout_at(within, self.brokers.call_any(ask)).await;
        let asked = asked.unwrap_or_else(|_| Err(self.brokers.unreachable(BrokerFailures::default())));
        let FindCoordinatorAnswer { error, host, port } = asked?;
        if let Some(code) = error {
            return Err(self.error(code));
        }
        let address = Address::told(host, port)
            .ok_or_else(|| self.error(ErrorCode(ResponseError::CoordinatorNotAvailable)))?;
        let found = Coordinator { address, learned };
        let mut known = self.coordinators.known.lock();
        if known.len() >= MAX_GROUPS && !known.contains_key(self.group) {
            known.clear();
        }
        known.insert(self.group.to_owned(), found.clone());
        Ok(found)
    }

    /// A broker's error about the group.
    pub(crate) fn error(&self, code: ErrorCode) -> ReadError {
        ReadError::Broker { code, detail: format!("group {}", self.group) }
    }

    fn silent(&self, broker: String) -> ReadError {
        let after = self.brokers.config().response_timeout();
        let cause = ConnectionError::Silent { address: broker.clone(), after };
        ReadError::Unanswered { broker, cause }
    }
}

/// The time after which another coordinator is looked for, while one holds a request.
const CHECK: Duration = Duration::from_secs(5);

/// Groups whose coordinators are kept: 2 MiB at most, with names of usual lengths. Beyond that, all are asked for anew.
const MAX_GROUPS: usize = 10_000;
