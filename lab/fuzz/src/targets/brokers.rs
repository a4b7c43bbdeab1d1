//! Answers of Kafka's brokers.

use bytes::Bytes;
use sluicegate_reader::testing;

/// The request and its version, then the answer; or a challenge of SCRAM.
pub(super) fn answers(input: &[u8]) {
    let Some((&[request, version], answer)) = input.split_first_chunk() else { return };
    if request & 8 == 0 {
        let _ = testing::answer(request, version, &Bytes::copy_from_slice(answer));
    } else if let Ok(challenge) = std::str::from_utf8(answer) {
        let _ = testing::check_challenge(challenge);
    }
}
