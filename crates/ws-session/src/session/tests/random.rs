//! Random client and bridge streams.

use proptest::prelude::*;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::grpc;

use super::invariant::{MAX_MESSAGE, check};
use super::ping;
use crate::frame::tests::masked;

/// Mostly valid frames, some of them bent.
fn client() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(ping(7, "s")),
        Just(r#"{"id":7,"ping":{"state":"ä"}}"#.into()),
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..40),
        (0..2 * MAX_MESSAGE).prop_map(|len| vec![b'x'; len]),
    ];
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x82_u8, 0x02, 0x00, 0x80, 0x81, 0x01, 0x88, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let frame =
        (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, mask)| masked(first, &payload, mask));
    bent(prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat()))
}

/// Mostly valid gRPC messages, some of them bent.
fn bridge() -> impl Strategy<Value = Vec<u8>> {
    let message = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        // Control answers: a pong, a ping, a close with a reason, and broken ones.
        Just(vec![0xCA, 0x3E, 0x03, 0x0A, 0x01, b'p']),
        Just(vec![0xCA, 0x3E, 0x02, 0x12, 0x00]),
        Just(vec![0xCA, 0x3E, 0x08, 0x1A, 0x06, 0x08, 0xE8, 0x07, 0x12, 0x01, b'r']),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|tail| [&[0xCA, 0x3E][..], &tail].concat()),
    ];
    let framed = message.prop_map(|message| [&grpc::head(message.len() as u32)[..], &message].concat());
    bent(prop::collection::vec(framed, 0..6).prop_map(|messages| messages.concat()))
}

/// One byte in three streams is another one.
fn bent(stream: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (stream, any::<prop::sample::Index>(), any::<u8>(), 0..3_u8).prop_map(|(mut stream, at, byte, bend)| {
        if bend == 0 && !stream.is_empty() {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        stream
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_streams_keep_the_invariant(
        codec in prop::sample::select(vec![Codec::Protobuf, Codec::Json]),
        (client, bridge) in (client(), bridge()),
        cuts in prop::collection::vec(0..200_usize, 0..12),
    ) {
        check(codec, &client, &bridge, &cuts);
    }
}
