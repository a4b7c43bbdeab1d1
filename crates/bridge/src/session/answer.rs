//! What a session says, and the bytes it becomes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, int64};
use sluicegate_protocol::{
    Close, ControlResp, ErrorResp, KafkaListOffsetResp, KafkaProduceResp, PongResp, Produced, PubSubResp,
    control_resp::Control, grpc, pub_sub_resp::Resp,
};

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// An answer that is small, or of a size that the client itself chose.
    Message(PubSubResp),
    /// A `KafkaFetchResp` whose bytes exist: they are shared, not copied.
    Messages { sequence: i64, messages: Bytes },
}

impl Answer {
    pub(crate) fn pong(sequence: i64, state: Bytes) -> Self {
        Self::new(sequence, Resp::PongResp(PongResp { state }))
    }

    pub(crate) fn offset(sequence: i64, offset: i64) -> Self {
        Self::new(sequence, Resp::KafkaListOffsetResp(KafkaListOffsetResp { offset }))
    }

    pub(crate) fn produced(sequence: i64, results: Vec<Produced>) -> Self {
        Self::new(sequence, Resp::KafkaProduceResp(KafkaProduceResp { results }))
    }

    pub(crate) fn error(sequence: i64, error: ErrorResp) -> Self {
        Self::new(sequence, Resp::ErrorResp(error))
    }

    /// An error that no broker gave and that asking again will not cure.
    pub(crate) fn refusal(sequence: i64, message: &str) -> Self {
        Self::error(sequence, ErrorResp { code: 0, message: message.to_owned(), ..Default::default() })
    }

    pub(crate) fn control(control: Control) -> Self {
        Self::new(0, Resp::Control(ControlResp { control: Some(control) }))
    }

    pub(crate) fn close(close: Close) -> Self {
        Self::control(Control::Close(close))
    }

    fn new(sequence: i64, resp: Resp) -> Self {
        Self::Message(PubSubResp { sequence, resp: Some(resp) })
    }

    /// Appends the gRPC message to `small`, except for bytes that are better passed on than copied: those are returned
    /// and belong behind it.
    pub(super) fn encode(self, small: &mut BytesMut) -> Option<Bytes> {
        match self {
            Self::Message(message) => {
                put_head(small, message.encoded_len());
                // A `BytesMut` grows: the only error there is, a full buffer, cannot happen.
                let _ = message.encode(small);
                None
            }
            Self::Messages { sequence, messages } => {
                let sequence_len = if sequence == 0 { 0 } else { int64::encoded_len(SEQUENCE, &sequence) };
                let fetch_head = MESSAGES_KEY_LEN.saturating_add(encoded_len_varint(messages.len() as u64));
                let len = messages.len().saturating_add(sequence_len).saturating_add(fetch_head);
                put_head(small, len);
                if sequence != 0 {
                    int64::encode(SEQUENCE, &sequence, small);
                }
                encode_key(MESSAGES, WireType::LengthDelimited, small);
                encode_varint(messages.len() as u64, small);
                if messages.len() > COPY_BYTES {
                    return Some(messages);
                }
                small.put_slice(&messages);
                None
            }
        }
    }
}

/// Up to here one copy is cheaper than a write of its own.
const COPY_BYTES: usize = 8 * 1024;

const SEQUENCE: u32 = 1;
/// `PubSubResp.kafka_fetch_resp`.
const MESSAGES: u32 = 33;
const MESSAGES_KEY_LEN: usize = 2;

fn put_head(small: &mut BytesMut, len: usize) {
    // What an answer holds is bounded far below 4 GiB by the limits on requests and fetches.
    small.put_slice(&grpc::head(u32::try_from(len).unwrap_or(u32::MAX)));
}

#[cfg(test)]
mod tests {
    use sluicegate_protocol::{Header, KafkaFetchResp, KafkaMessage};

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
    fn a_fetched_answer_reads_as_if_protobuf_had_written_it() {
        for value_len in [0, 1, 100, COPY_BYTES - 20, COPY_BYTES, 300_000] {
            let value = Bytes::from(vec![b'v'; value_len]);
            let (key, value) = (Some("k".into()), Some(value));
            let headers = vec![Header { key: "h".into(), value: None }];
            let message = KafkaMessage { offset: 5, timestamp: 6, key, value, headers };
            let fetched = KafkaFetchResp { messages: vec![message], next_offset: 0 };
            for sequence in [0, 1, -1, i64::MAX] {
                let messages = Bytes::from(fetched.encode_to_vec());
                let resp = Some(Resp::KafkaFetchResp(fetched.clone()));
                check(Answer::Messages { sequence, messages }, PubSubResp { sequence, resp });
            }
        }
        let resp = Some(Resp::KafkaFetchResp(KafkaFetchResp::default()));
        let empty = Answer::Messages { sequence: 3, messages: Bytes::new() };
        check(empty, PubSubResp { sequence: 3, resp });
    }

    #[test]
    fn a_large_body_is_passed_on_without_a_copy() {
        let messages = Bytes::from(vec![0; COPY_BYTES + 1]);
        let mut small = BytesMut::new();
        let large = Answer::Messages { sequence: 1, messages: messages.clone() }.encode(&mut small).unwrap();
        assert_eq!(large.as_ptr(), messages.as_ptr());
    }

    #[test]
    fn every_other_answer_is_its_protobuf_behind_a_head() {
        let resp = Some(Resp::PongResp(PongResp { state: "s".into() }));
        check(Answer::pong(4, "s".into()), PubSubResp { sequence: 4, resp });
        let error = ErrorResp { code: 3, message: "m".into(), retriable: true, ..Default::default() };
        check(
            Answer::error(5, error.clone()),
            PubSubResp { sequence: 5, resp: Some(Resp::ErrorResp(error)) },
        );
    }
}
