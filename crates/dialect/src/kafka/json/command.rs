//! The JSON of commands.

use serde::Deserialize;
use sluicegate_backend::command::{Command, LogName, ReadBounds, TopicNames};
use sluicegate_delivery::cluster::MAX_PARTITIONS;

use crate::json::format::Format;
use crate::json_sessions::int64::Int64;
use crate::json_sessions::list::List;
use crate::json_sessions::object::Object;
use crate::limits::{MAX_OFFSETS, MAX_PREFIXES, MAX_TOPICS};
use crate::protobuf::{bounds, size};

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

impl From<Fetch> for Command {
    fn from(fetch: Fetch) -> Self {
        let Fetch {
            topic, partition, offset, max_wait_ms, min_bytes, max_bytes, max_records, isolation, ..
        } = fetch;
        let bounds = ReadBounds {
            max_records: size(max_records),
            committed: isolation.is_committed(),
            ..bounds(max_wait_ms, min_bytes, max_bytes)
        };
        Self::Fetch { log: LogName { topic, partition }, offset: offset.0, bounds }
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

impl From<MultiFetch> for Command {
    fn from(fetch: MultiFetch) -> Self {
        let MultiFetch { partitions, max_wait_ms, min_bytes, max_bytes, isolation, .. } = fetch;
        let place = |Object(Place { topic, partition, offset })| (LogName { topic, partition }, offset.0);
        let places = partitions.0.into_iter().map(place).collect();
        let committed = isolation.is_committed();
        Self::MultiFetch {
            places,
            bounds: ReadBounds { committed, ..bounds(max_wait_ms, min_bytes, max_bytes) },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOffset {
    topic: String,
    partition: i32,
    timestamp: Int64,
}

impl From<ListOffset> for Command {
    fn from(ListOffset { topic, partition, timestamp }: ListOffset) -> Self {
        Self::ListOffset { log: LogName { topic, partition }, timestamp: timestamp.0 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListOffsets {
    offsets: List<Object<ListOffset>, MAX_OFFSETS>,
    #[serde(default)]
    isolation: IsolationName,
}

impl From<ListOffsets> for Command {
    fn from(ListOffsets { offsets, isolation }: ListOffsets) -> Self {
        let asked =
            |Object(ListOffset { topic, partition, timestamp })| (LogName { topic, partition }, timestamp.0);
        Self::ListOffsets {
            asked: offsets.0.into_iter().map(asked).collect(),
            committed: isolation.is_committed(),
        }
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

impl From<Metadata> for Command {
    fn from(Metadata { topics, prefixes, after }: Metadata) -> Self {
        Self::Describe(TopicNames { topics: topics.0, prefixes: prefixes.0, after })
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
    pub(super) fn is_committed(&self) -> bool {
        matches!(self, Self::ReadCommitted)
    }
}
