//! Answers as gRPC messages.

use sluicegate_backend::Fault;
use sluicegate_protocol::Reason;

use super::*;

pub(crate) fn encoded(answer: Answer) -> Vec<u8> {
    let mut small = BytesMut::new();
    let large = answer.encode(Codec::Protobuf, &mut small);
    [&small[..], &large.unwrap_or_default()].concat()
}

/// Expects the gRPC message of an answer to have this content, whose bytes are returned.
#[track_caller]
pub(crate) fn check(answer: Answer, want: &PubSubResp) -> Vec<u8> {
    let wire = encoded(answer);
    let (head, message) = wire.split_first_chunk().unwrap();
    assert_eq!(grpc::message_len(*head), Ok(u32::try_from(message.len()).unwrap()));
    assert_eq!(PubSubResp::decode(message).unwrap(), *want);
    message.to_vec()
}

#[test]
fn large_body_is_not_copied() {
    let shared = |len| {
        let encoded = Bytes::from(vec![0; len]);
        let answer = Answer::Shared { sequence: 1, number: 2, encoded: encoded.clone(), rest: vec![] };
        let large = answer.encode(Codec::Protobuf, &mut BytesMut::new());
        large.is_some_and(|large| large.as_ptr() == encoded.as_ptr())
    };
    assert_eq!([COPY_BYTES, COPY_BYTES + 1].map(shared), [false, true]);
}

#[test]
fn error_tells_whether_and_when_to_retry() {
    let error = CommandError::new(Fault::UnknownOutcome { retriable: true }, 7, "m".repeat(5000));
    let error = CommandError { retry_after: Duration::from_millis(1500), ends: Some((3, 9)), ..error };
    let Answer::Message(PubSubResp { resp: Some(Resp::ErrorResp(error)), .. }) =
        Answer::failed(1, System::Kafka, format_args!("produce"), error)
    else {
        panic!("an error");
    };
    assert!(error.message.starts_with("failed to produce, err: mmm"), "{error:?}");
    assert_eq!(error.message.len(), MAX_ERROR_BYTES);
    assert_eq!((error.code, error.retriable), (7, true));
    assert_eq!((error.retry_after_ms, error.unknown_outcome), (1500, true));
    assert_eq!(error.reason(), Reason::UnknownOutcome);
    assert_eq!((error.earliest_offset, error.latest_offset), (Some(3), Some(9)));
}
