//! A session's answers: their encoding and their size.

use std::fmt;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, int64, key_len};
use prost::{Message, length_delimiter_len};
use sluicegate_backend::command::Command;
use sluicegate_backend::{CommandError, System};
use sluicegate_delivery::cluster::{MAX_TOPIC_CHARS, WAITER_BYTES};
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::wire::number::SEQUENCE;
use sluicegate_protocol::{
    AuthResp, Close, ControlResp, ErrorResp, KafkaListOffsetResp, PongResp, PubSubResp, SessionExpiringResp,
    SessionResp, UnsubscribedResp, control_resp::Control, grpc, pub_sub_resp::Resp,
};
use sluicegate_telemetry::traces;

use super::error::{self, MAX_ERROR_BYTES, MAX_RECORD_ERROR_BYTES, error_resp};
use super::text;
use crate::json::format::Format;

/// The encoding of a command's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Messages of the contract.
    Protobuf,
    /// With keys and values in this format.
    Json(Format),
}

impl Encoding {
    /// The largest result of one record or partition, in bytes, without records.
    pub(crate) fn max_result_bytes(self) -> usize {
        match self {
            Self::Protobuf => MAX_RESULT_BYTES,
            Self::Json(_) => error::MAX_RESULT_BYTES,
        }
    }

    /// The codec of messages that are encoded so.
    pub fn codec(self) -> Codec {
        match self {
            Self::Protobuf => Codec::Protobuf,
            Self::Json(_) => Codec::Json,
        }
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the sentence of a variant names its fields")]
pub enum Answer {
    /// A small answer, or one whose size the client chose.
    Message(PubSubResp),
    /// Records or topics of the answer to `sequence`, in field `number`: `encoded` and shared instead of copied, after
    /// the `rest` of the answer.
    Shared { sequence: i64, number: u32, encoded: Bytes, rest: Vec<u8> },
    /// An answer of a JSON session that is not the same on every system.
    Text(Bytes),
}

impl Answer {
    /// The answer to a ping.
    pub fn pong(sequence: i64, state: Bytes) -> Self {
        Self::new(sequence, Resp::PongResp(PongResp { state }))
    }

    /// The limits of the session, and the time until the client's identity expires.
    pub fn limits(sequence: i64, max_message_bytes: usize, left: Option<Duration>) -> Self {
        let max_message_bytes = u32::try_from(max_message_bytes).unwrap_or(u32::MAX);
        let resp = SessionResp { max_message_bytes, expires_in_ms: left.map(millis) };
        Self::new(sequence, Resp::SessionResp(resp))
    }

    /// The client's identity is renewed, and expires after this time.
    pub fn renewed(sequence: i64, left: Option<Duration>) -> Self {
        Self::new(sequence, Resp::AuthResp(AuthResp { expires_in_ms: left.map(millis) }))
    }

    /// The client's identity expires after this time.
    pub fn expiring(sequence: i64, left: Duration) -> Self {
        let resp = SessionExpiringResp { expires_in_ms: millis(left) };
        Self::new(sequence, Resp::SessionExpiringResp(resp))
    }

    /// The end of a subscription.
    pub fn unsubscribed(sequence: i64) -> Self {
        Self::new(sequence, Resp::UnsubscribedResp(UnsubscribedResp {}))
    }

    /// The offset of a timestamp.
    pub fn offset(sequence: i64, offset: i64) -> Self {
        Self::new(sequence, Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }))
    }

    /// The error of a command that failed to do `what`, in APISIX's wording.
    pub fn failed(sequence: i64, system: System, what: fmt::Arguments<'_>, error: CommandError) -> Self {
        let message = format!("failed to {what}, err: {}", error.message);
        let error = error_resp(CommandError { message, ..error }, system, MAX_ERROR_BYTES);
        Self::error(sequence, ErrorResp { trace_id: traces::current_id(), ..error })
    }

    fn error(sequence: i64, error: ErrorResp) -> Self {
        Self::new(sequence, Resp::ErrorResp(error))
    }

    /// The error, if the command has failed as a whole.
    pub fn as_error(&self) -> Option<&ErrorResp> {
        match self {
            Self::Message(PubSubResp { resp: Some(Resp::ErrorResp(error)), .. }) => Some(error),
            _ => None,
        }
    }

    /// An error of the bridge itself, not retriable, in the bytes that APISIX sends.
    pub fn refusal(sequence: i64, message: &str) -> Self {
        Self::error(sequence, ErrorResp { code: 0, message: message.to_owned(), ..Default::default() })
    }

    /// A message for the gateway.
    pub fn control(control: Control) -> Self {
        Self::new(0, Resp::Control(ControlResp { control: Some(control) }))
    }

    /// The last message of a session.
    pub fn close(close: Close) -> Self {
        Self::control(Control::Close(close))
    }

    pub(crate) fn new(sequence: i64, resp: Resp) -> Self {
        Self::Message(PubSubResp { sequence, resp: Some(resp) })
    }

    /// The largest body of a command's answer, with the memory that a wait for it takes, and the `len` bytes of the
    /// command if it is kept. A fetch has at most `max_fetch_bytes`, unless a single record is larger; so has a
    /// description of topics, unless a single topic is.
    pub fn max_bytes(command: &Command, len: usize, max_fetch_bytes: usize, encoding: Encoding) -> usize {
        let of_result = encoding.max_result_bytes();
        let (bytes, kept) = match command {
            Command::Fetch { .. } => match encoding {
                Encoding::Protobuf => (max_fetch_bytes, 0),
                // The offsets take more than the envelope has room for.
                Encoding::Json(_) => (max_fetch_bytes.saturating_add(of_result), 0),
            },
            Command::ListOffset { .. } => (0, 0),
            Command::Produce(write) => (write.records.len().saturating_mul(of_result), len),
            Command::MultiFetch { places, .. } => {
                let of_partition = of_result.saturating_add(WAITER_BYTES);
                (places.len().saturating_mul(of_partition).saturating_add(max_fetch_bytes), 0)
            }
            Command::ListOffsets { asked, .. } => (asked.len().saturating_mul(of_result), 0),
            Command::Commit { commits, .. } => {
                let of_log = of_result.saturating_add(MAX_TOPIC_CHARS);
                (commits.len().saturating_mul(of_log), len)
            }
            Command::Describe(names) => {
                let of_denied = of_result.saturating_add(MAX_TOPIC_CHARS);
                (names.topics.len().saturating_mul(of_denied).saturating_add(max_fetch_bytes), len)
            }
        };
        bytes.max(MAX_ERROR_BYTES).saturating_add(kept)
    }

    /// The bytes of the client's message.
    pub(crate) fn message_bytes(&self, codec: Codec) -> usize {
        let mut small = BytesMut::new();
        let large = self.clone().encode(codec, &mut small).map_or(0, |body| body.len());
        small.len().saturating_add(large).saturating_sub(grpc::HEAD_LEN)
    }

    /// Appends the gRPC message to `small`. A large body is not copied but returned, and follows `small`.
    pub fn encode(self, codec: Codec, small: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::Message(message) => {
                if codec == Codec::Json
                    && let Some(text) = text::encode(&message)
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

/// Bytes of an answer around its body: the gRPC head, the sequence, tags, lengths, offsets, a trace id, and our own
/// short texts.
pub const ENVELOPE_BYTES: usize = 160;
/// The largest result of one record or partition, in bytes, without records.
pub const MAX_RESULT_BYTES: usize = MAX_RECORD_ERROR_BYTES + 80;

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
pub(crate) fn field_len(number: u32, len: usize) -> usize {
    key_len(number).saturating_add(length_delimiter_len(len)).saturating_add(len)
}

/// The head of a field of `len` bytes.
pub(crate) fn put_head_of(number: u32, len: usize, buffer: &mut impl BufMut) {
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
pub(crate) mod tests;
