//! JSON lines with kcat's field names: messages, offsets and topics as output, records as input.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sluicegate_client::{Header, KafkaMessage, Partition, ProduceRecord, Replica, TimestampType};

/// Appends `message` as one line to `out`.
pub(crate) fn message(topic: &str, partition: i32, message: &KafkaMessage, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        tstype: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ts: Option<i64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        headers: Vec<Option<Payload<'a>>>,
        key: Option<Payload<'a>>,
        payload: Option<Payload<'a>>,
    }
    let tstype = match message.timestamp_type() {
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "logappend",
    };
    let KafkaMessage { offset, timestamp, key, value, headers, .. } = message;
    let headers = headers
        .iter()
        .flat_map(|Header { key, value }| [Some(key.as_bytes()), value.as_deref()])
        .map(|bytes| bytes.map(Payload));
    let [key, payload] = [key, value].map(|bytes| bytes.as_deref().map(Payload));
    let ts = (*timestamp != NO_TIMESTAMP).then_some(*timestamp);
    let tstype = ts.map(|_| tstype);
    let headers = headers.collect();
    line(&Line { topic, partition, offset: *offset, tstype, ts, headers, key, payload }, out);
}

/// Offsets of one partition.
pub(crate) enum Offsets {
    At(i64),
    Ends { earliest: i64, latest: i64 },
}

/// Appends the offsets of a partition as one line to `out`.
pub(crate) fn offsets(topic: &str, partition: i32, offsets: &Offsets, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct At<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
    }
    #[derive(serde::Serialize)]
    struct Ends<'a> {
        topic: &'a str,
        partition: i32,
        earliest: i64,
        latest: i64,
    }
    match *offsets {
        Offsets::At(offset) => line(&At { topic, partition, offset }, out),
        Offsets::Ends { earliest, latest } => line(&Ends { topic, partition, earliest, latest }, out),
    }
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

/// Reads a line as [`message`] writes it. The record has no topic yet.
pub(crate) fn record(line: &[u8]) -> Result<ProduceRecord, String> {
    // An unknown field is an error: kcat's `payload_error` says that the payload is missing.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line<'a> {
        #[serde(default, rename = "topic")]
        _topic: IgnoredAny,
        partition: Option<i32>,
        #[serde(default, rename = "offset")]
        _offset: IgnoredAny,
        #[serde(default, rename = "tstype")]
        _tstype: IgnoredAny,
        ts: Option<i64>,
        #[serde(default, rename = "broker")]
        _broker: IgnoredAny,
        #[serde(borrow, default)]
        headers: Vec<Option<Given<'a>>>,
        #[serde(borrow)]
        key: Option<Given<'a>>,
        #[serde(borrow)]
        payload: Option<Given<'a>>,
    }
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
    let bytes = |given: &Given<'_>| match given {
        Given::Text(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Given::Binary { base64 } => {
            STANDARD.decode(base64.as_bytes()).map(Into::into).map_err(|why| format!("invalid base64: {why}"))
        }
    };
    let header = |pair: &[Option<Given<'_>>]| match pair {
        [Some(Given::Text(name)), value] => {
            Ok(Header { key: name.clone().into_owned(), value: value.as_ref().map(bytes).transpose()? })
        }
        _ => Err("headers: expected [NAME, VALUE, NAME, VALUE, …]".to_owned()),
    };
    let line: Line<'_> = serde_json::from_slice(line).map_err(|why| why.to_string())?;
    Ok(ProduceRecord {
        partition: line.partition,
        timestamp: line.ts.filter(|ts| *ts != NO_TIMESTAMP),
        key: line.key.as_ref().map(bytes).transpose()?,
        value: line.payload.as_ref().map(bytes).transpose()?,
        headers: line.headers.chunks(2).map(header).collect::<Result<_, _>>()?,
        ..ProduceRecord::default()
    })
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

/// Kafka's value for a record without a timestamp.
const NO_TIMESTAMP: i64 = -1;

/// Stands for the leader of a partition without one, as in Kafka.
pub(crate) const NO_LEADER: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_one_line_with_kcats_fields() {
        let sent = KafkaMessage {
            offset: 7,
            timestamp: 1_700_000_000_000,
            timestamp_type: TimestampType::LogAppendTime.into(),
            key: Some((&[0xFF, 0x00][..]).into()),
            value: Some("a\n\"b\" é".into()),
            ..Default::default()
        };
        let mut out = Vec::new();
        message("orders", 3, &sent, &mut out);
        let read = record(&out).unwrap();
        assert_eq!((read.key, read.value), (sent.key, sent.value));
        assert_eq!((read.partition, read.timestamp), (Some(3), Some(sent.timestamp)));
        let want = r#"{"topic":"orders","partition":3,"offset":7,"tstype":"logappend","ts":1700000000000,"key":{"base64":"/wA="},"payload":"a\n\"b\" é"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{want}\n"));
    }

    #[test]
    fn lines_of_kcat_are_read() {
        let line = br#"{"topic":"t","partition":1,"offset":2,"tstype":"create","ts":3,"broker":0,"headers":["a","1","b",null],"key":"k","payload":"v"}"#;
        let header = |key: &str, value| Header { key: key.to_owned(), value };
        let want = ProduceRecord {
            partition: Some(1),
            timestamp: Some(3),
            key: Some("k".into()),
            value: Some("v".into()),
            headers: vec![header("a", Some("1".into())), header("b", None)],
            ..Default::default()
        };
        assert_eq!(record(line).unwrap(), want);
    }

    #[test]
    fn null_and_empty_differ() {
        for (key, value, want) in [
            (None, None, r#""key":null,"payload":null}"#),
            (Some(Bytes::new()), Some(Bytes::new()), r#""key":"","payload":""}"#),
        ] {
            let sent = KafkaMessage { key, value, ..KafkaMessage::default() };
            let mut out = Vec::new();
            message("orders", 0, &sent, &mut out);
            assert!(out.ends_with(format!("{want}\n").as_bytes()), "{}", String::from_utf8_lossy(&out));
            let read = record(&out).unwrap();
            assert_eq!((read.key, read.value), (sent.key, sent.value));
        }
    }

    #[test]
    fn headers_are_one_flat_array() {
        let header = |key: &str, value: Option<&'static [u8]>| Header {
            key: key.to_owned(),
            value: value.map(Bytes::from_static),
        };
        let headers = vec![header("a", Some(b"1")), header("a", Some(b"\xFF")), header("", None)];
        let sent = KafkaMessage { headers, ..KafkaMessage::default() };
        let mut out = Vec::new();
        message("orders", 0, &sent, &mut out);
        let line = std::str::from_utf8(&out).unwrap();
        let want = r#""headers":["a","1","a",{"base64":"/w=="},"",null],"key":"#;
        assert!(line.contains(want), "{line}");
        assert_eq!(record(&out).unwrap().headers, sent.headers);
    }

    #[test]
    fn missing_fields_are_null_or_chosen_by_the_bridge() {
        assert_eq!(record(b"{}").unwrap(), ProduceRecord::default());
        assert_eq!(record(br#"{"key":null,"payload":null,"ts":-1}"#).unwrap(), ProduceRecord::default());
        let sent = KafkaMessage { timestamp: -1, ..KafkaMessage::default() };
        let mut out = Vec::new();
        message("orders", 0, &sent, &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("\"ts"));
    }

    #[test]
    fn other_lines_are_errors() {
        for (line, says) in [
            (&br#"{"value":"v"}"#[..], "unknown field `value`"),
            (br#"{"payload":null,"payload_error":"no schema"}"#, "unknown field `payload_error`"),
            (br#"{"headers":["k"]}"#, "headers: expected [NAME, VALUE"),
            (br#"{"headers":[null,"v"]}"#, "headers: expected [NAME, VALUE"),
            (br#"{"headers":[{"base64":"aw=="},"v"]}"#, "headers: expected [NAME, VALUE"),
            (br#"{"headers":["k",1]}"#, "expected a string"),
            (br#"{"headers":{"k":"v"}}"#, "invalid type"),
            (br#"{"key":{"base64":"?"}}"#, "invalid base64"),
            (br#"{"key":1}"#, "expected a string"),
            (br#"{"partition":"1"}"#, "invalid type"),
            (b"value", "expected value"),
            (b"", "EOF"),
        ] {
            let error = record(line).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
