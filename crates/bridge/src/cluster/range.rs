//! The error of an offset that is not between the ends of its log.

use sluicegate_protocol::error_code::OFFSET_OUT_OF_RANGE;

use super::shown;
use crate::backend::{CommandError, Fault, Log, System};

/// The error of an offset that a client names. `ends` are the first offset of the log, and the one after its last record.
pub(crate) fn out_of_range(
    system: System,
    log: Log<'_>,
    offset: i64,
    ends @ (start, end): (i64, i64),
) -> CommandError {
    let (topic, partition) = (shown(log.topic), log.partition);
    let (code, what) = match system {
        System::Kafka => (
            OFFSET_OUT_OF_RANGE,
            format!("offset {offset} is not within partition {partition} of topic {topic}"),
        ),
        System::Nats => (0, format!("sequence {offset} is not within stream {topic}")),
    };
    let message = format!("{what}: expected {start} to {end}");
    CommandError { ends: Some(ends), ..CommandError::new(Fault::OffsetOutOfRange, code, message) }
}
