//! Descriptions of topics.

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

/// A broker with a copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// The broker's id.
    pub broker: i32,
    /// Whether it has all acknowledged records.
    pub in_sync: bool,
}
