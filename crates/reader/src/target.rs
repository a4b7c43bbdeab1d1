//! A partition that a request may name: checked before anything is sent.

use std::fmt;

use kafka_protocol::error::ResponseError;

use crate::ReadError;
use crate::error::ErrorCode;

/// The name of a topic that Kafka would accept, and a partition that is no negative number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    topic: &'a str,
    partition: i32,
}

impl<'a> Target<'a> {
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

    pub(crate) fn topic(self) -> &'a str {
        self.topic
    }

    pub(crate) fn partition(self) -> i32 {
        self.partition
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} of topic {}", self.partition, self.topic)
    }
}

/// Checks the name of a topic. No broker is asked.
///
/// # Errors
/// Kafka has no topic of such a name.
pub fn check_topic(name: &str) -> Result<(), ReadError> {
    let Some(problem) = topic_problem(name) else { return Ok(()) };
    let detail = format!("{problem}: expected 1 to {MAX_NAME} of a-z A-Z 0-9 . _ -, and neither . nor ..");
    Err(ReadError::Request { code: ErrorCode(ResponseError::InvalidTopicException), detail })
}

/// The rule of Kafka's `org.apache.kafka.common.internals.Topic`.
fn topic_problem(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Some("an empty topic name".to_owned()),
        "." | ".." => Some(format!("a topic name of `{name}`")),
        _ if name.len() > MAX_NAME => Some(format!("a topic name of {} bytes", name.len())),
        _ if !name.bytes().all(legal) => Some("a topic name with other characters than allowed".to_owned()),
        _ => None,
    }
}

const MAX_NAME: usize = 249;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(topic: &str, partition: i32, code: i16) {
        let error = Target::parse(topic, partition).expect_err("a target to refuse");
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.retriable() && !error.is_unavailable());
    }

    #[test]
    fn every_name_that_kafka_accepts_is_accepted() {
        for topic in ["a", "orders.v1_2-x", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert!(Target::parse(topic, 0).is_ok(), "{topic}");
        }
        assert!(Target::parse("a", i32::MAX).is_ok());
    }

    #[test]
    fn no_other_name_is() {
        for topic in ["", ".", "..", "a b", "a/b", "ä", "a\0", "a\n", &"x".repeat(250)] {
            refused(topic, 0, 17);
        }
    }

    #[test]
    fn a_negative_partition_is_unknown() {
        refused("a", -1, 3);
        refused("a", i32::MIN, 3);
    }
}
