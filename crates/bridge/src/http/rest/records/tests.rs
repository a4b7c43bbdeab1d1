//! Documents and queries of reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use sluicegate_backend::Fetched;
use sluicegate_delivery::cluster::Reads;
use sluicegate_dialect::json::depth::MAX_DEPTH;
use sluicegate_dialect::testing::nested;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, TimestampType};
use sluicegate_shared_log::Ends;

use super::super::positions::with_lists;
use super::*;

const TOPIC: &str = "t\"x";
/// Where a read that is complete continues.
const END: i64 = 99;

fn message(offset: i64, key: Option<&str>, value: Option<&str>) -> KafkaMessage {
    let [key, value] = [key, value].map(|text| text.map(|text| Bytes::copy_from_slice(text.as_bytes())));
    KafkaMessage { offset, timestamp: 7, key, value, headers: Vec::new(), ..Default::default() }
}

fn body(messages: &[KafkaMessage], format: Format, max_bytes: usize) -> String {
    let messages = KafkaFetchResp { messages: messages.to_vec(), next_offset: 0, ..Default::default() }
        .encode_to_vec()
        .into();
    let body = document(System::Kafka, TOPIC, &mut [part(3, messages)], format, (max_bytes, 0), &metrics());
    String::from_utf8(body).unwrap()
}

fn metrics() -> RouteMetrics {
    RouteMetrics::default()
}

fn part(partition: i32, messages: Bytes) -> Part {
    Part { partition, fetched: Fetched { messages, count: 0, next_offset: END, ends: Ends::UNKNOWN } }
}

#[track_caller]
fn check(messages: &[KafkaMessage], format: Format, want: &[&str]) {
    let body = body(messages, format, usize::MAX);
    assert_eq!(body, format!("[{}]", want.join(",")));
    serde_json::from_str::<serde_json::Value>(&body).expect("JSON");
}

#[test]
fn empty_fetch_is_an_empty_list() {
    check(&[], Format::Json, &[]);
    check(&[], Format::Binary, &[]);
}

#[test]
fn binary_format_is_base64_and_keeps_null() {
    let bytes =
        KafkaMessage { value: Some(Bytes::from_static(&[0xFB, 0xFF])), ..message(2, Some("k"), None) };
    check(
        &[message(1, None, Some("")), bytes],
        Format::Binary,
        &[
            r#"{"topic":"t\"x","key":null,"value":"","partition":3,"offset":1,"timestamp":7}"#,
            r#"{"topic":"t\"x","key":"aw==","value":"+/8=","partition":3,"offset":2,"timestamp":7}"#,
        ],
    );
}

#[test]
fn json_format_embeds_stored_bytes_unchanged() {
    for text in
        ["1.10", "-0", "1e400", "12345678901234567890123", "{ \"a\" : [1, 2] }", r#""\u00e9\ud800""#, "null"]
    {
        let record = r#"{"topic":"t\"x","key":"k","value":TEXT,"partition":3,"offset":1,"timestamp":7}"#;
        let stored = message(1, Some("\"k\""), Some(&format!(" {text}\n")));
        let body = body(&[stored], Format::Json, usize::MAX);
        assert_eq!(body, format!("[{}]", record.replace("TEXT", text)));
    }
}

#[test]
fn json_that_is_too_deep_is_base64() {
    let [deepest, deeper] = [nested(MAX_DEPTH), nested(MAX_DEPTH + 1)];
    let [embedded, other] = [&deepest, &deeper].map(|json| message(1, Some(json), Some(json)));
    let record = |json: &str| {
        format!(r#"{{"topic":"t\"x","key":{json},"value":{json},"partition":3,"offset":1,"timestamp":7}}"#)
    };
    let base64 = format!(r#"{{"base64":"{}"}}"#, STANDARD.encode(&deeper));
    check(&[embedded, other], Format::Json, &[&record(&deepest), &record(&base64)]);
}

#[test]
fn headers_are_present_only_if_a_record_has_some() {
    let header = |key: &str, value: Option<&'static [u8]>| Header {
        key: key.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let headers = vec![header("a", Some(b"\xFF")), header("a", Some(b"")), header("", None)];
    for format in [Format::Json, Format::Binary] {
        let message = KafkaMessage { headers: headers.clone(), ..message(1, None, None) };
        let want = r#"{"topic":"t\"x","key":null,"value":null,"partition":3,"offset":1,"timestamp":7,"headers":[{"key":"a","value":"/w=="},{"key":"a","value":""},{"key":"","value":null}]}"#;
        check(&[message], format, &[want]);
    }
}

#[test]
fn bytes_that_are_not_json_are_base64_and_block_no_others() {
    for (no_json, base64) in
        [("", ""), ("{", "ew=="), ("text", "dGV4dA=="), ("1 2", "MSAy"), ("\"\n\"", "Igoi")]
    {
        let good = |offset| message(offset, None, Some("1"));
        let bad = message(9, Some(no_json), Some(no_json));
        let record = |offset, key: &str, value: &str| {
            format!(
                r#"{{"topic":"t\"x","key":{key},"value":{value},"partition":3,"offset":{offset},"timestamp":7}}"#
            )
        };
        let other = &format!(r#"{{"base64":"{base64}"}}"#);
        let want = [record(8, "null", "1"), record(9, other, other), record(10, "null", "1")];
        check(&[good(8), bad, good(10)], Format::Json, &want.each_ref().map(|record| &**record));
    }
    let no_utf8 = KafkaMessage { value: Some(Bytes::from_static(b"\"\xFF\"")), ..message(0, None, None) };
    assert!(body(&[no_utf8], Format::Json, usize::MAX).contains(r#""value":{"base64":"Iv8i"}"#));
}

#[test]
fn document_exceeds_max_bytes_only_for_a_single_record() {
    let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some("\"v\""))).collect();
    for format in [Format::Json, Format::Binary] {
        let one = body(&messages[..1], format, usize::MAX).len();
        for max_bytes in 0..10 * one {
            let body = body(&messages, format, max_bytes);
            let records: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
            assert!(body.len() <= max_bytes || records.len() == 1, "{} of {max_bytes}", body.len());
            // One more would not have fitted.
            assert!(records.len() == 10 || body.len() + one > max_bytes, "{} of {max_bytes}", body.len());
        }
    }
}

/// The partition and offset of each record in a document, and the headers with the offsets to continue from.
fn places(format: Format, max_bytes: usize, max_records: usize) -> (Vec<(i64, i64)>, String) {
    let messages = |offsets: std::ops::Range<i64>| -> Bytes {
        let messages = offsets.map(|offset| message(offset, None, Some("1"))).collect();
        KafkaFetchResp { messages, ..Default::default() }.encode_to_vec().into()
    };
    let mut parts =
        [part(0, messages(0..8)), part(1, messages(5..6)), part(2, Bytes::new()), part(3, messages(7..10))];
    let body = document(System::Kafka, TOPIC, &mut parts, format, (max_bytes, max_records), &metrics());
    let records: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let number = |record: &serde_json::Value, name: &str| record[name].as_i64().unwrap();
    let places = records.iter().map(|record| (number(record, "partition"), number(record, "offset")));
    let response = with_lists(Response::empty(StatusCode::OK), &parts, System::Kafka);
    (places.collect(), response.headers[0].1.clone())
}

#[test]
fn partitions_take_turns() {
    let (all, next) = places(Format::Binary, usize::MAX, 0);
    assert_eq!(all[..6], [(0, 0), (1, 5), (3, 7), (0, 1), (3, 8), (0, 2)]);
    assert_eq!((all.len(), next.as_str()), (12, "0:99,1:99,2:99,3:99"));
    let (some, _) = places(Format::Binary, 400, 0);
    assert!((2..12).contains(&some.len()));
    assert_eq!(some, all[..some.len()]);
}

#[test]
fn next_offset_follows_what_the_document_has() {
    let (some, next) = places(Format::Binary, usize::MAX, 4);
    assert_eq!((some.len(), next.as_str()), (4, "0:2,1:99,2:99,3:8"));
    let (one, next) = places(Format::Binary, 1, 0);
    assert_eq!((one.len(), next.as_str()), (1, "0:1,1:5,2:99,3:7"));
}

#[test]
fn timestamp_type_is_present_if_it_is_the_brokers_time() {
    let stored =
        KafkaMessage { timestamp_type: TimestampType::LogAppendTime.into(), ..message(1, None, None) };
    let want = r#"{"topic":"t\"x","key":null,"value":null,"partition":3,"offset":1,"timestamp":7,"timestamp_type":"LogAppendTime"}"#;
    check(&[stored], Format::Json, &[want]);
}

#[test]
fn messages_of_a_stream_have_the_words_of_nats() {
    let headers = vec![Header { key: "h".into(), value: Some(Bytes::from_static(b"1")) }];
    let messages = [
        KafkaMessage { headers, ..message(1, Some("a.b"), Some("{\"x\": 1}")) },
        message(2, Some("c"), Some("")),
    ];
    let encoded = |messages: &[KafkaMessage]| -> Bytes {
        KafkaFetchResp { messages: messages.to_vec(), ..Default::default() }.encode_to_vec().into()
    };
    let body = |messages: &[KafkaMessage], format| {
        let mut parts = [part(0, encoded(messages))];
        String::from_utf8(document(System::Nats, "s", &mut parts, format, (usize::MAX, 0), &metrics()))
            .unwrap()
    };
    let want = concat!(
        r#"[{"stream":"s","sequence":1,"timestamp":7,"subject":"a.b","data":{"x": 1},"headers":[{"key":"h","value":"MQ=="}]},"#,
        r#"{"stream":"s","sequence":2,"timestamp":7,"subject":"c","data":{"base64":""}}]"#
    );
    assert_eq!(body(&messages, Format::Json), want);
    let want = want.replace("{\"x\": 1}", "\"eyJ4IjogMX0=\"").replace("{\"base64\":\"\"}", "\"\"");
    assert_eq!(body(&messages, Format::Binary), want);
    let odd = body(&[message(9, Some("s"), Some("{"))], Format::Json);
    assert!(odd.contains(r#""data":{"base64":"ew=="}"#), "{odd}");
}

fn parsed(query: &str, system: System) -> Result<(Position, ReadBounds), Problem> {
    let path = match system {
        System::Kafka => "/topics/t/partitions/0/records",
        System::Nats => "/streams/s/messages",
    };
    parse_fetch(&Query::at(path, query, system)?, system)
}

#[test]
fn query_of_a_stream_has_the_words_of_nats() {
    let parse = |query| parsed(query, System::Nats);
    let (position, bounds) = parse("sequence=5&max_messages=7&max_bytes=10&min_bytes=1&timeout=20").unwrap();
    let ReadBounds { max_bytes, min_bytes, max_records, .. } = bounds;
    assert_eq!((position, max_bytes, min_bytes, max_records), (Position::Offset(5), Some(10), 1, 7));
    assert_eq!(parse("").unwrap().0, Position::Time(LOG_START));
    assert_eq!((bounds.wait, bounds.committed), (Some(Duration::from_millis(20)), false));
    for (query, want) in [
        ("sequence=x", "query parameter sequence: expected a number from 0, earliest, latest, -N"),
        ("sequence=1&max_messages=0", "query parameter max_messages: expected a whole number from 1"),
        (
            "offset=1",
            "unknown query parameter offset: expected sequence, max_bytes, max_messages, min_bytes, timeout",
        ),
        ("sequence=1&max_records=1", "unknown query parameter max_records"),
        ("sequence=1&isolation=read_committed", "unknown query parameter isolation"),
    ] {
        let problem = parse(query).unwrap_err().plain();
        let text = std::str::from_utf8(&problem.body).unwrap();
        assert!(problem.status.as_u16() == 400 && text.contains(want), "{query}: {text}");
    }
}

#[track_caller]
fn check_fetch(query: &str, position: Position, max_bytes: usize, wait_ms: u64) {
    let defaults = Reads { max_bytes: 1000, wait: Duration::from_millis(100), table_away: Duration::ZERO };
    let (found, bounds) = parsed(query, System::Kafka).unwrap();
    let fetch = defaults.fetch(ClientKey::UNKNOWN, 0, bounds);
    let want = (position, max_bytes, Duration::from_millis(wait_ms), true);
    assert_eq!((found, fetch.max_bytes, fetch.wait, fetch.fill), want);
}

#[test]
fn missing_parameters_have_the_defaults_of_sessions() {
    check_fetch("", Position::Time(LOG_START), 1000, 100);
    check_fetch("offset=-3", Position::BeforeEnd(3), 1000, 100);
    check_fetch("offset=9223372036854775807&max_bytes=10&timeout=0", Position::Offset(i64::MAX), 10, 0);
    check_fetch("timeout=30000&max_bytes=9223372036854775807&offset=%35", Position::Offset(5), 1000, 30_000);
    let sizes =
        |query| parsed(query, System::Kafka).map(|(_, bounds)| (bounds.min_bytes, bounds.max_records));
    assert_eq!(sizes("offset=0"), Ok((0, 0)));
    assert_eq!(sizes("offset=0&min_bytes=16384&max_records=7"), Ok((16_384, 7)));
}

#[test]
fn invalid_queries_are_refused() {
    for (query, want) in [
        (
            "offset",
            "query parameter offset: expected a number from 0, earliest, latest, -N (N before the end) or s@",
        ),
        ("offset=+1", "query parameter offset: expected"),
        ("offset=abc", "query parameter offset: expected"),
        ("offset=1.0", "query parameter offset: expected"),
        ("offset=9223372036854775808", "query parameter offset: expected"),
        ("offset=%ff", "percent-encoded UTF-8"),
        ("offset=1&offset=1", "query parameter offset is repeated"),
        ("offset=1&max_bytes=0", "query parameter max_bytes: expected a whole number from 1"),
        ("offset=1&timeout=30001", "query parameter timeout: expected a whole number from 0 to 30000"),
        ("offset=1&max_records=0", "query parameter max_records: expected a whole number from 1"),
        ("offset=1&min_bytes=16385", "query parameter min_bytes: expected a whole number from 0 to 16384"),
        ("offset=1&timeout=-1", "query parameter timeout: expected"),
        (
            "offset=1&count=1",
            "unknown query parameter count: expected offset, max_bytes, max_records, min_bytes, timeout, isolation",
        ),
        ("offset=1&isolation=x", "query parameter isolation: expected read_committed or read_uncommitted"),
    ] {
        let problem = parsed(query, System::Kafka).unwrap_err().plain();
        let text = std::str::from_utf8(&problem.body).unwrap();
        assert_eq!(problem.status.as_u16(), 400, "{query}");
        assert!(text.contains(want), "{query}: {text}");
    }
}
