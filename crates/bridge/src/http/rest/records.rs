//! Records of a partition, as JSON.

use std::time::Duration;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use http::StatusCode;
use prost::Message;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sluicegate_protocol::{Header, KafkaMessage};

use super::super::media_type::Format;
use super::super::problem::{Problem, ProblemKind};
use super::super::request_permits::RequestPermits;
use super::super::response::Response;
use super::partition;
use super::path::Query;
use crate::backend::{Fetch, Log};
use crate::cluster::{Cluster, Reads};

/// The response to GET of a partition's records.
///
/// # Cancel safety
/// A drop abandons the read.
pub(super) async fn get(
    cluster: &Cluster,
    log: Log<'_>,
    query: &str,
    format: Format,
    mut running: &RequestPermits,
) -> Result<Response, Problem> {
    let fetch = parse_fetch(query, cluster.reads())?;
    let fetched = match cluster.fetch(log, fetch, &mut running).await {
        Ok(fetched) => fetched,
        Err(error) => return Err(partition::read_problem(cluster, log, Some(fetch.offset), error).await),
    };
    let read = vec![(log.partition, fetched.messages)];
    let body = document(log.topic, read, format, fetch.max_bytes)?;
    Ok(Response::with_body(StatusCode::OK, format.content_type(), body.into()))
}

/// The fetch of a query, with `defaults` for missing parameters.
fn parse_fetch(query: &str, defaults: Reads) -> Result<Fetch, Problem> {
    let query = Query::parse(query, &["offset", "max_bytes", "timeout", "isolation"])?;
    let offset = query.number("offset", 0..=i64::MAX)?.ok_or_else(|| {
        let detail = "query parameter offset is missing: expected the offset of the first record";
        Problem::new(ProblemKind::Malformed, detail)
    })?;
    bounded(&query, offset, defaults)
}

/// A fetch within the bounds of `max_bytes`, `timeout` and `isolation`.
pub(super) fn bounded(query: &Query, offset: i64, defaults: Reads) -> Result<Fetch, Problem> {
    let max_bytes = query.number("max_bytes", 1..=i64::MAX)?;
    let timeout = query.number("timeout", 0..=MAX_TIMEOUT_MS)?;
    Ok(Fetch {
        offset,
        max_bytes: max_bytes
            .and_then(|max| usize::try_from(max).ok())
            .map_or(defaults.max_bytes, |max| max.min(defaults.max_bytes)),
        wait: timeout
            .and_then(|timeout| u64::try_from(timeout).ok())
            .map_or(defaults.wait, Duration::from_millis),
        min_bytes: 0,
        max_records: 0,
        committed: match query.text("isolation") {
            None | Some("read_uncommitted") => false,
            Some("read_committed") => true,
            Some(_) => {
                let detail = "query parameter isolation: expected read_committed or read_uncommitted";
                return Err(Problem::new(ProblemKind::Malformed, detail));
            }
        },
    })
}

/// Encodes the messages of partitions, the entries of a `KafkaFetchResp` each, as JSON, one of each partition in turn. Stops at
/// `max_bytes`, but after one record at least. A partition ends before a record that is not valid JSON if the format embeds it.
///
/// # Errors
/// The first record of a partition is not valid JSON.
pub(super) fn document(
    topic: &str,
    mut partitions: Vec<(i32, Bytes)>,
    format: Format,
    max_bytes: usize,
) -> Result<Vec<u8>, Problem> {
    let mut body = b"[".to_vec();
    let mut turn = 0_usize;
    while !partitions.is_empty() {
        let mut problem = None;
        let mut is_full = false;
        partitions.retain_mut(|(partition, messages)| {
            let Some(message) = next(messages).filter(|_| problem.is_none() && !is_full) else {
                return false;
            };
            let before = body.len();
            let is_first = before == 1;
            let record = match Record::new(topic, *partition, &message, format) {
                Ok(record) => record,
                Err(part) => {
                    problem = (turn == 0).then(|| not_json(&part, *partition, message.offset));
                    return false;
                }
            };
            if !is_first {
                body.push(b',');
            }
            // Cannot fail: a `Vec` accepts all writes, and every part of a record is valid JSON.
            let _ = serde_json::to_writer(&mut body, &record);
            if !is_first && body.len() >= max_bytes {
                body.truncate(before);
                is_full = true;
            }
            true
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        if is_full {
            break;
        }
        turn = turn.saturating_add(1);
    }
    body.push(b']');
    Ok(body)
}

fn not_json(NotJson(part): &NotJson, partition: i32, offset: i64) -> Problem {
    let detail = format!(
        "the {part} of the record at offset {offset} of partition {partition} is not valid JSON: request it with Accept: {}",
        Format::Binary.content_type()
    );
    Problem::new(ProblemKind::NotAcceptable, detail)
}

/// Decodes the entry at the front. One at a time, because decoded entries take more memory.
fn next(messages: &mut Bytes) -> Option<KafkaMessage> {
    if messages.is_empty() {
        return None;
    }
    messages.advance(TAG_BYTES);
    // Cannot fail: the bytes are our own encoding.
    KafkaMessage::decode_length_delimited(messages).ok()
}

#[derive(Serialize)]
struct Record<'a> {
    topic: &'a str,
    key: Option<Payload<'a>>,
    value: Option<Payload<'a>>,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderOut<'a>>,
}

#[derive(Serialize)]
struct HeaderOut<'a> {
    key: &'a str,
    value: Option<Payload<'a>>,
}

/// A key or a value.
enum Payload<'a> {
    Json(&'a RawValue),
    Binary(&'a [u8]),
}

/// The part of a record that is not valid JSON.
#[derive(Debug, PartialEq, Eq)]
struct NotJson(&'static str);

impl<'a> Record<'a> {
    fn new(
        topic: &'a str,
        partition: i32,
        message: &'a KafkaMessage,
        format: Format,
    ) -> Result<Self, NotJson> {
        let KafkaMessage { offset, timestamp, key, value, headers, .. } = message;
        let payload = |part, bytes: &'a Option<Bytes>| {
            let bytes = bytes.as_deref();
            bytes.map(|bytes| Payload::new(bytes, format).ok_or(NotJson(part))).transpose()
        };
        let header = |Header { key, value }: &'a Header| HeaderOut {
            key,
            value: value.as_deref().map(Payload::Binary),
        };
        Ok(Self {
            topic,
            key: payload("key", key)?,
            value: payload("value", value)?,
            partition,
            offset: *offset,
            timestamp: *timestamp,
            headers: headers.iter().map(header).collect(),
        })
    }
}

impl<'a> Payload<'a> {
    /// `None` if the format cannot represent the bytes. JSON of any depth is embedded unchanged.
    fn new(bytes: &'a [u8], format: Format) -> Option<Self> {
        match format {
            Format::Json => serde_json::from_slice(bytes).ok().map(Self::Json),
            Format::Binary => Some(Self::Binary(bytes)),
        }
    }
}

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(raw) => raw.serialize(serializer),
            Self::Binary(bytes) => serializer.collect_str(&Base64Display::new(bytes, &STANDARD)),
        }
    }
}

/// The tag of an entry: one byte, because its field number is below 16.
const TAG_BYTES: usize = 1;
/// The longest wait at the log end that a client can request.
const MAX_TIMEOUT_MS: i64 = 30_000;

#[cfg(test)]
mod tests {
    use sluicegate_protocol::KafkaFetchResp;

    use super::*;

    const TOPIC: &str = "t\"x";

    fn message(offset: i64, key: Option<&str>, value: Option<&str>) -> KafkaMessage {
        let [key, value] = [key, value].map(|text| text.map(|text| Bytes::copy_from_slice(text.as_bytes())));
        KafkaMessage { offset, timestamp: 7, key, value, headers: Vec::new(), ..Default::default() }
    }

    fn body(messages: &[KafkaMessage], format: Format, max_bytes: usize) -> Result<String, Problem> {
        let messages = KafkaFetchResp { messages: messages.to_vec(), next_offset: 0, ..Default::default() }
            .encode_to_vec()
            .into();
        let body = document(TOPIC, vec![(3, messages)], format, max_bytes)?;
        Ok(String::from_utf8(body).unwrap())
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
        for text in [
            "1.10",
            "-0",
            "1e400",
            "12345678901234567890123",
            "{ \"a\" : [1, 2] }",
            r#""\u00e9\ud800""#,
            "null",
        ] {
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

    #[test]
    fn partitions_take_turns() {
        let messages = |offsets: std::ops::Range<i64>| -> Bytes {
            let messages = offsets.map(|offset| message(offset, None, None)).collect();
            KafkaFetchResp { messages, ..Default::default() }.encode_to_vec().into()
        };
        let places = |max_bytes| {
            let partitions =
                vec![(0, messages(0..9)), (1, messages(5..6)), (2, Bytes::new()), (3, messages(7..9))];
            let body = document(TOPIC, partitions, Format::Binary, max_bytes).unwrap();
            let records: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            let number = |record: &serde_json::Value, name: &str| record[name].as_i64().unwrap();
            records
                .iter()
                .map(|record| (number(record, "partition"), number(record, "offset")))
                .collect::<Vec<_>>()
        };
        let all = places(usize::MAX);
        assert_eq!(all[..6], [(0, 0), (1, 5), (3, 7), (0, 1), (3, 8), (0, 2)]);
        assert_eq!(all.len(), 12);
        let some = places(400);
        assert!((2..12).contains(&some.len()));
        assert_eq!(some, all[..some.len()]);
    }

    #[track_caller]
    fn check_fetch(query: &str, offset: i64, max_bytes: usize, wait_ms: u64) {
        let defaults = Reads { max_bytes: 1000, wait: Duration::from_millis(100) };
        let fetch = parse_fetch(query, defaults).unwrap();
        let want = (offset, max_bytes, Duration::from_millis(wait_ms));
        assert_eq!((fetch.offset, fetch.max_bytes, fetch.wait), want);
    }

    #[test]
    fn missing_parameters_have_the_defaults_of_sessions() {
        check_fetch("offset=0", 0, 1000, 100);
        check_fetch("offset=9223372036854775807&max_bytes=10&timeout=0", i64::MAX, 10, 0);
        check_fetch("timeout=30000&max_bytes=9223372036854775807&offset=%35", 5, 1000, 30_000);
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
            ("offset=1&timeout=-1", "query parameter timeout: expected"),
            (
                "offset=1&count=1",
                "unknown query parameter count: expected offset, max_bytes, timeout, isolation",
            ),
            (
                "offset=1&isolation=x",
                "query parameter isolation: expected read_committed or read_uncommitted",
            ),
        ] {
            let problem = parse_fetch(query, defaults).unwrap_err().plain();
            let text = std::str::from_utf8(&problem.body).unwrap();
            assert_eq!(problem.status.as_u16(), 400, "{query}");
            assert!(text.contains(want), "{query}: {text}");
        }
    }
}
