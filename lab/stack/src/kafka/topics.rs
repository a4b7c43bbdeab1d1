//! Creates, changes and deletes a test's topics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use rdkafka::types::RDKafkaErrorCode;

use super::Kafka;
use crate::Error;
use crate::waiting::retry;

impl Kafka {
    /// Creates a topic with a unique name that begins with `about`, and `configs` such as `("cleanup.policy",
    /// "compact")`. Waits until every node has a replica, and returns the name.
    pub async fn topic(
        &self,
        about: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<String, Error> {
        let number = self.topics.fetch_add(1, Ordering::Relaxed);
        let name = format!("{about}-{number}");
        self.make_topic(&name, partitions, configs).await?;
        Ok(name)
    }

    /// Creates a topic of exactly this name, otherwise as [`topic`](Self::topic).
    pub async fn make_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<(), Error> {
        let what = || format!("make the topic {name}");
        let replicas = i32::try_from(self.nodes.len()).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        // Fails if a lagging node reports too few nodes: librdkafka drops the controller.
        let made = retry(WITHIN, async || self.admin.create_topics([&topic], &options()).await).await;
        made.and_then(first_refusal).map_err(Error::failed(what()))?;
        self.led(name, partitions).await.map_err(Error::failed(what()))
    }

    /// Adds partitions to a topic, so that it has `partitions`.
    pub async fn grow_topic(&self, name: &str, partitions: i32) -> Result<(), Error> {
        let what = || format!("add partitions to the topic {name}");
        let count = usize::try_from(partitions).unwrap_or_default();
        let grown = self.admin.create_partitions(&[NewPartitions::new(name, count)], &options()).await;
        grown.and_then(first_refusal).map_err(Error::failed(what()))?;
        self.led(name, partitions).await.map_err(Error::failed(what()))
    }

    /// Waits until every node's metadata has the partitions and their leaders. A node creates its replica once its own
    /// metadata lists it.
    async fn led(&self, topic: &str, partitions: i32) -> Result<(), KafkaError> {
        retry(WITHIN, async || {
            let metadata = self.admin.inner().fetch_metadata(Some(topic), WITHIN)?;
            let led = metadata.topics().iter().flat_map(|topic| topic.partitions());
            let led = led.filter(|partition| partition.leader() >= 0).count();
            let are_held =
                || (0..partitions).all(|partition| self.holds(topic, partition).all(|holds| holds));
            let all = led == partitions.unsigned_abs() as usize && are_held();
            if all { Ok(()) } else { Err(KafkaError::AdminOp(RDKafkaErrorCode::LeaderNotAvailable)) }
        })
        .await
    }

    /// Whether each of the nodes has a folder for the partition.
    fn holds(&self, topic: &str, partition: i32) -> impl Iterator<Item = bool> {
        let data = (1..=self.nodes.len()).map(|id| self.folder.path().join(format!("data-{id}")));
        data.map(move |data| data.join(format!("{topic}-{partition}")).exists())
    }

    /// The names of all topics, including Kafka's internal ones. Blocks for a minute at most.
    pub fn topics(&self) -> Result<Vec<String>, Error> {
        let metadata =
            self.admin.inner().fetch_metadata(None, WITHIN).map_err(Error::failed("list the topics"))?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Log start and log end of a partition; with an open transaction, log start and last stable offset. Blocks for
    /// a minute at most.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), Error> {
        let what = format!("read the watermarks of {topic} {partition}");
        self.admin.inner().fetch_watermarks(topic, partition, WITHIN).map_err(Error::failed(what))
    }

    /// Deletes every record before `offset`, which becomes the log start.
    pub async fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) -> Result<(), Error> {
        let deleted = async {
            let mut before = TopicPartitionList::new();
            before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
            let deleted = self.admin.delete_records(&before, &options()).await?;
            deleted.elements().iter().try_for_each(|e| e.error())
        };
        let what = format!("delete records of {topic} {partition} before {offset}");
        deleted.await.map_err(Error::failed(what))
    }

    /// Deletes a topic, and waits until every node has: one that is created next is not taken for this one.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        let deleted = self.admin.delete_topics(&[topic], &options()).await;
        deleted.and_then(first_refusal).map_err(Error::failed(format!("delete the topic {topic}")))?;
        retry(WITHIN, async || {
            let is_there =
                self.topics()?.iter().any(|name| name == topic) || self.holds(topic, 0).any(|holds| holds);
            if is_there { Err(Error::SetUp(format!("delete the topic {topic} everywhere"))) } else { Ok(()) }
        })
        .await
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN))
}

fn first_refusal(results: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<(), KafkaError> {
    results.into_iter().try_for_each(|result| match result {
        Ok(_) => Ok(()),
        Err((_, code)) => Err(KafkaError::AdminOp(code)),
    })
}

const WITHIN: Duration = Duration::from_secs(60);
