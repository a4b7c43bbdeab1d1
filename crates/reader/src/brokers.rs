//! The brokers of a cluster and its metadata, which one caller requests on behalf of all.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::address::Address;
use crate::api::{MetadataAnswer, MetadataRequest, TopicAnswer};
use crate::broker::Broker;
use crate::broker_failures::BrokerFailures;
use crate::config::Config;
use crate::connection_error::ConnectionError;
use crate::lock::Lock;
use crate::log_version::LogVersion;
use crate::metadata_cache::{Freshness, Leader, MetadataCache};
use crate::observer::BrokerStates;
use crate::read_error::ReadError;
use crate::topic::Topic;
use crate::topic_partition::TopicPartition;

/// A cluster's brokers and metadata.
pub(crate) struct Brokers {
    config: Arc<Config>,
    /// Brokers of the configuration, of the last metadata, and at most [`MAX_AWAITED`] others that failed.
    by_address: Lock<HashMap<Address, Arc<Broker>>>,
    metadata: Lock<MetadataCache>,
    /// The topics of the next requests; at most [`MAX_PENDING`].
    pending: Lock<BTreeSet<String>>,
    /// Held during a metadata request.
    refreshing: tokio::sync::Mutex<LastRequest>,
    /// The names of all topics, in order, and when they were requested.
    listed: Lock<Option<(Instant, Arc<[String]>)>>,
    /// Held during a request for all topics: its response can be large and must not delay other requests.
    listing: tokio::sync::Mutex<LastRequest>,
}

#[derive(Default)]
struct LastRequest {
    answered: Option<Instant>,
    failure: Option<(Instant, ReadError)>,
}

impl Brokers {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            by_address: Lock::default(),
            metadata: Lock::default(),
            pending: Lock::default(),
            refreshing: tokio::sync::Mutex::default(),
            listed: Lock::default(),
            listing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The leader of a partition, from metadata requested after `newer_than`. Missing topics are never created.
    pub(crate) async fn leader(
        &self,
        target: TopicPartition<'_>,
        newer_than: Option<Instant>,
        deadline: Instant,
    ) -> Result<Leader, ReadError> {
        let since = Instant::now();
        let known = || self.known(target, since, newer_than);
        match known() {
            Some(known) => known,
            None => {
                self.add_pending(target.topic());
                let interval = if newer_than.is_some() { RETRY_INTERVAL } else { MIN_INTERVAL };
                self.refresh(Some(target.topic()), since, interval, deadline, known).await
            }
        }
    }

    /// The leader of a partition, if the metadata is fresh and names one.
    pub(crate) fn known_leader(&self, target: TopicPartition<'_>) -> Option<Leader> {
        self.known(target, Instant::now(), None)?.ok()
    }

    /// The version of a partition's log, if [`Brokers::known_leader`] names a leader.
    pub(crate) fn known_version(&self, target: TopicPartition<'_>) -> Option<LogVersion> {
        let now = Instant::now();
        let freshness = Freshness { max_age: self.config.metadata_max_age, since: now, newer_than: None };
        self.metadata.lock().version(target, freshness, now)
    }

    fn known(
        &self,
        target: TopicPartition<'_>,
        since: Instant,
        newer_than: Option<Instant>,
    ) -> Option<Result<Leader, ReadError>> {
        let freshness = Freshness { max_age: self.config.metadata_max_age, since, newer_than };
        self.metadata.lock().leader(target, freshness, Instant::now())
    }

    /// A topic's partitions, from metadata of at most this age. Missing topics are never created.
    pub(crate) async fn topic(
        &self,
        target: TopicPartition<'_>,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Topic, ReadError> {
        let name = target.topic();
        let since = Instant::now();
        let known = || {
            let freshness = Freshness { max_age, since, newer_than: None };
            let known = self.metadata.lock().topic(name, freshness, Instant::now())?;
            Some(known.map_err(|code| ReadError::Broker { code, detail: format!("topic {name}") }))
        };
        match known() {
            Some(known) => known,
            None => {
                self.add_pending(name);
                self.refresh(Some(name), since, MIN_INTERVAL, deadline, known).await
            }
        }
    }

    /// The names of all topics but Kafka's internal ones, in order, requested after the call. Waiting calls share one request.
    pub(crate) async fn topics(&self, deadline: Instant) -> Result<Arc<[String]>, ReadError> {
        let since = Instant::now();
        let known = || {
            let (listed, names) = self.listed.lock().clone()?;
            (listed >= since).then_some(Ok(names))
        };
        match known() {
            Some(known) => known,
            None => {
                let request = async {
                    let sent = Instant::now();
                    let (broker, answer) = self.request_metadata(None).await?;
                    *self.listed.lock() = Some((sent, names(answer)));
                    Ok(broker)
                };
                self.single_flight(&self.listing, since, LISTING_INTERVAL, deadline, known, request).await
            }
        }
    }

    /// Stores the preferred replica of a partition, or with `None` that its preferred replica failed.
    pub(crate) fn prefer(&self, target: TopicPartition<'_>, replica: Option<i32>) {
        let mut metadata = self.metadata.lock();
        match replica {
            Some(node) => metadata.prefer(target, node, Instant::now()),
            None => metadata.prefer_leader(target, Instant::now()),
        }
    }

    /// The brokers at their advertised addresses, from metadata of at most `max_age`; connected ones first.
    pub(crate) async fn advertised(
        &self,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Vec<Arc<Broker>>, ReadError> {
        let since = Instant::now();
        let fresh = |learned: Instant| learned >= since || learned.elapsed() < max_age;
        let known = || self.metadata.lock().learned().filter(|learned| fresh(*learned)).map(|_| Ok(()));
        match known() {
            Some(known) => known?,
            None => self.refresh(None, since, MIN_INTERVAL, deadline, known).await?,
        }
        let nodes = self.metadata.lock().nodes();
        Ok(self.best_first(&nodes))
    }

    /// The error if no broker could be reached.
    pub(crate) fn unreachable(&self, failures: BrokerFailures) -> ReadError {
        failures.unreachable(&self.config)
    }

    fn add_pending(&self, topic: &str) {
        let mut pending = self.pending.lock();
        if pending.len() < MAX_PENDING {
            pending.insert(topic.to_owned());
        }
    }

    /// Requests metadata of `topic` and of all pending topics, unless `known` has a result when it is the caller's turn.
    ///
    /// One request is for many topics at once. Any number of callers thus costs the cluster 50 requests a second for new or
    /// missing topics ([`MIN_INTERVAL`]), and 10 for missing leaders ([`RETRY_INTERVAL`]).
    async fn refresh<T>(
        &self,
        topic: Option<&str>,
        since: Instant,
        interval: Duration,
        deadline: Instant,
        known: impl Fn() -> Option<Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let request = async {
            let names = self.next_names(topic);
            let sent = Instant::now();
            let (broker, answer) = self.request_metadata(Some(names)).await?;
            self.update(answer, sent);
            Ok(broker)
        };
        self.single_flight(&self.refreshing, since, interval, deadline, known, request).await
    }

    /// Waits for its turn, and performs `request` unless another caller's request has brought the result meanwhile. Gives the
    /// result of `known`. There is one request at a time, and `interval` between them.
    async fn single_flight<T>(
        &self,
        turns: &tokio::sync::Mutex<LastRequest>,
        since: Instant,
        interval: Duration,
        deadline: Instant,
        known: impl Fn() -> Option<Result<T, ReadError>>,
        request: impl Future<Output = Result<Arc<Broker>, ReadError>>,
    ) -> Result<T, ReadError> {
        let result = timeout_at(deadline, async {
            let mut last = turns.lock().await;
            if let Some(known) = known() {
                return known;
            }
            if let Some((_, failure)) = last.failure.as_ref().filter(|(at, _)| *at > since) {
                return Err(failure.clone());
            }
            if let Some(next) = last.answered.and_then(|at| at.checked_add(interval)) {
                sleep_until(next).await;
            }
            let response = request.await;
            last.answered = Some(Instant::now());
            match response {
                Ok(broker) => {
                    last.failure = None;
                    known().unwrap_or_else(|| Err(self.unreachable(BrokerFailures::of(incomplete(&broker)))))
                }
                Err(failure) => {
                    last.failure = Some((Instant::now(), failure.clone()));
                    Err(failure)
                }
            }
        });
        result.await.unwrap_or_else(|_| Err(self.unreachable(BrokerFailures::default())))
    }

    /// The topics of the next request: `topic` and pending ones.
    fn next_names(&self, topic: Option<&str>) -> Vec<String> {
        let mut pending = self.pending.lock();
        let mut names: Vec<String> = Vec::new();
        if let Some(topic) = topic {
            pending.remove(topic);
            names.push(topic.to_owned());
        }
        names.extend(std::iter::from_fn(|| pending.pop_first()).take(MAX_NAMES));
        names
    }

    /// Sends the request to one broker, and to another one each time [`HEAD_START`] passes or a broker fails. Gives the first
    /// answer and its broker, so a broker that is down or silent delays it only by the head start. Once all brokers are late,
    /// each is tried again: the request may wait behind a slow one.
    async fn request_metadata(
        &self,
        topics: Option<Vec<String>>,
    ) -> Result<(Arc<Broker>, MetadataAnswer), ReadError> {
        let mut candidates = self.metadata.lock().nodes();
        candidates.extend(self.config.bootstrap.iter().cloned());
        let candidates = self.best_first(&candidates);
        let (mut second_tries, mut candidates) = (candidates.clone().into_iter(), candidates.into_iter());
        let mut are_late = false;
        let request = Arc::new(MetadataRequest { topics });

        let mut calls = JoinSet::new();
        let mut failures = BrokerFailures::default();
        loop {
            if calls.len() < MAX_CALLS
                && let Some(broker) =
                    candidates.next().or_else(|| if are_late { second_tries.next() } else { None })
            {
                are_late = false;
                let request = Arc::clone(&request);
                calls.spawn(async move {
                    let answer = metadata(&broker, &request).await?;
                    Ok((broker, answer))
                });
            }
            match timeout(HEAD_START, calls.join_next()).await {
                Ok(Some(Ok(Ok(answer)))) => return Ok(answer),
                Ok(Some(Ok(Err(failure)))) => failures.add(failure),
                Ok(None) => return Err(self.unreachable(failures)),
                Ok(Some(Err(_))) => {}
                Err(_) => are_late = true,
            }
        }
    }

    fn update(&self, answer: MetadataAnswer, sent: Instant) {
        let nodes = {
            let mut metadata = self.metadata.lock();
            metadata.update(answer, sent);
            metadata.nodes()
        };
        let bootstrap = &self.config.bootstrap;
        let mut awaited = 0_usize;
        self.by_address.lock().retain(|address, broker| {
            if nodes.contains(address) || bootstrap.contains(address) {
                return true;
            }
            // Metadata omits brokers that are down. Keep those whose recovery will be logged.
            awaited = awaited.saturating_add(usize::from(broker.is_awaited()));
            broker.is_awaited() && awaited <= MAX_AWAITED
        });
    }

    /// Connected brokers first, failed ones last.
    fn best_first(&self, addresses: &HashSet<Address>) -> Vec<Arc<Broker>> {
        let mut brokers: Vec<Arc<Broker>> = addresses.iter().map(|address| self.at(address)).collect();
        brokers.sort_by_cached_key(|broker| (broker.has_failed(), !broker.is_connected()));
        brokers
    }

    /// How many brokers are known, by state.
    pub(crate) fn states(&self) -> BrokerStates {
        let mut states = BrokerStates::default();
        for broker in self.by_address.lock().values() {
            let count = match broker {
                broker if broker.has_connection() => &mut states.connected,
                broker if broker.has_recently_failed() => &mut states.failed,
                _ => &mut states.idle,
            };
            *count = count.saturating_add(1);
        }
        states
    }

    /// The broker at an address.
    pub(crate) fn at(&self, address: &Address) -> Arc<Broker> {
        let mut brokers = self.by_address.lock();
        let broker = brokers
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Broker::new(address.clone(), Arc::clone(&self.config))));
        Arc::clone(broker)
    }
}

/// The sorted names of readable topics other than Kafka's internal ones.
fn names(answer: MetadataAnswer) -> Arc<[String]> {
    let is_listed = |topic: &TopicAnswer| topic.error.is_none() && !topic.internal;
    let mut names: Vec<String> =
        answer.topics.into_iter().filter(is_listed).map(|topic| topic.name).collect();
    names.sort_unstable();
    names.into()
}

/// The error for metadata without the requested topic.
fn incomplete(broker: &Broker) -> ConnectionError {
    ConnectionError::Protocol {
        address: broker.address().to_string(),
        what: "metadata without the requested topic".to_owned(),
    }
}

/// Requests metadata. A broker that has just started can have none: that says nothing about the cluster.
async fn metadata(
    broker: &Arc<Broker>,
    request: &MetadataRequest,
) -> Result<MetadataAnswer, ConnectionError> {
    let answer = broker.call(request).await?;
    if answer.brokers.is_empty() {
        return Err(ConnectionError::Starting { address: broker.address().to_string() });
    }
    Ok(answer)
}

/// Topics of one request besides the caller's own.
const MAX_NAMES: usize = 500;

/// Pending topics. A caller beyond this bound requests its topic when it is its turn.
const MAX_PENDING: usize = 10_000;

/// The time between a metadata response and the next request.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

/// The same if the cached metadata is known to be wrong.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The same for the list of all topics, which can be large.
const LISTING_INTERVAL: Duration = Duration::from_millis(100);

/// The time for one broker to answer before another one is called as well.
const HEAD_START: Duration = Duration::from_millis(250);

/// Failed brokers that are no longer part of the metadata.
const MAX_AWAITED: usize = 100;

/// Concurrent calls of one metadata request.
const MAX_CALLS: usize = 16;
