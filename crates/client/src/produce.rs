//! The outcome of each record of a produce command.

use std::time::Duration;

use sluicegate_protocol::{ErrorResp, Produced, ProducerState, Reason};

use crate::Error;
use crate::answer::known;
use crate::error::retry_after;

/// Where Kafka stored an acknowledged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its partition.
    pub partition: i32,
    /// Its offset; `None` if the server had to retry and Kafka answered only that it has the record.
    pub offset: Option<i64>,
    /// Milliseconds since 1970-01-01T00:00:00Z, as in the log; −1 if the server does not know it any more.
    pub timestamp: i64,
    /// Whether an earlier write of its [`Producer`](crate::Producer) had written it, and this one did not.
    pub is_duplicate: bool,
    /// For how long after a write of its producer a repeat of it is recognized; `None` without a producer.
    pub duplicate_window: Option<Duration>,
}

/// Why a record, or a message to a NATS stream, was not acknowledged.
///
/// Only a [`Writer`](crate::Writer) sends a record twice by itself. If `retriable` is set and `unknown_outcome` is not, the record was
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
    /// With [`Reason::OutOfOrder`], [`Reason::Fenced`] and [`Reason::Expired`], if Kafka tells: its account of the producer.
    pub producer: Option<ProducerState>,
}

pub(crate) fn outcome(produced: Produced) -> Result<Written, RecordError> {
    match produced {
        Produced { error: Some(error), .. } => Err(error.into()),
        Produced { partition, offset, timestamp, error: None, duplicate, duplicate_window_ms, .. } => {
            Ok(Written {
                partition,
                offset: known(offset),
                timestamp,
                is_duplicate: duplicate,
                duplicate_window: (duplicate_window_ms > 0)
                    .then(|| Duration::from_millis(duplicate_window_ms)),
            })
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
            producer: error.producer,
            message: error.message,
        }
    }
}

impl From<RecordError> for Error {
    fn from(error: RecordError) -> Self {
        let RecordError { code, message, retriable, retry_after, reason, trace_id, .. } = error;
        let (earliest_offset, latest_offset) = (None, None);
        Self::Command {
            code,
            message,
            retriable,
            retry_after,
            reason,
            earliest_offset,
            latest_offset,
            trace_id,
        }
    }
}
