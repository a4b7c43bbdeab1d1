//! Random client and bridge streams, for ten seconds. A failure is shrunk and printed.

#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod invariant;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdPing, PubSubReq, grpc};

use self::invariant::{MAX_MESSAGE, check};

/// Mostly valid frames, some of them bent.
fn client() -> impl Strategy<Value = Vec<u8>> {
    let ping =
        PubSubReq { sequence: 7, req: Some(Req::CmdPing(CmdPing { state: "s".into() })) }.encode_to_vec();
    let payload = prop_oneof![
        Just(ping),
        Just(r#"{"id":7,"ping":{"state":"ä"}}"#.into()),
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..40),
        (0..2 * MAX_MESSAGE).prop_map(|len| vec![b'x'; len]),
    ];
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x82_u8, 0x02, 0x00, 0x80, 0x81, 0x01, 0x88, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let frame = (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, mask)| {
        let mut wire = vec![first];
        match payload.len() {
            len @ 0..=125 => wire.push(0x80 | len as u8),
            len => {
                wire.push(0xFE);
                wire.extend_from_slice(&(len as u16).to_be_bytes());
            }
        }
        wire.extend_from_slice(&mask);
        wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        wire
    });
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

#[test]
fn random_streams_keep_the_invariant() {
    let end = Instant::now() + Duration::from_secs(10);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let codec = prop::sample::select(vec![Codec::Protobuf, Codec::Json]);
    let streams = (codec, client(), bridge(), prop::collection::vec(0..200_usize, 0..12));
    let mut cases = 0;
    while Instant::now() < end {
        let case = streams.new_tree(&mut runner).unwrap();
        let checked = runner.run_one(case, |(codec, client, bridge, cuts)| {
            check(codec, &client, &bridge, &cuts);
            Ok(())
        });
        checked.unwrap_or_else(|failure| panic!("after {cases} cases: {failure}"));
        cases += 1;
    }
    assert!(cases > 100, "{cases} cases");
}
