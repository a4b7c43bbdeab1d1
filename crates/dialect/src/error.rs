//! Errors of commands in the protocol's form.

use sluicegate_protocol::ErrorResp;

use sluicegate_backend::{CommandError, Fault, System};

/// An error in the protocol's form, with a message of at most `max_bytes`.
pub fn error_resp(error: CommandError, system: System, max_bytes: usize) -> ErrorResp {
    let code = error.code_for(system);
    let CommandError { fault, mut message, retry_after, ends, .. } = error;
    message.truncate(message.floor_char_boundary(max_bytes));
    ErrorResp {
        code,
        message,
        retriable: fault.is_retriable(),
        retry_after_ms: u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX),
        unknown_outcome: matches!(fault, Fault::UnknownOutcome { .. }),
        reason: fault.reason().into(),
        earliest_offset: ends.map(|(earliest, _)| earliest),
        latest_offset: ends.map(|(_, latest)| latest),
        trace_id: String::new(),
    }
}

/// The longest message of a command's error, in bytes.
pub const MAX_ERROR_BYTES: usize = 4 * 1024;
/// The longest message of a record's error, in bytes.
pub const MAX_RECORD_ERROR_BYTES: usize = 200;
