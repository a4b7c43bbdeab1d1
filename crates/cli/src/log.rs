//! Logs to read: partitions of topics, and streams.

use std::fmt;

use sluicegate_client::KafkaMessage;
use sluicegate_client::nats::NatsMessage;

/// A partition of a topic, or a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    Partition { topic: String, number: i32 },
    Stream(String),
}

impl Log {
    pub(crate) fn partition(topic: &str, number: i32) -> Self {
        Self::Partition { topic: topic.to_owned(), number }
    }

    /// The name of the topic or stream.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Partition { topic, .. } => topic,
            Self::Stream(stream) => stream,
        }
    }

    /// The name of its messages' numbers.
    pub(crate) fn unit(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "offset",
            Self::Stream(_) => "sequence",
        }
    }

    /// The text for an offset or sequence of it: `orders [3] offset 17`.
    pub(crate) fn at(&self, offset: i64) -> String {
        format!("{self} {} {offset}", self.unit())
    }

    /// As the server names it in its errors.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Partition { topic, number } => format!("topic: {topic}, partition: {number}"),
            Self::Stream(stream) => format!("stream: {stream}"),
        }
    }

    /// The options that continue a read at `next`, within its topic if it has one.
    pub(crate) fn options_from(&self, next: i64) -> String {
        match self {
            Self::Partition { number, .. } => format!("-p {number} --from {next}"),
            Self::Stream(_) => format!("--from {next}"),
        }
    }

    /// The arguments that continue a read at `next`.
    pub(crate) fn arguments_from(&self, next: i64) -> String {
        let option = if matches!(self, Self::Stream(_)) { "--stream " } else { "" };
        format!("{option}{} {}", self.name(), self.options_from(next))
    }
}

/// `orders [3]`, or the name of a stream.
impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition { topic, number } => write!(f, "{topic} [{number}]"),
            Self::Stream(stream) => f.write_str(stream),
        }
    }
}

/// A message of a stream as a record: the subject is the key.
pub(crate) fn record(message: NatsMessage) -> KafkaMessage {
    let NatsMessage { sequence, timestamp, subject, data, headers, error } = message;
    KafkaMessage {
        offset: sequence,
        timestamp,
        key: Some(subject.into()),
        value: Some(data),
        headers,
        error,
        ..Default::default()
    }
}
