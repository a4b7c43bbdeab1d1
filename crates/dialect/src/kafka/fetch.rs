//! The command `fetch`, and its answer without records.

use serde::Deserialize;
use sluicegate_backend::command::{Command, LogName, ReadBounds};
use sluicegate_protocol::{CmdKafkaFetch, Isolation, KafkaFetchResp};
use sluicegate_shared_log::Ends;

use crate::json::format::Format;
use crate::session::bounds::{read_bounds, size};
use crate::session::members::{Int64, or_default};

pub(super) fn of_protobuf(command: CmdKafkaFetch) -> Command {
    let isolation = command.isolation();
    let CmdKafkaFetch {
        topic,
        partition,
        offset,
        max_wait_ms,
        min_bytes,
        max_bytes,
        max_records,
        decode,
        ..
    } = command;
    let max_records = size(max_records);
    let committed = isolation == Isolation::ReadCommitted;
    // Clients of APISIX know no `next_offset`.
    let reads_on = true;
    let bounds = ReadBounds {
        max_records,
        committed,
        decode,
        reads_on,
        ..read_bounds(max_wait_ms, min_bytes, max_bytes)
    };
    Command::Fetch { log: LogName { topic, partition }, offset, bounds }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    topic: String,
    partition: i32,
    offset: Int64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) format: Format,
    max_wait_ms: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    min_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_records: u32,
    #[serde(default, deserialize_with = "or_default")]
    isolation: IsolationName,
}

impl From<Fetch> for Command {
    fn from(fetch: Fetch) -> Self {
        let Fetch {
            topic,
            partition,
            offset,
            format,
            max_wait_ms,
            min_bytes,
            max_bytes,
            max_records,
            isolation,
        } = fetch;
        let bounds = ReadBounds {
            max_records: size(max_records),
            committed: isolation.is_committed(),
            decode: format.decodes(),
            ..read_bounds(max_wait_ms, min_bytes, max_bytes)
        };
        Self::Fetch { log: LogName { topic, partition }, offset: offset.0, bounds }
    }
}

/// Everything of a `KafkaFetchResp` but its messages.
pub(super) fn answer(next_offset: i64, Ends { start, stable, end }: Ends) -> KafkaFetchResp {
    KafkaFetchResp {
        messages: Vec::new(),
        next_offset,
        high_watermark: Some(end),
        last_stable_offset: Some(stable),
        log_start_offset: Some(start),
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
