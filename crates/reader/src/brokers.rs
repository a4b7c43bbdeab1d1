//! The brokers of a cluster and its metadata, which one caller requests on behalf of all.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::Version;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::address::Address;
use crate::api::{MetadataAnswer, MetadataRequest, TopicAnswer};
use crate::attempt::Role;
use crate::batches::Batches;
use crate::broker::Broker;
use crate::broker_failures::BrokerFailures;
use crate::config::Config;
use crate::error::{ConnectionError, ReadError};
use crate::metadata_cache::{
    ClusterMembers, Freshness, LastLeader, Leader, MetadataCache, Topic, topic_error,
};
use crate::observer::BrokerStates;
use crate::topic_partition::TopicPartition;

/// A cluster's brokers and metadata.
pub(crate) struct Brokers {
    config: Arc<Config>,
    /// Brokers of the configuration, of the last metadata, and at most [`MAX_AWAITED`] others that failed.
    by_address: Mutex<BTreeMap<Address, Arc<Broker>>>,
    metadata: Mutex<MetadataCache>,
    /// The topics of the next request, or `None` for the brokers alone.
    lookups: Arc<Batches<Option<String>, Option<ReadError>>>,
    /// Itself, for requests that outlive their callers.
    this: Weak<Self>,
    /// When the last request was answered.
    refreshed: Mutex<Option<Instant>>,
    /// Whether leaders redirect readers without a rack, as Kafka's own selector of replicas does not.
    redirects_all: AtomicBool,
    /// Locked during a request for all topics: its response can be large and must not delay other requests.
    listing: tokio::sync::Mutex<Listing>,
}

/// A partition, and when the metadata was requested that is known to be wrong about it.
pub(crate) type Wanted<'a> = (TopicPartition<'a>, Option<Instant>);

/// The result of a request for some topics.
struct Requested {
    /// The topics in the answer; `None` without an answer.
    topics: Option<HashSet<String>>,
    /// The error of the others.
    failure: ReadError,
}

impl Requested {
    fn failure(&self, name: &Option<String>) -> Option<ReadError> {
        let is_answered =
            self.topics.as_ref().is_some_and(|topics| name.as_ref().is_none_or(|name| topics.contains(name)));
        (!is_answered).then(|| self.failure.clone())
    }
}

/// The last request for all topics.
#[derive(Default)]
struct Listing {
    /// In order, and when they were requested.
    names: Option<(Instant, Arc<[String]>)>,
    answered: Option<Instant>,
    failure: Option<(Instant, ReadError)>,
}

impl Brokers {
    pub(crate) fn new(config: Arc<Config>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            config,
            by_address: Mutex::default(),
            metadata: Mutex::default(),
            lookups: Batches::new(MAX_LOOKUPS, |_, _| false),
            this: this.clone(),
            refreshed: Mutex::default(),
            redirects_all: AtomicBool::default(),
            listing: tokio::sync::Mutex::default(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The leader of a partition, as [`Brokers::leaders`].
    pub(crate) async fn leader(
        &self,
        source: ClientKey,
        target: TopicPartition<'_>,
        newer_than: Option<Instant>,
        deadline: Instant,
    ) -> Result<Leader, ReadError> {
        let leaders = self.leaders(source, &[(target, newer_than)], deadline).await;
        leaders.into_iter().next().unwrap_or_else(|| Err(self.unreachable(BrokerFailures::default())))
    }

    /// The leader of each partition, from metadata requested after an instant if one is given. Missing topics are never
    /// created.
    pub(crate) async fn leaders(
        &self,
        source: ClientKey,
        wanted: &[Wanted<'_>],
        deadline: Instant,
    ) -> Vec<Result<Leader, ReadError>> {
        let since = Instant::now();
        let known = |&(target, newer_than): &Wanted<'_>| self.known(target, since, newer_than);
        if wanted.iter().any(|wanted| wanted.1.is_some() && known(wanted).is_none()) {
            self.pause(RETRY_INTERVAL, Some(deadline)).await;
        }
        loop {
            let unknown = wanted.iter().filter(|wanted| known(wanted).is_none());
            let names: BTreeSet<&str> = unknown.map(|(target, _)| target.topic()).collect();
            let names = names.into_iter().map(|name| Some(name.to_owned()));
            let failures = self.refresh(source, names, deadline).await;
            let leader = |wanted: &Wanted<'_>| {
                let failure = || failures.get(&Some(wanted.0.topic().to_owned())).cloned().map(Err);
                known(wanted).or_else(failure)
            };
            // Without either, what was learned was evicted before it was looked at.
            if let Some(leaders) = wanted.iter().map(leader).collect() {
                return leaders;
            }
        }
    }

    /// The leader of a partition, if the metadata is fresh and names one.
    pub(crate) fn known_leader(&self, target: TopicPartition<'_>) -> Option<Leader> {
        self.known(target, Instant::now(), None)?.ok()
    }

    /// The version of a partition's log, if [`Brokers::known_leader`] names a leader.
    pub(crate) fn known_version(&self, target: TopicPartition<'_>) -> Option<Version> {
        let now = Instant::now();
        let freshness = Freshness { max_age: self.config.metadata_max_age, since: now, newer_than: None };
        self.metadata.lock().version(target, freshness, now)
    }

    /// The same, however old the metadata is. Without a leader, it has the topic's id only.
    pub(crate) fn last_version(&self, target: TopicPartition<'_>) -> Option<Version> {
        self.metadata.lock().last_version(target)
    }

    /// The leader of a partition in the last metadata about it, or the one before if it has none.
    pub(crate) fn last_leader(&self, target: TopicPartition<'_>) -> Option<LastLeader> {
        self.metadata.lock().last_leader(target)
    }

    /// The first partition with a leader in the last metadata about a topic.
    pub(crate) fn led_partition(&self, topic: &str) -> Option<i32> {
        self.metadata.lock().led_partition(topic)
    }

    /// The number of a topic's partitions in the last metadata about it.
    pub(crate) fn known_partitions(&self, topic: &str) -> usize {
        self.metadata.lock().partitions(topic)
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
        source: ClientKey,
        target: TopicPartition<'_>,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Arc<Topic>, ReadError> {
        let name = target.topic();
        let since = Instant::now();
        let known = || {
            let freshness = Freshness { max_age, since, newer_than: None };
            let known = self.metadata.lock().topic(name, freshness, Instant::now())?;
            Some(known.map_err(|code| topic_error(code, name)))
        };
        loop {
            if let Some(known) = known() {
                return known;
            }
            let failures = self.refresh(source, [Some(name.to_owned())], deadline).await;
            if let Some(failure) = failures.into_values().next() {
                return known().unwrap_or(Err(failure));
            }
        }
    }

    /// Refreshes the metadata of topics where it is older than this. After a failure it stays as it is.
    pub(crate) async fn refresh_topics(
        &self,
        source: ClientKey,
        names: impl IntoIterator<Item = &str>,
        max_age: Duration,
        deadline: Instant,
    ) {
        let now = Instant::now();
        let freshness = Freshness { max_age, since: now, newer_than: None };
        let is_old = |name: &&str| !self.metadata.lock().has_topic(name, freshness, now);
        let old: Vec<_> = names.into_iter().filter(is_old).map(|name| Some(name.to_owned())).collect();
        if !old.is_empty() {
            self.refresh(source, old, deadline).await;
        }
    }

    /// The names of all topics but Kafka's internal ones, in order, requested after the call. Waiting calls share one
    /// request.
    pub(crate) async fn topics(&self, deadline: Instant) -> Result<Arc<[String]>, ReadError> {
        let since = Instant::now();
        let listing = async {
            let mut last = self.listing.lock().await;
            if let Some((_, names)) = last.names.as_ref().filter(|(sent, _)| *sent >= since) {
                return Ok(Arc::clone(names));
            }
            if let Some((_, failure)) = last.failure.as_ref().filter(|(at, _)| *at > since) {
                return Err(failure.clone());
            }
            if let Some(next) = last.answered.and_then(|at| at.checked_add(LISTING_INTERVAL)) {
                sleep_until(next).await;
            }
            let sent = Instant::now();
            let answer = self.request_metadata(None).await;
            last.answered = Some(Instant::now());
            match answer {
                Ok((_, answer)) => {
                    let names = names(answer);
                    last.names = Some((sent, Arc::clone(&names)));
                    Ok(names)
                }
                Err(failure) => {
                    last.failure = Some((Instant::now(), failure.clone()));
                    Err(failure)
                }
            }
        };
        timeout_at(deadline, listing)
            .await
            .unwrap_or_else(|_| Err(self.unreachable(BrokerFailures::default())))
    }

    /// Stores the preferred replica of a partition, or with `None` that its preferred replica failed.
    pub(crate) fn prefer(&self, target: TopicPartition<'_>, replica: Option<i32>) {
        let mut metadata = self.metadata.lock();
        match replica {
            Some(node) => metadata.prefer(target, node, Instant::now()),
            None => metadata.prefer_leader(target, Instant::now()),
        }
    }

    /// The rack to send to a broker in this role, with which the leader can name a preferred replica. `None` if it must
    /// not: the request has no id of its topic then.
    pub(crate) fn rack(&self, role: Role) -> Option<StrBytes> {
        match role {
            Role::Leader | Role::Replica => Some(self.config.rack.clone()),
            Role::LeaderOnly if self.redirects_all.load(Ordering::Relaxed) => None,
            Role::LeaderOnly => Some(StrBytes::default()),
        }
    }

    /// A leader that was asked in this role has named a preferred replica.
    pub(crate) fn redirected(&self, target: TopicPartition<'_>, role: Role, node: i32) {
        match role {
            Role::LeaderOnly => self.redirects_all.store(true, Ordering::Relaxed),
            Role::Leader | Role::Replica => self.prefer(target, Some(node)),
        }
    }

    /// The brokers at their advertised addresses, from metadata of at most `max_age`; connected ones first.
    pub(crate) async fn advertised(
        &self,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<Vec<Arc<Broker>>, ReadError> {
        self.refresh_nodes(ClientKey::default(), max_age, deadline).await?;
        let nodes = self.metadata.lock().nodes();
        Ok(self.best_first(&nodes))
    }

    /// The id of the broker at an advertised address.
    pub(crate) fn node_id(&self, address: &Address) -> Option<i32> {
        self.metadata.lock().node_id(address)
    }

    /// The cluster's id and brokers, from metadata of at most `max_age`.
    pub(crate) async fn members(
        &self,
        source: ClientKey,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<ClusterMembers, ReadError> {
        self.refresh_nodes(source, max_age, deadline).await?;
        Ok(self.metadata.lock().members())
    }

    async fn refresh_nodes(
        &self,
        source: ClientKey,
        max_age: Duration,
        deadline: Instant,
    ) -> Result<(), ReadError> {
        let since = Instant::now();
        let fresh = |learned: Instant| learned >= since || learned.elapsed() < max_age;
        let is_known = || self.metadata.lock().learned().is_some_and(fresh);
        if !is_known()
            && let Some(failure) = self.refresh(source, [None], deadline).await.into_values().next()
        {
            return Err(failure);
        }
        Ok(())
    }

    /// The error if no broker could be reached.
    pub(crate) fn unreachable(&self, failures: BrokerFailures) -> ReadError {
        failures.unreachable(&self.config)
    }

    /// Requests metadata of some topics, or of the brokers alone, together with all that other callers wait for. Gives
    /// the failures.
    ///
    /// Any number of callers thus costs the cluster 50 requests a second for new or missing topics ([`MIN_INTERVAL`]),
    /// and 10 for missing leaders ([`RETRY_INTERVAL`]). Those that find the request under way wait for the next.
    async fn refresh(
        &self,
        source: ClientKey,
        names: impl IntoIterator<Item = Option<String>>,
        deadline: Instant,
    ) -> BTreeMap<Option<String>, ReadError> {
        let this = self.this.clone();
        let send = move |names| {
            let this = this.upgrade();
            async move {
                let requested = match this {
                    Some(this) => Some(this.request_topics(names).await),
                    None => None,
                };
                // Without brokers, there are no callers.
                move |name: &Option<String>| requested.as_ref().and_then(|requested| requested.failure(name))
            }
        };
        let names: Vec<Option<String>> = names.into_iter().collect();
        let mut asked = Vec::with_capacity(names.len());
        let is_late =
            timeout_at(deadline, self.lookups.ask(source, names.clone(), send, &mut asked)).await.is_err();
        let mut asked: BTreeMap<Option<String>, Option<ReadError>> = asked.into_iter().collect();
        if is_late {
            for name in names {
                asked.entry(name).or_insert_with(|| Some(self.unreachable(BrokerFailures::default())));
            }
        }
        asked.into_iter().filter_map(|(name, failure)| Some((name, failure?))).collect()
    }

    async fn request_topics(&self, names: Vec<Option<String>>) -> Requested {
        self.pause(MIN_INTERVAL, None).await;
        let sent = Instant::now();
        let answer = self.request_metadata(Some(names.into_iter().flatten().collect())).await;
        *self.refreshed.lock() = Some(Instant::now());
        let (broker, answer) = match answer {
            Ok(answered) => answered,
            Err(failure) => return Requested { topics: None, failure },
        };
        let topics = answer.topics.iter().map(|topic| topic.name.clone()).collect();
        self.update(answer, sent);
        Requested { topics: Some(topics), failure: self.unreachable(BrokerFailures::of(incomplete(&broker))) }
    }

    /// Waits until this long after the last answer, at most until `deadline`.
    async fn pause(&self, interval: Duration, deadline: Option<Instant>) {
        let last = *self.refreshed.lock();
        if let Some(next) = last.and_then(|at| at.checked_add(interval)) {
            sleep_until(deadline.map_or(next, |deadline| next.min(deadline))).await;
        }
    }

    async fn request_metadata(
        &self,
        topics: Option<Vec<String>>,
    ) -> Result<(Arc<Broker>, MetadataAnswer), ReadError> {
        let request = Arc::new(MetadataRequest { topics });
        self.call_any(|broker| {
            let request = Arc::clone(&request);
            async move {
                let answer = metadata(&broker, &request).await?;
                Ok((broker, answer))
            }
        })
        .await
    }

    /// Calls one broker, and another one each time [`HEAD_START`] passes or a broker fails. Gives the first answer, so a
    /// broker that is down or silent delays it only by the head start. Once all brokers are late, each is tried again:
    /// the request may wait behind a slow one.
    pub(crate) async fn call_any<T, F>(&self, call: impl Fn(Arc<Broker>) -> F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ConnectionError>> + Send + 'static,
    {
        let mut candidates = self.metadata.lock().nodes();
        candidates.extend(self.config.bootstrap.iter().cloned());
        let candidates = self.best_first(&candidates);
        let (mut second_tries, mut candidates) = (candidates.clone().into_iter(), candidates.into_iter());
        let mut are_late = false;

        let mut calls = JoinSet::new();
        let mut failures = BrokerFailures::default();
        loop {
            if calls.len() < MAX_CALLS
                && let Some(broker) =
                    candidates.next().or_else(|| if are_late { second_tries.next() } else { None })
            {
                are_late = false;
                calls.spawn(call(broker));
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

    /// Connected brokers first, failed ones last; among equals by chance, so that no broker has the requests of all
    /// bridges.
    fn best_first(&self, addresses: &BTreeSet<Address>) -> Vec<Arc<Broker>> {
        let mut brokers: Vec<Arc<Broker>> = addresses.iter().map(|address| self.at(address)).collect();
        fastrand::shuffle(&mut brokers);
        brokers.sort_by_cached_key(|broker| (broker.has_failed(), !broker.is_connected()));
        brokers
    }

    /// The number of known brokers, by state.
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

/// Topics in one request, for all callers: half a megabyte of the longest names.
const MAX_LOOKUPS: usize = 2000;

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
