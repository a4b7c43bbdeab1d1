//! Messages and offsets as JSON lines, and records from them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sluicegate_client::{Header, KafkaMessage, ProduceRecord};

/// Appends `message` as one line to `out`.
pub(crate) fn message(topic: &str, partition: i32, message: &KafkaMessage, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
        timestamp: i64,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        headers: Vec<HeaderLine<'a>>,
        key: Option<Payload<'a>>,
        value: Option<Payload<'a>>,
    }
    #[derive(serde::Serialize)]
    struct HeaderLine<'a> {
        key: &'a str,
        value: Option<Payload<'a>>,
    }
    let KafkaMessage { offset, timestamp, key, value, headers } = message;
    let headers: Vec<HeaderLine<'_>> = headers
        .iter()
        .map(|Header { key, value }| HeaderLine { key, value: value.as_deref().map(Payload) })
        .collect();
    let [key, value] = [key, value].map(|bytes| bytes.as_deref().map(Payload));
    let (offset, timestamp) = (*offset, *timestamp);
    line(&Line { topic, partition, offset, timestamp, headers, key, value }, out);
}

/// Appends an offset of a partition as one line to `out`.
pub(crate) fn offset(topic: &str, partition: i32, offset: i64, out: &mut Vec<u8>) {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        topic: &'a str,
        partition: i32,
        offset: i64,
    }
    line(&Line { topic, partition, offset }, out);
}

/// Reads a line as [`message`] writes it. The record has no topic yet.
pub(crate) fn record(line: &[u8]) -> Result<ProduceRecord, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line<'a> {
        #[serde(default, rename = "topic")]
        _topic: IgnoredAny,
        #[serde(default, rename = "offset")]
        _offset: IgnoredAny,
        partition: Option<i32>,
        timestamp: Option<i64>,
        #[serde(borrow, default)]
        headers: Vec<HeaderLine<'a>>,
        #[serde(borrow)]
        key: Option<Given<'a>>,
        #[serde(borrow)]
        value: Option<Given<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct HeaderLine<'a> {
        key: String,
        #[serde(borrow)]
        value: Option<Given<'a>>,
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
    let bytes = |given: Given<'_>| match given {
        Given::Text(text) => Ok(text.into_owned().into()),
        Given::Binary { base64 } => {
            STANDARD.decode(base64.as_bytes()).map(Into::into).map_err(|why| format!("no base64: {why}"))
        }
    };
    let header = |HeaderLine { key, value }: HeaderLine<'_>| {
        Ok::<_, String>(Header { key, value: value.map(bytes).transpose()? })
    };
    let line: Line<'_> = serde_json::from_slice(line).map_err(|why| why.to_string())?;
    Ok(ProduceRecord {
        partition: line.partition,
        // Kafka's "none".
        timestamp: line.timestamp.filter(|timestamp| *timestamp != -1),
        key: line.key.map(bytes).transpose()?,
        value: line.value.map(bytes).transpose()?,
        headers: line.headers.into_iter().map(header).collect::<Result<_, _>>()?,
        ..ProduceRecord::default()
    })
}

fn line(line: &impl Serialize, out: &mut Vec<u8>) {
    // Neither strings nor numbers can fail to be JSON, and writing to a `Vec` does not fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

/// A string where it is UTF-8, otherwise an object, so that a reader can tell them apart.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_message_is_one_line_in_a_fixed_order() {
        let sent = KafkaMessage {
            offset: 7,
            timestamp: 1_700_000_000_000,
            key: Some((&[0xFF, 0x00][..]).into()),
            value: Some("a\n\"b\" é".into()),
            headers: Vec::new(),
        };
        let mut out = Vec::new();
        message("orders", 3, &sent, &mut out);
        let read = record(&out).unwrap();
        assert_eq!((read.key, read.value), (sent.key, sent.value));
        assert_eq!((read.partition, read.timestamp), (Some(3), Some(sent.timestamp)));
        let want = r#"{"topic":"orders","partition":3,"offset":7,"timestamp":1700000000000,"key":{"base64":"/wA="},"value":"a\n\"b\" é"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{want}\n"));
    }

    #[test]
    fn null_and_empty_are_told_apart() {
        for (key, value, want) in [
            (None, None, r#""key":null,"value":null}"#),
            (Some(Bytes::new()), Some(Bytes::new()), r#""key":"","value":""}"#),
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
    fn headers_are_there_where_a_record_has_some() {
        let header = |key: &str, value: Option<&'static [u8]>| Header {
            key: key.to_owned(),
            value: value.map(Bytes::from_static),
        };
        let headers = vec![header("a", Some(b"1")), header("a", Some(b"\xFF")), header("", None)];
        let sent = KafkaMessage { headers, ..KafkaMessage::default() };
        let mut out = Vec::new();
        message("orders", 0, &sent, &mut out);
        let line = std::str::from_utf8(&out).unwrap();
        let want = r#""headers":[{"key":"a","value":"1"},{"key":"a","value":{"base64":"/w=="}},{"key":"","value":null}],"key":"#;
        assert!(line.contains(want), "{line}");
        assert_eq!(record(&out).unwrap().headers, sent.headers);
    }

    #[test]
    fn what_a_line_leaves_out_is_null_or_chosen_by_the_bridge() {
        assert_eq!(record(b"{}").unwrap(), ProduceRecord::default());
        assert_eq!(record(br#"{"key":null,"value":null,"timestamp":-1}"#).unwrap(), ProduceRecord::default());
        for (line, says) in [
            (&br#"{"header":[]}"#[..], "unknown field `header`"),
            (br#"{"headers":[{"value":""}]}"#, "missing field `key`"),
            (br#"{"headers":[{"key":"k","value":1}]}"#, "expected a string"),
            (br#"{"headers":["k","v"]}"#, "invalid type"),
            (br#"{"key":{"base64":"?"}}"#, "no base64"),
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
