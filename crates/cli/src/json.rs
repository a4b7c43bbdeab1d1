//! JSON lines: messages, offsets and topics as output, records as input. Kafka's have kcat's field names, those of
//! streams the names of the gateway's own JSON.

mod decoded;
mod record;
mod stream;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sluicegate_client::{KafkaMessage, Partition, Replica};

use crate::log::Log;
pub(crate) use decoded::Decoded;
pub(crate) use record::record;
pub(crate) use stream::publish_message;

/// Appends `message` as one line to `out`.
pub(crate) fn message(log: &Log, message: &KafkaMessage, out: &mut Vec<u8>) {
    match log {
        Log::Partition { topic, number } => record::message(topic, *number, message, out),
        Log::Stream(stream) => stream::message(stream, message, out),
    }
}

/// Offsets or sequences of one log.
pub(crate) enum Offsets {
    At(i64),
    Ends { earliest: i64, latest: i64 },
}

/// Appends the offsets of a log as one line to `out`; with `record`, as those of this record of an input.
pub(crate) fn offsets(record: Option<u64>, log: &Log, offsets: &Offsets, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        record: Option<u64>,
        #[serde(flatten)]
        log: Named<'a>,
        #[serde(flatten)]
        found: Found,
    }
    #[derive(serde::Serialize)]
    #[serde(untagged)]
    enum Named<'a> {
        Partition { topic: &'a str, partition: i32 },
        Stream { stream: &'a str },
    }
    #[derive(serde::Serialize)]
    #[serde(untagged)]
    enum Found {
        Offset { offset: i64 },
        Sequence { sequence: i64 },
        Ends { earliest: i64, latest: i64 },
    }
    let found = match (log, offsets) {
        (Log::Partition { .. }, &Offsets::At(offset)) => Found::Offset { offset },
        (Log::Stream(_), &Offsets::At(sequence)) => Found::Sequence { sequence },
        (_, &Offsets::Ends { earliest, latest }) => Found::Ends { earliest, latest },
    };
    let log = match log {
        Log::Partition { topic, number } => Named::Partition { topic, partition: *number },
        Log::Stream(stream) => Named::Stream { stream },
    };
    line(&Line { record, log, found }, out);
}

/// A topic with its partitions.
pub(crate) type Topic = (String, Vec<Partition>);

/// Appends topics as one line to `out`.
pub(crate) fn topics(topics: &[Topic], out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topics: Vec<TopicObject<'a>>,
    }
    #[derive(serde::Serialize)]
    struct TopicObject<'a> {
        topic: &'a str,
        partitions: Vec<PartitionObject>,
    }
    #[derive(serde::Serialize)]
    struct PartitionObject {
        partition: i32,
        leader: i32,
        replicas: Vec<Id>,
        isrs: Vec<Id>,
    }
    #[derive(serde::Serialize)]
    struct Id {
        id: i32,
    }
    let id = |replica: &Replica| Id { id: replica.broker };
    let partition = |Partition { partition, leader, replicas, .. }: &Partition| PartitionObject {
        partition: *partition,
        leader: leader.unwrap_or(NO_LEADER),
        replicas: replicas.iter().map(id).collect(),
        isrs: replicas.iter().filter(|replica| replica.in_sync).map(id).collect(),
    };
    let topics = topics.iter().map(|(topic, partitions)| TopicObject {
        topic,
        partitions: partitions.iter().map(partition).collect(),
    });
    line(&Line { topics: topics.collect() }, out);
}

/// A change of a table.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(crate) enum TableLine<'a> {
    Key {
        key: Key<'a>,
        value: Value<'a>,
        timestamp: i64,
        #[serde(flatten)]
        decoded: Decoded<'a>,
    },
    Removed {
        key: Key<'a>,
        removed: bool,
    },
    Complete {
        complete: bool,
    },
}

/// Appends a change of a table as one line to `out`.
pub(crate) fn table_line(change: &TableLine<'_>, out: &mut Vec<u8>) {
    line(change, out);
}

/// Appends a table as one line to `out`.
pub(crate) fn table<'a>(rows: impl Iterator<Item = (&'a [u8], &'a [u8])>, out: &mut Vec<u8>) {
    let rows: Vec<_> = rows.map(|(key, value)| (Key(key), Value(value))).collect();
    let object = Object(&rows);
    line(&object, out);
}

struct Object<'a>(&'a [(Key<'a>, Value<'a>)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// A key as the name of a member: if it is not UTF-8, `base64:` and its base64.
pub(crate) struct Key<'a>(pub(crate) &'a [u8]);

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(&format_args!("base64:{}", STANDARD.encode(self.0))),
        }
    }
}

/// A value: JSON that has a value as it is, everything else as a [`Payload`].
pub(crate) struct Value<'a>(pub(crate) &'a [u8]);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Readers of lines refuse what has no value, such as `1e999` and halves of surrogate pairs.
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(self.0) else {
            return Payload(self.0).serialize(serializer);
        };
        match serde_json::from_slice::<&serde_json::value::RawValue>(self.0) {
            Ok(json) if !json.get().contains(['\n', '\r']) => json.serialize(serializer),
            // Within a line, line breaks would begin another one.
            _ => value.serialize(serializer),
        }
    }
}

fn line(line: &impl Serialize, out: &mut Vec<u8>) {
    // Strings and numbers can always be serialized, and writing to a `Vec` does not fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

/// A string if it is UTF-8, otherwise an object, so that a reader can tell them apart.
struct Payload<'a>(&'a [u8]);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut object = serializer.serialize_map(Some(1))?;
                object.serialize_entry("base64", &STANDARD.encode(self.0))?;
                object.end()
            }
        }
    }
}

/// A string, or bytes that are not UTF-8.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, {\"base64\": \"…\"} or null")]
enum Given<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    #[serde(rename_all = "lowercase")]
    Binary {
        #[serde(borrow)]
        base64: Cow<'a, str>,
    },
}

impl Given<'_> {
    fn bytes(&self) -> Result<Bytes, String> {
        match self {
            Given::Text(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Given::Binary { base64 } => {
                let decoded = STANDARD.decode(base64.as_bytes());
                decoded.map(Into::into).map_err(|why| format!("invalid base64: {why}"))
            }
        }
    }
}

/// Stands for the leader of a partition without one, as in Kafka.
pub(crate) const NO_LEADER: i32 = -1;
/// Stands for an offset that does not exist or is not known, as in Kafka.
pub(crate) const NO_OFFSET: i64 = -1;
