//! Texts of clusters of NATS.

use bytes::Bytes;
use sluicegate_protocol::MESSAGE_ID_HEADER;

use super::*;

#[track_caller]
fn runs(text: &str, format: Format, command: Command) {
    let want = Request::Command { sequence: 7, command, encoding: Encoding::Json(format) };
    assert_eq!(super::super::parse(text.as_bytes(), System::Nats), want, "{text}");
}

#[test]
fn commands_have_the_words_of_nats() {
    let stream = || LogName::of_stream("s".into());
    let bounds = ReadBounds {
        wait: Some(Duration::from_millis(1)),
        min_bytes: 2,
        max_bytes: Some(3),
        max_records: 4,
        ..ReadBounds::default()
    };
    let text = r#"{"id":7,"fetch":{"stream":"s","sequence":"5","format":"text","max_wait_ms":1,"min_bytes":2,"max_bytes":3,"max_messages":4}}"#;
    runs(text, Format::Text, Command::Fetch { log: stream(), offset: 5, bounds });
    let text = r#"{"id":7,"list_sequences":{"times":[{"stream":"s","timestamp":-2}]}}"#;
    runs(text, Format::Json, Command::ListOffsets { asked: vec![(stream(), -2)], committed: false });
    let header = |key: &str, value: &'static str| Header { key: key.into(), value: Some(value.into()) };
    let record = Record {
        topic: "s".into(),
        key: Some("a.b".into()),
        value: Some("{\"n\":1}".into()),
        headers: vec![header("h", "v"), header(MESSAGE_ID_HEADER, "id")],
        ..Default::default()
    };
    let empty = Record { value: Some(Bytes::new()), headers: Vec::new(), ..record.clone() };
    let text = r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a.b","data":{"n": 1},"headers":[{"key":"h","value":"v"}],"message_id":"id"},{"stream":"s","subject":"a.b","data":null}]}}"#;
    runs(text, Format::Json, Command::Produce(vec![record, empty]));
}

#[test]
fn words_of_kafka_are_refused() {
    for (text, want) in [
        (
            r#"{"id":7,"fetch":{"topic":"t","partition":0,"offset":0}}"#,
            "fetch: unknown field `topic`, expected one of `stream`, `sequence`",
        ),
        (
            r#"{"id":7,"produce":{"records":[]}}"#,
            "unknown command \"produce\": expected one of ping, fetch, list_sequences, publish, subscribe, unsubscribe, credit",
        ),
        (r#"{"id":7,"subscribe":{"from":"earliest"}}"#, "missing field `stream`, or `sources`"),
        (
            r#"{"id":7,"subscribe":{"stream":"s","filters":[{"key":"a"}]}}"#,
            "unknown field `key`, expected one of `subject`, `header`, `value`",
        ),
        (
            r#"{"id":7,"subscribe":{"stream":"s","filters":[{}]}}"#,
            "filters[0]: expected `subject`, or `header` and perhaps `value`",
        ),
        (
            r#"{"id":7,"subscribe":{"stream":"s","from":{"sequence":5},"stream_id":""}}"#,
            "stream_id: expected the one of an answer to `subscribe`",
        ),
        (
            r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a"}]}}"#,
            "publish: messages[0].data: missing, expected a value or null",
        ),
        (
            r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a","data":1,"headers":[{"key":"h","value":1}]}]}}"#,
            "publish: messages[0].headers[0].value: expected a string",
        ),
    ] {
        match super::super::parse(text.as_bytes(), System::Nats) {
            Request::Invalid { sequence: 7, message, .. } => {
                assert!(message.contains(want), "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}
