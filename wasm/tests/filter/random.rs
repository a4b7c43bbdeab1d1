//! Random events at any time: one filter survives them all, and a neighbouring session continues.

use std::cell::RefCell;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use prost::bytes::Bytes;
use sluicegate_harness::envoy::Vm;
use sluicegate_harness::{Headers, HostCall, Status, When};
use sluicegate_protocol::control_req::Control as Said;
use sluicegate_protocol::control_resp::Control as ToSay;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CONTROL_PREFIX, Close, PubSubReq};

use crate::faults::CALLS;
use crate::socket::{Profile, Socket, upgrade_with};
use crate::wire;

/// Something that happens to a stream.
#[derive(Debug, Clone)]
enum Event {
    Client(Bytes),
    ClientEnds,
    ClientResets,
    BridgeAnswers(Bytes),
    Bridge(Bytes, bool),
    BridgeTrailers,
    BridgeResets,
    Refuse(HostCall, u32, u32),
    Wait(u64),
}

/// A request: a header with a value of its own, or none; and whether the bridge grants it.
type Case = (Option<(&'static str, Bytes)>, bool, Vec<Event>);

fn case() -> impl Strategy<Value = Case> {
    let name = prop::sample::select(vec![
        ":method",
        ":path",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "origin",
        "sluicegate-cluster",
    ]);
    // Bytes that no HTTP codec lets through are left out.
    let value = vec(any::<u8>().prop_filter("a line break or NUL", |byte| !b"\0\r\n".contains(byte)), 0..40)
        .prop_map(Bytes::from);
    (prop::option::weighted(0.2, (name, value)), prop::bool::weighted(0.9), vec(event(), 1..20))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => client_bytes().prop_map(Event::Client),
        1 => Just(Event::ClientEnds),
        1 => Just(Event::ClientResets),
        1 => vec(b' '..=b'~', 3).prop_map(|status| Event::BridgeAnswers(status.into())),
        12 => (bridge_bytes(), prop::bool::weighted(0.05)).prop_map(|(bytes, end)| Event::Bridge(bytes, end)),
        1 => Just(Event::BridgeTrailers),
        1 => Just(Event::BridgeResets),
        2 => (prop::sample::select(CALLS.to_vec()), 1_u32..9, 1_u32..14)
            .prop_map(|(call, nth, status)| Event::Refuse(call, nth, status)),
        1 => (0_u64..3_000).prop_map(Event::Wait),
    ]
}

/// Frames of any kind, cut anywhere, or just bytes.
fn client_bytes() -> impl Strategy<Value = Bytes> {
    let first = prop::sample::select(vec![
        wire::TEXT,
        wire::BINARY,
        wire::BINARY,
        wire::BINARY,
        wire::FIRST,
        wire::MIDDLE,
        wire::LAST,
        wire::CLOSE,
        wire::PING,
        wire::PONG,
    ]);
    let payload = prop_oneof![
        vec(any::<u8>(), 0..200),
        any::<i64>().prop_map(|sequence| wire::fetch(sequence).encode_to_vec()),
        vec(any::<u8>(), 0..5_000),
    ];
    let frames = vec((first, payload), 1..5).prop_map(|frames| {
        frames.iter().flat_map(|(first, payload)| wire::from_client(*first, payload)).collect::<Vec<u8>>()
    });
    prop_oneof![6 => cut(frames), 1 => vec(any::<u8>(), 0..50).prop_map(Bytes::from)]
}

/// gRPC messages of any kind, cut anywhere, or just bytes.
fn bridge_bytes() -> impl Strategy<Value = Bytes> {
    let message = prop_oneof![
        (any::<i64>(), 0_usize..3_000).prop_map(|(sequence, len)| wire::grpc(&wire::fetched(sequence, len))),
        vec(any::<u8>(), 0..200).prop_map(|payload| wire::to_say(ToSay::Pong(payload.into()))),
        vec(any::<u8>(), 0..20).prop_map(|bytes| wire::grpc_bytes(&bytes)),
        vec(any::<u8>(), 0..20).prop_map(|bytes| wire::grpc_bytes(&[&[0xCA, 0x3E], &bytes[..]].concat())),
        (any::<u32>(), ".{0,200}")
            .prop_map(|(code, reason)| wire::to_say(ToSay::Close(Close { code, reason }))),
    ];
    let messages = vec(message, 1..4).prop_map(|messages| messages.concat());
    prop_oneof![6 => cut(messages), 1 => vec(any::<u8>(), 0..50).prop_map(Bytes::from)]
}

/// All of the bytes, mostly, or the front of them.
fn cut(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Bytes> {
    (bytes, prop::option::weighted(0.1, any::<prop::sample::Index>())).prop_map(|(mut bytes, cut)| {
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes.into()
    })
}

/// The filter, and a session that has to go on.
struct Worker {
    profile: Profile,
    vm: Vm,
    witness: Socket,
}

impl Worker {
    fn start(profile: Profile) -> Self {
        let vm = profile.start_with(r#", "max_message_bytes": 4096, "max_assembly_bytes": 8192"#);
        let witness = Socket::open(&vm, profile);
        Self { profile, vm, witness }
    }

    /// Plays one case; what it says is what went wrong.
    fn play(&mut self, (header, granted, events): &Case) -> Result<(), String> {
        let request = match header {
            Some((name, value)) => upgrade_with(name, value),
            None => crate::socket::upgrade(),
        };
        let mut stream = self.vm.request(request);
        let ours =
            stream.upstream_request().is_some_and(|headers| headers.get("sluicegate-cluster").is_some());
        if *granted && stream.upstream_request().is_some() {
            stream.upstream_headers(self.profile.accepted(), false);
        }
        for event in events {
            let forwarded = stream.upstream_request().is_some();
            match event {
                Event::Client(bytes) => stream.client_sends(bytes),
                Event::ClientEnds => stream.client_ends(),
                Event::ClientResets => stream.client_resets(),
                Event::BridgeAnswers(status) if forwarded && stream.response().is_none() => {
                    stream.upstream_headers(Headers::default().with(":status", status), false);
                }
                Event::Bridge(bytes, end) if forwarded => stream.upstream_sends(bytes, *end),
                Event::BridgeTrailers if forwarded => stream.upstream_trailers([("grpc-status", "0")]),
                Event::BridgeResets if forwarded => stream.upstream_resets(),
                Event::Refuse(call, nth, status) => self.vm.refuse(*call, When::Nth(*nth), Status(*status)),
                Event::Wait(milliseconds) => self.vm.advance(Duration::from_millis(*milliseconds)),
                Event::BridgeAnswers(_) | Event::Bridge(..) | Event::BridgeTrailers | Event::BridgeResets => {
                }
            }
        }
        for call in CALLS {
            self.vm.allow(call);
        }
        if let Some(trap) = self.vm.trap() {
            return Err(format!("{trap}\n{:#?}", self.vm.log()));
        }
        if ours {
            all_ours(&stream.to_upstream());
            if stream
                .response()
                .is_some_and(|response| response.headers.get("sec-websocket-accept").is_some())
            {
                all_frames(&stream.to_client());
            }
        }
        drop(stream);
        self.witness.works();
        Ok(())
    }
}

/// The bridge gets whole messages, no control message but the filter's own, and nothing but padding after a close.
#[track_caller]
fn all_ours(bytes: &[u8]) {
    let mut closed = false;
    for message in wire::messages(bytes) {
        // The content of a client's command is for the bridge to judge.
        let request = PubSubReq::decode(message).unwrap_or_default();
        let is_padding = matches!(wire::note(&request), Some(Said::Padding(_)));
        assert!(!closed || is_padding, "something after a close: {}", bytes.escape_ascii());
        let control = matches!(request.req, Some(Req::Control(_)));
        assert_eq!(control, message.starts_with(&CONTROL_PREFIX), "{}", message.escape_ascii());
        closed |= wire::said_close(&request).is_some();
    }
}

/// The client gets frames, of which the last may be unfinished, and nothing after a close.
#[track_caller]
fn all_frames(bytes: &[u8]) {
    let (frames, unfinished) = wire::frames(bytes);
    let known = [wire::BINARY, wire::CLOSE, wire::PING, wire::PONG];
    assert!(frames.iter().all(|(first, _)| known.contains(first)), "{frames:?}");
    if let Some(at) = frames.iter().position(|(first, _)| *first == wire::CLOSE) {
        assert!(at + 1 == frames.len() && unfinished.is_empty(), "something after a close: {frames:?}");
    }
}

#[track_caller]
fn check(profile: Profile) {
    let config = Config { cases: 500, source_file: Some(file!()), ..Config::default() };
    let worker = RefCell::new(Worker::start(profile));
    let outcome = TestRunner::new(config).run(&case(), |case| {
        let played = worker.borrow_mut().play(&case);
        played.map_err(|error| {
            // The next, smaller case needs a filter that lives.
            worker.replace(Worker::start(profile));
            TestCaseError::fail(error)
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let Worker { vm, witness, .. } = worker.into_inner();
    drop(witness);
    assert_eq!(vm.open_streams(), 0);
    // One in two cases must be of sessions, or the rest says little.
    assert!(
        vm.metric("sluicegate.sessions_total") > Some(250),
        "{:?}",
        vm.metric("sluicegate.sessions_total")
    );
}

#[test]
fn random_streams_in_a_tunnel_harm_nobody() {
    check(Profile::Tunnel);
}
