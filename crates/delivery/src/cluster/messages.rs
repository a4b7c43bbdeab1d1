//! Names of topics and logs in messages, and errors about them.

use sluicegate_backend::{CommandError, Fault, Log, System};
use sluicegate_protocol::error_code::{OFFSET_OUT_OF_RANGE, TOPIC_AUTHORIZATION_FAILED};

/// A topic's name, escaped and shortened for messages: clients can send any text of any length.
pub fn escape_for_message(topic: &str) -> String {
    let mut shown: String = topic.chars().take(MAX_TOPIC_CHARS).flat_map(char::escape_debug).collect();
    if topic.chars().nth(MAX_TOPIC_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// A log in the words of its system, for messages.
pub fn escaped_log(system: System, topic: &str, partition: i32) -> String {
    let (word, topic) = (system.topic, escape_for_message(topic));
    match system.has_partitions {
        true => format!("{word}: {topic}, partition: {partition}"),
        false => format!("{word}: {topic}"),
    }
}

/// The error of a read of a topic that the client is not granted. It does not tell whether the topic exists.
pub(crate) fn read_denied(system: System, topic: &str) -> CommandError {
    let message = format!("the client may not read {} on this route", named(system, topic));
    CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, message).lacking(READ, Some(topic))
}

/// The error of a write to a topic that the client is not granted. It does not tell whether the topic exists.
pub(crate) fn write_denied(system: System, topic: &str) -> CommandError {
    let message = format!("the client may not write to {} on this route", named(system, topic));
    CommandError::forbidden(TOPIC_AUTHORIZATION_FAILED, message).lacking(WRITE, Some(topic))
}

fn named(system: System, topic: &str) -> String {
    format!("{} {}", system.topic, escape_for_message(topic))
}

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

/// The rights of clients, by the routes' keys.
pub(crate) const READ: &str = "read";
pub(crate) const WRITE: &str = "write";
pub(crate) const TABLES: &str = "tables";
pub(crate) const CONSUME: &str = "consume";

/// The longest topic name in Kafka.
pub const MAX_TOPIC_CHARS: usize = 249;
