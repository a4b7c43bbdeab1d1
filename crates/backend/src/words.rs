//! The words of messaging systems that errors, logs and traces use.

use std::ops::Deref;

use sluicegate_protocol::REMOVAL_HEADER;
use sluicegate_table::FirstEntry;

use crate::table_entry;

/// A messaging system. Clients use commands with the words of their cluster's system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Apache Kafka.
    Kafka,
    /// NATS JetStream.
    Nats,
}

/// The words of a messaging system.
#[derive(Debug)]
pub struct Words {
    pub name: &'static str,
    /// The name in traces.
    pub label: &'static str,
    pub topic: &'static str,
    pub offset: &'static str,
    /// Whether topics have several partitions, and can get more.
    pub has_partitions: bool,
    /// The beginnings of the names of topics that are the system's own, or of another kind: only a route that names them
    /// gives them to clients.
    pub internal: &'static [&'static str],
    /// The offset of the first record of a log.
    pub first_offset: i64,
    /// The first of some encoded records as the entry of a table.
    pub first_entry: FirstEntry,
    /// The header of a record that removes its key. None: a record without value does.
    pub(crate) marker: Option<(&'static str, &'static str)>,
    /// The smallest code that clients see. Kafka's are those of the bridge's own errors too.
    pub(crate) min_code: i32,
}

impl System {
    /// The sentence about a topic that does not exist.
    pub fn missing_topic(self, name: &str) -> String {
        format!("{} {name} does not exist, create it first", self.topic)
    }
}

impl Deref for System {
    type Target = Words;

    fn deref(&self) -> &Words {
        match self {
            Self::Kafka => &KAFKA,
            Self::Nats => &NATS,
        }
    }
}

const KAFKA: Words = Words {
    name: "Kafka",
    label: "kafka",
    topic: "topic",
    offset: "offset",
    has_partitions: true,
    internal: &["__consumer_offsets", "__transaction_state", "__share_group_state"],
    first_offset: 0,
    first_entry: table_entry::without_value,
    marker: None,
    min_code: i32::MIN,
};

/// JetStream's codes are larger than Kafka's.
const NATS: Words = Words {
    name: "NATS",
    label: "nats",
    topic: "stream",
    offset: "sequence",
    has_partitions: false,
    internal: &["$", "KV_", "OBJ_"],
    first_offset: 1,
    first_entry: table_entry::with_marker,
    marker: Some(REMOVAL_HEADER),
    min_code: 10_000,
};
