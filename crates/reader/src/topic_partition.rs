//! Validated names of partitions.

use std::fmt;

use kafka_protocol::error::ResponseError;
use sluicegate_shared_log::{Log, LogKey};

use crate::error::{ErrorCode, ReadError};

/// A log whose topic has a name that Kafka accepts, and whose partition has a non-negative number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicPartition<'a>(Log<'a>);

impl<'a> TopicPartition<'a> {
    pub(crate) fn parse(log @ Log { topic, partition }: Log<'a>) -> Result<Self, ReadError> {
        check_topic(topic)?;
        if partition < 0 {
            let detail = format!("partition {partition}: expected 0 or more");
            return Err(ReadError::Request {
                code: ErrorCode(ResponseError::UnknownTopicOrPartition),
                detail,
            });
        }
        Ok(Self(log))
    }

    /// The partition of a log in memory. Every log that is read has one.
    pub(crate) fn of(log: &'a LogKey) -> Option<Self> {
        Self::parse(Log { topic: &log.topic, partition: log.partition }).ok()
    }

    pub(crate) fn log(self) -> Log<'a> {
        self.0
    }

    pub(crate) fn topic(self) -> &'a str {
        self.0.topic
    }

    pub(crate) fn partition(self) -> i32 {
        self.0.partition
    }

    /// The log in memory of the topic with this id.
    pub(crate) fn key(self, topic_id: Option<u128>, committed: bool) -> LogKey {
        let Log { topic, partition } = self.0;
        LogKey { topic: topic.into(), incarnation: topic_id.unwrap_or_default(), partition, committed }
    }
}

impl fmt::Display for TopicPartition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition(), self.topic())
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

    #[test]
    fn names_of_kafka_and_partitions_from_0_on_are_accepted() {
        let parse = |topic, partition| TopicPartition::parse(Log { topic, partition });
        let long = "x".repeat(250);
        for topic in ["a", "orders.v1_2-x", "...", "__consumer_offsets", &long[1..]] {
            assert!(parse(topic, 0).is_ok() && parse(topic, i32::MAX).is_ok(), "{topic}");
        }
        let names = ["", ".", "..", "a b", "a/b", "ä", "a\0", "a\n", &long].map(|topic| (topic, 0, 17));
        for (topic, partition, code) in names.into_iter().chain([("a", -1, 3), ("a", i32::MIN, 3)]) {
            let error = parse(topic, partition).expect_err("an invalid partition");
            assert_eq!(error.code(), code, "{error}");
            assert!(!error.retriable() && !error.is_unavailable());
        }
    }
}
