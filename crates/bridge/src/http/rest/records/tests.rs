//! Documents and queries of reads.

use prost::Message;
use sluicegate_protocol::{Header, KafkaFetchResp, TimestampType};
use sluicegate_shared_log::Ends;

use super::super::positions::with_lists;
use super::*;
use crate::backend::Fetched;

const TOPIC: &str = "t\"x";
/// Where a read that is complete continues.
const END: i64 = 99;

fn message(offset: i64, key: Option<&str>, value: Option<&str>) -> KafkaMessage {
    let [key, value] = [key, value].map(|text| text.map(|text| Bytes::copy_from_slice(text.as_bytes())));
    KafkaMessage { offset, timestamp: 7, key, value, headers: Vec::new(), ..Default::default() }
}

fn body(messages: &[KafkaMessage], format: Format, max_bytes: usize) -> Result<String, Problem> {
    let messages = KafkaFetchResp { messages: messages.to_vec(), next_offset: 0, ..Default::default() }
        .encode_to_vec()
        .into();
    let body =
        document(System::Kafka, TOPIC, &mut [part(3, messages)], format, fetch(max_bytes, 0), &metrics())?;
    Ok(String::from_utf8(body).unwrap())
}

fn metrics() -> RouteMetrics {
    RouteMetrics::default()
}

fn part(partition: i32, messages: Bytes) -> Part {
    Part { partition, fetched: Fetched { messages, count: 0, next_offset: END, ends: Ends::UNKNOWN } }
}

fn fetch(max_bytes: usize, max_records: usize) -> Fetch {
    let (wait, min_bytes) = (Duration::ZERO, 0);
    Fetch { offset: 0, max_bytes, wait, min_bytes, max_records, committed: false }
}

#[track_caller]
fn check(messages: &[KafkaMessage], format: Format, want: &[&str]) {
    let body = body(messages, format, usize::MAX).unwrap();
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
        let body = body(&[stored], Format::Json, usize::MAX).unwrap();
        assert_eq!(body, format!("[{}]", record.replace("TEXT", text)));
    }
}

#[test]
fn json_of_any_depth_is_embedded() {
    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    let body = body(&[message(1, None, Some(&deep))], Format::Json, 1).unwrap();
    assert!(body.contains(&deep));
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
fn document_ends_before_a_record_that_is_not_json() {
    for no_json in ["", "{", "text", "1 2", "\"\n\"", "{\"a\":1,}"] {
        for bad in [message(9, Some(no_json), None), message(9, Some("1"), Some(no_json))] {
            let good = message(8, None, Some("1"));
            let want = r#"{"topic":"t\"x","key":null,"value":1,"partition":3,"offset":8,"timestamp":7}"#;
            check(&[good.clone(), bad.clone(), good.clone()], Format::Json, &[want]);
            let problem = body(&[bad, good], Format::Json, usize::MAX).unwrap_err().plain();
            let text = std::str::from_utf8(&problem.body).unwrap();
            assert_eq!(problem.status.as_u16(), 406);
            assert!(
                text.contains("at offset 9 of partition 3 is not valid JSON: request it with Accept: "),
                "{text}"
            );
        }
    }
    let no_utf8 = KafkaMessage { value: Some(Bytes::from_static(b"\"\xFF\"")), ..message(0, None, None) };
    assert!(body(&[no_utf8], Format::Json, usize::MAX).is_err());
}

#[test]
fn document_exceeds_max_bytes_only_for_a_single_record() {
    let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some("\"v\""))).collect();
    for format in [Format::Json, Format::Binary] {
        let one = body(&messages[..1], format, usize::MAX).unwrap().len();
        for max_bytes in 0..10 * one {
            let body = body(&messages, format, max_bytes).unwrap();
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
        // Offset 8 is not JSON.
        let text = |offset| if offset == 8 { "{" } else { "1" };
        let messages = offsets.map(|offset| message(offset, None, Some(text(offset)))).collect();
        KafkaFetchResp { messages, ..Default::default() }.encode_to_vec().into()
    };
    let mut parts =
        [part(0, messages(0..8)), part(1, messages(5..6)), part(2, Bytes::new()), part(3, messages(7..10))];
    let body = document(System::Kafka, TOPIC, &mut parts, format, fetch(max_bytes, max_records), &metrics())
        .unwrap();
    let records: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
    let number = |record: &serde_json::Value, name: &str| record[name].as_i64().unwrap();
    let places = records.iter().map(|record| (number(record, "partition"), number(record, "offset")));
    let response = with_lists(Response::empty(StatusCode::OK), &parts);
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
    let (json, next) = places(Format::Json, usize::MAX, 0);
    assert_eq!((json.len(), next.as_str()), (10, "0:99,1:99,2:99,3:8"));
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
        let body = document(System::Nats, "s", &mut parts, format, fetch(usize::MAX, 0), &metrics())?;
        Ok::<_, Problem>(String::from_utf8(body).unwrap())
    };
    let want = concat!(
        r#"[{"stream":"s","sequence":1,"timestamp":7,"subject":"a.b","data":{"x": 1},"headers":[{"key":"h","value":"MQ=="}]},"#,
        r#"{"stream":"s","sequence":2,"timestamp":7,"subject":"c","data":null}]"#
    );
    assert_eq!(body(&messages, Format::Json).unwrap(), want);
    let want = want.replace("{\"x\": 1}", "\"eyJ4IjogMX0=\"").replace("null", "\"\"");
    assert_eq!(body(&messages, Format::Binary).unwrap(), want);
    let problem = body(&[message(9, Some("s"), Some("{"))], Format::Json).unwrap_err().plain();
    let text = std::str::from_utf8(&problem.body).unwrap();
    let want = "the data of the message at sequence 9 is not valid JSON: request it with Accept: application/vnd.sluicegate.binary+json";
    assert!(problem.status.as_u16() == 406 && text.contains(want), "{text}");
}

#[test]
fn query_of_a_stream_has_the_words_of_nats() {
    let defaults = Reads { max_bytes: 1000, wait: Duration::ZERO };
    let parse = |query| parse_fetch(query, System::Nats, defaults);
    let fetch = parse("sequence=5&max_messages=7&max_bytes=10&min_bytes=1&timeout=20").unwrap();
    let Fetch { offset, max_bytes, min_bytes, max_records, .. } = fetch;
    assert_eq!((offset, max_bytes, min_bytes, max_records), (5, 10, 1, 7));
    assert_eq!((fetch.wait, fetch.committed), (Duration::from_millis(20), false));
    for (query, want) in [
        ("", "query parameter sequence is missing: expected the sequence of the first message"),
        ("sequence=-1", "query parameter sequence: expected a whole number from 0"),
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
fn check_fetch(query: &str, offset: i64, max_bytes: usize, wait_ms: u64) {
    let defaults = Reads { max_bytes: 1000, wait: Duration::from_millis(100) };
    let fetch = parse_fetch(query, System::Kafka, defaults).unwrap();
    let want = (offset, max_bytes, Duration::from_millis(wait_ms));
    assert_eq!((fetch.offset, fetch.max_bytes, fetch.wait), want);
}

#[test]
fn missing_parameters_have_the_defaults_of_sessions() {
    check_fetch("offset=0", 0, 1000, 100);
    check_fetch("offset=9223372036854775807&max_bytes=10&timeout=0", i64::MAX, 10, 0);
    check_fetch("timeout=30000&max_bytes=9223372036854775807&offset=%35", 5, 1000, 30_000);
    let defaults = Reads { max_bytes: 1000, wait: Duration::ZERO };
    let sizes =
        |query| parse_fetch(query, System::Kafka, defaults).map(|fetch| (fetch.min_bytes, fetch.max_records));
    assert_eq!(sizes("offset=0"), Ok((0, 0)));
    assert_eq!(sizes("offset=0&min_bytes=16384&max_records=7"), Ok((16_384, 7)));
}

#[test]
fn invalid_queries_are_refused() {
    let defaults = Reads { max_bytes: 1000, wait: Duration::ZERO };
    for (query, want) in [
        ("", "query parameter offset is missing"),
        ("max_bytes=1", "query parameter offset is missing"),
        ("offset", "query parameter offset: expected a whole number from 0 to 9223372036854775807"),
        ("offset=-1", "query parameter offset: expected"),
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
        let problem = parse_fetch(query, System::Kafka, defaults).unwrap_err().plain();
        let text = std::str::from_utf8(&problem.body).unwrap();
        assert_eq!(problem.status.as_u16(), 400, "{query}");
        assert!(text.contains(want), "{query}: {text}");
    }
}
