//! A cluster: its brokers, and its metadata, asked for by one caller on behalf of all.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::address::Address;
use crate::api::{MetadataAnswer, MetadataRequest};
use crate::broker::Broker;
use crate::config::Config;
use crate::lock::Lock;
use crate::target::Target;
use crate::view::{Freshness, Leader, View};
use crate::{ConnectionError, ReadError};

/// The brokers and what they said about topics.
pub(crate) struct Cluster {
    config: Arc<Config>,
    /// Those of the configuration and those of the last metadata.
    brokers: Lock<HashMap<Address, Arc<Broker>>>,
    view: Lock<View>,
    /// The topics that the next questions are about; at most [`MAX_WANTED`].
    wanted: Lock<BTreeSet<String>>,
    /// Held while the cluster is being asked.
    asking: tokio::sync::Mutex<LastQuestion>,
}

#[derive(Default)]
struct LastQuestion {
    /// When the next one may be put.
    next: Option<Instant>,
    failure: Option<(Instant, ReadError)>,
}

impl Cluster {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            brokers: Lock::default(),
            view: Lock::default(),
            wanted: Lock::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The leader of a partition, as of after `after`. A topic that is missing is never created.
    pub(crate) async fn leader(
        &self,
        target: Target<'_>,
        after: Option<Instant>,
        deadline: Instant,
    ) -> Result<(Leader, Arc<Broker>), ReadError> {
        let since = Instant::now();
        let known = || {
            let freshness = Freshness { max_age: self.config.metadata_max_age, since, after };
            self.view.lock().leader(target, freshness, Instant::now())
        };
        let leader = match known() {
            Some(known) => known?,
            None => {
                self.want(target.topic());
                self.ask(Some(target.topic()), since, deadline, known).await?
            }
        };
        let broker = self.broker(&leader.address);
        Ok((leader, broker))
    }

    /// The brokers as of at most `max_age` ago, at the addresses that they advertise; the connected ones first.
    pub(crate) async fn brokers(
        &self,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Vec<Arc<Broker>>, ReadError> {
        let since = Instant::now();
        let fresh = |learned: Instant| learned >= since || learned.elapsed() < max_age;
        let known = || self.view.lock().learned().filter(|learned| fresh(*learned)).map(|_| Ok(()));
        match known() {
            Some(known) => known?,
            None => self.ask(None, since, deadline, known).await?,
        }
        let nodes = self.view.lock().nodes();
        Ok(self.connected_first(&nodes))
    }

    /// That none of the brokers could be asked; no `cause` where the time ran out before any broker gave one.
    pub(crate) fn unreachable(&self, cause: Option<ConnectionError>) -> ReadError {
        let cause = cause.unwrap_or_else(|| ConnectionError::Silent {
            address: self.config.bootstrap.first().map(ToString::to_string).unwrap_or_default(),
            after: self.config.request_timeout,
        });
        let servers: Vec<String> = self.config.bootstrap.iter().map(ToString::to_string).collect();
        ReadError::Unreachable { brokers: servers.join(","), within: self.config.request_timeout, cause }
    }

    fn want(&self, topic: &str) {
        let mut wanted = self.wanted.lock();
        if wanted.len() < MAX_WANTED {
            wanted.insert(topic.to_owned());
        }
    }

    /// Waits for the turn to ask, asks unless another caller's question has brought the answer meanwhile, and gives
    /// what `known` makes of it.
    ///
    /// One question at a time, for many topics at once and not more often than [`PACE`] allows: callers who ask for
    /// topics that do not exist cost the brokers no more than this.
    async fn ask<T>(
        &self,
        topic: Option<&str>,
        since: Instant,
        deadline: Instant,
        known: impl Fn() -> Option<Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let asked = timeout_at(deadline, async {
            let mut last = self.asking.lock().await;
            if let Some(known) = known() {
                return known;
            }
            if let Some((_, failure)) = last.failure.as_ref().filter(|(at, _)| *at > since) {
                return Err(failure.clone());
            }
            if let Some(next) = last.next {
                sleep_until(next).await;
            }
            let names = self.next_names(topic);
            let learned = Instant::now();
            let answer = self.ask_any(names, deadline).await;
            last.next = Instant::now().checked_add(PACE);
            match answer {
                Ok(answer) => {
                    last.failure = None;
                    self.learn(answer, learned);
                }
                Err(failure) => {
                    last.failure = Some((Instant::now(), failure.clone()));
                    return Err(failure);
                }
            }
            known().unwrap_or_else(|| Err(self.unreachable(Some(self.incomplete()))))
        });
        asked.await.unwrap_or_else(|_| Err(self.unreachable(None)))
    }

    /// The names that the next question is about: what others wait for, and `topic`.
    fn next_names(&self, topic: Option<&str>) -> Vec<String> {
        let mut wanted = self.wanted.lock();
        let mut names: Vec<String> = Vec::new();
        if let Some(topic) = topic {
            wanted.remove(topic);
            names.push(topic.to_owned());
        }
        names.extend(std::iter::from_fn(|| wanted.pop_first()).take(MAX_NAMES));
        names
    }

    /// Asks one broker after the other until one answers, the connected ones first.
    async fn ask_any(&self, topics: Vec<String>, deadline: Instant) -> Result<MetadataAnswer, ReadError> {
        let mut candidates = self.view.lock().nodes();
        candidates.extend(self.config.bootstrap.iter().cloned());
        let candidates = self.connected_first(&candidates);
        let request = MetadataRequest { topics };

        let mut cause = None;
        let mut left = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        for broker in candidates {
            // An equal share of the time for each, so that one that is silent does not use up that of the others.
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now).checked_div(left).unwrap_or_default();
            left = left.saturating_sub(1);
            let until = now.checked_add(share).unwrap_or(deadline);
            let asked = timeout_at(until, broker.call(&request, self.config.request_timeout));
            let silent = || ConnectionError::Silent { address: broker.address().to_string(), after: share };
            match asked.await.unwrap_or_else(|_| Err(silent())) {
                Ok(answer) => return Ok(answer),
                // One that needs a person says more than one that may pass.
                Err(failure) if cause.as_ref().is_none_or(ConnectionError::retriable) => {
                    cause = Some(failure)
                }
                Err(_) => {}
            }
        }
        Err(self.unreachable(cause))
    }

    fn learn(&self, answer: MetadataAnswer, learned: Instant) {
        let nodes = {
            let mut view = self.view.lock();
            view.learn(answer, learned);
            view.nodes()
        };
        let bootstrap = &self.config.bootstrap;
        self.brokers.lock().retain(|address, _| nodes.contains(address) || bootstrap.contains(address));
    }

    fn connected_first(&self, addresses: &HashSet<Address>) -> Vec<Arc<Broker>> {
        let mut brokers: Vec<Arc<Broker>> = addresses.iter().map(|address| self.broker(address)).collect();
        brokers.sort_by_key(|broker| !broker.is_connected());
        brokers
    }

    fn broker(&self, address: &Address) -> Arc<Broker> {
        let mut brokers = self.brokers.lock();
        let broker = brokers
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Broker::new(address.clone(), Arc::clone(&self.config))));
        Arc::clone(broker)
    }

    /// The cause where metadata came without what it was asked for.
    fn incomplete(&self) -> ConnectionError {
        let address = self.config.bootstrap.first().map(ToString::to_string).unwrap_or_default();
        ConnectionError::Protocol {
            address,
            what: "metadata without the topic that was asked for".to_owned(),
        }
    }
}

/// Topics that one question is about, besides that of its caller.
const MAX_NAMES: usize = 500;

/// Topics that are waited for. A caller beyond them asks for its own when its turn comes.
const MAX_WANTED: usize = 10_000;

/// The time between a broker's answer about metadata and the next question.
const PACE: Duration = Duration::from_millis(20);
