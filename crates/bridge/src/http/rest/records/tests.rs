//! Documents and queries of reads.

use bytes::Bytes;
use prost::Message;
use sluicegate_backend::Chunk;
use sluicegate_delivery::cluster::Reads;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, TimestampType};
use sluicegate_shared_log::Ends;

use super::super::super::tests::check_problem;
use super::super::positions::with_lists;
use super::*;

const TOPIC: &str = "t\"x";
/// Where a read that is complete continues.
const END: i64 = 99;

fn message(offset: i64, key: Option<&str>, value: Option<&str>) -> KafkaMessage {
    let [key, value] = [key, value].map(|text| text.map(|text| Bytes::copy_from_slice(text.as_bytes())));
    KafkaMessage { offset, timestamp: 7, key, value, headers: Vec::new(), ..Default::default() }
}

/// A document with the messages of some partitions, and the header with the offsets to continue from.
fn paged(
    system: System,
    mut parts: Vec<Part>,
    elements: Elements,
    limits: (usize, usize),
) -> (String, String) {
    let body = document(system, |_| TOPIC, &mut parts, elements, limits, &RouteMetrics::default());
    let response = with_lists(Response::empty(StatusCode::OK), &parts, &[], System::Kafka);
    (String::from_utf8(body).unwrap(), response.headers[0].1.clone())
}

/// A document with the messages of one partition.
fn body(system: System, messages: &[KafkaMessage], format: Format, max_bytes: usize) -> String {
    paged(system, vec![part(3, messages)], Elements::Records(format), (max_bytes, 0)).0
}

fn part(partition: i32, messages: &[KafkaMessage]) -> Part {
    let answer = KafkaFetchResp { messages: messages.to_vec(), ..Default::default() };
    let messages = if messages.is_empty() { Bytes::new() } else { answer.encode_to_vec().into() };
    Part { partition, fetched: Chunk { messages, ..Chunk::nothing(END, Ends::UNKNOWN) } }
}

/// Sessions' tests have more of what is embedded, and what is base64.
#[test]
fn records_have_their_members_in_each_format() {
    let record = |key: &str, value: &str, more: &str| {
        format!(
            r#"{{"topic":"t\"x","key":{key},"value":{value},"partition":3,"offset":1,"timestamp":7{more}}}"#
        )
    };
    let header = |key: &str, value: Option<&'static [u8]>| Header {
        key: key.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let headers = vec![header("a", Some(b"\xFF")), header("a", Some(b"")), header("", None)];
    let with_headers = KafkaMessage { headers, ..message(1, None, None) };
    let encoded = r#","headers":[{"key":"a","value":"/w=="},{"key":"a","value":""},{"key":"","value":null}]"#;
    let value = Some(Bytes::from_static(&[0xFB, 0xFF]));
    let bytes = KafkaMessage { value, ..message(1, Some("k"), None) };
    let appended =
        KafkaMessage { timestamp_type: TimestampType::LogAppendTime.into(), ..message(1, None, None) };
    let embedded = r#"{ "a" : [1.10, -0, 1e300, "\u00e9\ud83d\ude00"] }"#;
    for (message, format, want) in [
        (message(1, None, Some("")), Format::Binary, record("null", "\"\"", "")),
        (bytes.clone(), Format::Binary, record("\"aw==\"", "\"+/8=\"", "")),
        (bytes, Format::Json, record(r#"{"base64":"aw=="}"#, r#"{"base64":"+/8="}"#, "")),
        (
            message(1, Some("\"k\""), Some(&format!(" {embedded}\n"))),
            Format::Json,
            record("\"k\"", embedded, ""),
        ),
        (with_headers.clone(), Format::Binary, record("null", "null", encoded)),
        (with_headers, Format::Json, record("null", "null", encoded)),
        (appended, Format::Json, record("null", "null", r#","timestamp_type":"LogAppendTime""#)),
    ] {
        let found = body(System::Kafka, &[message.clone(), message], format, usize::MAX);
        assert_eq!(found, format!("[{want},{want}]"));
    }
    assert_eq!(body(System::Kafka, &[], Format::Json, usize::MAX), "[]");
}

#[test]
fn document_exceeds_max_bytes_only_for_a_single_record() {
    let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some("\"v\""))).collect();
    for format in [Format::Json, Format::Binary] {
        let one = body(System::Kafka, &messages[..1], format, usize::MAX).len();
        for max_bytes in 0..10 * one {
            let body = body(System::Kafka, &messages, format, max_bytes);
            let records: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
            assert!(body.len() <= max_bytes || records.len() == 1, "{} of {max_bytes}", body.len());
            // One more would not have fitted.
            assert!(records.len() == 10 || body.len() + one > max_bytes, "{} of {max_bytes}", body.len());
        }
    }
}

/// The partition and offset of each record in a document, and the headers with the offsets to continue from.
fn places(format: Format, max_bytes: usize, max_records: usize) -> (Vec<(i64, i64)>, String) {
    let part = |partition, offsets: std::ops::Range<i64>| {
        part(partition, &offsets.map(|offset| message(offset, None, Some("1"))).collect::<Vec<_>>())
    };
    let parts = vec![part(0, 0..8), part(1, 5..6), part(2, 0..0), part(3, 7..10)];
    let (body, next) = paged(System::Kafka, parts, Elements::Records(format), (max_bytes, max_records));
    let records: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
    let number = |record: &serde_json::Value, name: &str| record[name].as_i64().unwrap();
    let places = records.iter().map(|record| (number(record, "partition"), number(record, "offset")));
    (places.collect(), next)
}

/// A page that ends before an event ends before the others that precede it.
#[test]
fn records_without_events_are_left_out() {
    let event = |offset: i64| {
        let attributes = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/"), ("ce_type", "t")];
        let header =
            |(key, value): (&str, &'static str)| Header { key: key.into(), value: Some(value.into()) };
        KafkaMessage { headers: attributes.map(header).to_vec(), ..message(offset, None, None) }
    };
    let other = |offset| message(offset, None, Some("1"));
    let read = |max_bytes, max_records| {
        let parts = vec![part(0, &[other(0), event(1), other(2), event(3), other(4)]), part(1, &[other(9)])];
        paged(System::Kafka, parts, Elements::CloudEvents, (max_bytes, max_records))
    };
    let one = r#"{"id":"1","source":"/","specversion":"1.0","type":"t"}"#;
    assert_eq!(read(usize::MAX, 0), (format!("[{one},{one}]"), "0:99,1:99".to_owned()));
    for limits in [(1, 0), (usize::MAX, 1)] {
        assert_eq!(read(limits.0, limits.1), (format!("[{one}]"), "0:3,1:99".to_owned()));
    }
}

#[test]
fn partitions_take_turns_and_continue_behind_the_document() {
    let (all, next) = places(Format::Binary, usize::MAX, 0);
    assert_eq!(all[..6], [(0, 0), (1, 5), (3, 7), (0, 1), (3, 8), (0, 2)]);
    assert_eq!((all.len(), next.as_str()), (12, "0:99,1:99,2:99,3:99"));
    let (some, _) = places(Format::Binary, 400, 0);
    assert!((2..12).contains(&some.len()));
    assert_eq!(some, all[..some.len()]);
    let (some, next) = places(Format::Binary, usize::MAX, 4);
    assert_eq!((some.len(), next.as_str()), (4, "0:2,1:99,2:99,3:8"));
    let (one, next) = places(Format::Binary, 1, 0);
    assert_eq!((one.len(), next.as_str()), (1, "0:1,1:5,2:99,3:7"));
}

#[test]
fn messages_of_a_stream_have_the_words_of_nats() {
    let headers = vec![Header { key: "h".into(), value: Some(Bytes::from_static(b"1")) }];
    let messages = [
        KafkaMessage { headers, ..message(1, Some("a.b"), Some("{\"x\": 1}")) },
        message(2, Some("c"), Some("")),
    ];
    let body = |messages: &[KafkaMessage], format| body(System::Nats, messages, format, usize::MAX);
    let want = concat!(
        r#"[{"stream":"t\"x","sequence":1,"timestamp":7,"subject":"a.b","data":{"x": 1},"headers":[{"key":"h","value":"MQ=="}]},"#,
        r#"{"stream":"t\"x","sequence":2,"timestamp":7,"subject":"c","data":{"base64":""}}]"#
    );
    assert_eq!(body(&messages, Format::Json), want);
    let want = want.replace("{\"x\": 1}", "\"eyJ4IjogMX0=\"").replace("{\"base64\":\"\"}", "\"\"");
    assert_eq!(body(&messages, Format::Binary), want);
    let odd = body(&[message(9, Some("s"), Some("{"))], Format::Json);
    assert!(odd.contains(r#""data":{"base64":"ew=="}"#), "{odd}");
}

fn parsed(query: &str, system: System) -> Result<(Start, ReadBounds), Problem> {
    let path = match system {
        System::Kafka => "/topics/t/partitions/0/records",
        System::Nats => "/streams/s/messages",
    };
    parse_fetch(&Query::at(path, query, system)?, system, Elements::Records(Format::Json))
}

#[test]
fn query_of_a_stream_has_the_words_of_nats() {
    let parse = |query| parsed(query, System::Nats);
    let (position, bounds) = parse("sequence=5&max_messages=7&max_bytes=10&min_bytes=1&timeout=20").unwrap();
    let ReadBounds { max_bytes, min_bytes, max_records, .. } = bounds;
    assert_eq!((position, max_bytes, min_bytes, max_records), (Start::Offset(5), Some(10), 1, 7));
    assert_eq!(parse("").unwrap().0, Start::Timestamp(LOG_START));
    assert_eq!((bounds.wait, bounds.committed), (Some(Duration::from_millis(20)), false));
}

#[track_caller]
fn check_fetch(query: &str, start: Start, max_bytes: usize, wait_ms: u64) {
    let defaults = Reads { max_bytes: 1000, wait: Duration::from_millis(100), table_away: Duration::ZERO };
    let (found, bounds) = parsed(query, System::Kafka).unwrap();
    let fetch = defaults.fetch(ClientKey::UNKNOWN, 0, bounds);
    let want = (start, max_bytes, Duration::from_millis(wait_ms), true);
    assert_eq!((found, fetch.max_bytes, fetch.wait, fetch.fill), want);
}

#[test]
fn missing_parameters_have_the_defaults_of_sessions() {
    check_fetch("", Start::Timestamp(LOG_START), 1000, 100);
    check_fetch("offset=-3", Start::BeforeEnd(3), 1000, 100);
    check_fetch("offset=9223372036854775807&max_bytes=10&timeout=0", Start::Offset(i64::MAX), 10, 0);
    check_fetch("timeout=30000&max_bytes=9223372036854775807&offset=%35", Start::Offset(5), 1000, 30_000);
    let sizes =
        |query| parsed(query, System::Kafka).map(|(_, bounds)| (bounds.min_bytes, bounds.max_records));
    assert_eq!(sizes("offset=0"), Ok((0, 0)));
    assert_eq!(sizes("offset=0&min_bytes=16384&max_records=7"), Ok((16_384, 7)));
}

#[test]
fn invalid_queries_are_refused() {
    let (kafka, nats) = (System::Kafka, System::Nats);
    let offset = "query parameter offset: expected a number from 0, earliest, latest, -N (N before";
    for query in ["offset", "offset=+1", "offset=abc", "offset=1.0", "offset=9223372036854775808"] {
        check_problem(parsed(query, kafka).unwrap_err(), 400, offset);
    }
    let of_kafka = "parameter count: expected offset, max_bytes, max_records, min_bytes, timeout, isolation";
    let of_nats = "parameter offset: expected sequence, max_bytes, max_messages, min_bytes, timeout";
    for (system, query, want) in [
        (kafka, "offset=%ff", "percent-encoded UTF-8"),
        (kafka, "offset=1&offset=1", "query parameter offset is repeated"),
        (kafka, "max_bytes=0", "query parameter max_bytes: expected a whole number from 1"),
        (kafka, "timeout=30001", "query parameter timeout: expected a whole number from 0 to 30000"),
        (kafka, "timeout=-1", "query parameter timeout: expected"),
        (kafka, "max_records=0", "query parameter max_records: expected a whole number from 1"),
        (kafka, "min_bytes=16385", "query parameter min_bytes: expected a whole number from 0 to 16384"),
        (kafka, "count=1", of_kafka),
        (kafka, "isolation=x", "query parameter isolation: expected read_committed or read_uncommitted"),
        (nats, "sequence=x", "query parameter sequence: expected a number from 0, earliest, latest, -N"),
        (nats, "max_messages=0", "query parameter max_messages: expected a whole number from 1"),
        (nats, "offset=1", of_nats),
        (nats, "max_records=1", "unknown query parameter max_records"),
        (nats, "isolation=read_committed", "unknown query parameter isolation"),
    ] {
        check_problem(parsed(query, system).unwrap_err(), 400, want);
    }
}
