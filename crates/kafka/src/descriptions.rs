//! Descriptions of topics, which commands share while the metadata is the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use sluicegate_backend::{Description, Partition, Replica};
use sluicegate_reader::Topic;

/// The last descriptions of a cluster's topics.
#[derive(Debug, Default)]
pub(super) struct Descriptions(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    topics: HashMap<String, Entry>,
    /// The names of the topics by last use, the oldest first.
    by_use: BTreeMap<u64, String>,
    last_use: u64,
    /// The [weights](weight) of all. At most [`MAX_WEIGHT`], unless a single topic has more.
    weight: usize,
}

#[derive(Debug)]
struct Entry {
    of: Arc<Topic>,
    description: Arc<Description>,
    used: u64,
}

impl Descriptions {
    /// The description of a topic with this metadata: the last one, with its encodings, if the metadata is still the
    /// same.
    pub(super) fn of(&self, name: &str, topic: Arc<Topic>) -> Arc<Description> {
        let mut kept = self.0.lock();
        let known = kept.remove(name);
        let description = match known {
            // The same value is compared at once, an equal one by its id and partitions.
            Some(known) if known.of == topic => known.description,
            _ => Arc::new(Description::new(topic.id, topic.partitions.iter().map(partition).collect())),
        };
        kept.put(name, topic, Arc::clone(&description));
        description
    }
}

impl Kept {
    /// Adds a topic that is not there, and makes room for it.
    fn put(&mut self, name: &str, of: Arc<Topic>, description: Arc<Description>) {
        let weight = weight(&description);
        while self.weight.saturating_add(weight) > MAX_WEIGHT {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.remove(&oldest);
        }
        self.last_use = self.last_use.saturating_add(1);
        self.weight = self.weight.saturating_add(weight);
        self.by_use.insert(self.last_use, name.to_owned());
        self.topics.insert(name.to_owned(), Entry { of, description, used: self.last_use });
    }

    fn remove(&mut self, name: &str) -> Option<Entry> {
        let entry = self.topics.remove(name)?;
        self.by_use.remove(&entry.used);
        self.weight = self.weight.saturating_sub(weight(&entry.description));
        Some(entry)
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

/// Partitions of all topics: 20 MiB with three replicas each, in all encodings. Beyond that, topics that were described
/// longest ago are dropped.
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
        Arc::new(Topic { id: None, partitions: (0..).take(partitions).map(partition).collect() })
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
        let weight = || descriptions.0.lock().weight;
        let narrow = descriptions.of("narrow", topic(1, 1));
        for leader in 1..4 {
            descriptions.of("wide", topic(MAX_WEIGHT - 2 * TOPIC_WEIGHT - 1, leader));
            assert_eq!(weight(), MAX_WEIGHT);
        }
        assert!(Arc::ptr_eq(&narrow, &descriptions.of("narrow", topic(1, 1))));
        let wider = descriptions.of("wider", topic(MAX_WEIGHT, 1));
        assert_eq!(weight(), MAX_WEIGHT + TOPIC_WEIGHT);
        assert!(Arc::ptr_eq(&wider, &descriptions.of("wider", topic(MAX_WEIGHT, 1))));
        assert_eq!(descriptions.0.lock().by_use.len(), 1);
        assert!(!Arc::ptr_eq(&narrow, &descriptions.of("narrow", topic(1, 1))));
        assert_eq!(weight(), TOPIC_WEIGHT + 1);
    }

    #[test]
    fn wide_topics_leave_the_descriptions_that_others_use() {
        let descriptions = Descriptions::default();
        let of_others: Vec<_> = (0..10).map(|number| format!("t{number}")).collect();
        let describe = || of_others.iter().map(|name| descriptions.of(name, topic(3, 1))).collect::<Vec<_>>();
        let first = describe();
        for number in 0..20 {
            descriptions.of(&format!("wide-{number}"), topic(MAX_WEIGHT / 3, 1));
            for (before, now) in first.iter().zip(describe()) {
                assert!(Arc::ptr_eq(before, &now), "after {number} wide topics");
            }
        }
        let kept = descriptions.0.lock();
        assert!(kept.topics.contains_key("wide-19") && !kept.topics.contains_key("wide-0"));
    }
}
