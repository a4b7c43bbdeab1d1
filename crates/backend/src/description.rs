//! The description of a topic.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A topic's partitions, and the encodings of all that clients learn of it. Each encoding is made by the first command
/// that needs it, and shared by all.
#[derive(Debug, PartialEq, Eq)]
pub struct Description {
    /// Distinguishes the topic from others of the same name; None: it is not known.
    pub topic_id: Option<u128>,
    /// In the order of their numbers.
    pub partitions: Vec<Partition>,
    /// A `TopicMetadata`.
    pub protobuf: OnceLock<Bytes>,
    /// The same in JSON.
    pub json: OnceLock<Bytes>,
    /// The document of plain HTTP.
    pub document: OnceLock<Bytes>,
}

impl Description {
    /// A description that is not encoded yet.
    pub fn new(topic_id: Option<u128>, partitions: Vec<Partition>) -> Self {
        Self {
            topic_id,
            partitions,
            protobuf: OnceLock::new(),
            json: OnceLock::new(),
            document: OnceLock::new(),
        }
    }
}

/// A cluster as it describes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMembers {
    /// The system's own id of the cluster; None: it does not tell.
    pub id: Option<String>,
    /// The numbers of the brokers that are there, sorted.
    pub brokers: Vec<i32>,
}

/// Names and values of a topic's properties, without sensitive ones.
pub type Properties = Arc<[(String, String)]>;

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The number, from 0 on.
    pub partition: i32,
    /// None while there is no leader.
    pub leader: Option<i32>,
    /// The copies, the preferred leader first.
    pub replicas: Vec<Replica>,
}

/// A partition's copy on one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The broker's number.
    pub broker: i32,
    /// Whether it has all committed records.
    pub in_sync: bool,
}
