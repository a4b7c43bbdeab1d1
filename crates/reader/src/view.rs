//! What is known of a cluster: its brokers, and the leaders of the topics that were asked for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use crate::ReadError;
use crate::address::Address;
use crate::api::{MetadataAnswer, PartitionAnswer, TopicAnswer, TopicId};
use crate::error::ErrorCode;
use crate::target::Target;
use crate::topic;

/// A cache of metadata. It has no clock: a fact is as old as `now` says.
#[derive(Debug, Default)]
pub(crate) struct View {
    nodes: HashMap<i32, Address>,
    /// When the nodes were asked for.
    learned: Option<Instant>,
    /// At most [`MAX_TOPICS`].
    topics: HashMap<String, Topic>,
    /// Topics that cannot be read, and why. At most [`MAX_REFUSED`], so that made-up names push out no real topic.
    refused: HashMap<String, (Instant, ErrorCode)>,
}

/// Who leads a partition, and who else may be asked for its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) address: Address,
    pub(crate) epoch: i32,
    pub(crate) topic_id: Option<TopicId>,
    pub(crate) replica: Replica,
    /// When it was asked for.
    pub(crate) learned: Instant,
}

/// Which replica to fetch from (KIP-392).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replica {
    /// The leader, which may name a nearer one.
    Leader,
    /// The leader, because a nearer one failed.
    LeaderOnly,
    /// The one that the leader has named.
    Nearer(Address),
}

#[derive(Debug)]
struct Topic {
    learned: Instant,
    id: Option<TopicId>,
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug)]
struct Partition {
    answer: PartitionAnswer,
    /// Forgotten when the topic is asked for again, which is after `metadata.max.age.ms` at the latest.
    nearer: Option<Nearer>,
}

#[derive(Debug, Clone, Copy)]
enum Nearer {
    Node(i32),
    FailedAt(Instant),
}

impl Topic {
    /// Whether a nearer replica failed so long ago that the leader may name it again: the metadata may be of when it was
    /// gone, and not have it.
    fn may_be_read_nearer(&self, target: Target<'_>, now: Instant) -> bool {
        match self.partitions.get(&target.partition()).and_then(|partition| partition.nearer) {
            Some(Nearer::FailedAt(at)) => now.saturating_duration_since(at) >= LEADER_ONLY,
            Some(Nearer::Node(_)) | None => false,
        }
    }
}

/// Which facts are good enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Freshness {
    /// The age at which a leader is asked for again.
    pub(crate) max_age: Duration,
    /// What was asked for since then is good enough at any age.
    pub(crate) since: Instant,
    /// What was not asked for after this is known to be wrong.
    pub(crate) after: Option<Instant>,
}

impl Freshness {
    /// Whether what was asked for at `learned` is good enough where it may be `max_age` old.
    fn covers(&self, learned: Instant, max_age: Duration, now: Instant) -> bool {
        (learned >= self.since || now.saturating_duration_since(learned) < max_age)
            && self.after.is_none_or(|after| learned > after)
    }
}

impl View {
    /// Takes in the answer to a question that was put at `learned`.
    pub(crate) fn learn(&mut self, answer: MetadataAnswer, learned: Instant) {
        self.nodes = answer.brokers.into_iter().filter_map(node).collect();
        self.learned = Some(learned);
        for topic in answer.topics {
            self.learn_topic(topic, learned);
        }
    }

    /// The leader, or why there is none; `None` where the cluster must be asked.
    pub(crate) fn leader(
        &self,
        target: Target<'_>,
        freshness: Freshness,
        now: Instant,
    ) -> Option<Result<Leader, ReadError>> {
        let fresh = |learned, max_age| freshness.covers(learned, max_age, now);
        if let Some(topic) = self.topics.get(target.topic()) {
            return match self.leader_in(topic, target) {
                Ok(leader) => (fresh(topic.learned, freshness.max_age)
                    && !topic.may_be_read_nearer(target, now))
                .then_some(Ok(leader)),
                Err(code) => {
                    let age = refusal_age(code).min(freshness.max_age);
                    fresh(topic.learned, age).then(|| Err(refusal(code, target)))
                }
            };
        }
        let (learned, code) = self.refused.get(target.topic())?;
        fresh(*learned, refusal_age(*code)).then(|| Err(refusal(*code, target)))
    }

    /// A topic's partitions, or why it cannot be had; `None` where the cluster must be asked.
    pub(crate) fn topic(
        &self,
        name: &str,
        freshness: Freshness,
        now: Instant,
    ) -> Option<Result<topic::Topic, ErrorCode>> {
        if let Some(topic) = self.topics.get(name) {
            let partition = |Partition { answer, .. }: &Partition| topic::Partition {
                partition: answer.partition,
                leader: Some(answer.leader).filter(|leader| *leader >= 0),
                replicas: answer.replicas.clone(),
            };
            return freshness.covers(topic.learned, freshness.max_age, now).then(|| {
                let mut partitions: Vec<_> = topic.partitions.values().map(partition).collect();
                partitions.sort_unstable_by_key(|partition| partition.partition);
                Ok(topic::Topic { partitions })
            });
        }
        let (learned, code) = self.refused.get(name)?;
        freshness.covers(*learned, refusal_age(*code), now).then_some(Err(*code))
    }

    /// When the brokers were last asked for.
    pub(crate) fn learned(&self) -> Option<Instant> {
        self.learned
    }

    pub(crate) fn nodes(&self) -> HashSet<Address> {
        self.nodes.values().cloned().collect()
    }

    /// Takes in that the leader has named a nearer replica.
    pub(crate) fn prefer(&mut self, target: Target<'_>, node: i32, now: Instant) {
        let known = self.nodes.contains_key(&node);
        if let Some(partition) = self.partition_mut(target) {
            let usable = known && node != partition.answer.leader;
            partition.nearer = Some(if usable { Nearer::Node(node) } else { Nearer::FailedAt(now) });
        }
    }

    /// Takes in that the nearer replica could not answer: the leader alone is asked for [`LEADER_ONLY`].
    pub(crate) fn prefer_leader(&mut self, target: Target<'_>, now: Instant) {
        if let Some(partition) = self.partition_mut(target) {
            partition.nearer = Some(Nearer::FailedAt(now));
        }
    }

    fn partition_mut(&mut self, target: Target<'_>) -> Option<&mut Partition> {
        self.topics.get_mut(target.topic())?.partitions.get_mut(&target.partition())
    }

    fn leader_in(&self, topic: &Topic, target: Target<'_>) -> Result<Leader, ErrorCode> {
        let Some(Partition { answer, nearer }) = topic.partitions.get(&target.partition()) else {
            return Err(ErrorCode(ResponseError::UnknownTopicOrPartition));
        };
        // An error of a partition can concern its followers only: a leader that is named is there.
        let Some(address) = self.nodes.get(&answer.leader) else {
            return Err(answer.error.unwrap_or(ErrorCode(ResponseError::LeaderNotAvailable)));
        };
        let replica = match nearer {
            Some(Nearer::Node(node)) => self.nodes.get(node).cloned().map(Replica::Nearer),
            Some(Nearer::FailedAt(_)) => Some(Replica::LeaderOnly),
            None => None,
        };
        Ok(Leader {
            address: address.clone(),
            epoch: answer.epoch,
            topic_id: topic.id,
            replica: replica.unwrap_or(Replica::Leader),
            learned: topic.learned,
        })
    }

    fn learn_topic(&mut self, topic: TopicAnswer, learned: Instant) {
        if let Some(code) = topic.error {
            self.topics.remove(&topic.name);
            if self.refused.len() >= MAX_REFUSED {
                self.refused.retain(|_, (at, _)| learned.saturating_duration_since(*at) < REFUSAL_AGE);
            }
            if self.refused.len() >= MAX_REFUSED {
                self.refused.clear();
            }
            self.refused.insert(topic.name, (learned, code));
            return;
        }
        self.refused.remove(&topic.name);
        if self.topics.len() >= MAX_TOPICS && !self.topics.contains_key(&topic.name) {
            let oldest =
                self.topics.iter().min_by_key(|(_, topic)| topic.learned).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                self.topics.remove(&oldest);
            }
        }
        let known = self.topics.get(&topic.name).filter(|known| known.id.is_some() && known.id == topic.id);
        let partition = |answer: PartitionAnswer| {
            // KIP-320: epochs only grow while the topic is the same one. A broker that is cut off from the controller
            // answers with what was before; −1 says nothing.
            let newer = known
                .and_then(|known| known.partitions.get(&answer.partition))
                .filter(|known| answer.epoch >= 0 && known.answer.epoch > answer.epoch);
            let answer = newer.map_or(answer, |newer| newer.answer.clone());
            (answer.partition, Partition { answer, nearer: None })
        };
        let partitions = topic.partitions.into_iter().map(partition).collect();
        self.topics.insert(topic.name, Topic { learned, id: topic.id, partitions });
    }
}

fn node((id, host, port): (i32, String, i32)) -> Option<(i32, Address)> {
    let port = u16::try_from(port).ok()?;
    Some((id, Address { host, port }))
}

pub(crate) fn refusal(code: ErrorCode, target: Target<'_>) -> ReadError {
    ReadError::Broker { code, detail: target.to_string() }
}

/// How long a refusal answers without the cluster being asked again. A missing topic or partition may exist a moment later: only
/// an answer to a question that was sent since the call began can deny it.
fn refusal_age(code: ErrorCode) -> Duration {
    match code.0 {
        ResponseError::UnknownTopicOrPartition => Duration::ZERO,
        _ => REFUSAL_AGE,
    }
}

/// How long any other refusal is cached.
const REFUSAL_AGE: Duration = Duration::from_secs(1);

/// How long a partition whose nearer replica failed is read from its leader before that is asked for another one.
const LEADER_ONLY: Duration = Duration::from_secs(5);

/// Topics whose leaders are known; the one that was asked for longest ago gives way.
const MAX_TOPICS: usize = 10_000;

/// Topics that are known not to be readable: 3 MiB at most.
const MAX_REFUSED: usize = 10_000;

#[cfg(test)]
mod tests;
