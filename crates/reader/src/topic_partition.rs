//! Validated names of partitions.

use std::fmt;

use kafka_protocol::error::ResponseError;
use sluicegate_shared_log::LogKey;

use crate::error_code::ErrorCode;
use crate::read_error::ReadError;

/// A topic name that Kafka accepts, and a non-negative partition number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicPartition<'a> {
    topic: &'a str,
    partition: i32,
}

impl<'a> TopicPartition<'a> {
    pub(crate) fn parse(topic: &'a str, partition: i32) -> Result<Self, ReadError> {
        check_topic(topic)?;
        if partition < 0 {
            let detail = format!("partition {partition}: expected 0 or more");
            return Err(ReadError::Request {
                code: ErrorCode(ResponseError::UnknownTopicOrPartition),
                detail,
            });
        }
        Ok(Self { topic, partition })
    }

    /// The partition of a log. Every log that is read has one.
    pub(crate) fn of(log: &'a LogKey) -> Option<Self> {
        Self::parse(&log.topic, log.partition).ok()
    }

    pub(crate) fn topic(self) -> &'a str {
        self.topic
    }

    pub(crate) fn partition(self) -> i32 {
        self.partition
    }
}

impl fmt::Display for TopicPartition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic)
    }
}

/// Checks the name of a topic without a request to a broker.
///
/// # Errors
/// The name is not valid in Kafka.
pub fn check_topic(name: &str) -> Result<(), ReadError> {
    let Some(problem) = topic_problem(name) else { return Ok(()) };
    let detail =
        format!("{problem}: expected 1 to {MAX_NAME} characters of a-z A-Z 0-9 . _ -, other than . and ..");
    Err(ReadError::Request { code: ErrorCode(ResponseError::InvalidTopicException), detail })
}

/// The rules of Kafka's `org.apache.kafka.common.internals.Topic`.
fn topic_problem(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Some("empty topic name".to_owned()),
        "." | ".." => Some(format!("topic name `{name}`")),
        _ if name.len() > MAX_NAME => Some(format!("topic name of {} bytes", name.len())),
        _ if !name.bytes().all(legal) => Some("topic name with invalid characters".to_owned()),
        _ => None,
    }
}

const MAX_NAME: usize = 249;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn rejected(topic: &str, partition: i32, code: i16) {
        let error = TopicPartition::parse(topic, partition).expect_err("an invalid partition");
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.retriable() && !error.is_unavailable());
    }

    #[test]
    fn valid_names_are_accepted() {
        for topic in ["a", "orders.v1_2-x", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert!(TopicPartition::parse(topic, 0).is_ok(), "{topic}");
        }
        assert!(TopicPartition::parse("a", i32::MAX).is_ok());
    }

    #[test]
    fn invalid_names_are_rejected() {
        for topic in ["", ".", "..", "a b", "a/b", "ä", "a\0", "a\n", &"x".repeat(250)] {
            rejected(topic, 0, 17);
        }
    }

    #[test]
    fn negative_partition_is_unknown() {
        rejected("a", -1, 3);
        rejected("a", i32::MIN, 3);
    }
}
