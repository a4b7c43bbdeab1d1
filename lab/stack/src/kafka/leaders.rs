//! The replicas and leaders of a topic's partitions.

use std::time::Duration;

use super::Kafka;
use crate::Error;
use crate::waiting::retry;

/// The state of a partition, as a cluster reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The id of the leader, if there is one.
    pub leader: Option<usize>,
    /// The ids of the replicas, the preferred leader first.
    pub replicas: Vec<usize>,
    /// The ids of the in-sync replicas.
    pub in_sync: Vec<usize>,
}

impl Kafka {
    /// The partitions of a topic, as reported by any live node. Blocks at most half a second.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, Error> {
        let metadata = self.observer.inner().fetch_metadata(Some(topic), ASK);
        let metadata = metadata.map_err(Error::failed(format!("read the leaders of {topic}")))?;
        let ids = |ids: &[i32]| ids.iter().filter_map(|id| usize::try_from(*id).ok()).collect();
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let partition = partitions.map(|partition| Partition {
            leader: usize::try_from(partition.leader()).ok(),
            replicas: ids(partition.replicas()),
            in_sync: ids(partition.isr()),
        });
        Ok(partition.collect())
    }

    /// Waits until the partitions of a topic meet `condition`, and returns them. Blocks between polls.
    pub async fn partitions_become(
        &self,
        what: &'static str,
        topic: &str,
        condition: impl Fn(&[Partition]) -> bool,
    ) -> Result<Vec<Partition>, Error> {
        // A request may go to a killed or frozen node; the next may reach another.
        let seen = retry(WITHIN, async || match self.partitions(topic) {
            Ok(partitions) if condition(&partitions) => Ok(partitions),
            seen => Err(format!(": {topic} is {seen:?}")),
        });
        seen.await.map_err(|detail| Error::Late { part: "Kafka", what, within: WITHIN, detail })
    }

    /// Moves each partition of a topic to the nodes of these ids, and waits until the first of them leads it and other
    /// nodes have no replica. A leader that stays a replica gives way after `leader.imbalance.check.interval.seconds`.
    pub async fn reassign(&self, topic: &str, replicas: &[&[usize]]) -> Result<(), Error> {
        let partition = |(partition, replicas): (usize, &&[usize])| serde_json::json!({ "topic": topic, "partition": partition, "replicas": replicas });
        let partitions: Vec<_> = replicas.iter().enumerate().map(partition).collect();
        let plan = serde_json::json!({ "version": 1, "partitions": partitions }).to_string();
        let plan = self.folder.write("reassignment.json", &plan)?;
        self.run(REASSIGN, &["--execute", "--reassignment-json-file", &plan.to_string_lossy()]).await?;
        let moved = |partitions: &[Partition]| {
            let moved = |(partition, want): (&Partition, &&[usize])| {
                partition.replicas == *want && partition.leader == want.first().copied()
            };
            partitions.len() == replicas.len() && partitions.iter().zip(replicas).all(moved)
        };
        self.partitions_become("move its partitions", topic, moved).await.map(drop)
    }
}

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const ASK: Duration = Duration::from_millis(500);
const WITHIN: Duration = Duration::from_secs(30);
