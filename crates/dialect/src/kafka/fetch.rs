//! The command `fetch`, and its answer without records.

use serde::Deserialize;
use serde_json::Error;
use sluicegate_backend::command::{Command, LogName, ReadBounds};
use sluicegate_delivery::MAX_FILTERS;
use sluicegate_protocol::{CmdKafkaFetch, Isolation, KafkaFetchResp};
use sluicegate_shared_log::Ends;

use crate::json::format::Format;
use crate::json::list::List;
use crate::session::bounds::{read_bounds, size};
use crate::session::filter::{Filter, filters, record_filters};
use crate::session::members::{Int64, Object, or_default};

/// The fetch.
///
/// # Errors
/// A filter is invalid.
pub(super) fn of_protobuf(mut command: CmdKafkaFetch) -> Result<Command, String> {
    let filters = record_filters(std::mem::take(&mut command.filters))?;
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
    // Clients of APISIX know no `next_offset`, and no filters.
    let reads_on = filters.is_empty();
    let bounds = ReadBounds {
        max_records,
        committed,
        decode,
        reads_on,
        ..read_bounds(max_wait_ms, min_bytes, max_bytes)
    };
    Ok(Command::Fetch { log: LogName { topic, partition }, offset, bounds, filters })
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch<'a> {
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
    #[serde(borrow, default, deserialize_with = "or_default")]
    filters: List<Object<Filter<'a>>, MAX_FILTERS>,
}

impl Fetch<'_> {
    /// The command, and the format of keys and values.
    ///
    /// # Errors
    /// A filter is invalid.
    pub(super) fn decode(mut self) -> Result<(Command, Format), Error> {
        let given = std::mem::take(&mut self.filters.0).into_iter().map(|Object(filter)| filter);
        let filters = filters(given, "key", self.format)?;
        let Self {
            topic,
            partition,
            offset,
            format,
            max_wait_ms,
            min_bytes,
            max_bytes,
            max_records,
            isolation,
            ..
        } = self;
        let bounds = ReadBounds {
            max_records: size(max_records),
            committed: isolation.is_committed(),
            decode: format.decodes(),
            ..read_bounds(max_wait_ms, min_bytes, max_bytes)
        };
        let log = LogName { topic, partition };
        Ok((Command::Fetch { log, offset: offset.0, bounds, filters }, format))
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
