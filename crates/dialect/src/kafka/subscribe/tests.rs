//! Texts and the subscriptions that they become.

use serde_json::{Value, json};
use sluicegate_backend::command::{self, RecordFilter, Start, ValuePart};
use sluicegate_protocol as protocol;

use super::*;

fn parse(subscribe: &Value) -> Result<(Subscribed, Format), String> {
    Subscribe::parse(&subscribe.to_string()).map_err(|error| error.to_string())
}

#[track_caller]
fn check(subscribe: &Value, want: Subscribed) {
    assert_eq!(parse(subscribe), Ok((want, Format::Json)), "{subscribe}");
}

#[track_caller]
fn refused(subscribe: &Value, want: &str) {
    let error = parse(subscribe).unwrap_err();
    assert!(error.starts_with(want), "{error}");
}

fn of(source: command::Source) -> Subscribed {
    let sources = vec![command::Source { topic: "t".into(), ..source }];
    let (max_bytes, max_records) = (24_576, 600);
    // JSON is the default format.
    let command =
        SubscribeCommand { sources, decode: true, max_bytes, max_records, ..SubscribeCommand::default() };
    Subscribed { command, credit: None }
}

#[test]
fn each_member_has_its_field() {
    check(&json!({"topic": "t"}), of(command::Source::default()));
    for (from, want) in [
        (json!("earliest"), Start::Timestamp(-2)),
        (json!("latest"), Start::Timestamp(-1)),
        (json!({"timestamp": "5"}), Start::Timestamp(5)),
        (json!({"offset": 5}), Start::Offset(5)),
        (json!({"offset": "-5"}), Start::BeforeEnd(5)),
        (json!("s@1700000000000"), Start::Timestamp(1_700_000_000_000)),
        (json!("-7"), Start::BeforeEnd(7)),
        (json!(8), Start::Offset(8)),
        (json!(-8), Start::BeforeEnd(8)),
    ] {
        check(&json!({"topic": "t", "from": from}), of(command::Source { from: want, ..Default::default() }));
    }
    let (partitions, next) = (vec![1, 0], vec![(0, 6), (1, 7)]);
    let topic_id = Some(0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_FEFF);
    let source = command::Source { partitions, next, topic_id, ..Default::default() };
    let members = json!({"topic": "t", "partitions": [1, 0], "next": {"1": 7, "0": "6", "2": null}, "topic_id": "8PHy8_T19vf4-fr7_P3-_w"});
    check(&members, of(source.clone()));
    check(&json!({"sources": [members]}), of(source.clone()));
    let (linger, group) = (Duration::from_millis(3), Some("g".into()));
    let command = SubscribeCommand { linger, group, ..of(command::Source::default()).command };
    let command = SubscribeCommand { committed: true, max_bytes: 1, max_records: 2, skips: true, ..command };
    let all = Subscribed { command, credit: Some(0) };
    let members = json!({"topic": "t", "isolation": "read_committed", "max_batch_bytes": 1, "max_batch_records": 2, "linger_ms": 3,
        "credit": 0, "on_lag": "skip", "group": "g"});
    check(&members, all);
    let large = json!({"topic": "t", "max_batch_bytes": 4_294_967_295_u32, "max_batch_records": 601});
    check(&large, of(command::Source::default()));
}

#[test]
fn number_is_an_offset_or_before_the_end() {
    for (number, want) in [(5, Start::Offset(5)), (-5, Start::BeforeEnd(5))] {
        let from = Some(kafka_source::From::Offset(number));
        let source = source(KafkaSource { from, ..Default::default() });
        assert_eq!(source.map(|source| source.from), Ok(want));
    }
}

#[test]
fn filters_name_a_key_a_header_or_a_part_of_the_value() {
    let filtered = |filter: Value, format: &str| {
        let (subscribed, _) = parse(&json!({"topic": "t", "format": format, "filters": [filter]}))?;
        Ok::<_, String>(subscribed.command.filters[0].clone())
    };
    let want = |header: Option<&str>, equals: &[&'static str], prefixes: &[&'static str]| {
        let [equals, prefixes] =
            [equals, prefixes].map(|values| values.iter().map(|value| value.as_bytes().into()).collect());
        Ok(RecordFilter { header: header.map(Into::into), equals, prefixes, value: None })
    };
    for (filter, format, want) in [
        (json!({"key": "a"}), "json", want(None, &["a"], &[])),
        (json!({"key": {"base64": "YQ=="}}), "text", want(None, &["a"], &[])),
        (json!({"key": ["a", {"prefix": "b"}, ""]}), "text", want(None, &["a", ""], &["b"])),
        (json!({"header": "h"}), "json", want(Some("h"), &[], &[])),
        (json!({"header": "h", "value": {"prefix": ""}}), "json", want(Some("h"), &[], &[""])),
        (json!({"key": ["YQ==", {"prefix": "Yg=="}]}), "base64", want(None, &["a"], &["b"])),
    ] {
        assert_eq!(filtered(filter.clone(), format), want, "{filter}");
    }
    let text = |text: &str| Some(text.to_owned());
    let part = |pointer: &str| ValuePart { pointer: pointer.to_owned(), ..Default::default() };
    let of = |part, equals, prefixes| Ok(RecordFilter { value: Some(part), ..want(None, equals, prefixes)? });
    for (filter, want) in [
        (json!({"value": ""}), of(part(""), &[], &[])),
        (json!({"value": "/a", "is": "b"}), of(part("/a"), &["\"b\""], &[])),
        (
            json!({"value": "/a", "is": ["\u{e9}", 1.5, null, true, {"prefix": "b\"\n"}], "exists": true}),
            of(part("/a"), &["\"\u{e9}\"", "1.5", "null", "true"], &["b\"\n"]),
        ),
        (json!({"value": "/a", "exists": false}), of(ValuePart { is_missing: true, ..part("/a") }, &[], &[])),
        (
            json!({"value": "/a", "above": -1, "below": 9_007_199_254_740_993_i64}),
            of(ValuePart { above: text("-1"), below: text("9007199254740993"), ..part("/a") }, &[], &[]),
        ),
    ] {
        assert_eq!(filtered(filter.clone(), "base64"), want, "{filter}");
    }
    let filter = protocol::RecordFilter { above: Some("1".into()), ..Default::default() };
    assert!(record_filters(vec![filter.clone()]).unwrap_err().contains("expected pointer beside them"));
    let filter = protocol::RecordFilter { pointer: Some("/a".into()), missing: true, ..filter };
    let value = ValuePart { above: Some("1".to_owned()), is_missing: true, ..part("/a") };
    assert_eq!(record_filters(vec![filter]), of(value, &[], &[]).map(|filter| vec![filter]));
    let one = "filters[0]: expected `key`, `value`, or `header` and perhaps `value`";
    let others = "filters[0]: is, above, below and exists: expected only value";
    let expected = "filters[0]: expected a string, {\"base64\": …}, {\"prefix\": …} or a list of them";
    for (filter, want) in [
        (json!({}), one),
        (json!({"key": "a", "value": "b"}), one),
        (json!({"value": 5}), "filters[0]: value: expected a JSON Pointer such as \"/order/status\""),
        (json!({"value": "/a", "is": []}), "filters[0]: 0 values: expected at least 1"),
        (json!({"value": "/a", "is": {"prefix": 5}}), "filters[0]: prefix: expected a string"),
        (json!({"key": "a", "exists": true}), others),
        (json!({"header": "h", "value": "a", "is": "b"}), others),
        (json!({"key": []}), "filters[0]: 0 values: expected at least 1"),
        (json!({"key": 5}), expected),
        (json!({"key": [null]}), expected),
        (json!({"key": {"prefix": ["a"]}}), expected),
        (json!({"key": {"prefix": "a", "x": 1}}), expected),
        (json!({"keys": "a"}), "unknown field `keys`"),
        (json!(["a"]), "invalid type: sequence, expected an object"),
    ] {
        refused(&json!({"topic": "t", "filters": [filter]}), want);
    }
    let base64 = json!({"topic": "t", "format": "base64", "filters": [{"key": "a"}]});
    refused(&base64, "filters[0]: expected a base64 string");
}

#[test]
fn contradictions_are_refused() {
    refused(&json!({}), "missing field `topic`, or `sources`");
    for members in [json!({"topic": "t", "sources": []}), json!({"from": "latest", "sources": []})] {
        refused(&members, "`sources` and members of a single source: expected one or the other");
    }
    refused(&json!({"topic": "t", "sources": [["t"]]}), "invalid type: sequence, expected an object");
    let expected = "from: expected a number from 0, earliest, latest, -N (N before the end) or s@TIME";
    let [none, two] = [json!({"sequence": 5}), json!({"offset": 5, "timestamp": 6})];
    for from in [json!("begin"), json!("s@5m"), json!("-5m"), none, two] {
        refused(&json!({"topic": "t", "from": from}), expected);
    }
    refused(&json!({"topic": "t", "next": {"a": 1}}), "invalid value: expected key to be a number in quotes");
    let short = json!({"topic": "t", "topic_id": "AA"});
    refused(&short, "topic_id: expected the one of an answer to `subscribe`");
    let error = Subscribe::parse(r#"{"topic":"t","next":{"0":1,"0":2}}"#).err().unwrap().to_string();
    assert!(error.starts_with("next: duplicate partition 0"), "{error}");
}

#[test]
fn lists_are_bounded_as_in_protobuf() {
    let filters = |filters: usize, values: usize| json!({"topic": "t", "filters": vec![json!({"key": vec!["a"; values]}); filters]});
    let partitions = |count: usize| json!({"topic": "t", "partitions": vec![0; count]});
    let topic = |len: usize| json!({"topic": "t".repeat(len)});
    let next = |partitions: i32| {
        (0..partitions).map(|partition| (partition.to_string(), 1.into())).collect::<serde_json::Map<_, _>>()
    };
    let sources = |sources: usize, partitions: i32| json!({"sources": vec![json!({"topic": "t", "next": next(partitions)}); sources]});
    for (at_bound, beyond, want) in [
        (partitions(1000), partitions(1001), "1001 elements, expected at most 1000"),
        (sources(100, 0), sources(101, 0), "101 elements, expected at most 100"),
        (sources(1, 1000), sources(1, 1001), "next: more than 1000 partitions"),
        (sources(2, 500), sources(2, 501), "1002 offsets in one subscription: expected at most 1000"),
        (filters(16, 1), filters(17, 1), "17 elements, expected at most 16"),
        (filters(1, 100), filters(1, 101), "filters[0]: 101 elements, expected at most 100"),
        (filters(2, 50), filters(2, 51), "102 values in filters: expected at most 100"),
        (topic(131_060), topic(131_061), "131073 bytes in one subscription"),
    ] {
        assert!(parse(&at_bound).is_ok(), "{want}");
        refused(&beyond, want);
    }
}
