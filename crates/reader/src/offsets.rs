//! Offsets of many partitions, asked of each broker in one request for all callers, or in four after it was silent.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use sluicegate_fair_share::{ClientKey, Holder};
use sluicegate_shared_log::{LOG_END, LOG_START, ListedOffset, Log, MAX_TIMESTAMP};
use tokio::time::{Instant, sleep, timeout_at};

use crate::address::Address;
use crate::api::{AnsweredOffset, AskedOffset, ListOffsetsAnswer, ListOffsetsRequest};
use crate::attempt::{Attempt, Call, Outcome, Reply, Step};
use crate::backoff::jitter;
use crate::batches::Batches;
use crate::broker::{Broker, SEARCHES};
use crate::brokers::{Brokers, Wanted};
use crate::error::{ConnectionError, ErrorCode, ReadError};
use crate::topic_partition::TopicPartition;

/// A question about a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) target: TopicPartition<'a>,
    pub(crate) timestamp: i64,
}

impl<'a> Asked<'a> {
    /// # Errors
    /// Kafka has no such topic, partition or timestamp.
    pub(crate) fn parse(log: Log<'a>, timestamp: i64) -> Result<Self, ReadError> {
        let target = TopicPartition::parse(log)?;
        if timestamp < MAX_TIMESTAMP {
            let detail = format!(
                "timestamp {timestamp}: expected milliseconds, -1 (log end), -2 (log start) or -3 (latest timestamp)"
            );
            return Err(ReadError::Request { code: ErrorCode(ResponseError::InvalidRequest), detail });
        }
        Ok(Self { target, timestamp })
    }
}

/// The requests of all callers to a cluster's brokers.
#[derive(Default)]
pub(crate) struct OffsetRequests {
    /// Batches of questions for ends, by what they can share. Searches share nothing: one that takes long would delay
    /// the others.
    by_recipient: Mutex<BTreeMap<Recipient, Arc<Batch>>>,
}

type Batch = Batches<AskedOffset, Answer>;

type Answer = Result<AnsweredOffset, ConnectionError>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Recipient {
    address: Address,
    /// Whether the request has a connection of its own, because a broker was silent before.
    dedicated: bool,
    committed: bool,
    /// `None` for a search.
    end: Option<End>,
}

/// An end of a log, which is answered at once. A record is searched for, which can take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    First,
    Last,
}

/// The next outcome of attempts, by number.
type Outcomes = Vec<(usize, Outcome<ListedOffset>)>;

/// The answers to one call as they come.
pub(crate) struct Offsets<'a> {
    brokers: &'a Brokers,
    requests: &'a OffsetRequests,
    source: ClientKey,
    committed: bool,
    attempts: Vec<(Attempt<'a>, i64)>,
    ready: Outcomes,
    /// Each for many attempts.
    under_way: FuturesUnordered<BoxFuture<'a, Outcomes>>,
}

impl<'a> Offsets<'a> {
    pub(crate) fn new(
        brokers: &'a Brokers,
        requests: &'a OffsetRequests,
        source: ClientKey,
        asked: &[Asked<'a>],
        committed: bool,
        deadline: Instant,
    ) -> Self {
        let attempt =
            |asked: &Asked<'a>| (Attempt::at_leader(asked.target, deadline, jitter), asked.timestamp);
        let attempts: Vec<_> = asked.iter().map(attempt).collect();
        let ready = (0..attempts.len()).map(|number| (number, Outcome::Proceed)).collect();
        Self { brokers, requests, source, committed, attempts, ready, under_way: FuturesUnordered::new() }
    }

    /// The next answers, with the numbers of what was asked; `None` after the last.
    ///
    /// # Cancel safety
    /// A drop loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Vec<(usize, Result<ListedOffset, ReadError>)>> {
        loop {
            let answered = self.proceed();
            if !answered.is_empty() {
                return Some(answered);
            }
            self.ready = self.under_way.next().await?;
        }
    }

    /// Begins the next steps, those of the same kind together. Gives what is done.
    fn proceed(&mut self) -> Vec<(usize, Result<ListedOffset, ReadError>)> {
        let (mut done, mut leaders, mut pause, mut paused) = (Vec::new(), Vec::new(), None, Vec::new());
        let mut calls: BTreeMap<Recipient, Vec<OffsetCall<'a>>> = BTreeMap::new();
        let now = Instant::now();
        for (number, outcome) in std::mem::take(&mut self.ready) {
            let Some((attempt, timestamp)) = self.attempts.get_mut(number) else { continue };
            let mut outcome = outcome;
            loop {
                match attempt.next(now, outcome) {
                    Step::FindLeader { newer_than } => leaders.push((number, (attempt.target(), newer_than))),
                    Step::Call(call) => {
                        let (address, dedicated) = (call.address.clone(), call.leader_check.is_some());
                        let (committed, end) = (self.committed, End::of(*timestamp));
                        let asked = AskedOffset {
                            topic: attempt.target().topic().to_owned(),
                            partition: attempt.target().partition(),
                            timestamp: *timestamp,
                            leader_epoch: call.leader_epoch,
                        };
                        let recipient = Recipient { address, dedicated, committed, end };
                        let call = OffsetCall { number, target: attempt.target(), call, asked };
                        calls.entry(recipient).or_default().push(call);
                    }
                    Step::Sleep(time) => {
                        pause = pause.max(Some(time));
                        paused.push(number);
                    }
                    Step::Prefer(replica) => {
                        self.brokers.prefer(attempt.target(), replica);
                        outcome = Outcome::Proceed;
                        continue;
                    }
                    Step::Done(listed) => done.push((number, Ok(listed))),
                    Step::GiveUp(failure) => done.push((number, Err(failure))),
                }
                break;
            }
        }
        let deadline = self.attempts.first().map_or(now, |(attempt, _)| attempt.deadline());
        let (brokers, source) = (self.brokers, self.source);
        if !leaders.is_empty() {
            self.under_way.push(find(brokers, source, leaders, deadline).boxed());
        }
        if let Some(pause) = pause {
            let proceed = async move {
                sleep(pause).await;
                paused.into_iter().map(|number| (number, Outcome::Proceed)).collect()
            };
            self.under_way.push(proceed.boxed());
        }
        for (recipient, calls) in calls {
            self.under_way.push(self.requests.call(brokers, source, recipient, calls, deadline).boxed());
        }
        done
    }
}

/// Finds the leaders of some partitions.
async fn find(
    brokers: &Brokers,
    source: ClientKey,
    wanted: Vec<(usize, Wanted<'_>)>,
    deadline: Instant,
) -> Outcomes {
    let (numbers, wanted): (Vec<usize>, Vec<Wanted<'_>>) = wanted.into_iter().unzip();
    let found = brokers.leaders(source, &wanted, deadline).await;
    numbers.into_iter().zip(found.into_iter().map(Outcome::Leader)).collect()
}

/// A question to a broker.
struct OffsetCall<'a> {
    /// Of the attempt.
    number: usize,
    target: TopicPartition<'a>,
    call: Call,
    asked: AskedOffset,
}

impl OffsetRequests {
    /// Asks one broker. Those who ask it for the same end share requests. The calls end together.
    async fn call(
        &self,
        brokers: &Brokers,
        source: ClientKey,
        recipient: Recipient,
        calls: Vec<OffsetCall<'_>>,
        deadline: Instant,
    ) -> Outcomes {
        let broker = brokers.at(&recipient.address);
        let Recipient { committed, dedicated, end, .. } = recipient;
        let asked = calls.iter().map(|call| call.asked.clone()).collect();
        let mut answers = Vec::with_capacity(calls.len());
        let ask = async {
            if end.is_none() {
                return search(&broker, source.into(), committed, asked, &mut answers).await;
            }
            let broker = Arc::clone(&broker);
            let send = move |asked| request(Arc::clone(&broker), (committed, dedicated), asked);
            self.of(recipient).ask(source, asked, send, &mut answers).await;
        };
        let has_ended = timeout_at(deadline, async {
            tokio::select! {
                biased;
                () = ask => {}
                () = leader_changed(brokers, source, &calls, deadline), if dedicated => {}
            }
        });
        let is_late = has_ended.await.is_err();
        let answered: BTreeMap<AskedOffset, _> = answers.into_iter().collect();
        let outcome = |OffsetCall { number, call, asked, .. }| {
            let outcome = match answered.get(&asked) {
                // The broker is not done with it.
                Some(Err(cause @ ConnectionError::Silent { .. }))
                    if end.is_none() && !broker.has_failed() =>
                {
                    Outcome::Failed(call, cause.clone())
                }
                Some(answer) => Outcome::Reply(call, answer.clone().map(reply)),
                None if is_late => Outcome::TimedOut(call),
                None => Outcome::LeaderChanged(call),
            };
            (number, outcome)
        };
        calls.into_iter().map(outcome).collect()
    }

    fn of(&self, recipient: Recipient) -> Arc<Batch> {
        let mut all = self.by_recipient.lock();
        if !all.contains_key(&recipient) {
            // Batches without callers go: their brokers can be gone.
            all.retain(|_, batch| Arc::strong_count(batch) > 1);
        }
        let is_again = recipient.dedicated;
        let new = || match is_again {
            // One log that is slow has let the request for all fail: it must not let all of them fail again.
            true => Batches::spread(MAX_ASKED, is_same_log),
            false => Batches::new(MAX_ASKED, is_same_log),
        };
        Arc::clone(all.entry(recipient).or_insert_with(new))
    }
}

fn reply(answer: AnsweredOffset) -> Reply<ListedOffset> {
    let AnsweredOffset { error, timestamp, offset } = answer;
    error.map_or(Reply::Success(ListedOffset { offset, timestamp }), Reply::Error)
}

/// Requests ends of a broker, one of each partition.
async fn request(
    broker: Arc<Broker>,
    (committed, dedicated): (bool, bool),
    partitions: Vec<AskedOffset>,
) -> impl Fn(&AskedOffset) -> Answer {
    let request = ListOffsetsRequest { committed, partitions };
    let answer = match dedicated {
        true => broker.call_on_dedicated(&request).await,
        false => broker.call(&request).await,
    };
    move |asked| answer_of(&broker, answer.as_ref(), asked)
}

/// Searches the logs of a broker, in requests of a few partitions.
async fn search(
    broker: &Arc<Broker>,
    holder: Holder,
    committed: bool,
    asked: Vec<AskedOffset>,
    answers: &mut Vec<(AskedOffset, Answer)>,
) {
    let request = |partitions: Vec<AskedOffset>| async move {
        let request = ListOffsetsRequest { committed, partitions: partitions.clone() };
        let answer = broker.call_search(holder, request).await;
        let answered = |asked: AskedOffset| {
            let answer = answer_of(broker, answer.as_ref(), &asked);
            (asked, answer)
        };
        partitions.into_iter().map(answered).collect::<Vec<_>>()
    };
    let mut answered = stream::iter(searches(asked)).map(request).buffer_unordered(SEARCHES);
    while let Some(some) = answered.next().await {
        answers.extend(some);
    }
}

/// Searches in as few requests as possible, each with a partition once.
fn searches(mut asked: Vec<AskedOffset>) -> Vec<Vec<AskedOffset>> {
    asked.sort_unstable();
    asked.dedup();
    let mut layers: Vec<Vec<AskedOffset>> = Vec::new();
    for log in asked.chunk_by(is_same_log) {
        for (number, asked) in log.iter().enumerate() {
            match layers.get_mut(number) {
                Some(layer) => layer.push(asked.clone()),
                None => layers.push(vec![asked.clone()]),
            }
        }
    }
    layers.iter().flat_map(|layer| layer.chunks(MAX_SEARCHED)).map(<[AskedOffset]>::to_vec).collect()
}

fn answer_of(
    broker: &Broker,
    answer: Result<&ListOffsetsAnswer, &ConnectionError>,
    asked: &AskedOffset,
) -> Answer {
    let found = answer.map_err(Clone::clone)?.get(&(asked.topic.clone(), asked.partition)).copied();
    found.ok_or_else(|| unanswered(broker))
}

/// Brokers answer the same partition a second time with an error.
fn is_same_log(one: &AskedOffset, next: &AskedOffset) -> bool {
    (&one.topic, one.partition) == (&next.topic, next.partition)
}

/// The error of an answer without a requested partition, which its decoder does not let pass.
fn unanswered(broker: &Broker) -> ConnectionError {
    ConnectionError::Protocol {
        address: broker.address().to_string(),
        what: "an answer without a requested partition".to_owned(),
    }
}

/// Waits until metadata names another leader than the one of some call.
async fn leader_changed(brokers: &Brokers, source: ClientKey, calls: &[OffsetCall<'_>], deadline: Instant) {
    let interval = calls.iter().filter_map(|call| call.call.leader_check).min().unwrap_or_default();
    loop {
        let since = Instant::now();
        sleep(interval).await;
        let wanted: Vec<Wanted<'_>> = calls.iter().map(|call| (call.target, Some(since))).collect();
        let found = brokers.leaders(source, &wanted, deadline).await;
        let is_changed = calls.iter().zip(found).any(|(OffsetCall { call, .. }, leader)| {
            leader.is_ok_and(|leader| call.is_superseded_by(&leader))
        });
        if is_changed {
            return;
        }
    }
}

impl End {
    fn of(timestamp: i64) -> Option<Self> {
        match timestamp {
            LOG_START => Some(Self::First),
            LOG_END => Some(Self::Last),
            _ => None,
        }
    }
}

/// Partitions in one request for their ends, for all callers.
const MAX_ASKED: usize = 2000;

/// Partitions in one request that searches for records: a broker can take long for each.
const MAX_SEARCHED: usize = 32;
