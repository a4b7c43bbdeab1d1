//! Which nodes hold a topic's partitions, and which of them lead.

use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::time::{Instant, sleep};

use super::Kafka;
use crate::Error;

/// The state of a partition, as a cluster reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The id of the node that leads it; `None` where none does.
    pub leader: Option<usize>,
    /// The ids of the nodes that hold it, the preferred leader first.
    pub replicas: Vec<usize>,
    /// Those of them that have all that the leader has.
    pub in_sync: Vec<usize>,
}

impl Kafka {
    /// The partitions of a topic, as any of the nodes that live knows them.
    ///
    /// # Errors
    /// [`Error::Kafka`] where the node that was picked does not answer. Blocks at most half a second.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, Error> {
        let what = format!("read the leaders of {topic}");
        self.described(topic).map_err(Error::kafka(what))
    }

    fn described(&self, topic: &str) -> Result<Vec<Partition>, KafkaError> {
        let metadata = self.observer.inner().fetch_metadata(Some(topic), ASK)?;
        let ids = |ids: &[i32]| ids.iter().filter_map(|id| usize::try_from(*id).ok()).collect();
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let partition = partitions.map(|partition| Partition {
            leader: usize::try_from(partition.leader()).ok(),
            replicas: ids(partition.replicas()),
            in_sync: ids(partition.isr()),
        });
        Ok(partition.collect())
    }

    /// Waits until the partitions of a topic are as `condition` wants them, and gives them.
    ///
    /// # Errors
    /// [`Error::Late`] with what was seen last where they are not within 30 s. Blocks in between.
    ///
    /// # Cancel safety
    /// Nothing is left over.
    pub async fn partitions_become(
        &self,
        what: &'static str,
        topic: &str,
        condition: impl Fn(&[Partition]) -> bool,
    ) -> Result<Vec<Partition>, Error> {
        let start = Instant::now();
        loop {
            // A node that was killed or frozen may have been asked; the next question may go to another.
            let seen = self.described(topic);
            match seen {
                Ok(partitions) if condition(&partitions) => return Ok(partitions),
                seen if start.elapsed() > WITHIN => {
                    let detail = format!(": {topic} is {seen:?}");
                    return Err(Error::Late { part: "Kafka", what, within: WITHIN, detail });
                }
                _ => sleep(POLL).await,
            }
        }
    }

    /// Moves each partition of a topic to the nodes of these ids: the first of them leads it when this returns, and what
    /// other nodes held is gone. A leader that may stay gives way only as `leader.imbalance.check.interval.seconds` says.
    ///
    /// # Errors
    /// [`Error::Ended`] where Kafka's tool refuses, [`Error::Late`] where the move takes longer than 30 s.
    ///
    /// # Cancel safety
    /// The partitions may be on the move.
    pub async fn reassign(&self, topic: &str, replicas: &[&[usize]]) -> Result<(), Error> {
        let partition = |(partition, replicas): (usize, &&[usize])| serde_json::json!({ "topic": topic, "partition": partition, "replicas": replicas });
        let partitions: Vec<_> = replicas.iter().enumerate().map(partition).collect();
        let plan = serde_json::json!({ "version": 1, "partitions": partitions }).to_string();
        let plan = self.folder.write("reassignment.json", &plan)?;
        let plan = plan.to_string_lossy();
        self.command(REASSIGN, &["--reassignment-json-file", &plan, "--execute"]).await?;
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
const POLL: Duration = Duration::from_millis(10);
