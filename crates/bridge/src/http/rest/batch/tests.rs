//! The records of valid bodies, and the problems of invalid ones.

use bytes::Bytes;
use proptest::prelude::*;
use sluicegate_backend::command::Header;
use sluicegate_delivery::cluster::MAX_HEADERS;
use sluicegate_protocol::{KafkaMessage, TimestampType};

use super::super::super::tests::{check_problem, told};
use super::*;

fn json(body: &str) -> Vec<Record> {
    parse(body.as_bytes(), System::Kafka, Format::Json, "t", None).unwrap()
}

#[track_caller]
fn check(format: Format, body: &str, status: u16, want: &str) {
    check_of(System::Kafka, format, body, status, want);
}

#[track_caller]
fn check_of(system: System, format: Format, body: &str, status: u16, want: &str) {
    check_problem(parse(body.as_bytes(), system, format, "t", None).unwrap_err(), status, want);
}

fn header(key: &str, value: Option<&'static [u8]>) -> Header {
    Header { key: key.into(), value: value.map(Bytes::from_static) }
}

#[test]
fn embedded_json_only_loses_whitespace() {
    let body = r#" { "key_schema": null, "value_schema": "{}", "value_schema_id": 7, "records" : [
        { "key": { "a" : 12345678901234567890.0 }, "value": [ 1, " x " ], "partition": 3, "timestamp": 5 },
        { "value": "text", "key": null, "topic": "other", "offset": 9, "timestamp_type": "LogAppendTime" },
        { "value": 1e400 }, { "value": null }, { "key": "\u00e9", "value": false }
    ] }"#;
    let records = json(body);
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let found: Vec<_> = records.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    let want = [
        (bytes(r#"{"a":12345678901234567890.0}"#), bytes(r#"[1," x "]"#)),
        (None, bytes(r#""text""#)),
        (None, bytes("1e400")),
        (None, None),
        (bytes(r#""\u00e9""#), bytes("false")),
    ];
    assert_eq!(found, want);
    assert_eq!((records[0].partition, records[0].timestamp), (Some(3), Some(5)));
    assert_eq!((records[1].partition, records[1].timestamp), (None, None));
    assert!(records.iter().all(|record| record.topic == "t"));
}

#[test]
fn binary_is_base64() {
    let body = r#"{"records":[{"key":"AP8=","value":"\u0041A\/\/"},{"key":"","value":null}]}"#;
    let records = parse(body.as_bytes(), System::Kafka, Format::Binary, "t", None).unwrap();
    assert_eq!(records[0].key.as_deref(), Some(&b"\0\xFF"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&b"\0\x0F\xFF"[..]));
    assert_eq!((records[1].key.as_deref(), &records[1].value), (Some(&b""[..]), &None));
    for (text, want) in
        [("AP8", [0, 0xFF]), ("AP9", [0, 0xFF]), ("-_8", [0xFB, 0xFF]), ("+/8=", [0xFB, 0xFF])]
    {
        let body = format!("{{\"records\":[{{\"value\":\"{text}\"}}]}}");
        let records = parse(body.as_bytes(), System::Kafka, Format::Binary, "t", None).unwrap();
        assert_eq!(records[0].value.as_deref(), Some(&want[..]), "{text}");
    }
    for wrong in ["A", "+_8=", "AP8=\\n", "é", " AP8="] {
        let body = format!("{{\"records\":[{{\"value\":\"{wrong}\"}}]}}");
        check(Format::Binary, &body, 422, "records[0].value: expected a base64 string or null");
    }
    for wrong in ["1", "{}", "[]", "true", "\"\\ud83d\""] {
        let body = format!("{{\"records\":[{{\"value\":null}},{{\"key\":{wrong},\"value\":null}}]}}");
        check(Format::Binary, &body, 422, "records[1].key: expected a base64 string or null");
    }
}

#[test]
fn text_is_as_it_stands() {
    let body = r#"{"records":[{"key":"k1","value":"\u0041\n"},{"key":"","value":null}]}"#;
    let records = parse(body.as_bytes(), System::Kafka, Format::Text, "t", None).unwrap();
    assert_eq!(
        (records[0].key.as_deref(), records[0].value.as_deref()),
        (Some(&b"k1"[..]), Some(&b"A\n"[..]))
    );
    assert_eq!((records[1].key.as_deref(), &records[1].value), (Some(&b""[..]), &None));
    let want = "records[0].value: expected a string, ";
    check(Format::Text, r#"{"records":[{"value":1}]}"#, 422, want);
}

#[test]
fn headers_are_a_list_of_names_and_base64() {
    let body = r#"{"records":[{"value":1,"headers":[{"key":"b","value":"AA=="},{"name":"a"},{"key":"b","value":null}]}]}"#;
    let want = [header("b", Some(b"\0")), header("a", None), header("b", None)];
    assert_eq!(json(body)[0].headers, want);
    for (headers, want) in [
        ("{}", ": expected an array"),
        ("[1]", "[0]: expected an object"),
        ("[{}]", "[0].key: expected a string"),
        (r#"[{"key":null}]"#, "[0].key: expected a string"),
        (r#"[{"key":"k","vlaue":""}]"#, "[0]: unknown member vlaue, expected one of key, name, value"),
        (r#"[{"key":"k","name":"k"}]"#, "[0]: has key and name, expected one of them"),
        (r#"[{"key":"k","value":1}]"#, "[0].value: expected a base64 string"),
    ] {
        let body = format!(r#"{{"records":[{{"value":1,"headers":{headers}}}]}}"#);
        check(Format::Json, &body, 422, &format!("records[0].headers{want}"));
    }
}

#[test]
fn invalid_batches_are_refused() {
    for (body, status, want) in [
        ("", 400, "the body is not valid JSON"),
        ("{\"records\":[{]}", 400, "at line 1 column 14"),
        ("[[]]", 422, "the body: expected an object"),
        ("null", 422, "the body: expected an object"),
        ("{}", 422, "records: expected an array"),
        (r#"{"records":null}"#, 422, "records: expected an array"),
        (r#"{"records":{}}"#, 422, "records: expected an array"),
        (r#"{"records":"[]"}"#, 422, "records: expected an array"),
        (r#"{"records":[]}"#, 422, "records: expected at least one"),
        (r#"{"record":[]}"#, 422, "the body: unknown member record, expected one of records, key_schema"),
        (r#"{"records":[],"records":[{}]}"#, 422, "the body: has a duplicate member"),
    ] {
        check(Format::Json, body, status, want);
    }
}

#[test]
fn record_that_is_wrong_in_any_member_writes_nothing() {
    let (partition, timestamp) =
        ("partition: expected a whole number from -1 to", "timestamp: expected a whole number from 1 to");
    let missing = "value: missing, expected a value or null";
    for (record, want) in [
        ("[1,2]", ": expected an object"),
        ("null", ": expected an object"),
        (r#"{"key":1,"key":2}"#, ": has a duplicate member"),
        (r#"{"\ud83d":1}"#, ": has a member name that is not Unicode"),
        (r#"{"vlaue":1}"#, ": unknown member vlaue, expected one of key, value, partition, headers"),
        (r#"{"value":null,"Key":1}"#, ": unknown member Key, expected one of key, value"),
        (r#"{"value":null,"`, expected \n":1}"#, r": unknown member `, expected \\n, expected one of key"),
        ("{}", missing),
        (r#"{"key":"AP8=","partition":0}"#, missing),
        (r#"{"partition":"0"}"#, partition),
        (r#"{"partition":-2}"#, partition),
        (r#"{"partition":2147483648}"#, partition),
        (r#"{"partition":0.0}"#, partition),
        (r#"{"partition":1e0}"#, partition),
        (r#"{"value":null,"timestamp":0}"#, timestamp),
        (r#"{"value":null,"timestamp":9223372036854775808}"#, timestamp),
    ] {
        let dot = if want.starts_with(':') { "" } else { "." };
        for format in [Format::Json, Format::Binary] {
            let body = format!("{{\"records\":[{{\"value\":null}},{record}]}}");
            check(format, &body, 422, &format!("records[1]{dot}{want}"));
        }
    }
    let long = format!(r#"{{"records":[{{"{}":1}}]}}"#, "x".repeat(100_000));
    let problem = parse(long.as_bytes(), System::Kafka, Format::Json, "t", None).unwrap_err();
    assert!(told(problem.plain()).1.len() < 1000);
}

#[test]
fn records_are_written_as_they_were_read() {
    let wire_header = |key: &str, value| sluicegate_protocol::Header { key: key.into(), value };
    for (system, key, value, format) in [
        (System::Kafka, &b"\xFFk"[..], &b"\xFFv"[..], Format::Text),
        (System::Kafka, b"\xFFk", b"\xFFv", Format::Binary),
        (System::Kafka, b"{\"a\":1}", b"[1.0]", Format::Json),
        (System::Nats, b"a.b", b"\xFFv", Format::Text),
        (System::Nats, b"a.b", b"\xFFv", Format::Binary),
        (System::Nats, b"a.b", b"[1.0]", Format::Json),
    ] {
        let own = wire_header("h", Some(Bytes::from_static(b"\xFF")));
        let condition = wire_header("Nats-Expected-Last-Sequence", Some("1".into()));
        let mut message = KafkaMessage {
            offset: 7,
            timestamp: 1_700_000_000_000,
            key: Some(Bytes::from_static(key)),
            value: Some(Bytes::from_static(value)),
            headers: vec![own],
            ..KafkaMessage::default()
        };
        message.set_timestamp_type(TimestampType::LogAppendTime);
        if !system.has_partitions {
            // A condition of its first write.
            message.headers.push(condition);
        }
        let (mut text, http) = (Vec::new(), dialect::of(system));
        http.put_record(&mut text, "read", 3, &message, format);
        let body = format!("{{\"{}\":[{}]}}", http.words().records, String::from_utf8(text).unwrap());
        let written = parse(body.as_bytes(), system, format, "t", None).unwrap().remove(0);
        assert_eq!((written.key, written.value), (message.key, message.value), "{body}");
        assert_eq!(written.headers, [header("h", Some(b"\xFF"))], "{body}");
    }
}

#[test]
fn messages_of_a_stream_are_records() {
    let body = r#"{"messages": [
        {"subject": "a.b", "data": { "x" : 1.0 }, "headers": [{"key": "h", "value": "AA=="}], "message_id": "1"},
        {"subject": "\u00e9", "data": null, "message_id": null}, {"subject": "s", "data": null}
    ]}"#;
    let message = |subject: &'static str, data: &'static str, headers| Record {
        topic: "t".into(),
        key: Some(subject.into()),
        value: Some(data.into()),
        headers,
        ..Record::default()
    };
    let first = vec![header("h", Some(b"\0")), header("Nats-Msg-Id", Some(b"1"))];
    let want =
        [message("a.b", r#"{"x":1.0}"#, first), message("é", "", Vec::new()), message("s", "", Vec::new())];
    assert_eq!(parse(body.as_bytes(), System::Nats, Format::Json, "t", None).unwrap(), want);
    let body = r#"{"messages":[{"subject":"s","data":"AP8="}]}"#;
    let binary = parse(body.as_bytes(), System::Nats, Format::Binary, "t", None).unwrap();
    assert_eq!(binary[0].value.as_deref(), Some(&b"\0\xFF"[..]));
}

#[test]
fn invalid_messages_are_refused() {
    let unknown = "unknown member messageId, expected one of subject, data, headers, message_id, sequence";
    for (message, want) in [
        ("{}", ".subject: expected a string"),
        (r#"{"subject":null}"#, ".subject: expected a string"),
        (r#"{"subject":1}"#, ".subject: expected a string that is not empty"),
        (r#"{"subject":""}"#, ".subject: expected a string that is not empty"),
        (r#"{"subject":"s","message_id":""}"#, ".message_id: expected a string that is not empty"),
        (r#"{"subject":"s","message_id":1}"#, ".message_id: expected a string that is not empty"),
        (r#"{"subject":"s"}"#, ".data: missing, expected a value or null"),
        (r#"{"subject":"s","messageId":"1"}"#, &format!(": {unknown}")),
        (r#"{"subject":"s","value":1}"#, ": unknown member value, expected"),
        (r#"{"subject":"s","subject":"s"}"#, ": has a duplicate member"),
        (r#"{"subject":"s","headers":{}}"#, ".headers: expected an array"),
    ] {
        let body = format!("{{\"messages\":[{message}]}}");
        check_of(System::Nats, Format::Json, &body, 422, &format!("messages[0]{want}"));
    }
    let other = "the body: unknown member records, expected messages";
    check_of(System::Nats, Format::Json, r#"{"records":[{}]}"#, 422, other);
}

#[test]
fn partition_in_the_path_applies_to_all_records() {
    let of = |body: &str| parse(body.as_bytes(), System::Kafka, Format::Json, "t", Some(2));
    let records =
        of(r#"{"records":[{"partition":2,"value":1},{"partition":null,"value":1},{"value":1}]}"#).unwrap();
    assert!(records.iter().all(|record| record.partition == Some(2)));
    let problem = of(r#"{"records":[{"value":1},{"partition":3}]}"#).unwrap_err();
    check_problem(problem, 422, "records[1].partition: expected 2 as in the path, got 3");
}

#[test]
fn records_and_headers_are_bounded() {
    let one = "{\"value\":1}";
    let records = |count: usize| format!("{{\"records\":[{}{one}]}}", format!("{one},").repeat(count - 1));
    assert_eq!(json(&records(MAX_RECORDS)).len(), MAX_RECORDS);
    check(Format::Json, &records(1001), 413, "records: expected at most 1000 elements, got 1001");
    check(Format::Json, &records(300_000), 413, "records: expected at most 1000 elements, got 300000");
    let header = "{\"key\":\"\"}";
    let headers = |count: usize| {
        format!("{{\"value\":1,\"headers\":[{}{header}]}}", format!("{header},").repeat(count - 1))
    };
    let one_with = |count: usize| format!("{{\"records\":[{}]}}", headers(count));
    assert_eq!(json(&one_with(MAX_HEADERS))[0].headers.len(), MAX_HEADERS);
    check(Format::Json, &one_with(101), 413, "records[0].headers: expected at most 100 elements, got 101");
    let most = headers(MAX_HEADERS);
    let many = |last: &str| format!("{{\"records\":[{}{last}]}}", format!("{most},").repeat(100));
    assert_eq!(json(&many(one)).len(), 101);
    let more = many(&most);
    check(Format::Json, &more, 413, "too many headers in one request: expected at most 10000");
}

proptest! {
    #[test]
    fn arbitrary_bodies_are_safe(body in "[\\[\\]{}\",:a-c0-2\\\\ ]{0,40}", binary in any::<bool>()) {
        let format = if binary { Format::Binary } else { Format::Json };
        let _ = parse(body.as_bytes(), System::Kafka, format, "t", None);
        let records = format!("{{\"records\":[{{\"key\":{body}}}]}}");
        let _ = parse(records.as_bytes(), System::Kafka, format, "t", Some(1));
        let messages = format!("{{\"messages\":[{{\"data\":{body}}}]}}");
        let _ = parse(messages.as_bytes(), System::Nats, format, "t", None);
    }
}
