//! A command's JSON, as the protocol's message.

use serde::Deserialize;
use sluicegate_protocol::{
    CmdKafkaFetch, CmdKafkaListOffset, CmdKafkaListOffsets, CmdKafkaMetadata, CmdKafkaMultiFetch, Isolation,
    PartitionOffset,
};

use super::int64::Int64;
use super::list::List;
use super::object::Object;
use crate::cluster::MAX_PARTITIONS;
use crate::json::format::Format;
use crate::session::command_limits::{MAX_OFFSETS, MAX_PREFIXES, MAX_TOPICS};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ping {
    #[serde(default)]
    pub(super) state: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    topic: String,
    partition: i32,
    offset: Int64,
    #[serde(default)]
    pub(super) format: Format,
    max_wait_ms: Option<u32>,
    #[serde(default)]
    min_bytes: u32,
    #[serde(default)]
    max_bytes: u32,
    #[serde(default)]
    max_records: u32,
    #[serde(default)]
    isolation: IsolationName,
}

impl From<Fetch> for CmdKafkaFetch {
    fn from(fetch: Fetch) -> Self {
        let Fetch {
            topic, partition, offset, max_wait_ms, min_bytes, max_bytes, max_records, isolation, ..
        } = fetch;
        let isolation = isolation.number();
        Self { topic, partition, offset: offset.0, max_wait_ms, min_bytes, max_bytes, max_records, isolation }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MultiFetch {
    partitions: List<Object<Place>, MAX_PARTITIONS>,
    #[serde(default)]
    pub(super) format: Format,
    max_wait_ms: Option<u32>,
    #[serde(default)]
    min_bytes: u32,
    #[serde(default)]
    max_bytes: u32,
    #[serde(default)]
    isolation: IsolationName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    topic: String,
    partition: i32,
    offset: Int64,
}

impl From<MultiFetch> for CmdKafkaMultiFetch {
    fn from(fetch: MultiFetch) -> Self {
        let MultiFetch { partitions, max_wait_ms, min_bytes, max_bytes, isolation, .. } = fetch;
        let place = |Object(Place { topic, partition, offset })| PartitionOffset {
            topic,
            partition,
            offset: offset.0,
        };
        let partitions = partitions.0.into_iter().map(place).collect();
        Self { partitions, max_wait_ms, min_bytes, max_bytes, isolation: isolation.number() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOffset {
    topic: String,
    partition: i32,
    timestamp: Int64,
}

impl From<ListOffset> for CmdKafkaListOffset {
    fn from(ListOffset { topic, partition, timestamp }: ListOffset) -> Self {
        Self { topic, partition, timestamp: timestamp.0 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOffsets {
    offsets: List<Object<ListOffset>, MAX_OFFSETS>,
    #[serde(default)]
    isolation: IsolationName,
}

impl From<ListOffsets> for CmdKafkaListOffsets {
    fn from(ListOffsets { offsets, isolation }: ListOffsets) -> Self {
        let offsets = offsets.0.into_iter().map(|Object(list)| list.into()).collect();
        Self { offsets, isolation: isolation.number() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    #[serde(default)]
    topics: List<String, MAX_TOPICS>,
    #[serde(default)]
    prefixes: List<String, MAX_PREFIXES>,
    #[serde(default)]
    after: String,
}

impl From<Metadata> for CmdKafkaMetadata {
    fn from(Metadata { topics, prefixes, after }: Metadata) -> Self {
        Self { topics: topics.0, prefixes: prefixes.0, after }
    }
}

/// Kafka's names.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IsolationName {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

impl IsolationName {
    pub(super) fn number(self) -> i32 {
        let isolation = match self {
            Self::ReadUncommitted => Isolation::ReadUncommitted,
            Self::ReadCommitted => Isolation::ReadCommitted,
        };
        isolation.into()
    }
}
