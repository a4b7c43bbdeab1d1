//! Counts the messages written to standard output, and tracks where each log would continue.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use sluicegate_client::KafkaMessage;

use crate::log::Log;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    messages: u64,
    /// Of keys and values, subjects and data.
    bytes: u64,
    /// The offset after the last message; none for logs without a message.
    next: BTreeMap<Log, i64>,
}

/// Extent of a command's reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One log.
    One,
    /// Partitions of one topic.
    Topic,
    Many,
}

impl Tally {
    pub(crate) fn add(&mut self, log: &Log, batch: &[KafkaMessage]) {
        for message in batch {
            let len = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
            let bytes = len(&message.key).saturating_add(len(&message.value));
            self.messages = self.messages.saturating_add(1);
            self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        }
        if let Some(last) = batch.last() {
            self.next.insert(log.clone(), last.offset.saturating_add(1));
        }
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Leaves out of the summary where to continue: the positions are of a log that is gone.
    pub(crate) fn forget_positions(&mut self) {
        self.next.clear();
    }

    /// One line, and for a read of several logs one more for each that had messages.
    pub(crate) fn summary(&self, scope: Scope, elapsed: Duration) -> String {
        let Self { messages, bytes, next } = self;
        let mut text = format!("% {messages} messages, {bytes} bytes in {:.1} s", elapsed.as_secs_f64());
        for (log, next) in next {
            text += &match scope {
                Scope::One => format!("; continue with --from {next}"),
                Scope::Topic => format!("\n% continue with {}", log.options_from(*next)),
                Scope::Many => format!("\n% continue with {}", log.arguments_from(*next)),
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
        assert_eq!(tally.summary(Scope::One, Duration::ZERO), "% 0 messages, 0 bytes in 0.0 s");
        tally.add(&Log::partition("a", 1), &[message(7), message(8)]);
        let one = tally.summary(Scope::One, Duration::from_millis(1500));
        assert_eq!(one, "% 2 messages, 8 bytes in 1.5 s; continue with --from 9");
        tally.add(&Log::partition("a", 0), &[message(3)]);
        let all = tally.summary(Scope::Topic, Duration::ZERO);
        let lines = "% continue with -p 0 --from 4\n% continue with -p 1 --from 9";
        assert_eq!(all, format!("% 3 messages, 12 bytes in 0.0 s\n{lines}"));
        tally.add(&Log::partition("b", 0), &[message(5)]);
        let all = tally.summary(Scope::Many, Duration::ZERO);
        assert!(all.ends_with("% continue with a -p 1 --from 9\n% continue with b -p 0 --from 6"), "{all}");
        tally.add(&Log::Stream("c".into()), &[message(1)]);
        let all = tally.summary(Scope::Many, Duration::ZERO);
        assert!(all.ends_with("\n% continue with --stream c --from 2"), "{all}");
    }
}
