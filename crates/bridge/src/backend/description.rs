//! The description of a topic.

use std::sync::OnceLock;

use bytes::Bytes;

/// A topic's partitions, and the encodings of all that clients learn of it. Each encoding is made by the first command
/// that needs it, and shared by all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// In the order of their numbers.
    pub(crate) partitions: Vec<Partition>,
    /// A `TopicMetadata`.
    pub(crate) protobuf: OnceLock<Bytes>,
    /// The same in JSON.
    pub(crate) json: OnceLock<Bytes>,
    /// The document of plain HTTP.
    pub(crate) document: OnceLock<Bytes>,
}

impl Description {
    /// A description that is not encoded yet.
    pub(crate) fn new(partitions: Vec<Partition>) -> Self {
        Self { partitions, protobuf: OnceLock::new(), json: OnceLock::new(), document: OnceLock::new() }
    }
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) partition: i32,
    /// None while there is no leader.
    pub(crate) leader: Option<i32>,
    pub(crate) replicas: Vec<Replica>,
}

/// A partition's copy on one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) broker: i32,
    pub(crate) in_sync: bool,
}
