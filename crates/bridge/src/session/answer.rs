//! A session's answers, and their encoding.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, int64};
use sluicegate_protocol::wire::number::{KAFKA_FETCH_RESP, SEQUENCE};
use sluicegate_protocol::{
    Close, ControlResp, ErrorResp, KafkaFetchResp, KafkaListOffsetResp, KafkaProduceResp, PongResp, Produced,
    PubSubResp, Reason, control_resp::Control, grpc, pub_sub_resp::Resp,
};

use crate::backend::{CommandError, DeliveryReport, Fault, Fetched, Written};

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// A small answer, or one whose size the client chose.
    Message(PubSubResp),
    /// A `KafkaFetchResp`: its messages, encoded and shared instead of copied, and `rest` without any.
    Messages { sequence: i64, messages: Bytes, rest: KafkaFetchResp },
}

impl Answer {
    pub(super) fn pong(sequence: i64, state: Bytes) -> Self {
        Self::new(sequence, Resp::PongResp(PongResp { state }))
    }

    /// Fetched records, and where to continue.
    pub(super) fn fetched(sequence: i64, fetched: Fetched) -> Self {
        let Fetched { messages, next_offset, ends, .. } = fetched;
        let rest = KafkaFetchResp {
            messages: Vec::new(),
            next_offset,
            high_watermark: Some(ends.end),
            last_stable_offset: Some(ends.stable),
            log_start_offset: Some(ends.start),
        };
        Self::Messages { sequence, messages, rest }
    }

    pub(super) fn offset(sequence: i64, offset: i64) -> Self {
        Self::new(sequence, Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }))
    }

    pub(super) fn produced(sequence: i64, reports: Vec<DeliveryReport>) -> Self {
        let results = reports.into_iter().map(produced).collect();
        Self::new(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results }))
    }

    /// The error of a command that failed to do `what`, in APISIX's wording.
    pub(super) fn failed(sequence: i64, what: fmt::Arguments<'_>, error: CommandError) -> Self {
        let message = format!("failed to {what}, err: {}", error.message);
        Self::error(sequence, error_resp(CommandError { message, ..error }, MAX_ERROR_BYTES))
    }

    /// Adds the ends of the log to an error.
    pub(super) fn with_ends(mut self, ends: Option<(i64, i64)>) -> Self {
        if let (
            Self::Message(PubSubResp { resp: Some(Resp::ErrorResp(error)), .. }),
            Some((earliest, latest)),
        ) = (&mut self, ends)
        {
            (error.earliest_offset, error.latest_offset) = (Some(earliest), Some(latest));
        }
        self
    }

    fn error(sequence: i64, error: ErrorResp) -> Self {
        Self::new(sequence, Resp::ErrorResp(error))
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

    fn new(sequence: i64, resp: Resp) -> Self {
        Self::Message(PubSubResp { sequence, resp: Some(resp) })
    }

    /// Appends the gRPC message to `small`. A large body is not copied but returned, and follows `small`.
    pub(super) fn encode(self, small: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::Message(message) => {
                put_head(small, message.encoded_len());
                // Cannot fail: the only error is a full buffer, and a `BytesMut` grows.
                let _ = message.encode(small);
                None
            }
            Self::Messages { sequence, messages, rest } => {
                let sequence_len = if sequence == 0 { 0 } else { int64::encoded_len(SEQUENCE, &sequence) };
                let fetch_len = messages.len().saturating_add(rest.encoded_len());
                let fetch_head = FETCH_KEY_LEN.saturating_add(encoded_len_varint(fetch_len as u64));
                let len = fetch_len.saturating_add(sequence_len).saturating_add(fetch_head);
                put_head(small, len);
                if sequence != 0 {
                    int64::encode(SEQUENCE, &sequence, small);
                }
                encode_key(KAFKA_FETCH_RESP, WireType::LengthDelimited, small);
                encode_varint(fetch_len as u64, small);
                // Protobuf's fields can have any order, and a large body must come last.
                let _ = rest.encode(small);
                if messages.len() > COPY_BYTES {
                    return Some(messages);
                }
                small.put_slice(&messages);
                None
            }
        }
    }
}

/// The result of one record.
fn produced(report: DeliveryReport) -> Produced {
    match report {
        Ok(Written { partition, offset, timestamp }) => {
            Produced { partition, offset, timestamp, error: None }
        }
        Err(error) => {
            Produced { error: Some(error_resp(error, MAX_RECORD_ERROR_BYTES)), ..Produced::default() }
        }
    }
}

/// An error in the protocol's form, with a message of at most `max_bytes`.
fn error_resp(error: CommandError, max_bytes: usize) -> ErrorResp {
    let CommandError { fault, code, mut message, retry_after } = error;
    message.truncate(message.floor_char_boundary(max_bytes));
    ErrorResp {
        code,
        message,
        retriable: fault.is_retriable(),
        retry_after_ms: u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX),
        unknown_outcome: matches!(fault, Fault::UnknownOutcome { .. }),
        reason: reason(fault).into(),
        earliest_offset: None,
        latest_offset: None,
    }
}

fn reason(fault: Fault) -> Reason {
    match fault {
        Fault::Invalid => Reason::InvalidCommand,
        Fault::OffsetOutOfRange => Reason::OffsetOutOfRange,
        Fault::Forbidden => Reason::Denied,
        Fault::NotAuthorized => Reason::Unauthorized,
        Fault::NotFound => Reason::NotFound,
        Fault::TooLarge => Reason::TooLarge,
        Fault::InvalidRecord => Reason::InvalidRecord,
        Fault::QueueFull => Reason::QueueFull,
        Fault::Transient => Reason::Transient,
        Fault::Rejected => Reason::Rejected,
        Fault::Unreachable { .. } => Reason::Unreachable,
        Fault::UnknownOutcome { .. } => Reason::UnknownOutcome,
    }
}

/// Bytes of an answer around its body: the gRPC head, the sequence, tags, lengths, offsets, and our own short texts.
pub(super) const ENVELOPE_BYTES: usize = 128;
/// The longest message of a command's error, in bytes.
pub(super) const MAX_ERROR_BYTES: usize = 4 * 1024;
/// The longest message of a record's error, in bytes.
const MAX_RECORD_ERROR_BYTES: usize = 200;
/// The largest result of one record, in bytes.
pub(crate) const MAX_RESULT_BYTES: usize = MAX_RECORD_ERROR_BYTES + 56;
const _: () = assert!(MAX_RESULT_BYTES <= 256);

/// Up to this size, a copy is cheaper than a separate write.
const COPY_BYTES: usize = 8 * 1024;

const FETCH_KEY_LEN: usize = 2;

fn put_head(small: &mut BytesMut, len: usize) {
    // Limits on requests and fetches keep answers far below 4 GiB.
    small.put_slice(&grpc::head(u32::try_from(len).unwrap_or(u32::MAX)));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sluicegate_protocol::{Header, KafkaMessage};

    use sluicegate_shared_log::Ends;

    use super::*;

    fn encoded(answer: Answer) -> Vec<u8> {
        let mut small = BytesMut::new();
        let large = answer.encode(&mut small);
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
                let fetched = Fetched { messages: messages.clone(), count: 1, next_offset: 9, ends };
                let want = KafkaFetchResp {
                    messages: vec![message.clone()],
                    next_offset: 9,
                    high_watermark: Some(-1),
                    last_stable_offset: Some(i64::MAX),
                    log_start_offset: Some(1),
                };
                let resp = Some(Resp::KafkaFetchResp(want));
                check(Answer::fetched(sequence, fetched), PubSubResp { sequence, resp });
            }
        }
    }

    #[test]
    fn large_body_is_not_copied() {
        let messages = Bytes::from(vec![0; COPY_BYTES + 1]);
        let mut small = BytesMut::new();
        let large = Answer::fetched(1, records(messages.clone())).encode(&mut small).unwrap();
        assert_eq!(large.as_ptr(), messages.as_ptr());
    }

    #[test]
    fn small_answers_are_framed_protobuf() {
        let resp = Some(Resp::PongResp(PongResp { state: "s".into() }));
        check(Answer::pong(4, "s".into()), PubSubResp { sequence: 4, resp });
        let error = ErrorResp { code: 3, message: "m".into(), ..Default::default() };
        check(
            Answer::error(5, error.clone()),
            PubSubResp { sequence: 5, resp: Some(Resp::ErrorResp(error)) },
        );
    }

    fn records(messages: Bytes) -> Fetched {
        Fetched { messages, count: 1, next_offset: 9, ends: Ends::UNKNOWN }
    }

    #[test]
    fn error_tells_whether_and_when_to_retry() {
        let error = CommandError {
            retry_after: Duration::from_millis(1500),
            ..CommandError::new(Fault::UnknownOutcome { retriable: true }, 7, "m".repeat(5000))
        };
        let Answer::Message(PubSubResp { resp: Some(Resp::ErrorResp(error)), .. }) =
            Answer::failed(1, format_args!("produce"), error).with_ends(Some((3, 9)))
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
            ..CommandError::new(Fault::UnknownOutcome { retriable: true }, i32::MIN, "é".repeat(1000))
        };
        let written = Written { partition: -1, offset: -1, timestamp: -1 };
        for report in [Err(error), Ok(written)] {
            let answer = KafkaProduceResp { results: vec![produced(report)] };
            assert!(answer.encoded_len() <= MAX_RESULT_BYTES, "{}", answer.encoded_len());
        }
    }
}
