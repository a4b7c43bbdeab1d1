//! Errors of commands in protobuf and JSON, whose size is bounded.

use serde::Serialize;
use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_protocol as wire;
use sluicegate_protocol::ErrorResp;
use sluicegate_telemetry::traces;

/// An error in the protocol's form, with a message of at most `max_bytes`.
pub(crate) fn error_resp(error: CommandError, system: System, max_bytes: usize) -> ErrorResp {
    let code = error.code_for(system);
    let CommandError { fault, mut message, retry_after, ends, producer, .. } = error;
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
        producer: producer.map(|state| wire::ProducerState {
            epoch: state.epoch.unsigned_abs().into(),
            sequence: state.sequence.unsigned_abs(),
        }),
        // The audit log has denied records, partitions and topics. Their errors have room for it, as they have no offsets.
        trace_id: match fault {
            Fault::Forbidden | Fault::Unauthenticated => traces::current_id(),
            _ => String::new(),
        },
    }
}

/// An error in JSON. Members that do not apply are left out.
#[derive(Debug, Serialize)]
pub(crate) struct Error<'a> {
    reason: &'static str,
    message: &'a str,
    retriable: bool,
    #[serde(skip_serializing_if = "is_default")]
    code: i32,
    #[serde(skip_serializing_if = "is_default")]
    retry_after_ms: u32,
    #[serde(skip_serializing_if = "is_default")]
    unknown_outcome: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<Producer>,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_id: &'a str,
}

/// A producer as its log has it.
#[derive(Debug, Serialize)]
struct Producer {
    epoch: u32,
    sequence: u32,
}

impl<'a> Error<'a> {
    /// The error of a command.
    pub(crate) fn of_command(error: &'a ErrorResp) -> Self {
        Self::new(error, MAX_ERROR_BYTES.saturating_sub(OTHER_BYTES).saturating_sub(TRACE_BYTES))
    }

    /// The error of one record, partition or topic.
    pub(crate) fn of_result(error: &'a ErrorResp) -> Self {
        Self::new(error, MAX_RECORD_ERROR_BYTES)
    }

    fn new(error: &'a ErrorResp, max_bytes: usize) -> Self {
        Self {
            reason: error.reason().as_str_name(),
            message: cut(&error.message, max_bytes),
            retriable: error.retriable,
            code: error.code,
            retry_after_ms: error.retry_after_ms,
            unknown_outcome: error.unknown_outcome,
            earliest_offset: error.earliest_offset,
            latest_offset: error.latest_offset,
            producer: error
                .producer
                .map(|wire::ProducerState { epoch, sequence }| Producer { epoch, sequence }),
            trace_id: &error.trace_id,
        }
    }
}

/// Appends the error of one partition.
pub(crate) fn put(text: &mut Vec<u8>, system: System, error: CommandError) {
    text.extend_from_slice(b"\"error\":");
    // Cannot fail: a `Vec` accepts all writes.
    let _ =
        serde_json::to_writer(text, &Error::of_result(&error_resp(error, system, MAX_RECORD_ERROR_BYTES)));
}

/// The beginning of `text` that takes at most `max` bytes in a JSON string.
fn cut(text: &str, max: usize) -> &str {
    let mut bytes = 0_usize;
    let is_over = |(_, character): &(usize, char)| {
        bytes = bytes.saturating_add(match character {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..='\u{1f}' => 6,
            character => character.len_utf8(),
        });
        bytes > max
    };
    let end = text.char_indices().find(is_over);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The longest message of a command's error, in bytes.
pub const MAX_ERROR_BYTES: usize = 4 * 1024;
/// The longest message of a record's error, in bytes.
pub(crate) const MAX_RECORD_ERROR_BYTES: usize = 200;
/// The largest result of one record or partition in JSON, in bytes, without records.
pub(crate) const MAX_RESULT_BYTES: usize = MAX_RECORD_ERROR_BYTES + OTHER_BYTES;
/// Everything of an error but its message. Also more than the offsets of a partition.
const OTHER_BYTES: usize = 240;
/// The trace id of a command's error.
const TRACE_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the largest errors with messages of `character`: of a command, of a result, of one that is denied.
    fn sizes(character: char) -> [usize; 3] {
        let of_result = ErrorResp {
            code: i32::MIN,
            message: character.to_string().repeat(5000),
            retry_after_ms: u32::MAX,
            unknown_outcome: true,
            reason: sluicegate_protocol::Reason::OffsetOutOfRange.into(),
            earliest_offset: Some(i64::MIN),
            latest_offset: Some(i64::MIN),
            ..ErrorResp::default()
        };
        let of_command = ErrorResp { trace_id: "f".repeat(32), ..of_result.clone() };
        let denied = ErrorResp { earliest_offset: None, latest_offset: None, ..of_command.clone() };
        [Error::of_command(&of_command), Error::of_result(&of_result), Error::of_result(&denied)]
            .map(|error| serde_json::to_vec(&error).unwrap().len() + r#"{"error":}"#.len())
    }

    #[test]
    fn errors_are_bounded_however_they_are_escaped() {
        for character in ['a', 'é', '"', '\\', '\0', '\u{1f}', '\n', '\u{7f}', '😀'] {
            let [command, result, denied] = sizes(character);
            assert!(command <= MAX_ERROR_BYTES, "{character:?}: {command}");
            assert!(result.max(denied) <= MAX_RESULT_BYTES, "{character:?}: {result}, {denied}");
            assert!(result > MAX_RESULT_BYTES - 100, "{character:?}: cut to {result}");
        }
    }
}
