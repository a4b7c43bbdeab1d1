//! Members of protobuf that commands and answers of all systems have.

use std::time::Duration;

use bytes::Bytes;
use sluicegate_protocol as wire;
use sluicegate_protocol::Snapshot;
use sluicegate_protocol::kafka_subscription_event::skipped::Cause;

use sluicegate_backend::command::{Header, ReadBounds, RecordFilter, TableCommand};
use sluicegate_delivery::SkipCause;
use sluicegate_delivery::cluster::escape_for_message;

/// The bounds of a read; `max_bytes` 0: as many as the bridge allows.
pub(super) fn bounds(max_wait_ms: Option<u32>, min_bytes: u32, max_bytes: u32) -> ReadBounds {
    ReadBounds {
        max_bytes: Some(size(max_bytes)).filter(|max_bytes| *max_bytes > 0),
        wait: max_wait_ms.map(|wait| Duration::from_millis(wait.into())),
        min_bytes: size(min_bytes),
        ..ReadBounds::default()
    }
}

/// A number of bytes or records on the wire.
pub(super) fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The id of a topic; none without bytes.
///
/// # Errors
/// It does not have 16 bytes. `word` is the name of a topic in the error.
pub(super) fn topic_id(id: &[u8], word: &str, topic: &str) -> Result<Option<u128>, String> {
    match <[u8; 16]>::try_from(id) {
        Ok(id) => Ok(Some(u128::from_be_bytes(id))),
        Err(_) if id.is_empty() => Ok(None),
        Err(_) => {
            let (len, topic) = (id.len(), escape_for_message(topic));
            Err(format!("{word}_id of {len} bytes: expected 16 or none, {word}: {topic}"))
        }
    }
}

/// The bytes of a topic's id; none if it is not known.
pub(super) fn id_bytes(id: Option<u128>) -> Bytes {
    id.map(|id| id.to_be_bytes().to_vec().into()).unwrap_or_default()
}

pub(super) fn header(wire::Header { key, value }: wire::Header) -> Header {
    Header { key, value }
}

/// The filter with memory of its own: its values are parts of the whole command.
pub(super) fn record_filter(filter: wire::RecordFilter) -> RecordFilter {
    let own = |values: Vec<Bytes>| values.iter().map(|value| Bytes::copy_from_slice(value)).collect();
    let wire::RecordFilter { header, equals, prefixes } = filter;
    RecordFilter { header, equals: own(equals), prefixes: own(prefixes) }
}

/// The cause of a gap, which has the same numbers in all systems.
pub(super) fn cause(cause: SkipCause) -> Cause {
    match cause {
        SkipCause::Deleted => Cause::Deleted,
        SkipCause::Lag => Cause::Lag,
    }
}

/// The table that a subscription asks for, from which the client was away for so long; None: it is no table.
pub(crate) fn table(snapshot: Snapshot, away_ms: u64) -> Option<TableCommand> {
    (snapshot == Snapshot::LatestPerKey).then(|| TableCommand { away: Duration::from_millis(away_ms) })
}
