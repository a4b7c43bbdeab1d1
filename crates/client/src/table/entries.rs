//! The messages of a table by key, without a connection.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::sealed::{Log, Row};

/// The newest message of each key, in each log that has it.
#[derive(Debug)]
pub(super) struct Entries<M> {
    keys: BTreeMap<Bytes, BTreeMap<Log, Entry<M>>>,
    /// The snapshot that is under way, or was the last one.
    snapshot: u64,
}

#[derive(Debug)]
struct Entry<M> {
    message: M,
    /// The snapshot that it is of, or was delivered after.
    snapshot: u64,
}

impl<M> Default for Entries<M> {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), snapshot: 0 }
    }
}

impl<M: Row> Entries<M> {
    /// A snapshot begins: it confirms what is left of the entries.
    pub(super) fn begin(&mut self) {
        self.snapshot = self.snapshot.saturating_add(1);
    }

    /// The snapshot is complete.
    pub(super) fn end(&mut self) {
        let snapshot = self.snapshot;
        self.retain(|_, entry| entry.snapshot == snapshot);
    }

    /// Takes messages of a log in their order. Gives their keys.
    pub(super) fn put(&mut self, log: &Log, messages: Vec<M>) -> Vec<Bytes> {
        let mut keys = Vec::with_capacity(messages.len());
        for message in messages {
            let Some(key) = message.key() else { continue };
            keys.push(key.clone());
            if !message.removes() {
                let entry = Entry { message, snapshot: self.snapshot };
                self.keys.entry(key).or_default().insert(log.clone(), entry);
            } else if let Some(logs) = self.keys.get_mut(&key) {
                logs.remove(log);
                if logs.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
        keys
    }

    /// The log has lost what is before this position. Gives the keys that were there.
    pub(super) fn remove_before(&mut self, log: &Log, position: i64) -> Vec<Bytes> {
        self.retain(|of, entry| of != log || entry.message.position() >= position)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&M> {
        newest(self.keys.get(key)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, &M)> {
        self.keys.iter().filter_map(|(key, logs)| Some((key, newest(logs)?)))
    }

    /// Removes entries that are not wanted. Gives their keys.
    fn retain(&mut self, is_wanted: impl Fn(&Log, &Entry<M>) -> bool) -> Vec<Bytes> {
        let mut removed = Vec::new();
        self.keys.retain(|key, logs| {
            let before = logs.len();
            logs.retain(|log, entry| is_wanted(log, entry));
            if logs.len() < before {
                removed.push(key.clone());
            }
            !logs.is_empty()
        });
        removed
    }
}

/// The message with the latest timestamp; of two, that of the higher partition.
fn newest<M: Row>(logs: &BTreeMap<Log, Entry<M>>) -> Option<&M> {
    logs.values().map(|entry| &entry.message).max_by_key(|message| message.timestamp())
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::KafkaMessage;

    use super::*;

    fn message(offset: i64, timestamp: i64, key: &str, value: Option<&'static str>) -> KafkaMessage {
        let (key, value) = (Some(key.to_owned().into()), value.map(Into::into));
        KafkaMessage { offset, timestamp, key, value, ..Default::default() }
    }

    fn log(partition: i32) -> Log {
        ("t".to_owned(), partition)
    }

    fn shown(entries: &Entries<KafkaMessage>) -> Vec<(&str, i64)> {
        let text = |key| std::str::from_utf8(key).unwrap();
        entries.iter().map(|(key, message)| (text(key), message.offset)).collect()
    }

    #[test]
    fn snapshot_confirms_what_is_left_and_drops_the_rest() {
        let mut entries = Entries::default();
        entries.begin();
        entries.put(&log(0), vec![message(1, 1, "a", Some("1")), message(2, 2, "b", Some("2"))]);
        entries.end();
        entries.begin();
        // Until the new state is complete.
        assert_eq!(shown(&entries), [("a", 1), ("b", 2)]);
        entries.put(&log(0), vec![message(2, 2, "b", Some("2"))]);
        entries.end();
        assert_eq!(shown(&entries), [("b", 2)]);
    }

    #[test]
    fn removals_and_lost_records_leave_the_table() {
        let mut entries = Entries::default();
        let records = ["a", "b", "c"].iter().zip(1..).map(|(key, at)| message(at, at, key, Some("x")));
        entries.put(&log(0), records.collect());
        assert_eq!(entries.put(&log(0), vec![message(4, 4, "c", None)]), ["c"]);
        assert_eq!(entries.remove_before(&log(1), 9), Vec::<Bytes>::new());
        assert_eq!(entries.remove_before(&log(0), 2), ["a"]);
        assert_eq!(shown(&entries), [("b", 2)]);
        assert!(entries.get(b"b").is_some() && entries.get(b"a").is_none());
    }

    #[test]
    fn later_timestamp_of_two_partitions_is_shown() {
        let mut entries = Entries::default();
        entries.put(&log(1), vec![message(5, 20, "a", Some("new"))]);
        entries.put(&log(0), vec![message(9, 10, "a", Some("old"))]);
        assert_eq!(shown(&entries), [("a", 5)]);
        entries.put(&log(1), vec![message(6, 30, "a", None)]);
        assert_eq!(shown(&entries), [("a", 9)], "a removal is of its partition");
    }
}
