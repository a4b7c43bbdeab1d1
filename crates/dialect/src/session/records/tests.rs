//! Records as answers, within their bounds.

use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, PubSubResp, TimestampType};

use super::*;
use crate::session::answer::tests::check;
use crate::session::error::MAX_RESULT_BYTES;

pub(crate) fn message(offset: i64, key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> KafkaMessage {
    let [key, value] = [key, value].map(|bytes| bytes.map(Bytes::from_static));
    KafkaMessage { offset, timestamp: 7, key, value, ..Default::default() }
}

pub(crate) fn read(messages: &[KafkaMessage], next_offset: i64, ends: Ends) -> Chunk {
    let resp = KafkaFetchResp { messages: messages.to_vec(), ..Default::default() };
    let (count, messages) = (messages.len(), resp.encode_to_vec().into());
    Chunk { messages, count, ..Chunk::nothing(next_offset, ends) }
}

/// The text of an answer.
#[track_caller]
pub(crate) fn text(answer: Answer) -> Bytes {
    match answer {
        Answer::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The text of an answer with records of partition 3.
fn fetched(sequence: i64, system: System, read: Chunk, format: Format, max_bytes: usize) -> Bytes {
    let (encoding, metrics) = (Encoding::Json(format), RouteMetrics::default());
    text(Answer::fetched(sequence, system, 3, read, encoding, max_bytes, &metrics))
}

/// The records of an answer.
pub(crate) fn records(messages: &[KafkaMessage], format: Format) -> Value {
    let read = read(messages, 9, Ends::UNKNOWN);
    let text = fetched(1, System::Kafka, read, format, usize::MAX);
    let mut answer: Value = serde_json::from_slice(&text).unwrap();
    answer["messages"].take()
}

#[test]
fn fetched_answer_is_valid_protobuf() {
    for value_len in [0, 1, 100, 8_172, 8_192, 300_000] {
        let value = Bytes::from(vec![b'v'; value_len]);
        let (key, value) = (Some("k".into()), Some(value));
        let headers = vec![Header { key: "h".into(), value: None }];
        let message = KafkaMessage { offset: 5, timestamp: 6, key, value, headers, ..Default::default() };
        let ends = Ends { start: 1, stable: i64::MAX, end: -1 };
        for sequence in [0, 1, -1, i64::MAX] {
            let fetched = read(std::slice::from_ref(&message), 9, ends);
            let want = KafkaFetchResp {
                messages: vec![message.clone()],
                next_offset: 9,
                high_watermark: Some(-1),
                last_stable_offset: Some(i64::MAX),
                log_start_offset: Some(1),
            };
            let resp = Some(Resp::KafkaFetchResp(want));
            let metrics = RouteMetrics::default();
            let answer =
                Answer::fetched(sequence, System::Kafka, 0, fetched, Encoding::Protobuf, 0, &metrics);
            check(answer, &PubSubResp { sequence, resp });
        }
    }
}

#[test]
fn answer_says_where_to_continue_and_where_the_log_ends() {
    let ends = Ends { start: 0, stable: -1, end: 12 };
    let messages = [message(5, None, Some(b"{\"a\": 1.10}"))];
    let text = fetched(-7, System::Kafka, read(&messages, 9, ends), Format::Json, 1000);
    let want = concat!(
        r#"{"id":-7,"messages":[{"partition":3,"offset":5,"timestamp":7,"key":null,"value":{"a": 1.10}}],"#,
        r#""next":{"3":9},"high_watermark":12,"log_start_offset":0}"#,
    );
    assert_eq!(text, want);
    let messages = [message(5, Some(b"a.b"), Some(b"1"))];
    let text = fetched(-7, System::Nats, read(&messages, 9, ends), Format::Base64, 1000);
    let want = concat!(
        r#"{"id":-7,"messages":[{"sequence":5,"timestamp":7,"subject":"a.b","data":"MQ=="}],"next":9,"end":12,"#,
        r#""first_sequence":0}"#,
    );
    assert_eq!(text, want);
}

#[test]
fn bytes_that_do_not_fit_the_format_are_base64() {
    let headers = |value: &'static [u8]| {
        vec![Header { key: "h".into(), value: Some(value.into()) }, Header { key: "n".into(), value: None }]
    };
    for (bytes, json, text, base64) in [
        (&b"{\"a\":[1]}"[..], json!({"a": [1]}), json!("{\"a\":[1]}"), json!("eyJhIjpbMV19")),
        (b"plain", json!({"base64": "cGxhaW4="}), json!("plain"), json!("cGxhaW4=")),
        (b"", json!({"base64": ""}), json!(""), json!("")),
        (b"\xff", json!({"base64": "/w=="}), json!({"base64": "/w=="}), json!("/w==")),
    ] {
        for (format, value, key) in [
            (Format::Json, json, text.clone()),
            (Format::Text, text.clone(), text),
            (Format::Base64, base64.clone(), base64),
        ] {
            let stored = KafkaMessage { headers: headers(bytes), ..message(5, Some(bytes), Some(bytes)) };
            let headers = json!([{"key": "h", "value": key}, {"key": "n", "value": null}]);
            let want = json!([{"partition": 3, "offset": 5, "timestamp": 7, "key": key, "value": value,
                "headers": headers}]);
            assert_eq!(records(&[stored], format), want, "{format:?}");
        }
    }
}

#[test]
fn records_exceed_the_bytes_only_if_there_is_one() {
    let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some(b"\"\x01\x02\""))).collect();
    for format in [Format::Json, Format::Text, Format::Base64] {
        let one = records(&messages[..1], format).to_string().len() - 2;
        for max_bytes in 0..12 * one {
            let read = read(&messages, 10, Ends::UNKNOWN);
            let text = fetched(1, System::Kafka, read, format, max_bytes);
            let answer: Value = serde_json::from_slice(&text).unwrap();
            let records = answer["messages"].as_array().unwrap();
            let bytes = answer["messages"].to_string().len() - 2;
            assert!(bytes <= max_bytes || records.len() == 1, "{bytes} of {max_bytes}");
            // One more would not have fitted.
            assert!(records.len() == 10 || bytes + 1 + one > max_bytes, "{bytes} of {max_bytes}");
            assert_eq!(answer["next"]["3"], records.len(), "the next record is left to the next fetch");
            assert!(text.len() - bytes <= MAX_RESULT_BYTES);
        }
    }
}

fn place(topic: &str, partition: i32, offset: i64) -> Place {
    Place { topic: topic.into(), partition, offset }
}

/// Expects the text of a delivery to be within its bound.
fn check_delivery(messages: Vec<KafkaMessage>, format: Format) {
    let count = messages.len();
    let encoded = read(&messages, 0, Ends::UNKNOWN).messages;
    let bytes = encoded.len();
    let next = place(&"t".repeat(249), i32::MAX, i64::MAX);
    let nats = delivered(i64::MIN, System::Nats, &next, encoded.clone(), i64::MAX, format);
    assert!(nats.len() + 5 <= max_delivery_bytes(bytes, count), "{} of {bytes}, {count}", nats.len());
    let text = delivered(i64::MIN, System::Kafka, &next, encoded, i64::MAX, format);
    assert!(text.len() + 5 <= max_delivery_bytes(bytes, count), "{} of {bytes}, {count}", text.len());
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&answer["bytes"], answer["messages"].as_array().unwrap().len()), (&bytes.into(), count));
}

#[test]
fn delivery_says_what_follows_and_what_it_costs() {
    let message = KafkaMessage { timestamp: 6, ..message(5, Some(b"a"), Some(b"{\"n\": 1.0}")) };
    let encoded = read(&[message], 9, Ends::UNKNOWN).messages;
    let text = delivered(-7, System::Kafka, &place("demo", 3, 9), encoded.clone(), 12, Format::Json);
    let want = concat!(
        r#"{"id":-7,"messages":[{"partition":3,"offset":5,"timestamp":6,"key":"a","value":{"n": 1.0}}],"#,
        r#""next":{"3":9},"high_watermark":12,"topic":"demo","bytes":21}"#,
    );
    assert_eq!(text, want);
    let text = delivered(1, System::Kafka, &place("demo", 0, 9), Bytes::new(), -1, Format::Json);
    assert_eq!(text, r#"{"id":1,"messages":[],"next":{"0":9},"topic":"demo","bytes":0}"#);
    let text = delivered(-7, System::Nats, &place("demo", 0, 9), encoded, 12, Format::Json);
    let want = concat!(
        r#"{"id":-7,"messages":[{"sequence":5,"timestamp":6,"subject":"a","data":{"n": 1.0}}],"next":9,"#,
        r#""end":12,"stream":"demo","bytes":21}"#,
    );
    assert_eq!(text, want);
}

/// Records whose text grows most.
#[test]
fn smallest_records_and_headers_are_within_the_bound() {
    let log_append = TimestampType::LogAppendTime.into();
    let header = Header::default();
    for format in [Format::Json, Format::Text, Format::Base64] {
        for (offset, timestamp) in
            [(0, 0), (1, 0), (127, 127), (128, 128), (i64::MAX, i64::MAX), (0, -1), (0, i64::MIN)]
        {
            let smallest = KafkaMessage { offset, timestamp, ..Default::default() };
            check_delivery(vec![smallest.clone(); 100], format);
            for timestamp_type in [0, log_append] {
                for headers in [0, 1, 1000] {
                    let headers = vec![header.clone(); headers];
                    let message = KafkaMessage { timestamp_type, headers, ..smallest.clone() };
                    check_delivery(vec![message; 10], format);
                }
            }
            let empty = KafkaMessage { key: Some("".into()), value: Some("".into()), ..smallest };
            check_delivery(vec![empty; 100], format);
        }
    }
}

fn content() -> impl Strategy<Value = Option<Bytes>> {
    let bytes = prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(b'"')], 0..20);
    prop::option::of(bytes.prop_map(Bytes::from))
}

fn any_message() -> impl Strategy<Value = KafkaMessage> {
    let header = ("[\0-\u{1f}a\"]{0,3}", content()).prop_map(|(key, value)| Header { key, value });
    let headers = prop::collection::vec(header, 0..4);
    let parts = (any::<i64>(), any::<i64>(), 0..2, content(), content(), headers);
    parts.prop_map(|(offset, timestamp, timestamp_type, key, value, headers)| {
        let message = KafkaMessage { offset, timestamp, timestamp_type, ..Default::default() };
        KafkaMessage { key, value, headers, ..message }
    })
}

proptest! {
    #[test]
    fn any_records_are_within_the_bound(messages in prop::collection::vec(any_message(), 0..5)) {
        for format in [Format::Json, Format::Text, Format::Base64] {
            check_delivery(messages.clone(), format);
        }
    }
}
