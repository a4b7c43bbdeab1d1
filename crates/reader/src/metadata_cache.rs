//! Cached metadata of a cluster: its brokers, and the leaders of requested topics.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use sluicegate_shared_log::Version;
use tokio::time::Instant;

use crate::address::Address;
use crate::api::{MetadataAnswer, PartitionAnswer, Replica, TopicAnswer};
use crate::error::{ErrorCode, ReadError};
use crate::topic_partition::TopicPartition;

/// A topic's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Distinguishes it from others of the same name; `None` if the cluster does not tell (before Kafka 2.8).
    pub id: Option<u128>,
    /// Sorted by number.
    pub partitions: Vec<Partition>,
}

/// A partition and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The id of the leader; `None` if there is no leader at the moment.
    pub leader: Option<i32>,
    /// In the order of the cluster's metadata: the preferred leader first.
    pub replicas: Box<[Replica]>,
}

/// A cluster as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMembers {
    /// Kafka's own id of the cluster; `None` if it does not tell.
    pub id: Option<String>,
    /// The ids of the brokers that are there, sorted.
    pub brokers: Vec<i32>,
}

/// A cache without a clock: callers pass the current time.
#[derive(Debug, Default)]
pub(crate) struct MetadataCache {
    cluster_id: Option<String>,
    nodes: HashMap<i32, Address>,
    /// When the nodes were requested.
    learned: Option<Instant>,
    /// At most [`MAX_TOPICS`].
    topics: HashMap<String, CachedTopic>,
    /// Errors of topics that cannot be read. At most [`MAX_ERRORS`], kept apart so that invalid names evict no real
    /// topic.
    errors: HashMap<String, (Instant, ErrorCode)>,
}

/// The leader of a partition, and the replica to fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) address: Address,
    pub(crate) epoch: i32,
    pub(crate) topic_id: Option<u128>,
    pub(crate) replica: ReadReplica,
    /// When the metadata was requested.
    pub(crate) learned: Instant,
}

/// The leader of a partition as last known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastLeader {
    /// Whether it leads the partition now.
    pub is_led: bool,
    /// The partition's epoch, which begins anew with each leader, and when there is none. `None`: unknown.
    pub epoch: Option<i32>,
}

/// The replica to fetch from (KIP-392).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadReplica {
    /// The leader, which can name a preferred replica.
    Leader,
    /// The leader, because its preferred replica failed.
    LeaderOnly,
    /// The replica that the leader has named.
    Preferred(Address),
}

#[derive(Debug)]
struct CachedTopic {
    learned: Instant,
    id: Option<u128>,
    partitions: HashMap<i32, CachedPartition>,
    /// The value that a caller has got, as long as one keeps it.
    description: Weak<Topic>,
}

#[derive(Debug)]
struct CachedPartition {
    answer: PartitionAnswer,
    /// Dropped when the topic is refreshed, at the latest after `metadata.max.age.ms`.
    preferred: Option<PreferredReplica>,
}

#[derive(Debug, Clone, Copy)]
enum PreferredReplica {
    Node(i32),
    FailedAt(Instant),
}

impl CachedTopic {
    /// The description of the topic: the same value again, as long as a caller keeps it.
    fn description(&mut self) -> Arc<Topic> {
        if let Some(description) = self.description.upgrade() {
            return description;
        }
        let partition = |CachedPartition { answer, .. }: &CachedPartition| Partition {
            partition: answer.partition,
            leader: Some(answer.leader).filter(|leader| *leader >= 0),
            replicas: answer.replicas.clone(),
        };
        let mut partitions: Vec<_> = self.partitions.values().map(partition).collect();
        partitions.sort_unstable_by_key(|partition| partition.partition);
        let description = Arc::new(Topic { id: self.id, partitions });
        self.description = Arc::downgrade(&description);
        description
    }

    /// Whether a preferred replica failed long enough ago for the leader to name it again. The metadata must be
    /// refreshed first: it can be from a time when the replica was gone.
    fn can_retry_preferred(&self, target: TopicPartition<'_>, now: Instant) -> bool {
        match self.partitions.get(&target.partition()).and_then(|partition| partition.preferred) {
            Some(PreferredReplica::FailedAt(at)) => now.saturating_duration_since(at) >= LEADER_ONLY,
            Some(PreferredReplica::Node(_)) | None => false,
        }
    }
}

/// The required freshness of metadata.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// The age at which it is refreshed.
    pub(crate) max_age: Duration,
    /// Metadata requested since then is fresh at any age.
    pub(crate) since: Instant,
    /// Metadata requested then or before is known to be wrong.
    pub(crate) newer_than: Option<Instant>,
}

impl Freshness {
    /// Whether metadata requested at `learned` is fresh, given its maximum age.
    fn covers(&self, learned: Instant, max_age: Duration, now: Instant) -> bool {
        (learned >= self.since || now.saturating_duration_since(learned) < max_age)
            && self.newer_than.is_none_or(|instant| learned > instant)
    }
}

impl MetadataCache {
    /// Stores the response to a request sent at `learned`.
    pub(crate) fn update(&mut self, answer: MetadataAnswer, learned: Instant) {
        // Requests can be answered in another order than they were sent.
        if self.learned.is_none_or(|newest| newest <= learned) {
            self.cluster_id = answer.cluster_id;
            self.nodes = answer.brokers.into_iter().filter_map(node).collect();
            self.learned = Some(learned);
        }
        for topic in answer.topics {
            let known = self.topics.get(&topic.name).map(|known| known.learned);
            let known = known.max(self.errors.get(&topic.name).map(|(at, _)| *at));
            if known.is_none_or(|known| known <= learned) {
                self.update_topic(topic, learned);
            }
        }
    }

    /// The leader, or why there is none; `None` if the metadata must be refreshed.
    pub(crate) fn leader(
        &self,
        target: TopicPartition<'_>,
        freshness: Freshness,
        now: Instant,
    ) -> Option<Result<Leader, ReadError>> {
        let fresh = |learned, max_age| freshness.covers(learned, max_age, now);
        if let Some(topic) = self.topics.get(target.topic()) {
            return match self.leader_in(topic, target) {
                Ok(leader) => (fresh(topic.learned, freshness.max_age)
                    && !topic.can_retry_preferred(target, now))
                .then_some(Ok(leader)),
                Err(code) => {
                    let age = error_age(code).min(freshness.max_age);
                    fresh(topic.learned, age).then(|| Err(partition_error(code, target)))
                }
            };
        }
        let (learned, code) = self.errors.get(target.topic())?;
        fresh(*learned, error_age(*code)).then(|| Err(topic_error(*code, target.topic())))
    }

    /// The version of a log whose leader is known, if the metadata is fresh. As [`MetadataCache::leader`], for what
    /// asks often.
    pub(crate) fn version(
        &self,
        target: TopicPartition<'_>,
        freshness: Freshness,
        now: Instant,
    ) -> Option<Version> {
        let topic = self.topics.get(target.topic())?;
        let is_fresh = freshness.covers(topic.learned, freshness.max_age, now)
            && !topic.can_retry_preferred(target, now);
        is_fresh.then(|| self.version_in(topic, target)).flatten()
    }

    /// The version of a log, however old the metadata is. Without a leader, it has no epoch: the topic can have been
    /// created again with fewer partitions.
    pub(crate) fn last_version(&self, target: TopicPartition<'_>) -> Option<Version> {
        let topic = self.topics.get(target.topic())?;
        let without_leader = Version { topic_id: topic.id, leader_epoch: None };
        Some(self.version_in(topic, target).unwrap_or(without_leader))
    }

    pub(crate) fn last_leader(&self, target: TopicPartition<'_>) -> Option<LastLeader> {
        let CachedPartition { answer, .. } =
            self.topics.get(target.topic())?.partitions.get(&target.partition())?;
        let epoch = Some(answer.epoch).filter(|epoch| *epoch >= 0);
        Some(LastLeader { is_led: self.nodes.contains_key(&answer.leader), epoch })
    }

    pub(crate) fn led_partition(&self, topic: &str) -> Option<i32> {
        let partitions = self.topics.get(topic)?.partitions.iter();
        let led = partitions.filter(|(_, partition)| self.nodes.contains_key(&partition.answer.leader));
        led.map(|(number, _)| *number).min()
    }

    /// `None` without a leader.
    fn version_in(&self, topic: &CachedTopic, target: TopicPartition<'_>) -> Option<Version> {
        let CachedPartition { answer, .. } = topic.partitions.get(&target.partition())?;
        let has_leader = self.nodes.contains_key(&answer.leader);
        has_leader.then(|| log_version(topic.id, answer.epoch))
    }

    /// A topic's partitions, or its error; `None` if the metadata must be refreshed.
    pub(crate) fn topic(
        &mut self,
        name: &str,
        freshness: Freshness,
        now: Instant,
    ) -> Option<Result<Arc<Topic>, ErrorCode>> {
        match self.fresh(name, freshness, now)? {
            Ok(()) => self.topics.get_mut(name).map(|topic| Ok(topic.description())),
            Err(code) => Some(Err(code)),
        }
    }

    /// Whether a topic is known, or known to be missing, without its description: that costs as much as it has
    /// partitions.
    pub(crate) fn has_topic(&self, name: &str, freshness: Freshness, now: Instant) -> bool {
        self.fresh(name, freshness, now).is_some()
    }

    fn fresh(&self, name: &str, freshness: Freshness, now: Instant) -> Option<Result<(), ErrorCode>> {
        if let Some(topic) = self.topics.get(name) {
            return freshness.covers(topic.learned, freshness.max_age, now).then_some(Ok(()));
        }
        let (learned, code) = self.errors.get(name)?;
        freshness.covers(*learned, error_age(*code), now).then_some(Err(*code))
    }

    /// The number of a topic's partitions; 0 if it is not known.
    pub(crate) fn partitions(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.partitions.len())
    }

    /// When the brokers were last requested.
    pub(crate) fn learned(&self) -> Option<Instant> {
        self.learned
    }

    pub(crate) fn members(&self) -> ClusterMembers {
        let mut brokers: Vec<i32> = self.nodes.keys().copied().collect();
        brokers.sort_unstable();
        ClusterMembers { id: self.cluster_id.clone(), brokers }
    }

    pub(crate) fn node_id(&self, address: &Address) -> Option<i32> {
        self.nodes.iter().find(|(_, of)| *of == address).map(|(id, _)| *id)
    }

    pub(crate) fn nodes(&self) -> BTreeSet<Address> {
        self.nodes.values().cloned().collect()
    }

    /// Stores the node that the leader has named as its preferred replica.
    pub(crate) fn prefer(&mut self, target: TopicPartition<'_>, node: i32, now: Instant) {
        let known = self.nodes.contains_key(&node);
        if let Some(partition) = self.partition_mut(target) {
            let usable = known && node != partition.answer.leader;
            partition.preferred =
                Some(if usable { PreferredReplica::Node(node) } else { PreferredReplica::FailedAt(now) });
        }
    }

    /// Stores a failure of the preferred replica: only the leader is read from for [`LEADER_ONLY`].
    pub(crate) fn prefer_leader(&mut self, target: TopicPartition<'_>, now: Instant) {
        if let Some(partition) = self.partition_mut(target) {
            partition.preferred = Some(PreferredReplica::FailedAt(now));
        }
    }

    fn partition_mut(&mut self, target: TopicPartition<'_>) -> Option<&mut CachedPartition> {
        self.topics.get_mut(target.topic())?.partitions.get_mut(&target.partition())
    }

    fn leader_in(&self, topic: &CachedTopic, target: TopicPartition<'_>) -> Result<Leader, ErrorCode> {
        let Some(CachedPartition { answer, preferred }) = topic.partitions.get(&target.partition()) else {
            return Err(ErrorCode(ResponseError::UnknownTopicOrPartition));
        };
        // A partition with a leader can be read: its error concerns followers only.
        let Some(address) = self.nodes.get(&answer.leader) else {
            return Err(answer.error.unwrap_or(ErrorCode(ResponseError::LeaderNotAvailable)));
        };
        let replica = match preferred {
            Some(PreferredReplica::Node(node)) => self.nodes.get(node).cloned().map(ReadReplica::Preferred),
            Some(PreferredReplica::FailedAt(_)) => Some(ReadReplica::LeaderOnly),
            None => None,
        };
        Ok(Leader {
            address: address.clone(),
            epoch: answer.epoch,
            topic_id: topic.id,
            replica: replica.unwrap_or(ReadReplica::Leader),
            learned: topic.learned,
        })
    }

    fn update_topic(&mut self, topic: TopicAnswer, learned: Instant) {
        if let Some(code) = topic.error {
            self.topics.remove(&topic.name);
            // Callers may not have looked at those of this answer yet.
            if self.errors.len() >= MAX_ERRORS {
                self.errors.retain(|_, (at, _)| *at >= learned);
            }
            if self.errors.len() >= MAX_ERRORS {
                self.errors.clear();
            }
            self.errors.insert(topic.name, (learned, code));
            return;
        }
        self.errors.remove(&topic.name);
        if self.topics.len() >= MAX_TOPICS && !self.topics.contains_key(&topic.name) {
            self.evict();
        }
        let known = self.topics.get(&topic.name).filter(|known| known.id.is_some() && known.id == topic.id);
        let partition = |answer: PartitionAnswer| {
            // KIP-320: epochs only grow as long as the topic is the same. A broker that is cut off from the controller
            // answers with old metadata; −1 means an unknown epoch.
            let newer = known
                .and_then(|known| known.partitions.get(&answer.partition))
                .filter(|known| answer.epoch >= 0 && known.answer.epoch > answer.epoch);
            let answer = newer.map_or(answer, |newer| newer.answer.clone());
            (answer.partition, CachedPartition { answer, preferred: None })
        };
        let partitions = topic.partitions.into_iter().map(partition).collect();
        let cached = CachedTopic { learned, id: topic.id, partitions, description: Weak::new() };
        self.topics.insert(topic.name, cached);
    }

    /// Forgets [`EVICTED`] topics, so that few insertions look at all.
    fn evict(&mut self) {
        let mut by_age: Vec<_> = self.topics.iter().map(|(name, topic)| (topic.learned, name)).collect();
        by_age.sort_unstable();
        let oldest: Vec<_> = by_age.into_iter().take(EVICTED).map(|(_, name)| name.clone()).collect();
        for name in oldest {
            self.topics.remove(&name);
        }
    }
}

/// The version of a log; an epoch of −1 is unknown.
pub(crate) fn log_version(topic_id: Option<u128>, leader_epoch: i32) -> Version {
    Version { topic_id, leader_epoch: Some(leader_epoch).filter(|epoch| *epoch >= 0) }
}

fn node((id, host, port): (i32, String, i32)) -> Option<(i32, Address)> {
    Some((id, Address::told(host, port)?))
}

pub(crate) fn broker_error(code: ErrorCode, target: TopicPartition<'_>) -> ReadError {
    ReadError::Broker { code, detail: target.to_string() }
}

/// The error of a partition of a topic that exists.
fn partition_error(code: ErrorCode, target: TopicPartition<'_>) -> ReadError {
    match code.0 {
        ResponseError::UnknownTopicOrPartition => {
            let detail = format!("topic {} has no partition {}", target.topic(), target.partition());
            ReadError::Broker { code, detail }
        }
        _ => broker_error(code, target),
    }
}

/// The error of a topic and all its partitions.
pub(crate) fn topic_error(code: ErrorCode, topic: &str) -> ReadError {
    let detail = match code.0 {
        ResponseError::UnknownTopicOrPartition => format!("topic {topic} does not exist, create it first"),
        _ => format!("topic {topic}"),
    };
    ReadError::Broker { code, detail }
}

/// The time for which an error is cached. A missing topic or partition can exist a moment later: only a request sent
/// after the call began can show that it is missing.
fn error_age(code: ErrorCode) -> Duration {
    match code.0 {
        ResponseError::UnknownTopicOrPartition => Duration::ZERO,
        _ => ERROR_AGE,
    }
}

/// The time for which other errors are cached.
const ERROR_AGE: Duration = Duration::from_secs(1);

/// The time for which a partition is read from its leader alone after the preferred replica failed.
const LEADER_ONLY: Duration = Duration::from_secs(5);

/// Topics with cached leaders. When there are more, those go that were requested longest ago.
const MAX_TOPICS: usize = 10_000;

/// Topics that go together.
const EVICTED: usize = MAX_TOPICS / 10;

/// Topics with cached errors: 3 MiB at most.
const MAX_ERRORS: usize = 10_000;

#[cfg(test)]
mod tests;
