//! Descriptions of topics, which sessions of Kafka alone can ask for.

use sluicegate_backend::Partition;
use sluicegate_delivery::cluster::DescribedTopic;
use sluicegate_protocol::{PartitionMetadata, TopicMetadata};

use crate::error::{MAX_RECORD_ERROR_BYTES, error_resp};
use crate::kafka::SYSTEM;

/// A topic's description in protobuf, or the error in its place.
pub fn topic_metadata(topic: &DescribedTopic) -> TopicMetadata {
    let name = topic.name.clone();
    match &topic.description {
        Ok(description) => {
            let partitions = description.partitions.iter().map(partition_metadata).collect();
            TopicMetadata { name, partitions, error: None }
        }
        Err(error) => {
            let error = Some(error_resp(error.clone(), SYSTEM, MAX_RECORD_ERROR_BYTES));
            TopicMetadata { name, partitions: Vec::new(), error }
        }
    }
}

fn partition_metadata(partition: &Partition) -> PartitionMetadata {
    let in_sync = partition.replicas.iter().filter(|replica| replica.in_sync);
    PartitionMetadata {
        partition: partition.partition,
        leader: partition.leader.unwrap_or(-1),
        replicas: partition.replicas.iter().map(|replica| replica.broker).collect(),
        in_sync_replicas: in_sync.map(|replica| replica.broker).collect(),
    }
}
