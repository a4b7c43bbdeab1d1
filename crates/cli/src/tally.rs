//! Counts the messages written to standard output, and tracks where each partition would continue.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_client::KafkaMessage;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages: u64,
    /// Of keys and values.
    bytes: u64,
    /// The offset after the last message, by topic and partition; none for partitions without a message.
    next: BTreeMap<(String, i32), i64>,
}

/// What a command reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Partition,
    Topic,
    Topics,
}

impl Tally {
    pub(crate) fn add(&mut self, topic: &str, partition: i32, batch: &[KafkaMessage]) {
        for message in batch {
            let len = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
            let bytes = len(&message.key).saturating_add(len(&message.value));
            self.messages = self.messages.saturating_add(1);
            self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        if let Some(last) = batch.last() {
            self.next.insert((topic.to_owned(), partition), last.offset.saturating_add(1));
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One line, and for a read of several partitions one more for each that had messages.
    pub(crate) fn summary(&self, scope: Scope, elapsed: Duration) -> String {
        let Self { messages, bytes, next } = self;
        let mut text = format!("% {messages} messages, {bytes} bytes in {:.1} s", elapsed.as_secs_f64());
        for ((topic, number), offset) in next {
            text += &match scope {
                Scope::Partition => format!("; continue with --from {offset}"),
                Scope::Topic => format!("\n% continue with -p {number} --from {offset}"),
                Scope::Topics => format!("\n% continue with {topic} -p {number} --from {offset}"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_says_where_to_continue() {
        let message = |offset| KafkaMessage { offset, value: Some("four".into()), ..Default::default() };
        let mut tally = Tally::default();
        assert_eq!(tally.summary(Scope::Partition, Duration::ZERO), "% 0 messages, 0 bytes in 0.0 s");
        tally.add("a", 1, &[message(7), message(8)]);
        let one = tally.summary(Scope::Partition, Duration::from_millis(1500));
        assert_eq!(one, "% 2 messages, 8 bytes in 1.5 s; continue with --from 9");
        tally.add("a", 0, &[message(3)]);
        let all = tally.summary(Scope::Topic, Duration::ZERO);
        let lines = "% continue with -p 0 --from 4\n% continue with -p 1 --from 9";
        assert_eq!(all, format!("% 3 messages, 12 bytes in 0.0 s\n{lines}"));
        tally.add("b", 0, &[message(5)]);
        let all = tally.summary(Scope::Topics, Duration::ZERO);
        assert!(all.ends_with("% continue with a -p 1 --from 9\n% continue with b -p 0 --from 6"), "{all}");
    }
}
