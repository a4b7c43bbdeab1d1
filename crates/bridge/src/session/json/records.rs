//! Records that were read, as the text of an answer.
//!
//! The records of an answer take at most the bytes that the command asked for, as in protobuf; one record is delivered
//! even if it is larger. As text, it can be up to six times as large: a control character takes six bytes. What has no
//! room is left to the next fetch.

use std::io::Write as _;

use bytes::Bytes;
use sluicegate_backend::{CommandError, DecodeMessages as _, Fetched, System, first_message};
use sluicegate_delivery::Place;
use sluicegate_shared_log::Ends;
use sluicegate_telemetry::metrics::RouteMetrics;

use sluicegate_dialect::json::format::Format;
use sluicegate_dialect::json_sessions::answer::shrunk;
use sluicegate_dialect::{self as dialect, json_sessions::error};

/// The answer to a fetch, with at most `max_bytes` of records.
pub(in crate::session) fn fetched(
    sequence: i64,
    system: System,
    partition: i32,
    fetched: Fetched,
    format: Format,
    max_bytes: usize,
    metrics: &RouteMetrics,
) -> Bytes {
    let mut text = format!("{{\"id\":{sequence},").into_bytes();
    let room = RecordBounds { bytes: max_bytes, for_one: true };
    put_partition(&mut text, system, partition, fetched, format, room, metrics);
    text.push(b'}');
    shrunk(text)
}

/// The answer to a fetch of many `partitions`, which share `max_bytes` of records: what some do not need goes to those
/// after them. Chance decides which is first, and can have a record that is larger than its share.
pub(in crate::session) fn multi_fetched(
    sequence: i64,
    system: System,
    partitions: impl Iterator<Item = i32>,
    results: Vec<Result<Fetched, CommandError>>,
    format: Format,
    max_bytes: usize,
    metrics: &RouteMetrics,
) -> Bytes {
    let first = fastrand::usize(..results.len().max(1));
    let mut results: Vec<_> = partitions.zip(results).collect();
    results.rotate_left(first);
    let mut room = RecordBounds { bytes: max_bytes, for_one: true };
    let mut left = results.len();
    let text = |(partition, result)| {
        let mut text = vec![b'{'];
        match result {
            Ok(fetched) => {
                let share = RecordBounds { bytes: room.bytes.checked_div(left).unwrap_or_default(), ..room };
                let used = put_partition(&mut text, system, partition, fetched, format, share, metrics);
                room = RecordBounds {
                    bytes: room.bytes.saturating_sub(used),
                    for_one: room.for_one && used == 0,
                };
            }
            Err(error) => error::put(&mut text, system, error),
        }
        left = left.saturating_sub(1);
        text.push(b'}');
        text
    };
    let mut texts: Vec<Vec<u8>> = results.into_iter().map(text).collect();
    texts.rotate_right(first);
    let results = texts.join(&b',');
    drop(texts);
    let mut text = format!("{{\"id\":{sequence},\"results\":[").into_bytes();
    text.extend_from_slice(&results);
    text.extend_from_slice(b"]}");
    shrunk(text)
}

/// A delivery: `{"id": 1, "messages": […], "next": {"0": 6}, …}`. Its `bytes` are its cost in credit.
pub(in crate::session) fn delivered(
    sequence: i64,
    system: System,
    next: &Place,
    messages: Bytes,
    end: i64,
    format: Format,
) -> Bytes {
    let Place { topic, partition, offset } = next;
    let (dialect, bytes) = (dialect::of(system), messages.len());
    let mut text = format!("{{\"id\":{sequence},\"messages\":[").into_bytes();
    let (mut left, mut is_first) = (messages, true);
    while let Some((message, rest)) = first_message(&left) {
        if !std::mem::take(&mut is_first) {
            text.push(b',');
        }
        dialect.put_message(&mut text, *partition, &message, format);
        left = rest;
    }
    text.push(b']');
    dialect.put_next(&mut text, *partition, *offset);
    dialect.put_ends(&mut text, Ends { end, ..Ends::UNKNOWN });
    // Cannot fail: a `Vec` accepts all writes.
    let _ = write!(text, ",\"{}\":", system.topic);
    let _ = serde_json::to_writer(&mut text, &**topic);
    let _ = write!(text, ",\"bytes\":{bytes}}}");
    shrunk(text)
}

/// The largest text of a delivery of so many records, which have so many bytes in protobuf.
pub(in crate::session) const fn max_delivery_bytes(bytes: usize, records: usize) -> usize {
    let fixed = records.saturating_mul(RECORD_BYTES).saturating_add(DELIVERY_BYTES);
    bytes.saturating_mul(MAX_GROWTH).saturating_add(fixed)
}

/// The room for records.
#[derive(Clone, Copy)]
struct RecordBounds {
    bytes: usize,
    /// Whether one record can be larger.
    for_one: bool,
}

/// Appends what was read of a partition. Returns the bytes of its records.
fn put_partition(
    text: &mut Vec<u8>,
    system: System,
    partition: i32,
    mut fetched: Fetched,
    format: Format,
    room: RecordBounds,
    metrics: &RouteMetrics,
) -> usize {
    let dialect = dialect::of(system);
    let (records, bytes) = (fetched.count, fetched.messages.len());
    text.extend_from_slice(b"\"messages\":[");
    let begin = text.len();
    while let Some((message, rest)) = fetched.first() {
        let before = text.len();
        let is_first = before == begin;
        if !is_first {
            text.push(b',');
        }
        dialect.put_message(text, partition, &message, format);
        let has_room = text.len().saturating_sub(begin) <= room.bytes || is_first && room.for_one;
        if !has_room {
            text.truncate(before);
            break;
        }
        fetched.advance_to(rest);
    }
    let used = text.len().saturating_sub(begin);
    metrics.delivered(records.saturating_sub(fetched.count), bytes.saturating_sub(fetched.messages.len()));
    fetched.end();
    let Fetched { next_offset, ends, .. } = fetched;
    text.push(b']');
    dialect.put_next(text, partition, next_offset);
    dialect.put_ends(text, ends);
    used
}

/// The growth of a byte of a record in text, at most: a header without content has 3 and becomes 24, and a control
/// character becomes 6.
const MAX_GROWTH: usize = 8;
/// The text of a record that its own bytes do not account for: the names of its members.
const RECORD_BYTES: usize = 100;
/// The text of a delivery without records. A topic's name has at most 249 characters.
const DELIVERY_BYTES: usize = 512;

#[cfg(test)]
mod deliveries;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use prost::Message;
    use serde_json::{Value, json};
    use sluicegate_backend::Fault;
    use sluicegate_dialect::json::depth::MAX_DEPTH;
    use sluicegate_dialect::testing::nested;
    use sluicegate_protocol::KafkaMessage;
    use sluicegate_protocol::{Header, KafkaFetchResp};

    use super::*;
    use crate::session::json::MAX_RESULT_BYTES;

    fn message(offset: i64, key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> KafkaMessage {
        let [key, value] = [key, value].map(|bytes| bytes.map(Bytes::from_static));
        KafkaMessage { offset, timestamp: 7, key, value, ..Default::default() }
    }

    fn read(messages: &[KafkaMessage], next_offset: i64, ends: Ends) -> Fetched {
        let resp = KafkaFetchResp { messages: messages.to_vec(), ..Default::default() };
        let (count, messages) = (messages.len(), resp.encode_to_vec().into());
        Fetched { messages, count, ..Fetched::nothing(next_offset, ends) }
    }

    fn metrics() -> RouteMetrics {
        RouteMetrics::default()
    }

    /// The records of an answer.
    fn records(messages: &[KafkaMessage], format: Format) -> Value {
        let read = read(messages, 9, Ends::UNKNOWN);
        let text = fetched(1, System::Kafka, 3, read, format, usize::MAX, &metrics());
        let mut answer: Value = serde_json::from_slice(&text).unwrap();
        answer["messages"].take()
    }

    #[test]
    fn answer_says_where_to_continue_and_where_the_log_ends() {
        let ends = Ends { start: 0, stable: -1, end: 12 };
        let messages = [message(5, None, Some(b"{\"a\": 1.10}"))];
        let text = fetched(-7, System::Kafka, 3, read(&messages, 9, ends), Format::Json, 1000, &metrics());
        let want = concat!(
            r#"{"id":-7,"messages":[{"partition":3,"offset":5,"timestamp":7,"key":null,"value":{"a": 1.10}}],"#,
            r#""next":{"3":9},"high_watermark":12,"log_start_offset":0}"#,
        );
        assert_eq!(text, want);
        let messages = [message(5, Some(b"a.b"), Some(b"1"))];
        let text = fetched(-7, System::Nats, 0, read(&messages, 9, ends), Format::Base64, 1000, &metrics());
        let want = concat!(
            r#"{"id":-7,"messages":[{"sequence":5,"timestamp":7,"subject":"a.b","data":"MQ=="}],"next":9,"end":12,"#,
            r#""first_sequence":0}"#,
        );
        assert_eq!(text, want);
    }

    #[test]
    fn bytes_that_do_not_fit_the_format_are_base64() {
        let headers = |value: &'static [u8]| {
            vec![
                Header { key: "h".into(), value: Some(value.into()) },
                Header { key: "n".into(), value: None },
            ]
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

    /// serde_json reads as many levels as most parsers, or fewer.
    #[test]
    fn deepest_values_leave_answers_readable() {
        let [deepest, deeper] = [MAX_DEPTH, MAX_DEPTH + 1].map(|depth| Bytes::from(nested(depth)));
        let messages = [&deepest, &deeper]
            .map(|value| KafkaMessage { value: Some(value.clone()), ..message(5, None, None) });
        let results = vec![Ok(read(&messages, 9, Ends::UNKNOWN))];
        let text = multi_fetched(7, System::Kafka, 0..1, results, Format::Json, usize::MAX, &metrics());
        let answer: Value = serde_json::from_slice(&text).unwrap();
        let value = |index: usize| &answer["results"][0]["messages"][index]["value"];
        assert_eq!(value(0).to_string(), deepest);
        assert_eq!(value(1), &json!({"base64": STANDARD.encode(&deeper)}));
    }

    #[test]
    fn records_exceed_the_bytes_only_if_there_is_one() {
        let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some(b"\"\x01\x02\""))).collect();
        for format in [Format::Json, Format::Text, Format::Base64] {
            let one = records(&messages[..1], format).to_string().len() - 2;
            for max_bytes in 0..12 * one {
                let read = read(&messages, 10, Ends::UNKNOWN);
                let text = fetched(1, System::Kafka, 3, read, format, max_bytes, &metrics());
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

    #[test]
    fn partitions_share_the_bytes_in_any_order() {
        let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some(b"1"))).collect();
        let one = records(&messages[..1], Format::Json).to_string().len() - 2;
        let ends = Ends { start: 1, stable: i64::MAX, end: i64::MAX };
        for _ in 0..20 {
            for max_bytes in [0, 1, one, 4 * one, 12 * one, 100 * one] {
                let error = CommandError::new(Fault::NotFound, 3, "no such topic");
                let results = vec![
                    Ok(read(&messages, 10, ends)),
                    Err(error),
                    Ok(read(&messages[..1], 10, ends)),
                    Ok(Fetched::nothing(4, ends)),
                    Ok(read(&messages, 10, ends)),
                ];
                let text =
                    multi_fetched(7, System::Kafka, 0..5, results, Format::Json, max_bytes, &metrics());
                assert!(text.len() <= max_bytes.max(one) + 5 * MAX_RESULT_BYTES);
                let answer: Value = serde_json::from_slice(&text).unwrap();
                let count = |index: usize| answer["results"][index]["messages"].as_array().map(Vec::len);
                assert_eq!(answer["id"], 7);
                assert_eq!(answer["results"][1]["error"]["reason"], "NOT_FOUND");
                assert_eq!(count(3), Some(0));
                let counts = [0, 2, 4].map(|index| count(index).unwrap());
                let all: usize = counts.iter().sum();
                assert!(all >= 1, "{max_bytes}: nothing was delivered");
                assert_eq!(all == 21, max_bytes == 100 * one, "{max_bytes}: {counts:?}");
                for index in [0, 4] {
                    assert_eq!(answer["results"][index]["next"][index.to_string()], count(index).unwrap());
                }
            }
        }
    }
}
