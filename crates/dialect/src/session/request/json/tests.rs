//! Texts and the requests that they become.

use std::time::Duration;

use serde_json::json;
use sluicegate_backend::command::{
    Command, Header, LogName, Producer, ReadBounds, Record, RecordFilter, SchemaChoice, TopicNames,
    ValuePart, Write,
};
use sluicegate_backend::groups::Commit;
use sluicegate_protocol::MESSAGE_ID_HEADER;

use super::*;
use crate::json::format::Format;
use crate::session::MessageBound;

fn parse(text: &[u8]) -> Request {
    super::parse(text, System::Kafka)
}

#[track_caller]
fn runs(text: &str, format: Format, command: Command) {
    runs_on(System::Kafka, text, format, command);
}

#[track_caller]
fn runs_on(system: System, text: &str, format: Format, command: Command) {
    let want = Request::Command { sequence: 7, command, encoding: Encoding::Json(format) };
    assert_eq!(super::parse(text.as_bytes(), system), want, "{text}");
}

#[test]
fn ping_may_have_a_state() {
    let ping = |sequence, state: &'static str| Request::Ping { sequence, state: state.into() };
    assert_eq!(parse(br#" {"ping" : {"state":"\u0000\"x"} , "id":-7 } "#), ping(-7, "\0\"x"));
    assert_eq!(parse(br#"{"ping":{}}"#), ping(0, ""));
    assert_eq!(parse(br#"{"id":9223372036854775807,"ping":{}}"#), ping(i64::MAX, ""));
    assert_eq!(parse(br#"{"id":-9223372036854775808,"ping":{}}"#), ping(i64::MIN, ""));
}

#[test]
fn session_asks_for_limits_on_every_system() {
    for system in [System::Kafka, System::Nats] {
        let parse = |text: &str| super::parse(text.as_bytes(), system);
        let asks = |bound| Request::Limits { sequence: 7, bound };
        assert_eq!(parse(r#"{"id":7,"session":{}}"#), asks(None));
        let least = r#"{"id":7,"session":{"max_message_bytes":8192}}"#;
        assert_eq!(parse(least), asks(MessageBound::new(8_192).ok()));
        for (limits, want) in [
            (r#"{"x":1}"#, "session: unknown field `x`"),
            (r#"{"max_message_bytes":8191}"#, "session: expected max_message_bytes of at least 8192"),
        ] {
            let invalid = parse(&format!(r#"{{"id":7,"session":{limits}}}"#));
            let Request::Invalid { sequence: 7, kind: Kind::Session, message } = invalid else {
                panic!("accepted {limits}")
            };
            assert!(message.starts_with(want), "{message}");
        }
    }
}

#[test]
fn reads_become_commands() {
    let log = || LogName { topic: "t".into(), partition: 1 };
    let bounds = ReadBounds { decode: true, ..ReadBounds::default() };
    let text = r#"{"id":7,"fetch":{"topic":"t","partition":1,"offset":2}}"#;
    runs(text, Format::Json, Command::Fetch { log: log(), offset: 2, bounds, filters: Vec::new() });
    let (wait, max_bytes) = (Some(Duration::ZERO), Some(4));
    let bounds = ReadBounds { wait, min_bytes: 3, max_bytes, max_records: 5, ..ReadBounds::default() };
    let bounds = ReadBounds { committed: true, ..bounds };
    let text = r#"{"id":7,"fetch":{"topic":"t","partition":1,"offset":"9223372036854775807","format":"text","max_wait_ms":0,
        "min_bytes":3,"max_bytes":4,"max_records":5,"isolation":"read_committed","filters":[{"value":"/a"},{"key":"b"}]}}"#;
    let value = Some(ValuePart { pointer: "/a".into(), ..Default::default() });
    let part = RecordFilter { value, ..Default::default() };
    let filters = vec![part.clone(), RecordFilter { equals: vec!["b".into()], ..Default::default() }];
    runs(text, Format::Text, Command::Fetch { log: log(), offset: i64::MAX, bounds, filters });

    let bounds =
        ReadBounds { wait: Some(Duration::from_millis(9)), max_records: 0, committed: false, ..bounds };
    let text = r#"{"id":7,"multi_fetch":{"partitions":[{"topic":"t","partition":1,"offset":2}],"format":"base64",
        "max_wait_ms":9,"min_bytes":3,"max_bytes":4,"isolation":"read_uncommitted","filters":[{"value":"/a"}]}}"#;
    let places = vec![(log(), 2)];
    runs(text, Format::Base64, Command::MultiFetch { places, bounds, filters: vec![part] });

    let text = r#"{"id":7,"list_offset":{"topic":"t","partition":1,"timestamp":-1}}"#;
    runs(text, Format::Json, Command::ListOffset { log: log(), timestamp: -1 });
    let text = concat!(
        r#"{"id":7,"list_offsets":{"offsets":[{"topic":"t","partition":1,"timestamp":"-1"}],"#,
        r#""isolation":"read_committed"}}"#,
    );
    runs(text, Format::Json, Command::ListOffsets { asked: vec![(log(), -1)], committed: true });

    runs(r#"{"id":7,"metadata":{}}"#, Format::Json, Command::Describe(TopicNames::default()));
    let names = TopicNames { topics: vec!["a".into()], prefixes: vec!["b".into()], after: "c".into() };
    let text = r#"{"id":7,"metadata":{"topics":["a"],"prefixes":["b"],"after":"c"}}"#;
    runs(text, Format::Json, Command::Describe(names));

    let commits = vec![Commit { log: ("t".into(), 1), offset: i64::MAX, metadata: "".into() }];
    for (given, assignment) in [("", None), (r#""assignment":null,"#, None), (r#""assignment":3,"#, Some(3))]
    {
        let offsets = r#""offsets":[{"topic":"t","partition":1,"offset":"9223372036854775807"}]"#;
        let text = format!(r#"{{"id":7,"commit":{{"subscription":-7,{given}{offsets}}}}}"#);
        let commits = commits.clone();
        runs(&text, Format::Json, Command::Commit { subscription: -7, assignment, commits });
    }
}

#[test]
fn subscriptions_begin_get_credit_and_end() {
    let text = r#"{"id":7,"subscribe":{"topic":"t","format":"text","linger_ms":9}}"#;
    let Request::Subscribe { sequence: 7, subscribed, encoding: Encoding::Json(Format::Text) } =
        parse(text.as_bytes())
    else {
        panic!("{text}")
    };
    assert_eq!(subscribed.command.linger.as_millis(), 9);
    let text = r#"{"id":8,"unsubscribe":{"subscription":-7}}"#;
    assert_eq!(parse(text.as_bytes()), Request::Unsubscribe { sequence: 8, subscription: -7 });
    let text = r#"{"credit":{"subscription":-7,"bytes":500}}"#;
    assert_eq!(parse(text.as_bytes()), Request::Credit(CmdCredit { subscription: -7, bytes: 500 }));
    invalid(r#"{"id":5,"subscribe":{"topic":"t","form":1}}"#, 5, "subscribe: unknown field `form`");
    invalid(r#"{"id":5,"unsubscribe":{}}"#, 5, "unsubscribe: missing field `subscription`");
    invalid(r#"{"id":5,"credit":{"subscription":7,"bytes":-1}}"#, 5, "credit: invalid value");
}

/// The record to write for these members.
fn written(format: &str, members: &str) -> Result<Record, String> {
    let text =
        format!(r#"{{"id":7,"produce":{{"format":"{format}","records":[{{"topic":"t",{members}}}]}}}}"#);
    produced(&text).map(|mut write| write.records.pop().unwrap())
}

fn produced(text: &str) -> Result<Write, String> {
    match parse(text.as_bytes()) {
        Request::Command { command: Command::Produce(write), .. } => Ok(write),
        Request::Invalid { message, .. } => Err(message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn producers_are_taken_with_all_their_members() {
    let parsed = |producer: &str| {
        let text = format!(r#"{{"id":7,"produce":{{"records":[],"producer":{producer},"dry_run":true}}}}"#);
        produced(&text).map(|write| (write.producer, write.dry_run))
    };
    let age = Duration::from_millis(3);
    let producer = Producer { id: "p".to_owned(), epoch: 1, sequence: 2, age };
    let whole = r#"{"id":"p","epoch":1,"sequence":2,"age_ms":3}"#;
    assert_eq!(parsed(whole), Ok((Some(producer), true)));
    assert_eq!(parsed("null"), Ok((None, true)));
    for (from, to, expected) in [
        ("\"p\"", "\"\"", "producer.id: expected 1 to 256 bytes"),
        (":1,", ":32768,", "producer.epoch: expected a whole number from 0 to 32767"),
        (":2,", ":2147483647,", "producer.sequence: expected a whole number from 0 to 2147483646"),
        (":2,", ":-1,", "invalid value"),
        (r#","age_ms":3"#, "", "producer.age_ms: expected the time since the first record was first sent"),
        (r#""epoch":1,"#, "", "missing field `epoch`"),
        ("}", r#","ages":1}"#, "unknown field `ages`"),
    ] {
        let message = parsed(&whole.replace(from, to)).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn records_are_written_in_the_format() {
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    for (format, json, key, value) in [
        ("json", r#""a""#, bytes("a"), bytes(r#""a""#)),
        ("json", "null", None, None),
        ("text", r#""a\u0000""#, bytes("a\0"), bytes("a\0")),
        ("text", r#"{"base64":"YQ=="}"#, bytes("a"), bytes("a")),
        ("text", "null", None, None),
        ("base64", r#""YQ==""#, bytes("a"), bytes("a")),
        ("base64", r#"{"base64":"YQ=="}"#, bytes("a"), bytes("a")),
        ("base64", r#""""#, bytes(""), bytes("")),
    ] {
        let members = format!(
            r#""key":{json},"value":{json},"headers":[{{"key":"h","value":{json}}}],"partition":3,"timestamp":"5","offset":7,"timestamp_type":"LogAppendTime""#
        );
        let headers = vec![Header { key: "h".into(), value: key.clone() }];
        let value_schema = (format == "json").then_some(SchemaChoice::Topic);
        let place = Record { topic: "t".into(), partition: Some(3), timestamp: Some(5), ..Record::default() };
        let want = Record { key, value, headers, value_schema, ..place };
        assert_eq!(written(format, &members), Ok(want), "{format} {json}");
    }
    let named = written("json", r#""value":null,"headers":[{"name":"h","value":"x"}]"#).unwrap();
    assert_eq!(named.headers, [Header { key: "h".into(), value: bytes("x") }]);
    let value = |json: &str| written("json", &format!("\"value\":{json}")).unwrap().value;
    assert_eq!(value(r#"{ "base64" : "YQ==" , "n": 1.10 }"#), bytes(r#"{"base64":"YQ==","n":1.10}"#));
    assert_eq!(value("12345678901234567890123"), bytes("12345678901234567890123"));
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert_eq!(value(&deep), Some(deep.into()));
}

#[test]
fn records_have_the_schemas_that_they_name() {
    let subject = |name: &str| Some(SchemaChoice::Subject(name.into()));
    let (topic, id) = (Some(SchemaChoice::Topic), Some(SchemaChoice::Id(7)));
    for (format, members, key, value_schema, key_schema) in [
        ("json", r#""key":"k","value_schema":"s""#, "k", subject("s"), None),
        ("json", r#""key":"k","value_schema":7,"key_schema":null"#, "k", id.clone(), None),
        ("json", r#""key":"k","key_schema":"s""#, "\"k\"", topic.clone(), subject("s")),
        ("json", r#""key":{"a":1},"key_schema":"s""#, r#"{"a":1}"#, topic, subject("s")),
        ("text", r#""key":"1","value_schema":"s","key_schema":"k""#, "1", subject("s"), subject("k")),
        // As it was read.
        ("json", r#""key":"k","value_schema":{"id":7,"type":"AVRO"}"#, "k", id, None),
    ] {
        let record = written(format, &format!(r#""value":"1",{members}"#)).unwrap();
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()), "{members}");
        assert_eq!((record.value_schema, record.key_schema), (value_schema, key_schema), "{members}");
    }
    let null = written("json", r#""key":null,"value":null,"key_schema":7"#).unwrap();
    assert_eq!((null.key, null.value), (None, None));
    for choice in ["true", "-1", "4294967296", "1.5"] {
        let message = written("json", &format!(r#""value":1,"value_schema":{choice}"#)).unwrap_err();
        assert!(message.contains("expected a subject, the id of a schema"), "{choice}: {message}");
    }
    let message = written("json", r#""value":1,"value_schema":{"guid":"g","type":"AVRO"}"#).unwrap_err();
    assert!(message.contains("missing field `id`"), "{message}");
}

#[test]
fn record_outside_the_format_is_invalid() {
    let formatted = r#"expected a string, {"base64": …} or null"#;
    let missing = "missing, expected a value or null";
    let header = r#""value":1,"headers":[{"key":"h","value":1}]"#;
    let none = r#""value":1,"headers":[{"value":"h"}]"#;
    let both = r#""value":1,"headers":[{"key":"h","name":"h"}]"#;
    let expected = "expected one of `topic`, `partition`, `key`";
    for (format, members, place, want) in [
        ("json", r#""key":5"#, "records[0].key: ", formatted),
        ("text", r#""value":{"a":1}"#, "records[0].value: ", formatted),
        ("base64", r#""value":"a""#, "records[0].value: ", "expected a base64 string or null"),
        ("json", header, "records[0].headers[0].value: ", "expected a string"),
        ("json", r#""key":"k""#, "records[0].value: ", missing),
        ("text", r#""key":"k""#, "records[0].value: ", missing),
        ("json", r#""vlaue":1"#, "unknown field `vlaue`, ", expected),
        ("json", r#""keys":"u""#, "unknown field `keys`, ", expected),
        ("json", none, "records[0].headers[0].key: ", "missing, expected a string"),
        ("json", both, "records[0].headers[0]: ", "has key and name, expected one of them"),
        ("json", r#""topic":"u""#, "", "duplicate field `topic`"),
        ("xml", r#""key":"k""#, "unknown variant `xml`, ", "expected one of `json`, `text`, `base64`"),
    ] {
        let message = written(format, members).unwrap_err();
        assert!(message.starts_with(&format!("produce: {place}{want}")), "{message}");
    }
}

#[track_caller]
fn invalid(text: impl AsRef<[u8]>, sequence: i64, want: &str) {
    match parse(text.as_ref()) {
        Request::Invalid { sequence: given, message, .. } => {
            assert!(message.starts_with(want), "{message}");
            assert_eq!(given, sequence, "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn messages_other_than_commands_are_invalid() {
    let not_object = "the message is not a JSON object: ";
    for text in ["", "ping", "[]", "7", "null", "\"x\"", "{", "{}{}", "{\"id\":1,}", "{\"id\":01}"] {
        invalid(text, 0, not_object);
    }
    invalid(b"{\"\xff\":1}", 0, not_object);
    invalid(b"{\"id\":1,\"ping\":{\"state\":\"\xff\"}}", 0, not_object);
    invalid("{}", 0, "no command: expected one of ping, fetch");
    for text in [r#"{"id":5}"#, r#"{"id":5,"ping":null}"#, "\u{feff}{\"id\":5}"] {
        invalid(text, 5, "no command: expected one of ping, fetch");
    }
    invalid(r#"{"id":5,"pign":{}}"#, 5, "unknown command \"pign\": expected one of ping, fetch");
    invalid(r#"{"id":5,"ping":{},"fetch":{}}"#, 5, "more than one command");
    invalid(r#"{"id":5,"ping":{},"ping":{}}"#, 5, "more than one command");
    invalid(r#"{"id":5,"ping":{},"id":5}"#, 0, "more than one id");
    for id in ["\"5\"", "1.5", "1e3", "9223372036854775808", "1e400", "{}"] {
        invalid(format!(r#"{{"ping":{{}},"id":{id}}}"#), 0, "id: expected a whole number of 64 bits");
    }
    invalid(r#"{"id":5,"ping":[]}"#, 5, "ping: invalid type: sequence, expected an object");
    invalid(r#"{"id":5,"ping":{"state":"\ud800"}}"#, 5, "ping: ");
}

/// Programs write null for members that they do not set.
#[test]
fn optional_members_can_be_null() {
    let (kafka, nats) = (System::Kafka, System::Nats);
    for (system, command, required) in [
        (kafka, "ping", ""),
        (kafka, "fetch", r#""topic":"t","partition":0,"offset":1"#),
        (kafka, "multi_fetch", r#""partitions":[]"#),
        (kafka, "list_offsets", r#""offsets":[]"#),
        (kafka, "metadata", ""),
        (kafka, "produce", r#""records":[]"#),
        (kafka, "subscribe", r#""topic":"t""#),
        (nats, "fetch", r#""stream":"s","sequence":1"#),
        (nats, "publish", r#""messages":[]"#),
        (nats, "subscribe", r#""stream":"s""#),
    ] {
        let parse =
            |members: &str| super::parse(format!(r#"{{"{command}":{{{members}}}}}"#).as_bytes(), system);
        let Request::Invalid { message, .. } = parse(r#""?":1"#) else { panic!("{command}") };
        // It names all members, each in backticks, after the unknown one.
        let names = message.split('`').skip(3).step_by(2).map(|name| format!("{name:?}"));
        let optional = names.filter(|name| !required.contains(name));
        let with_nulls = optional.map(|name| format!("{name}:null,")).collect::<String>() + required;
        let want = parse(required);
        assert!(!matches!(want, Request::Invalid { .. }), "{want:?}");
        assert_eq!(parse(with_nulls.trim_end_matches(',')), want, "{with_nulls}");
    }
    let text = br#"{"id":null,"fetch":null,"ping":{}}"#;
    assert_eq!(parse(text), Request::Ping { sequence: 0, state: Bytes::new() });
    let members = r#""value":1,"partition":null,"key":null,"headers":null,"timestamp":null"#;
    assert_eq!(written("json", members), written("json", r#""value":1"#));
    let from = |from: &str| parse(format!(r#"{{"subscribe":{{"topic":"t","from":{from}}}}}"#).as_bytes());
    assert_eq!(from(r#"{"offset":null,"timestamp":5}"#), from(r#"{"timestamp":5}"#));
}

#[test]
fn members_are_checked() {
    let fetch = |members: &str| format!(r#"{{"id":5,"fetch":{{{members}}}}}"#);
    let named = "fetch: \"earliest\" is not a number: `list_offset` or `list_sequences` finds";
    for (members, want) in [
        (r#""topic":"t","partition":0"#, "fetch: missing field `offset`"),
        (r#""topic":"t","topic":"t""#, "fetch: duplicate field `topic`"),
        (r#""formt":"json""#, "fetch: unknown field `formt`, expected one of `topic`"),
        (r#""partition":2147483648"#, "fetch: invalid value: integer `2147483648`, expected i32"),
        (r#""max_bytes":-1"#, "fetch: invalid value: integer `-1`, expected u32"),
        (r#""offset":1.0"#, "fetch: invalid type: floating point `1.0`, expected a whole number of 64 bits"),
        (r#""offset":1e400"#, "fetch: number out of range"),
        (r#""offset":"1.0""#, "fetch: invalid value: string \"1.0\", expected a whole number"),
        (r#""offset":"earliest""#, named),
        (r#""offset":9223372036854775808"#, "fetch: invalid value: integer `9223372036854775808`, expected"),
        (r#""isolation":"READ_COMMITTED""#, "fetch: unknown variant `READ_COMMITTED`"),
    ] {
        invalid(fetch(members), 5, want);
    }
    let place = r#"{"id":5,"multi_fetch":{"partitions":[["t",0,5]]}}"#;
    invalid(place, 5, "multi_fetch: invalid type: sequence, expected an object");
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let deep = "[".repeat(400_000);
    invalid(&deep, 0, "the message is not a JSON object");
    let closed = deep.clone() + &"]".repeat(400_000);
    invalid(format!(r#"{{"id":5,"ping":{closed}}}"#), 5, "ping: invalid type: sequence, expected an object");
    invalid(format!(r#"{{"id":5,"ping":{{"state":{closed}}}}}"#), 5, "ping: invalid type: sequence");
    invalid(format!(r#"{{"id":5,"produce":{{"records":{closed}}}}}"#), 5, "produce: ");
    let filter = format!(r#"{{"id":5,"subscribe":{{"topic":"t","filters":[{{"key":{closed}}}]}}}}"#);
    invalid(filter, 5, "subscribe: ");
    for json in [&closed, &format!(r#"{{"base64":{closed}}}"#)] {
        let message = written("json", &format!(r#""key":{json},"value":1"#)).unwrap_err();
        assert!(message.starts_with("produce: records[0].key: expected a string"), "{message}");
    }
}

#[test]
fn lists_are_bounded_as_in_protobuf() {
    let check = |command: &str, list: &str, item: serde_json::Value, max: usize| {
        let text = |count| json!({"id": 5, command: {list: vec![item.clone(); count]}}).to_string();
        assert!(matches!(parse(text(max).as_bytes()), Request::Command { .. }), "{command}");
        invalid(text(max + 1), 5, &format!("{command}: {} elements, expected at most {max}", max + 1));
    };
    check("multi_fetch", "partitions", json!({"topic": "t", "partition": 0, "offset": 0}), 256);
    check("list_offsets", "offsets", json!({"topic": "t", "partition": 0, "timestamp": 0}), 1000);
    check("metadata", "topics", json!("t"), 1000);
    check("metadata", "prefixes", json!("t"), 100);
    check("produce", "records", json!({"topic": "t", "value": 1}), 1000);
    let record = |headers| json!({"topic": "t", "value": 1, "headers": vec![json!({"key": ""}); headers]});
    let produce = |records: usize, headers| {
        json!({"id": 5, "produce": {"records": vec![record(headers); records]}}).to_string()
    };
    assert!(matches!(parse(produce(100, 100).as_bytes()), Request::Command { .. }));
    invalid(produce(1, 101), 5, "produce: 101 elements, expected at most 100");
    invalid(produce(101, 100), 5, "produce: 10100 headers in one command, expected at most 10000");
}

#[test]
fn commands_have_the_words_of_nats() {
    let stream = || LogName::of_stream("s".into());
    let (wait, max_bytes) = (Some(Duration::from_millis(1)), Some(3));
    let bounds = ReadBounds { wait, min_bytes: 2, max_bytes, max_records: 4, ..ReadBounds::default() };
    let text = r#"{"id":7,"fetch":{"stream":"s","sequence":"5","format":"text","max_wait_ms":1,"min_bytes":2,"max_bytes":3,"max_messages":4}}"#;
    let command = Command::Fetch { log: stream(), offset: 5, bounds, filters: Vec::new() };
    runs_on(System::Nats, text, Format::Text, command);
    let text = r#"{"id":7,"list_sequences":{"times":[{"stream":"s","timestamp":-2}]}}"#;
    let command = Command::ListOffsets { asked: vec![(stream(), -2)], committed: false };
    runs_on(System::Nats, text, Format::Json, command);
    let header = |key: &str, value: &'static str| Header { key: key.into(), value: Some(value.into()) };
    let headers = vec![header("h", "v"), header(MESSAGE_ID_HEADER, "id")];
    let (key, value) = (Some("a.b".into()), Some(r#"{"n":1}"#.into()));
    let record = Record { topic: "s".into(), key, value, headers, ..Default::default() };
    let empty = Record { value: Some(Bytes::new()), headers: Vec::new(), ..record.clone() };
    let text = r#"{"id":7,"publish":{"messages":[{"stream":"s","subject":"a.b","data":{"n": 1},"headers":[{"key":"h","value":"v"}],"message_id":"id"},{"stream":"s","subject":"a.b","data":null,"headers":[{"key":"Nats-Expected-Last-Sequence","value":"6"}],"sequence":7,"timestamp":5}],"producer":{"id":"p","epoch":1,"sequence":2,"age_ms":3},"dry_run":true}}"#;
    let producer = Producer::new("p".to_owned(), 1, 2, Some(Duration::from_millis(3))).unwrap();
    let write =
        Write { records: vec![record, empty], producer: Some(producer), dry_run: true, ..Write::default() };
    runs_on(System::Nats, text, Format::Json, Command::Produce(write));
}

#[test]
fn words_of_kafka_are_refused() {
    let refused = |command: &str, want: &str| match super::parse(
        format!(r#"{{"id":7,{command}}}"#).as_bytes(),
        System::Nats,
    ) {
        Request::Invalid { sequence: 7, message, .. } => {
            assert!(message.contains(want), "{message}");
            assert_eq!(message.contains("of NATS"), want.contains("of NATS"), "{message}");
        }
        other => panic!("{command}: {other:?}"),
    };
    let want = "the cluster is of NATS: fetch: unknown field `topic`, expected one of `stream`, `sequence`";
    refused(r#""fetch":{"topic":"t","partition":0,"offset":0}"#, want);
    let want = "the cluster is of NATS: unknown command \"produce\": expected one of ping, fetch, list_sequences, publish, subscribe, unsubscribe, credit";
    refused(r#""produce":{"records":[]}"#, want);
    refused(r#""subscribe":{"from":"earliest"}"#, "missing field `stream`, or `sources`");
    let want =
        "unknown field `key`, expected one of `subject`, `header`, `value`, `is`, `above`, `below`, `exists`";
    refused(r#""subscribe":{"stream":"s","filters":[{"key":"a"}]}"#, want);
    let want = "filters[0]: expected `subject`, `value`, or `header` and perhaps `value`";
    refused(r#""subscribe":{"stream":"s","filters":[{}]}"#, want);
    let want = "stream_id: expected the one of an answer to `subscribe`";
    refused(r#""subscribe":{"stream":"s","from":{"sequence":5},"stream_id":""}"#, want);
    let want = "publish: messages[0].data: missing, expected a value or null";
    refused(r#""publish":{"messages":[{"stream":"s","subject":"a"}]}"#, want);
    let header = r#"{"stream":"s","subject":"a","data":1,"headers":[{"key":"h","value":1}]}"#;
    let want = "publish: messages[0].headers[0].value: expected a string";
    refused(&format!(r#""publish":{{"messages":[{header}]}}"#), want);
}
