//! Answers of Kafka's brokers, and messages of NATS servers.

use bytes::Bytes;
use sluicegate_nats::testing as nats;
use sluicegate_reader::testing as kafka;

use super::parts;

/// The request and its version, then the answer; or a challenge of SCRAM.
pub(super) fn kafka_answers(input: &[u8]) {
    let Some((&[request, version], answer)) = input.split_first_chunk() else { return };
    if request & 8 == 0 {
        let _ = kafka::answer(request, version, &Bytes::copy_from_slice(answer));
    } else if let Ok(challenge) = std::str::from_utf8(answer) {
        let _ = kafka::check_challenge(challenge);
    }
}

/// A subject, where to answer, the status, headers in lines, and a payload.
pub(super) fn nats_messages(input: &[u8]) {
    let [subject, reply_to, status, headers, payload] = parts(input);
    let subject = Bytes::copy_from_slice(subject);
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap_or_default().to_owned();
    let (reply_to, headers) = (text(reply_to), text(headers));
    nats::subject(&subject, &reply_to);
    let (subject, status) = (text(&subject), text(status).parse().unwrap_or_default());
    nats::message(&subject, &reply_to, status, &headers, &Bytes::copy_from_slice(payload));
}
