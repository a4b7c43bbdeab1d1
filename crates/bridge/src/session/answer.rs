//! A session's answers, and their encoding.

use std::fmt;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, int64, key_len, message};
use prost::{Message, length_delimiter_len};
use sluicegate_backend::{CommandError, DeliveryReport, Fetched, ListedOffset, System};
use sluicegate_delivery::Item;
use sluicegate_delivery::cluster::escaped_log;
use sluicegate_dialect as dialect;
use sluicegate_dialect::error::{MAX_ERROR_BYTES, MAX_RECORD_ERROR_BYTES, error_resp};
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::wire::number::{FETCHED, KAFKA_MULTI_FETCH, RESULTS, SEQUENCE};
use sluicegate_protocol::{
    AuthResp, Close, ControlResp, ErrorResp, KafkaListOffsetResp, PartitionFetched, PongResp, PubSubResp,
    SessionExpiringResp, SessionResp, UnsubscribedResp, control_resp::Control, grpc, pub_sub_resp::Resp,
};
use sluicegate_telemetry::traces;

use super::encoding::Encoding;
use super::json;

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// A small answer, or one whose size the client chose.
    Message(PubSubResp),
    /// Records or topics, in field `number`: encoded and shared instead of copied, after the `rest` of the answer.
    Shared { sequence: i64, number: u32, encoded: Bytes, rest: Vec<u8> },
    /// A `KafkaMultiFetchResp`, encoded.
    MultiFetch { sequence: i64, encoded: Bytes },
    /// An answer of a JSON session that is not the same on every system.
    Text(Bytes),
}

impl Answer {
    pub(super) fn pong(sequence: i64, state: Bytes) -> Self {
        Self::new(sequence, Resp::PongResp(PongResp { state }))
    }

    /// The limits of the session, and the time until the client's identity expires.
    pub(super) fn limits(sequence: i64, max_message_bytes: usize, left: Option<Duration>) -> Self {
        let max_message_bytes = u32::try_from(max_message_bytes).unwrap_or(u32::MAX);
        let resp = SessionResp { max_message_bytes, expires_in_ms: left.map(millis) };
        Self::new(sequence, Resp::SessionResp(resp))
    }

    /// The client's identity is renewed, and expires after this time.
    pub(super) fn renewed(sequence: i64, left: Option<Duration>) -> Self {
        Self::new(sequence, Resp::AuthResp(AuthResp { expires_in_ms: left.map(millis) }))
    }

    /// The client's identity expires after this time.
    pub(super) fn expiring(sequence: i64, left: Duration) -> Self {
        let resp = SessionExpiringResp { expires_in_ms: millis(left) };
        Self::new(sequence, Resp::SessionExpiringResp(resp))
    }

    /// Fetched records, and where to continue.
    pub(super) fn fetched(sequence: i64, system: System, fetched: Fetched) -> Self {
        let mut rest = Vec::new();
        let number = dialect::of(system).put_fetched(&mut rest, fetched.next_offset, fetched.ends);
        Self::Shared { sequence, number, encoded: fetched.messages, rest }
    }

    /// The records of each partition.
    pub(super) fn multi_fetched(
        sequence: i64,
        system: System,
        results: Vec<Result<Fetched, CommandError>>,
    ) -> Self {
        let dialect = dialect::of(system);
        let messages = results.iter().flatten().map(|fetched| fetched.messages.len());
        let overhead = results.len().saturating_mul(RESULT_OVERHEAD);
        let mut encoded = Vec::with_capacity(messages.fold(overhead, usize::saturating_add));
        let mut rest = Vec::new();
        for result in results {
            match result {
                Ok(fetched) => {
                    rest.clear();
                    dialect.put_fetched(&mut rest, fetched.next_offset, fetched.ends);
                    let len = fetched.messages.len().saturating_add(rest.len());
                    put_head_of(RESULTS, field_len(FETCHED, len), &mut encoded);
                    put_head_of(FETCHED, len, &mut encoded);
                    encoded.extend_from_slice(&fetched.messages);
                    encoded.extend_from_slice(&rest);
                }
                Err(error) => {
                    let error = Some(error_resp(error, system, MAX_RECORD_ERROR_BYTES));
                    message::encode(RESULTS, &PartitionFetched { fetched: None, error }, &mut encoded);
                }
            }
        }
        Self::MultiFetch { sequence, encoded: encoded.into() }
    }

    /// The offset of each partition.
    pub(super) fn offsets(
        sequence: i64,
        system: System,
        results: Vec<Result<ListedOffset, CommandError>>,
        encoding: Encoding,
    ) -> Self {
        let dialect = dialect::of(system);
        match encoding {
            Encoding::Protobuf => Self::new(sequence, dialect.listed(results)),
            Encoding::Json(_) => Self::Text(dialect.json_listed(sequence, results)),
        }
    }

    /// The end of a subscription.
    pub(super) fn unsubscribed(sequence: i64) -> Self {
        Self::new(sequence, Resp::UnsubscribedResp(UnsubscribedResp {}))
    }

    pub(super) fn offset(sequence: i64, offset: i64) -> Self {
        Self::new(sequence, Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }))
    }

    pub(super) fn produced(
        sequence: i64,
        system: System,
        reports: Vec<DeliveryReport>,
        encoding: Encoding,
    ) -> Self {
        let dialect = dialect::of(system);
        match encoding {
            Encoding::Protobuf => Self::new(sequence, dialect.produced(reports)),
            Encoding::Json(_) => Self::Text(dialect.json_produced(sequence, reports)),
        }
    }

    /// A message of the subscription with this sequence.
    pub(super) fn item(sequence: i64, system: System, item: Item, encoding: Encoding) -> Self {
        let dialect = dialect::of(system);
        match (item, encoding) {
            (Item::Delivery { next, messages, end }, Encoding::Protobuf) => {
                let (number, rest) = dialect.delivered(&next, end);
                Self::Shared { sequence, number, encoded: messages, rest }
            }
            (Item::Delivery { next, messages, end }, Encoding::Json(format)) => {
                Self::Text(json::delivered(sequence, system, &next, messages, end, format))
            }
            (Item::Ended { place, error }, _) => {
                let log = escaped_log(system, &place.topic, place.partition);
                Self::failed(sequence, system, format_args!("deliver messages, {log}"), error)
            }
            (item, Encoding::Protobuf) => Self::Message(PubSubResp { sequence, resp: dialect.item(item) }),
            (item, Encoding::Json(_)) => Self::Text(dialect.json_item(sequence, &item).unwrap_or_default()),
        }
    }

    /// The error of a command that failed to do `what`, in APISIX's wording.
    pub(super) fn failed(
        sequence: i64,
        system: System,
        what: fmt::Arguments<'_>,
        error: CommandError,
    ) -> Self {
        let message = format!("failed to {what}, err: {}", error.message);
        let error = error_resp(CommandError { message, ..error }, system, MAX_ERROR_BYTES);
        Self::error(sequence, ErrorResp { trace_id: traces::current_id(), ..error })
    }

    fn error(sequence: i64, error: ErrorResp) -> Self {
        Self::new(sequence, Resp::ErrorResp(error))
    }

    /// The error, if the command has failed as a whole.
    pub(super) fn as_error(&self) -> Option<&ErrorResp> {
        match self {
            Self::Message(PubSubResp { resp: Some(Resp::ErrorResp(error)), .. }) => Some(error),
            _ => None,
        }
    }

    /// An error of the bridge itself, not retriable, in the bytes that APISIX sends.
    pub(super) fn refusal(sequence: i64, message: &str) -> Self {
        Self::error(sequence, ErrorResp { code: 0, message: message.to_owned(), ..Default::default() })
    }

    pub(super) fn control(control: Control) -> Self {
        Self::new(0, Resp::Control(ControlResp { control: Some(control) }))
    }

    pub(super) fn close(close: Close) -> Self {
        Self::control(Control::Close(close))
    }

    pub(super) fn new(sequence: i64, resp: Resp) -> Self {
        Self::Message(PubSubResp { sequence, resp: Some(resp) })
    }

    /// Appends the gRPC message to `small`. A large body is not copied but returned, and follows `small`.
    pub(super) fn encode(self, codec: Codec, small: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::Message(message) => {
                if codec == Codec::Json
                    && let Some(text) = json::encode(&message)
                {
                    put_head(small, text.len());
                    small.put_slice(&text);
                    return None;
                }
                put_head(small, message.encoded_len());
                // Cannot fail: the only error is a full buffer, and a `BytesMut` grows.
                let _ = message.encode(small);
                None
            }
            Self::MultiFetch { sequence, encoded } => {
                put_answer_head(sequence, KAFKA_MULTI_FETCH, encoded.len(), small);
                Some(encoded)
            }
            Self::Text(text) => {
                put_head(small, text.len());
                put_body(text, small)
            }
            Self::Shared { sequence, number, encoded, rest } => {
                put_answer_head(sequence, number, encoded.len().saturating_add(rest.len()), small);
                // Protobuf's fields can have any order, and a large body must come last.
                small.put_slice(&rest);
                put_body(encoded, small)
            }
        }
    }
}

/// Up to this size, a copy is cheaper than a separate write.
const COPY_BYTES: usize = 8 * 1024;

/// Bytes of a multi-fetch's result besides its records: offsets, tags and lengths.
const RESULT_OVERHEAD: usize = 64;

/// The head of a gRPC message with an answer of `len` bytes in field `number`.
fn put_answer_head(sequence: i64, number: u32, len: usize, small: &mut BytesMut) {
    let sequence_len = if sequence == 0 { 0 } else { int64::encoded_len(SEQUENCE, &sequence) };
    put_head(small, field_len(number, len).saturating_add(sequence_len));
    if sequence != 0 {
        int64::encode(SEQUENCE, &sequence, small);
    }
    put_head_of(number, len, small);
}

/// Appends a body, or returns it if it is large.
fn put_body(body: Bytes, small: &mut BytesMut) -> Option<Bytes> {
    if body.len() > COPY_BYTES {
        return Some(body);
    }
    small.put_slice(&body);
    None
}

/// The length of a field with its head.
pub(super) fn field_len(number: u32, len: usize) -> usize {
    key_len(number).saturating_add(length_delimiter_len(len)).saturating_add(len)
}

/// The head of a field of `len` bytes.
pub(super) fn put_head_of(number: u32, len: usize, buffer: &mut impl BufMut) {
    encode_key(number, WireType::LengthDelimited, buffer);
    encode_varint(len as u64, buffer);
}

/// Milliseconds, rounded down.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn put_head(small: &mut BytesMut, len: usize) {
    // Limits on requests and fetches keep answers far below 4 GiB.
    small.put_slice(&grpc::head(u32::try_from(len).unwrap_or(u32::MAX)));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate_backend::{Fault, Written};
    use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage, KafkaMultiFetchResp, Reason};
    use sluicegate_shared_log::Ends;

    use super::*;
    use crate::session::encoding::MAX_RESULT_BYTES;

    fn encoded(answer: Answer) -> Vec<u8> {
        let mut small = BytesMut::new();
        let large = answer.encode(Codec::Protobuf, &mut small);
        [&small[..], &large.unwrap_or_default()].concat()
    }

    #[track_caller]
    fn check(answer: Answer, want: PubSubResp) {
        let wire = encoded(answer);
        let (head, message) = wire.split_first_chunk().unwrap();
        assert_eq!(grpc::message_len(*head), Ok(u32::try_from(message.len()).unwrap()));
        assert_eq!(PubSubResp::decode(message).unwrap(), want);
    }

    #[test]
    fn fetched_answer_is_valid_protobuf() {
        for value_len in [0, 1, 100, COPY_BYTES - 20, COPY_BYTES, 300_000] {
            let value = Bytes::from(vec![b'v'; value_len]);
            let (key, value) = (Some("k".into()), Some(value));
            let headers = vec![Header { key: "h".into(), value: None }];
            let message = KafkaMessage { offset: 5, timestamp: 6, key, value, headers, ..Default::default() };
            let encoded = KafkaFetchResp { messages: vec![message.clone()], ..Default::default() };
            let messages = Bytes::from(encoded.encode_to_vec());
            let ends = Ends { start: 1, stable: i64::MAX, end: -1 };
            for sequence in [0, 1, -1, i64::MAX] {
                let fetched = Fetched { messages: messages.clone(), count: 1, ..Fetched::nothing(9, ends) };
                let want = KafkaFetchResp {
                    messages: vec![message.clone()],
                    next_offset: 9,
                    high_watermark: Some(-1),
                    last_stable_offset: Some(i64::MAX),
                    log_start_offset: Some(1),
                };
                let resp = Some(Resp::KafkaFetchResp(want));
                check(Answer::fetched(sequence, System::Kafka, fetched), PubSubResp { sequence, resp });
            }
        }
    }

    #[test]
    fn results_of_many_partitions_are_valid_protobuf() {
        let message = KafkaMessage { offset: 5, value: Some("v".into()), ..Default::default() };
        let messages = vec![message; 3];
        let wire = KafkaFetchResp { messages: messages.clone(), ..Default::default() }.encode_to_vec();
        let ends = Ends { start: 1, stable: 8, end: 9 };
        let fetched = Fetched { messages: wire.into(), count: 3, ..Fetched::nothing(6, ends) };
        let empty = Fetched { messages: Bytes::new(), count: 0, ..fetched.clone() };
        let error = CommandError {
            ends: Some((0, 9)),
            ..CommandError::new(Fault::OffsetOutOfRange, 1, "é".repeat(1000))
        };
        let rest = KafkaFetchResp {
            next_offset: 6,
            high_watermark: Some(9),
            last_stable_offset: Some(8),
            log_start_offset: Some(1),
            ..Default::default()
        };
        let results = [&rest, &KafkaFetchResp { messages, ..rest.clone() }]
            .map(|fetched| PartitionFetched { fetched: Some(fetched.clone()), error: None });
        let failed = Some(error_resp(error.clone(), System::Kafka, MAX_RECORD_ERROR_BYTES));
        let failed = PartitionFetched { fetched: None, error: failed };
        let want = [&results[..], &[failed]].concat();
        let resp = Some(Resp::KafkaMultiFetchResp(KafkaMultiFetchResp { results: want }));
        let answer =
            Answer::multi_fetched(7, System::Kafka, vec![Ok(empty.clone()), Ok(fetched), Err(error.clone())]);
        check(answer, PubSubResp { sequence: 7, resp });
        for result in [Ok(empty), Err(error)] {
            let len = encoded(Answer::multi_fetched(0, System::Kafka, vec![result])).len();
            assert!(len <= MAX_RESULT_BYTES, "{len}");
        }
    }

    #[test]
    fn large_body_is_not_copied() {
        let messages = Bytes::from(vec![0; COPY_BYTES + 1]);
        let mut small = BytesMut::new();
        let large = Answer::fetched(1, System::Kafka, records(messages.clone()))
            .encode(Codec::Protobuf, &mut small)
            .unwrap();
        assert_eq!(large.as_ptr(), messages.as_ptr());
    }

    fn records(messages: Bytes) -> Fetched {
        Fetched { messages, count: 1, ..Fetched::nothing(9, Ends::UNKNOWN) }
    }

    #[test]
    fn error_tells_whether_and_when_to_retry() {
        let error = CommandError {
            retry_after: Duration::from_millis(1500),
            ends: Some((3, 9)),
            ..CommandError::new(Fault::UnknownOutcome { retriable: true }, 7, "m".repeat(5000))
        };
        let Answer::Message(PubSubResp { resp: Some(Resp::ErrorResp(error)), .. }) =
            Answer::failed(1, System::Kafka, format_args!("produce"), error)
        else {
            panic!("an error");
        };
        assert!(error.message.starts_with("failed to produce, err: mmm"), "{error:?}");
        assert_eq!(error.message.len(), MAX_ERROR_BYTES);
        assert_eq!(
            (error.code, error.retriable, error.retry_after_ms, error.unknown_outcome),
            (7, true, 1500, true)
        );
        assert_eq!(error.reason(), Reason::UnknownOutcome);
        assert_eq!((error.earliest_offset, error.latest_offset), (Some(3), Some(9)));
    }

    #[test]
    fn result_fits_its_reservation() {
        let error = CommandError {
            retry_after: Duration::MAX,
            ends: Some((i64::MAX, i64::MAX)),
            ..CommandError::new(Fault::UnknownOutcome { retriable: true }, i32::MIN, "é".repeat(1000))
        };
        let written = Written { partition: -1, offset: -1, timestamp: -1, dedup: None };
        for report in [Err(error), Ok(written)] {
            let len = encoded(Answer::produced(0, System::Kafka, vec![report], Encoding::Protobuf)).len();
            assert!(len <= MAX_RESULT_BYTES, "{len}");
        }
    }
}
