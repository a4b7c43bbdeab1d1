//! Random client and bridge streams, for a bounded time: ten seconds, or `SLUICEGATE_FUZZ_SECONDS`. A failure is shrunk
//! and printed.

#![cfg(not(target_family = "wasm"))]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use sluicegate_fair_share::ClientKey;
use sluicegate_protocol::codec::Codec;
use sluicegate_protocol::control_req::Control;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CONTROL_PREFIX, CmdPing, ControlReq, PubSubReq, grpc};
use sluicegate_ws_session::budget::Budget;
use sluicegate_ws_session::{Event, Input, Limits, Output, Session};

/// Outputs of a session. The numbers of unfinished messages, which depend on cuts, are left out.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    bridge: Vec<Vec<u8>>,
    client: Vec<u8>,
    events: Vec<Event>,
    closing: usize,
    closed: usize,
}

/// One invariant, for any bytes in any pieces: a session does not panic, and the pieces change nothing of what the
/// bridge and the client get; the bridge gets whole requests only, in the session's codec; all memory is given back.
fn check(codec: Codec, client: &[u8], bridge: &[u8], cuts: &[usize]) {
    let budget = Budget::new(8 * MAX_MESSAGE, MAX_MESSAGE);
    let whole = run(codec, &[client], &[bridge], &budget);
    let in_pieces = run(codec, &pieces(client, cuts), &pieces(bridge, cuts), &budget);
    assert_eq!(in_pieces, whole);
    assert_eq!(budget.used(), 0, "memory of sessions that ended");
}

fn run(codec: Codec, client: &[&[u8]], bridge: &[&[u8]], budget: &Arc<Budget>) -> Seen {
    let limits = Limits { max_message_bytes: MAX_MESSAGE };
    let mut session = Session::new(limits, codec, budget, ClientKey::default());
    let (mut seen, mut to_bridge) = (Seen::default(), Vec::new());
    for piece in client {
        let mut outputs = Vec::new();
        session.handle(Input::Client { bytes: &mut piece.to_vec(), max_frames: usize::MAX }, &mut outputs);
        for output in outputs {
            match output {
                Output::ToBridge(bytes) => to_bridge.extend_from_slice(&bytes),
                other => seen.note(other, &[]),
            }
        }
    }
    for piece in bridge {
        let mut shown = 0;
        loop {
            let wanted = session.wanted(piece.len(), &piece[..shown]);
            if wanted <= shown {
                break;
            }
            shown = wanted;
        }
        let mut outputs = Vec::new();
        session.handle(Input::Bridge { size: piece.len(), seen: &piece[..shown] }, &mut outputs);
        outputs.into_iter().for_each(|output| seen.note(output, piece));
    }
    seen.bridge = requests(codec, &to_bridge);
    // The events of one piece are counted together.
    seen.events.sort_by_key(|event| format!("{event:?}"));
    seen
}

impl Seen {
    fn note(&mut self, output: Output, chunk: &[u8]) {
        match output {
            Output::ToBridge(_) => panic!("only the client's bytes make something for the bridge"),
            Output::ToClient(edit) => {
                self.client.extend_from_slice(&edit.insert);
                self.client.extend_from_slice(&chunk[edit.drop..]);
            }
            Output::Count(event, count) => self.events.extend((0..count).map(|_| event)),
            Output::Closing { told } => {
                assert!(told);
                self.closing += 1;
            }
            Output::Closed => self.closed += 1,
        }
    }
}

fn requests(codec: Codec, mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    let mut closed = false;
    while let Some((head, rest)) = stream.split_first_chunk() {
        assert!(!closed, "a message after the close");
        let (message, rest) = rest.split_at(grpc::message_len(*head).unwrap() as usize);
        stream = rest;
        if !message.starts_with(&CONTROL_PREFIX) {
            // The content of a command is the bridge's to judge.
            match codec {
                Codec::Json => assert!(std::str::from_utf8(message).is_ok(), "{message:x?} for the bridge"),
                Codec::Protobuf => {
                    let req = PubSubReq::decode(message).map(|request| request.req);
                    assert!(!matches!(req, Ok(None | Some(Req::CmdEmpty(_)))), "{req:?} for the bridge");
                }
            }
            requests.push(message.to_vec());
            continue;
        }
        let request = PubSubReq::decode(message).expect("a message of the session's own");
        let Some(Req::Control(ControlReq { control: Some(control) })) = &request.req else {
            panic!("{request:?}");
        };
        closed = matches!(control, Control::Close(_));
        if !matches!(control, Control::Unfinished(_)) {
            requests.push(message.to_vec());
        }
    }
    assert!(stream.is_empty(), "half a message for the bridge");
    requests
}

fn pieces<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

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
    let seconds = std::env::var("SLUICEGATE_FUZZ_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
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

const MAX_MESSAGE: usize = 500;
