//! The text of deliveries, within its bound.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use sluicegate_backend::System;
use sluicegate_delivery::Place;
use sluicegate_dialect::json::format::Format;
use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, TimestampType};

use super::super::{delivered, max_delivery_bytes};

fn place(topic: &str, partition: i32, offset: i64) -> Place {
    Place { topic: topic.into(), partition, offset }
}

/// The text of a delivery, within its bound.
fn text(partition: i32, messages: Vec<KafkaMessage>, format: Format) -> String {
    let count = messages.len();
    let encoded: Bytes = KafkaFetchResp { messages, ..Default::default() }.encode_to_vec().into();
    let bytes = encoded.len();
    let next = place(&"t".repeat(249), partition, i64::MAX);
    let nats = delivered(i64::MIN, System::Nats, &next, encoded.clone(), i64::MAX, format);
    assert!(nats.len() + 5 <= max_delivery_bytes(bytes, count), "{} of {bytes}, {count}", nats.len());
    let text = delivered(i64::MIN, System::Kafka, &next, encoded, i64::MAX, format);
    assert!(text.len() + 5 <= max_delivery_bytes(bytes, count), "{} of {bytes}, {count}", text.len());
    let answer: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&answer["bytes"], answer["messages"].as_array().unwrap().len()), (&bytes.into(), count));
    String::from_utf8(text.into()).unwrap()
}

#[test]
fn delivery_says_what_follows_and_what_it_costs() {
    let value = Some(Bytes::from_static(b"{\"n\": 1.0}"));
    let messages =
        vec![KafkaMessage { offset: 5, timestamp: 6, key: Some("a".into()), value, ..Default::default() }];
    let encoded = KafkaFetchResp { messages, ..Default::default() }.encode_to_vec();
    let encoded = Bytes::from(encoded);
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
            text(i32::MAX, vec![smallest.clone(); 100], format);
            for timestamp_type in [0, log_append] {
                for headers in [0, 1, 1000] {
                    let headers = vec![header.clone(); headers];
                    let message = KafkaMessage { timestamp_type, headers, ..smallest.clone() };
                    text(i32::MAX, vec![message; 10], format);
                }
            }
            let empty = KafkaMessage { key: Some("".into()), value: Some("".into()), ..smallest };
            text(i32::MAX, vec![empty; 100], format);
        }
    }
}

fn content() -> impl Strategy<Value = Option<Bytes>> {
    let bytes = prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(b'"')], 0..20);
    prop::option::of(bytes.prop_map(Bytes::from))
}

fn message() -> impl Strategy<Value = KafkaMessage> {
    let header = ("[\0-\u{1f}a\"]{0,3}", content()).prop_map(|(key, value)| Header { key, value });
    let headers = prop::collection::vec(header, 0..4);
    let numbers = (any::<i64>(), any::<i64>(), 0..2);
    (numbers, content(), content(), headers).prop_map(
        |((offset, timestamp, timestamp_type), key, value, headers)| KafkaMessage {
            offset,
            timestamp,
            timestamp_type,
            key,
            value,
            headers,
        },
    )
}

proptest! {
    #[test]
    fn any_records_are_within_the_bound(messages in prop::collection::vec(message(), 0..5)) {
        for format in [Format::Json, Format::Text, Format::Base64] {
            text(i32::MAX, messages.clone(), format);
        }
    }
}
