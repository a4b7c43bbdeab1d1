//! The command `multi_fetch`, and its answer.

use prost::Message as _;
use prost::encoding::message;
use serde::Deserialize;
use serde_json::Error;
use sluicegate_backend::command::{Command, LogName, ReadBounds};
use sluicegate_backend::{Chunk, CommandError};
use sluicegate_delivery::MAX_FILTERS;
use sluicegate_delivery::cluster::MAX_PARTITIONS;
use sluicegate_protocol::wire::number::{FETCHED, KAFKA_MULTI_FETCH, RESULTS};
use sluicegate_protocol::{CmdKafkaMultiFetch, Isolation, PartitionFetched, PartitionOffset};
use sluicegate_telemetry::metrics::RouteMetrics;

use super::SYSTEM;
use super::fetch::{self, IsolationName};
use crate::json::format::Format;
use crate::json::list::List;
use crate::session::answer::{Answer, Encoding, field_len, put_head_of};
use crate::session::bounds::read_bounds;
use crate::session::error::{self, MAX_RECORD_ERROR_BYTES, error_resp};
use crate::session::filter::{Filter, filters, record_filters};
use crate::session::members::{Int64, Object, or_default};
use crate::session::records::{RecordBounds, put_partition};
use crate::session::text::shrunk;

/// The fetch.
///
/// # Errors
/// A filter is invalid.
pub(super) fn of_protobuf(mut command: CmdKafkaMultiFetch) -> Result<Command, String> {
    let filters = record_filters(std::mem::take(&mut command.filters))?;
    let isolation = command.isolation();
    let CmdKafkaMultiFetch { partitions, max_wait_ms, min_bytes, max_bytes, decode, .. } = command;
    let place = |PartitionOffset { topic, partition, offset }| (LogName { topic, partition }, offset);
    let places = partitions.into_iter().map(place).collect();
    let committed = isolation == Isolation::ReadCommitted;
    Ok(Command::MultiFetch {
        places,
        bounds: ReadBounds { committed, decode, ..read_bounds(max_wait_ms, min_bytes, max_bytes) },
        filters,
    })
}

/// The command in JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MultiFetch<'a> {
    partitions: List<Object<Place>, MAX_PARTITIONS>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) format: Format,
    max_wait_ms: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    min_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    max_bytes: u32,
    #[serde(default, deserialize_with = "or_default")]
    isolation: IsolationName,
    #[serde(borrow, default, deserialize_with = "or_default")]
    filters: List<Object<Filter<'a>>, MAX_FILTERS>,
}

/// A place in a log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: Int64,
}

impl MultiFetch<'_> {
    /// The command, and the format of keys and values.
    ///
    /// # Errors
    /// A filter is invalid.
    pub(super) fn decode(mut self) -> Result<(Command, Format), Error> {
        let given = std::mem::take(&mut self.filters.0).into_iter().map(|Object(filter)| filter);
        let filters = filters(given, "key", self.format)?;
        let Self { partitions, format, max_wait_ms, min_bytes, max_bytes, isolation, .. } = self;
        let place = |Object(Place { topic, partition, offset })| (LogName { topic, partition }, offset.0);
        let places = partitions.0.into_iter().map(place).collect();
        let committed = isolation.is_committed();
        let command = Command::MultiFetch {
            places,
            bounds: ReadBounds {
                committed,
                decode: format.decodes(),
                ..read_bounds(max_wait_ms, min_bytes, max_bytes)
            },
            filters,
        };
        Ok((command, format))
    }
}

impl Answer {
    /// Records of each of `partitions`. In JSON, with at most `max_bytes` of records. `metrics` count them.
    pub fn multi_fetched(
        sequence: i64,
        partitions: impl Iterator<Item = i32>,
        results: Vec<Result<Chunk, CommandError>>,
        encoding: Encoding,
        max_bytes: usize,
        metrics: &RouteMetrics,
    ) -> Self {
        match encoding {
            Encoding::Protobuf => {
                for fetched in results.iter().flatten() {
                    metrics.delivered(fetched.count, fetched.messages.len());
                }
                let (number, rest) = (KAFKA_MULTI_FETCH, Vec::new());
                Self::Shared { sequence, number, encoded: encoded(results).into(), rest }
            }
            Encoding::Json(format) => {
                let results = partitions.zip(results).collect();
                let results = in_json(results, format, max_bytes, metrics);
                let mut text = format!("{{\"id\":{sequence},\"results\":[").into_bytes();
                text.extend_from_slice(&results);
                text.extend_from_slice(b"]}");
                Self::Text(shrunk(text))
            }
        }
    }
}

/// A `KafkaMultiFetchResp`.
fn encoded(results: Vec<Result<Chunk, CommandError>>) -> Vec<u8> {
    let messages = results.iter().flatten().map(|fetched| fetched.messages.len());
    let overhead = results.len().saturating_mul(RESULT_OVERHEAD);
    let mut encoded = Vec::with_capacity(messages.fold(overhead, usize::saturating_add));
    for result in results {
        match result {
            Ok(Chunk { messages, next_offset, ends, .. }) => {
                let rest = fetch::answer(next_offset, ends).encode_to_vec();
                let len = messages.len().saturating_add(rest.len());
                put_head_of(RESULTS, field_len(FETCHED, len), &mut encoded);
                put_head_of(FETCHED, len, &mut encoded);
                encoded.extend_from_slice(&messages);
                encoded.extend_from_slice(&rest);
            }
            Err(error) => {
                let error = Some(error_resp(error, SYSTEM, MAX_RECORD_ERROR_BYTES));
                message::encode(RESULTS, &PartitionFetched { fetched: None, error }, &mut encoded);
            }
        }
    }
    encoded
}

/// The results of partitions, which share `max_bytes` of records: what some do not need goes to those after them.
/// Chance decides which is first, and can have a record that is larger than its share.
fn in_json(
    mut results: Vec<(i32, Result<Chunk, CommandError>)>,
    format: Format,
    max_bytes: usize,
    metrics: &RouteMetrics,
) -> Vec<u8> {
    let first = fastrand::usize(..results.len().max(1));
    results.rotate_left(first);
    let mut room = RecordBounds { bytes: max_bytes, for_one: true };
    let mut left = results.len();
    let text = |(partition, result)| {
        let mut text = vec![b'{'];
        match result {
            Ok(fetched) => {
                let share = RecordBounds { bytes: room.bytes.checked_div(left).unwrap_or_default(), ..room };
                let used = put_partition(&mut text, SYSTEM, partition, fetched, format, share, metrics);
                room = RecordBounds {
                    bytes: room.bytes.saturating_sub(used),
                    for_one: room.for_one && used == 0,
                };
            }
            Err(error) => error::put(&mut text, SYSTEM, error),
        }
        left = left.saturating_sub(1);
        text.push(b'}');
        text
    };
    let mut texts: Vec<Vec<u8>> = results.into_iter().map(text).collect();
    texts.rotate_right(first);
    texts.join(&b',')
}

/// Bytes of a result in protobuf besides its records: offsets, tags and lengths.
const RESULT_OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde_json::{Value, json};
    use sluicegate_backend::Fault;
    use sluicegate_protocol::pub_sub_resp::Resp;
    use sluicegate_protocol::{KafkaFetchResp, KafkaMessage, KafkaMultiFetchResp, PubSubResp};
    use sluicegate_shared_log::Ends;

    use super::*;
    use crate::json::portable::MAX_DEPTH;
    use crate::session::answer::MAX_RESULT_BYTES;
    use crate::session::answer::tests::{check, encoded};
    use crate::session::records::tests::{message, read, records, text};
    use crate::testing::nested;

    fn fetched(results: Vec<Result<Chunk, CommandError>>, encoding: Encoding, max_bytes: usize) -> Answer {
        Answer::multi_fetched(7, 0..5, results, encoding, max_bytes, &RouteMetrics::default())
    }

    fn in_json(results: Vec<Result<Chunk, CommandError>>, max_bytes: usize) -> Bytes {
        text(fetched(results, Encoding::Json(Format::Json), max_bytes))
    }

    #[test]
    fn results_of_many_partitions_are_valid_protobuf() {
        let message = KafkaMessage { offset: 5, value: Some("v".into()), ..Default::default() };
        let messages = vec![message; 3];
        let wire = KafkaFetchResp { messages: messages.clone(), ..Default::default() }.encode_to_vec();
        let ends = Ends { start: 1, stable: 8, end: 9 };
        let read = Chunk { messages: wire.into(), count: 3, ..Chunk::nothing(6, ends) };
        let empty = Chunk { messages: Bytes::new(), count: 0, ..read.clone() };
        let error = CommandError::new(Fault::OffsetOutOfRange, 1, "é".repeat(1000));
        let error = CommandError { ends: Some((0, 9)), ..error };
        let (high_watermark, last_stable_offset, log_start_offset) = (Some(9), Some(8), Some(1));
        let ends =
            KafkaFetchResp { high_watermark, last_stable_offset, log_start_offset, ..Default::default() };
        let rest = KafkaFetchResp { next_offset: 6, ..ends };
        let results = [&rest, &KafkaFetchResp { messages, ..rest.clone() }]
            .map(|fetched| PartitionFetched { fetched: Some(fetched.clone()), error: None });
        let failed = Some(error_resp(error.clone(), SYSTEM, MAX_RECORD_ERROR_BYTES));
        let failed = PartitionFetched { fetched: None, error: failed };
        let want = [&results[..], &[failed]].concat();
        let resp = Some(Resp::KafkaMultiFetchResp(KafkaMultiFetchResp { results: want }));
        let all = vec![Ok(empty.clone()), Ok(read), Err(error.clone())];
        check(fetched(all, Encoding::Protobuf, 0), &PubSubResp { sequence: 7, resp });
        for result in [Ok(empty), Err(error)] {
            let len = encoded(fetched(vec![result], Encoding::Protobuf, 0)).len();
            assert!(len <= MAX_RESULT_BYTES, "{len}");
        }
    }

    #[test]
    fn deepest_values_leave_answers_readable() {
        let [deepest, deeper] = [MAX_DEPTH, MAX_DEPTH + 1].map(|depth| Bytes::from(nested(depth)));
        let messages = [&deepest, &deeper]
            .map(|value| KafkaMessage { value: Some(value.clone()), ..message(5, None, None) });
        let results = vec![Ok(read(&messages, 9, Ends::UNKNOWN))];
        let text = in_json(results, usize::MAX);
        let levels = text.iter().scan(0, |depth, byte| {
            *depth += i32::from(b"[{".contains(byte)) - i32::from(b"]}".contains(byte));
            Some(*depth)
        });
        assert_eq!(levels.max(), Some(64));
        let answer: Value = serde_json::from_slice(&text).unwrap();
        let value = |index: usize| &answer["results"][0]["messages"][index]["value"];
        assert_eq!(value(0).to_string(), deepest);
        assert_eq!(value(1), &json!({"base64": STANDARD.encode(&deeper)}));
    }

    #[test]
    fn partitions_share_the_bytes_in_any_order() {
        let messages: Vec<_> = (0..10).map(|offset| message(offset, None, Some(b"1"))).collect();
        let one = records(&messages[..1], Format::Json).to_string().len() - 2;
        let ends = Ends { start: 1, stable: i64::MAX, end: i64::MAX };
        for _ in 0..20 {
            for max_bytes in [0, 1, one, 4 * one, 12 * one, 100 * one] {
                let error = CommandError::new(Fault::NotFound, 3, "no such topic");
                let [all, one_of_them] = [&messages[..], &messages[..1]].map(|part| Ok(read(part, 10, ends)));
                let results = vec![all.clone(), Err(error), one_of_them, Ok(Chunk::nothing(4, ends)), all];
                let text = in_json(results, max_bytes);
                assert!(text.len() <= max_bytes.max(one) + 5 * error::MAX_RESULT_BYTES);
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
