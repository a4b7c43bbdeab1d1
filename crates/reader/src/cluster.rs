//! A cluster: its brokers, and its metadata, asked for by one caller on behalf of all.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::address::Address;
use crate::api::{MetadataAnswer, MetadataRequest, TopicAnswer};
use crate::broker::Broker;
use crate::config::Config;
use crate::lock::Lock;
use crate::target::Target;
use crate::topic::Topic;
use crate::view::{Freshness, Leader, View};
use crate::{ConnectionError, ReadError};

/// The brokers and what they said about topics.
pub(crate) struct Cluster {
    config: Arc<Config>,
    /// Those of the configuration, those of the last metadata, and at most [`MAX_AWAITED`] others that failed.
    brokers: Lock<HashMap<Address, Arc<Broker>>>,
    view: Lock<View>,
    /// The topics that the next questions are about; at most [`MAX_WANTED`].
    wanted: Lock<BTreeSet<String>>,
    /// Held while the cluster is being asked.
    asking: tokio::sync::Mutex<LastQuestion>,
    /// The names of all topics, in order, and when they were asked for.
    listed: Lock<Option<(Instant, Arc<[String]>)>>,
    /// Held while the cluster is being asked for them: an answer that may be large delays no other question.
    listing: tokio::sync::Mutex<LastQuestion>,
}

#[derive(Default)]
struct LastQuestion {
    /// When it was answered.
    at: Option<Instant>,
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
            listed: Lock::default(),
            listing: tokio::sync::Mutex::default(),
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
    ) -> Result<Leader, ReadError> {
        let since = Instant::now();
        let known = || {
            let freshness = Freshness { max_age: self.config.metadata_max_age, since, after };
            self.view.lock().leader(target, freshness, Instant::now())
        };
        match known() {
            Some(known) => known,
            None => {
                self.want(target.topic());
                let pace = if after.is_some() { RETRY_PACE } else { PACE };
                self.ask(Some(target.topic()), since, pace, deadline, known).await
            }
        }
    }

    /// A topic's partitions, as of at most [`DESCRIPTION_AGE`] ago. A topic that is missing is never created.
    pub(crate) async fn topic(&self, target: Target<'_>, deadline: Instant) -> Result<Topic, ReadError> {
        let name = target.topic();
        let since = Instant::now();
        let known = || {
            let freshness = Freshness { max_age: DESCRIPTION_AGE, since, after: None };
            let known = self.view.lock().topic(name, freshness, Instant::now())?;
            Some(known.map_err(|code| ReadError::Broker { code, detail: format!("topic {name}") }))
        };
        match known() {
            Some(known) => known,
            None => {
                self.want(name);
                self.ask(Some(name), since, PACE, deadline, known).await
            }
        }
    }

    /// The names of all topics that are not Kafka's own, in order, as of after the call. Calls that wait share one question.
    pub(crate) async fn topics(&self, deadline: Instant) -> Result<Arc<[String]>, ReadError> {
        let since = Instant::now();
        let known = || {
            let (listed, names) = self.listed.lock().clone()?;
            (listed >= since).then_some(Ok(names))
        };
        match known() {
            Some(known) => known,
            None => {
                let question = async {
                    let asked = Instant::now();
                    let (broker, answer) = self.ask_any(None).await?;
                    *self.listed.lock() = Some((asked, names(answer)));
                    Ok(broker)
                };
                self.in_turn(&self.listing, since, LISTING_PACE, deadline, known, question).await
            }
        }
    }

    /// Notes that the leader sends its readers to another replica.
    pub(crate) fn prefer(&self, target: Target<'_>, node: i32) {
        self.view.lock().prefer(target, node, Instant::now());
    }

    /// Notes that the nearer replica could not answer.
    pub(crate) fn prefer_leader(&self, target: Target<'_>) {
        self.view.lock().prefer_leader(target, Instant::now());
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
            None => self.ask(None, since, PACE, deadline, known).await?,
        }
        let nodes = self.view.lock().nodes();
        Ok(self.best_first(&nodes))
    }

    /// That none of the brokers could be asked; no failure where the time ran out before any broker gave one.
    pub(crate) fn unreachable(&self, failures: Failures) -> ReadError {
        failures.of_all(&self.config)
    }

    fn want(&self, topic: &str) {
        let mut wanted = self.wanted.lock();
        if wanted.len() < MAX_WANTED {
            wanted.insert(topic.to_owned());
        }
    }

    /// Asks for what others wait for and for `topic`, unless `known` makes an answer of what is known then.
    ///
    /// One question is for many topics at once. So callers cost the cluster, however many they are, 50 questions a second
    /// if they ask for new or missing topics ([`PACE`]), and 10 if they look for missing leaders ([`RETRY_PACE`]).
    async fn ask<T>(
        &self,
        topic: Option<&str>,
        since: Instant,
        pace: Duration,
        deadline: Instant,
        known: impl Fn() -> Option<Result<T, ReadError>>,
    ) -> Result<T, ReadError> {
        let question = async {
            let names = self.next_names(topic);
            let learned = Instant::now();
            let (broker, answer) = self.ask_any(Some(names)).await?;
            self.learn(answer, learned);
            Ok(broker)
        };
        self.in_turn(&self.asking, since, pace, deadline, known, question).await
    }

    /// Waits for the turn to ask, puts the `question` unless another caller's has brought the answer meanwhile, and gives
    /// what `known` makes of it. One question at a time, and not more often than `pace` allows.
    async fn in_turn<T>(
        &self,
        turns: &tokio::sync::Mutex<LastQuestion>,
        since: Instant,
        pace: Duration,
        deadline: Instant,
        known: impl Fn() -> Option<Result<T, ReadError>>,
        question: impl Future<Output = Result<Arc<Broker>, ReadError>>,
    ) -> Result<T, ReadError> {
        let asked = timeout_at(deadline, async {
            let mut last = turns.lock().await;
            if let Some(known) = known() {
                return known;
            }
            if let Some((_, failure)) = last.failure.as_ref().filter(|(at, _)| *at > since) {
                return Err(failure.clone());
            }
            if let Some(next) = last.at.and_then(|at| at.checked_add(pace)) {
                sleep_until(next).await;
            }
            let answered = question.await;
            last.at = Some(Instant::now());
            match answered {
                Ok(broker) => {
                    last.failure = None;
                    known().unwrap_or_else(|| Err(self.unreachable(Failures::of(incomplete(&broker)))))
                }
                Err(failure) => {
                    last.failure = Some((Instant::now(), failure.clone()));
                    Err(failure)
                }
            }
        });
        asked.await.unwrap_or_else(|_| Err(self.unreachable(Failures::default())))
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

    /// Asks one broker, another one besides whenever [`HEAD_START`] has passed without an answer or one has failed, and
    /// gives the first answer and who gave it: a broker that is down or silent delays it by no more than that. Each is asked
    /// once more where all are late, since the question may wait behind a request that takes long.
    async fn ask_any(&self, topics: Option<Vec<String>>) -> Result<(Arc<Broker>, MetadataAnswer), ReadError> {
        let mut candidates = self.view.lock().nodes();
        candidates.extend(self.config.bootstrap.iter().cloned());
        let candidates = self.best_first(&candidates);
        let (mut again, mut candidates) = (candidates.clone().into_iter(), candidates.into_iter());
        let mut late = false;
        let request = Arc::new(MetadataRequest { topics });

        let mut asked = JoinSet::new();
        let mut failures = Failures::default();
        loop {
            if asked.len() < MAX_ASKED
                && let Some(broker) = candidates.next().or_else(|| if late { again.next() } else { None })
            {
                late = false;
                let request = Arc::clone(&request);
                asked.spawn(async move {
                    let answer = metadata(&broker, &request).await?;
                    Ok((broker, answer))
                });
            }
            match timeout(HEAD_START, asked.join_next()).await {
                Ok(Some(Ok(Ok(answer)))) => return Ok(answer),
                Ok(Some(Ok(Err(failure)))) => failures.add(failure),
                Ok(None) => return Err(self.unreachable(failures)),
                Ok(Some(Err(_))) => {}
                Err(_) => late = true,
            }
        }
    }

    fn learn(&self, answer: MetadataAnswer, learned: Instant) {
        let nodes = {
            let mut view = self.view.lock();
            view.learn(answer, learned);
            view.nodes()
        };
        let bootstrap = &self.config.bootstrap;
        let mut awaited = 0_usize;
        self.brokers.lock().retain(|address, broker| {
            if nodes.contains(address) || bootstrap.contains(address) {
                return true;
            }
            // A broker that is down is not part of the metadata. Its recovery is logged once it is back.
            awaited = awaited.saturating_add(usize::from(broker.is_awaited()));
            broker.is_awaited() && awaited <= MAX_AWAITED
        });
    }

    /// The connected ones first, those that failed when they were last tried last, in no order otherwise.
    fn best_first(&self, addresses: &HashSet<Address>) -> Vec<Arc<Broker>> {
        let mut brokers: Vec<Arc<Broker>> = addresses.iter().map(|address| self.broker(address)).collect();
        brokers.sort_by_cached_key(|broker| (broker.has_failed(), !broker.is_connected()));
        brokers
    }

    pub(crate) fn broker(&self, address: &Address) -> Arc<Broker> {
        let mut brokers = self.brokers.lock();
        let broker = brokers
            .entry(address.clone())
            .or_insert_with(|| Arc::new(Broker::new(address.clone(), Arc::clone(&self.config))));
        Arc::clone(broker)
    }
}

/// The names of topics that are there and not Kafka's own, in order.
fn names(answer: MetadataAnswer) -> Arc<[String]> {
    let is_listed = |topic: &TopicAnswer| topic.error.is_none() && !topic.internal;
    let mut names: Vec<String> =
        answer.topics.into_iter().filter(is_listed).map(|topic| topic.name).collect();
    names.sort_unstable();
    names.into()
}

/// Why several brokers could not be asked, none where there was no time for one to fail.
#[derive(Default)]
pub(crate) struct Failures {
    /// It is told: one that will pass for sure is worth another try, and one that needs a person says more than one that
    /// may pass.
    heaviest: Option<ConnectionError>,
    /// Whether one of them may pass: that the others need a person does not keep its broker from coming back.
    retriable: bool,
}

impl Failures {
    fn of(failure: ConnectionError) -> Self {
        let mut failures = Self::default();
        failures.add(failure);
        failures
    }

    /// As of all brokers of a cluster.
    pub(crate) fn of_all(self, config: &Config) -> ReadError {
        let retriable = self.retriable || self.heaviest.is_none();
        let cause = self.heaviest.unwrap_or_else(|| ConnectionError::Silent {
            address: config.bootstrap.first().map(ToString::to_string).unwrap_or_default(),
            after: config.request_timeout,
        });
        let servers: Vec<String> = config.bootstrap.iter().map(ToString::to_string).collect();
        ReadError::Unreachable { brokers: servers.join(","), cause, retriable }
    }

    pub(crate) fn add(&mut self, failure: ConnectionError) {
        self.retriable |= failure.retriable();
        let heavier = match (&self.heaviest, &failure) {
            (None, _) => true,
            // The next try is made when the first of them may be asked again.
            (
                Some(ConnectionError::Throttled { left: known, .. }),
                ConnectionError::Throttled { left, .. },
            ) => left < known,
            (Some(known), failure) => weight(known) <= weight(failure),
        };
        if heavier {
            self.heaviest = Some(failure);
        }
    }
}

fn weight(failure: &ConnectionError) -> u8 {
    match failure {
        failure if failure.passes() => 2,
        failure if !failure.retriable() => 1,
        _ => 0,
    }
}

/// The cause where metadata came without what it was asked for.
fn incomplete(broker: &Broker) -> ConnectionError {
    ConnectionError::Protocol {
        address: broker.address().to_string(),
        what: "metadata without the topic that was asked for".to_owned(),
    }
}

/// A broker that has just started may know nothing yet: that is no news of the cluster.
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

/// Topics that one question is about, besides that of its caller.
const MAX_NAMES: usize = 500;

/// Topics that are waited for. A caller beyond them asks for its own when its turn comes.
const MAX_WANTED: usize = 10_000;

/// The time between a broker's answer about metadata and the next question.
const PACE: Duration = Duration::from_millis(20);

/// As [`PACE`], where what was answered is known to be wrong.
const RETRY_PACE: Duration = Duration::from_millis(100);

/// As [`PACE`], for the list of all topics, which may be large.
const LISTING_PACE: Duration = Duration::from_millis(100);

/// How long a description of a topic answers without the cluster being asked again.
const DESCRIPTION_AGE: Duration = Duration::from_secs(1);

/// How long a broker is asked before another one is asked besides.
const HEAD_START: Duration = Duration::from_millis(250);

/// Brokers that failed and are no longer part of the cluster.
const MAX_AWAITED: usize = 100;

/// Brokers that are asked at the same time.
const MAX_ASKED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(seconds: u64) -> ConnectionError {
        ConnectionError::Throttled { address: "a:1".to_owned(), left: Duration::from_secs(seconds) }
    }

    fn starting() -> ConnectionError {
        ConnectionError::Starting { address: "a:1".to_owned() }
    }

    fn refused() -> ConnectionError {
        ConnectionError::Authentication {
            address: "a:1".to_owned(),
            what: "wrong".to_owned(),
            retriable: false,
        }
    }

    fn silent() -> ConnectionError {
        ConnectionError::Silent { address: "a:1".to_owned(), after: Duration::from_secs(1) }
    }

    /// In both orders: which failure is told, and whether another try may help.
    #[track_caller]
    fn check(two: [ConnectionError; 2], told: &ConnectionError, retriable: bool) {
        let [one, other] = two;
        for order in [[one.clone(), other.clone()], [other, one]] {
            let mut failures = Failures::default();
            order.into_iter().for_each(|failure| failures.add(failure));
            assert_eq!(failures.heaviest.map(|failure| failure.to_string()), Some(told.to_string()));
            assert_eq!(failures.retriable, retriable);
        }
    }

    #[test]
    fn of_several_failures_the_one_that_says_most_is_told_and_any_may_pass() {
        check([refused(), silent()], &refused(), true);
        check([refused(), refused()], &refused(), false);
        check([silent(), starting()], &starting(), true);
        check([refused(), throttled(1)], &throttled(1), true);
    }

    #[test]
    fn of_several_brokers_that_throttle_the_first_to_be_asked_again_is_told() {
        check([throttled(1), throttled(9)], &throttled(1), true);
    }
}
