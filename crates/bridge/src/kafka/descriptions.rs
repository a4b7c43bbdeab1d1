//! Descriptions of topics, which commands share while the metadata is the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sluicegate_reader::Topic;

use crate::backend::{Description, Partition, Replica};

/// The last descriptions of a cluster's topics.
#[derive(Debug, Default)]
pub(super) struct Descriptions(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The metadata of each topic, and its description.
    topics: HashMap<String, (Arc<Topic>, Arc<Description>)>,
    /// The [weights](weight) of all. At most [`MAX_WEIGHT`], unless a single topic has more.
    weight: usize,
}

impl Descriptions {
    /// The description of a topic with this metadata: the last one, with its encodings, if the metadata is still the same.
    pub(super) fn of(&self, name: &str, topic: Arc<Topic>) -> Arc<Description> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, description)) = kept.topics.get_mut(name)
            && *of == topic
        {
            // The same value is compared at once, an equal one by its partitions.
            *of = topic;
            return Arc::clone(description);
        }
        let description = Arc::new(Description::new(topic.partitions.iter().map(partition).collect()));
        kept.put(name, topic, Arc::clone(&description));
        description
    }
}

impl Kept {
    fn put(&mut self, name: &str, topic: Arc<Topic>, description: Arc<Description>) {
        if let Some((_, replaced)) = self.topics.remove(name) {
            self.weight = self.weight.saturating_sub(weight(&replaced));
        }
        self.weight = self.weight.saturating_add(weight(&description));
        if self.weight > MAX_WEIGHT {
            self.topics.clear();
            self.weight = weight(&description);
        }
        self.topics.insert(name.to_owned(), (topic, description));
    }
}

fn weight(description: &Description) -> usize {
    description.partitions.len().saturating_add(TOPIC_WEIGHT)
}

fn partition(partition: &sluicegate_reader::Partition) -> Partition {
    let replica =
        |replica: &sluicegate_reader::Replica| Replica { broker: replica.broker, in_sync: replica.in_sync };
    Partition {
        partition: partition.partition,
        leader: partition.leader,
        replicas: partition.replicas.iter().map(replica).collect(),
    }
}

/// Partitions of all topics: 20 MiB with three replicas each, in all encodings. When there are more, all are dropped.
const MAX_WEIGHT: usize = 50_000;

/// A topic takes as much memory as two partitions, besides its own.
const TOPIC_WEIGHT: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: usize, leader: i32) -> Arc<Topic> {
        let partition = |partition| sluicegate_reader::Partition {
            partition,
            leader: Some(leader),
            replicas: [sluicegate_reader::Replica { broker: leader, in_sync: true }].into(),
        };
        Arc::new(Topic { partitions: (0..).take(partitions).map(partition).collect() })
    }

    #[test]
    fn description_is_shared_until_the_metadata_changes() {
        let descriptions = Descriptions::default();
        let first = descriptions.of("t", topic(3, 1));
        assert!(Arc::ptr_eq(&first, &descriptions.of("t", topic(3, 1))));
        for changed in [topic(3, 2), topic(4, 2)] {
            let description = descriptions.of("t", Arc::clone(&changed));
            assert!(!Arc::ptr_eq(&first, &description));
            let partitions: Vec<_> = changed.partitions.iter().map(partition).collect();
            assert_eq!(description.partitions, partitions);
            assert!(Arc::ptr_eq(&description, &descriptions.of("t", changed)));
        }
        assert!(!Arc::ptr_eq(&first, &descriptions.of("u", topic(3, 1))), "another topic");
    }

    #[test]
    fn descriptions_are_bounded() {
        let descriptions = Descriptions::default();
        let weight = || descriptions.0.lock().unwrap().weight;
        let narrow = descriptions.of("narrow", topic(1, 1));
        for leader in 1..4 {
            descriptions.of("wide", topic(MAX_WEIGHT - 2 * TOPIC_WEIGHT - 1, leader));
            assert_eq!(weight(), MAX_WEIGHT);
        }
        assert!(Arc::ptr_eq(&narrow, &descriptions.of("narrow", topic(1, 1))));
        let wider = descriptions.of("wider", topic(MAX_WEIGHT, 1));
        assert_eq!(weight(), MAX_WEIGHT + TOPIC_WEIGHT);
        assert!(Arc::ptr_eq(&wider, &descriptions.of("wider", topic(MAX_WEIGHT, 1))));
        assert!(!Arc::ptr_eq(&narrow, &descriptions.of("narrow", topic(1, 1))));
        assert_eq!(weight(), TOPIC_WEIGHT + 1);
    }
}
