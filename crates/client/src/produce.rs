//! The outcome of each record of a produce command.

use std::time::Duration;

use sluicegate_protocol::{ErrorResp, Produced, Reason};

use crate::answer::known;
use crate::error::retry_after;

/// Where Kafka stored an acknowledged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its partition.
    pub partition: i32,
    /// Its offset; `None` if the server had to retry and Kafka answered only that it has the record.
    pub offset: Option<i64>,
    /// Milliseconds since 1970-01-01T00:00:00Z, as in the log.
    pub timestamp: i64,
}

/// Why a record, or a message to a NATS stream, was not acknowledged.
///
/// The client never sends a record twice by itself. If `retriable` is set and `unknown_outcome` is not, the record was
/// not written and can be sent again; it then follows the records that were sent in between.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct RecordError {
    /// Kafka's error code, or JetStream's `err_code`; 0 if it has none.
    pub code: i32,
    /// The server's text.
    pub message: String,
    /// The same record may be accepted later.
    pub retriable: bool,
    /// Time to wait before that, if the server says so.
    pub retry_after: Option<Duration>,
    /// The record may have been written: sending it again can write it twice, unless it has a
    /// [`message_id`](crate::nats::PublishMessage::message_id).
    pub unknown_outcome: bool,
    /// The party at fault; [`Reason::Unspecified`] if the server does not say so.
    pub reason: Reason,
    /// Finds the command in the bridge's logs and traces; empty if the server does not say so.
    pub trace_id: String,
}

pub(crate) fn outcome(produced: Produced) -> Result<Written, RecordError> {
    match produced {
        Produced { error: Some(error), .. } => Err(error.into()),
        Produced { partition, offset, timestamp, error: None, .. } => {
            Ok(Written { partition, offset: known(offset), timestamp })
        }
    }
}

impl From<ErrorResp> for RecordError {
    fn from(error: ErrorResp) -> Self {
        Self {
            reason: error.reason(),
            code: error.code,
            retriable: error.retriable,
            retry_after: retry_after(&error),
            unknown_outcome: error.unknown_outcome,
            trace_id: error.trace_id,
            message: error.message,
        }
    }
}
