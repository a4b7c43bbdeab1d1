//! The command `fetch`, and its answer without messages.

use serde::Deserialize;
use sluicegate_backend::command::{Command, LogName, ReadBounds};
use sluicegate_protocol::{CmdNatsFetch, NatsFetchResp};
use sluicegate_shared_log::Ends;

use crate::json::format::Format;
use crate::session::bounds::{read_bounds, size};
use crate::session::members::{Int64, or_default};

pub(super) fn of_protobuf(command: CmdNatsFetch) -> Command {
    let CmdNatsFetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages } = command;
    let bounds = read_bounds(max_wait_ms, min_bytes, max_bytes);
    let bounds = ReadBounds { max_records: size(max_messages), ..bounds };
    Command::Fetch { log: LogName::of_stream(stream), offset: sequence, bounds }
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    stream: String,
    sequence: Int64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) format: Format,
    max_wait_ms: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    min_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_messages: u32,
}

impl From<Fetch> for Command {
    fn from(fetch: Fetch) -> Self {
        let Fetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages, .. } = fetch;
        let bounds =
            ReadBounds { max_records: size(max_messages), ..read_bounds(max_wait_ms, min_bytes, max_bytes) };
        Self::Fetch { log: LogName::of_stream(stream), offset: sequence.0, bounds }
    }
}

/// Everything of a fetch's answer but its messages.
pub(super) fn answer(next_offset: i64, ends: Ends) -> NatsFetchResp {
    NatsFetchResp {
        messages: Vec::new(),
        next_sequence: next_offset,
        end: Some(ends.end),
        first_sequence: Some(ends.start),
    }
}
