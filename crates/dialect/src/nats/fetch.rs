//! The command `fetch`, and its answer without messages.

use serde::Deserialize;
use serde_json::Error;
use sluicegate_backend::command::{Command, LogName, ReadBounds};
use sluicegate_delivery::MAX_FILTERS;
use sluicegate_protocol::{CmdNatsFetch, NatsFetchResp};
use sluicegate_shared_log::Ends;

use super::subscribe::SubjectFilter;
use crate::json::format::Format;
use crate::json::list::List;
use crate::session::bounds::{read_bounds, size};
use crate::session::filter::{filters, record_filters};
use crate::session::members::{Int64, Object, or_default};

/// The fetch.
///
/// # Errors
/// A filter is invalid.
pub(super) fn of_protobuf(command: CmdNatsFetch) -> Result<Command, String> {
    let CmdNatsFetch { stream, sequence, max_wait_ms, min_bytes, max_bytes, max_messages, filters } = command;
    let filters = record_filters(filters)?;
    let bounds = read_bounds(max_wait_ms, min_bytes, max_bytes);
    let bounds = ReadBounds { max_records: size(max_messages), ..bounds };
    Ok(Command::Fetch { log: LogName::of_stream(stream), offset: sequence, bounds, filters })
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch<'a> {
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
    #[serde(borrow, default, deserialize_with = "or_default")]
    filters: List<Object<SubjectFilter<'a>>, MAX_FILTERS>,
}

impl Fetch<'_> {
    /// The command, and the format of data.
    ///
    /// # Errors
    /// A filter is invalid.
    pub(super) fn decode(self) -> Result<(Command, Format), Error> {
        let Self {
            stream,
            sequence,
            format,
            max_wait_ms,
            min_bytes,
            max_bytes,
            max_messages,
            filters: given,
        } = self;
        let given = given.0.into_iter().map(|Object(filter)| filter.into());
        let filters = filters(given, "subject", format)?;
        let bounds =
            ReadBounds { max_records: size(max_messages), ..read_bounds(max_wait_ms, min_bytes, max_bytes) };
        let log = LogName::of_stream(stream);
        Ok((Command::Fetch { log, offset: sequence.0, bounds, filters }, format))
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
