//! What a cluster says about a topic.

/// A topic's partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// In the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it, where there is one at the moment.
    pub leader: Option<i32>,
    /// In the cluster's order: the preferred leader first.
    pub replicas: Box<[Replica]>,
}

/// A broker that has a copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica {
    /// Its id.
    pub broker: i32,
    /// Whether it has all that was acknowledged.
    pub in_sync: bool,
}
