//! The error of an offset that is not between the ends of its log.

use sluicegate_backend::{CommandError, Fault, Log, System};
use sluicegate_protocol::error_code::OFFSET_OUT_OF_RANGE;

use super::escape_for_message;

/// The error of an offset that a client names. `ends` are the first offset of the log, and the one after its last
/// record.
pub fn out_of_range(
    system: System,
    log: Log<'_>,
    offset: i64,
    ends @ (start, end): (i64, i64),
) -> CommandError {
    let (word, topic) = (system.topic, escape_for_message(log.topic));
    let (code, place) = match system.has_partitions {
        true => (OFFSET_OUT_OF_RANGE, format!("partition {} of {word} {topic}", log.partition)),
        false => (0, format!("{word} {topic}")),
    };
    let message = format!("{} {offset} is not within {place}: expected {start} to {end}", system.offset);
    CommandError { ends: Some(ends), ..CommandError::new(Fault::OffsetOutOfRange, code, message) }
}
