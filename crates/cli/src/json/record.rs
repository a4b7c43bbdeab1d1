//! Records of Kafka, with kcat's field names.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sluicegate_client::{Header, KafkaMessage, ProduceRecord, TimestampType};

use super::decoded::{Chosen, Decoded};
use super::{Given, Payload, Value, line};

/// Appends `message` as one line to `out`.
pub(super) fn message(topic: &str, partition: i32, message: &KafkaMessage, out: &mut Vec<u8>) {
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
        key: Option<Content<'a>>,
        payload: Option<Content<'a>>,
        #[serde(flatten)]
        decoded: Decoded<'a>,
    }
    #[derive(serde::Serialize)]
    #[serde(untagged)]
    enum Content<'a> {
        Stored(Payload<'a>),
        Decoded(Value<'a>),
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
    let key = match message.key_schema {
        Some(_) => Some(Content::Decoded(Value(&message.key_json))),
        None => key.as_deref().map(|key| Content::Stored(Payload(key))),
    };
    let payload = value.as_deref().map(|value| match message.value_schema {
        Some(_) => Content::Decoded(Value(value)),
        None => Content::Stored(Payload(value)),
    });
    let ts = (*timestamp != NO_TIMESTAMP).then_some(*timestamp);
    let tstype = ts.map(|_| tstype);
    let headers = headers.collect();
    let decoded = Decoded::of(message);
    line(&Line { topic, partition, offset: *offset, tstype, ts, headers, key, payload, decoded }, out);
}

/// Reads a line as [`message`] writes it. The record has no topic yet. With a schema, which the line or its reader names
/// (`[value, key]`), a value or key is JSON of any kind.
pub(crate) fn record(line: &[u8], has_schema: [bool; 2]) -> Result<ProduceRecord, String> {
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
        key: Option<&'a RawValue>,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
        value_schema: Option<Chosen>,
        key_schema: Option<Chosen>,
        #[serde(default, rename = "not_decoded")]
        _not_decoded: IgnoredAny,
    }
    let header = |pair: &[Option<Given<'_>>]| match pair {
        [Some(Given::Text(name)), value] => Ok(Header {
            key: name.clone().into_owned(),
            value: value.as_ref().map(Given::bytes).transpose()?,
        }),
        _ => Err("headers: expected [NAME, VALUE, NAME, VALUE, …]".to_owned()),
    };
    let line: Line<'_> = serde_json::from_slice(line).map_err(|why| why.to_string())?;
    let Line { value_schema, key_schema, .. } = line;
    let [has_value_schema, has_key_schema] = has_schema;
    Ok(ProduceRecord {
        partition: line.partition,
        timestamp: line.ts.filter(|ts| *ts != NO_TIMESTAMP),
        key: content(line.key, has_key_schema || key_schema.is_some())?,
        value: content(line.payload, has_value_schema || value_schema.is_some())?,
        headers: line.headers.chunks(2).map(header).collect::<Result<_, _>>()?,
        value_schema: value_schema.map(Into::into),
        key_schema: key_schema.map(Into::into),
        ..ProduceRecord::default()
    })
}

/// A key or value: with a schema its JSON, otherwise the bytes that it stands for.
fn content(json: Option<&RawValue>, has_schema: bool) -> Result<Option<Bytes>, String> {
    let Some(json) = json.map(RawValue::get) else { return Ok(None) };
    if has_schema {
        return Ok(Some(Bytes::copy_from_slice(json.as_bytes())));
    }
    let given: Given<'_> = serde_json::from_str(json).map_err(|why| why.to_string())?;
    given.bytes().map(Some)
}

/// Kafka's value for a record without a timestamp.
const NO_TIMESTAMP: i64 = -1;

#[cfg(test)]
mod tests {
    use sluicegate_client::Schema;

    use super::*;

    fn text(sent: &KafkaMessage) -> String {
        let mut out = Vec::new();
        message("orders", 3, sent, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The line of a message, from which the same record is read.
    #[track_caller]
    fn line(sent: &KafkaMessage) -> String {
        let line = text(sent);
        let read = record(line.as_bytes(), [false; 2]).unwrap();
        assert_eq!((&read.key, &read.value, &read.headers), (&sent.key, &sent.value, &sent.headers));
        let time = Some(sent.timestamp).filter(|time| *time >= 0);
        assert_eq!((read.partition, read.timestamp), (Some(3), time));
        line
    }

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
        let want = concat!(
            r#"{"topic":"orders","partition":3,"offset":7,"tstype":"logappend","ts":1700000000000,"#,
            r#""key":{"base64":"/wA="},"payload":"a\n\"b\" é"}"#,
        );
        assert_eq!(line(&sent), format!("{want}\n"));
    }

    #[test]
    fn lines_of_kcat_are_read() {
        let line = concat!(
            r#"{"topic":"t","partition":1,"offset":2,"tstype":"create","ts":3,"#,
            r#""broker":0,"headers":["a","1","b",null],"key":"k","payload":"v"}"#,
        );
        let header = |key: &str, value| Header { key: key.to_owned(), value };
        let want = ProduceRecord {
            partition: Some(1),
            timestamp: Some(3),
            key: Some("k".into()),
            value: Some("v".into()),
            headers: vec![header("a", Some("1".into())), header("b", None)],
            ..Default::default()
        };
        assert_eq!(record(line.as_bytes(), [false; 2]).unwrap(), want);
    }

    #[test]
    fn decoded_values_are_json_that_is_written_with_the_same_schema() {
        let schema = |id, guid: &str, r#type| Some(Box::new(Schema { id, guid: guid.to_owned(), r#type }));
        let mut sent = KafkaMessage {
            key: Some(Bytes::from_static(b"\0\0\0\0\x08\x02k")),
            key_schema: schema(8, "", 1),
            key_json: "\"k\"".into(),
            value: Some("{\n\"id\":1}".into()),
            value_schema: schema(7, "", 0),
            ..Default::default()
        };
        let decoded = text(&sent);
        let want = concat!(
            r#""key":"k","payload":{"id":1},"value_schema":{"id":7,"type":"AVRO"},"#,
            r#""key_schema":{"id":8,"type":"PROTOBUF"}}"#,
        );
        assert!(decoded.ends_with(&format!("{want}\n")), "{decoded}");
        let parts = |line: &str, options| {
            let read = record(line.as_bytes(), options).unwrap();
            (read.key.unwrap(), read.value.unwrap(), read.value_schema, read.key_schema)
        };
        let want = ("\"k\"".into(), r#"{"id":1}"#.into(), Some(7.into()), Some(8.into()));
        assert_eq!(parts(&decoded, [false; 2]), want);

        sent = KafkaMessage { value_schema: schema(0, "6f8a", 2), key_schema: None, ..sent };
        sent.not_decoded = "key: schema 8 is unknown".into();
        let text = text(&sent);
        let end = r#""value_schema":{"guid":"6f8a","type":"JSON"},"not_decoded":"key: schema 8 is unknown"}"#;
        assert!(text.contains(r#""key":"\u0000"#) && text.ends_with(&format!("{end}\n")), "{text}");
        let chosen = parts(r#"{"key":[1],"payload":"v","value_schema":"s"}"#, [false, true]);
        assert_eq!(chosen, ("[1]".into(), "\"v\"".into(), Some("s".into()), None));
    }

    #[test]
    fn null_and_empty_differ_and_headers_are_one_flat_array() {
        let header = |key: &str, value: Option<&'static [u8]>| Header {
            key: key.to_owned(),
            value: value.map(Bytes::from_static),
        };
        let headers = vec![header("a", Some(b"1")), header("a", Some(b"\xFF")), header("", None)];
        let (key, value) = (Some(Bytes::new()), Some(Bytes::new()));
        for (sent, want) in [
            (KafkaMessage::default(), r#""key":null,"payload":null}"#),
            (KafkaMessage { key, value, ..Default::default() }, r#""key":"","payload":""}"#),
            (
                KafkaMessage { headers, ..Default::default() },
                r#""headers":["a","1","a",{"base64":"/w=="},"",null],"key":"#,
            ),
        ] {
            let line = line(&sent);
            assert!(line.contains(want), "{line}");
        }
    }

    #[test]
    fn missing_fields_are_null_or_chosen_by_the_bridge() {
        assert_eq!(record(b"{}", [true; 2]).unwrap(), ProduceRecord::default());
        let null = br#"{"key":null,"payload":null,"ts":-1}"#;
        assert_eq!(record(null, [true; 2]).unwrap(), ProduceRecord::default());
        assert!(!line(&KafkaMessage { timestamp: -1, ..KafkaMessage::default() }).contains("\"ts"));
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
            (br#"{"value_schema":{"guid":"6f8a"}}"#, "expected a subject, the id of a schema, or an object"),
            (b"value", "expected value"),
            (b"", "EOF"),
        ] {
            let error = record(line, [false; 2]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
