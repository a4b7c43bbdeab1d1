//! An open session's bytes, in both directions.

use prost::Message;
use sluicegate_harness::{HostCall, Status, When};
use sluicegate_protocol::control_req::Control as Said;
use sluicegate_protocol::control_resp::Control as ToSay;
use sluicegate_protocol::{Close, PubSubReq, Refusal};

use crate::socket::{Socket, start};
use crate::wire::{self, BINARY, FIRST, LAST, PING, PONG, from_client, grpc, grpc_bytes, to_client};

/// The bridge gets these requests and the client these bytes once `send` was given `wire`: in one piece, cut at every byte,
/// and byte by byte.
#[track_caller]
fn check(wire: &[u8], send: fn(&mut Socket, &[u8]), requests: &[PubSubReq], answers: &[u8]) {
    let vm = start();
    let in_two = (0..=wire.len()).map(|cut| vec![&wire[..cut], &wire[cut..]]);
    for parts in in_two.chain([wire.chunks(1).collect()]) {
        let mut socket = Socket::open(&vm);
        parts.iter().for_each(|part| send(&mut socket, part));
        let cut = format!("{} parts, the first of {} bytes", parts.len(), parts[0].len());
        assert_eq!((&socket.requests()[..], &socket.answers()[..]), (requests, answers), "{cut}");
    }
    assert_eq!(vm.log(), []);
}

#[test]
fn clients_frames_reach_the_bridge_however_they_are_cut() {
    let request = wire::fetch(5);
    let bytes = request.encode_to_vec();
    let wire = [
        from_client(FIRST, &bytes[..3]),
        from_client(PING, b"inside"),
        from_client(LAST, &bytes[3..]),
        from_client(BINARY, b"hello"),
        wire::close(1000, "done"),
    ];
    let close = Close { code: 1000, reason: "done".into() };
    let pong = wire::said(Said::Pong("inside".into()));
    let refusal = wire::said(Said::Refusal(Refusal { sequence: 0, message: "wrong command".into() }));
    let want = [pong, request, refusal, wire::said(Said::Close(close))];
    check(&wire.concat(), |socket, part| socket.client(part), &want, b"");
}

#[test]
fn short_write_is_padded() {
    let mut socket = Socket::open(&start());
    socket.asks(&wire::fetch(1));
    assert!((256..270).contains(&socket.0.take_to_upstream().len()));
}

#[test]
fn answers_become_frames_however_they_are_cut() {
    let (one, two) = (wire::pong(1, b"one"), wire::fetched(2, 300));
    let close = Close { code: 1001, reason: "drain".into() };
    let (pong, close) = (ToSay::Pong("between".into()), ToSay::Close(close));
    let wire = [grpc(&one), wire::to_say(pong), grpc(&two), wire::to_say(close)];
    let frames = [
        to_client(BINARY, &one.encode_to_vec()),
        to_client(PONG, b"between"),
        to_client(BINARY, &two.encode_to_vec()),
        wire::closed(1001, "drain"),
    ];
    check(&wire.concat(), |socket, part| socket.bridge(part), &[], &frames.concat());
}

#[test]
fn large_answers_pass_without_being_read_or_copied() {
    let vm = start();
    let mut socket = Socket::open(&vm);
    socket.works();
    let before = vm.memory_bytes();
    let answer = wire::fetched(1, 8 << 20).encode_to_vec();
    let wire = grpc_bytes(&answer);
    for _ in 0..3 {
        socket.bridge(&wire);
        assert!(socket.answers() == to_client(BINARY, &answer), "other bytes");
    }
    assert_eq!(vm.memory_bytes(), before);
    // Only a chunk with a head in it may be looked at.
    let (head, rest) = wire.split_at(16 * 1024);
    socket.bridge(head);
    let calls = [HostCall::GetBufferBytes, HostCall::SetBufferBytes];
    calls.iter().for_each(|call| vm.refuse(*call, When::Always, Status::INTERNAL_FAILURE));
    rest.chunks(16 * 1024).for_each(|chunk| socket.bridge(chunk));
    for call in calls {
        vm.allow(call);
    }
    assert!(socket.answers() == to_client(BINARY, &answer), "other bytes");
    socket.works();
}

#[test]
fn stream_that_ends_without_a_close_closes_with_1012() {
    let gone = wire::closed(1012, "the bridge ended the session");
    let (answer, frame) =
        (grpc(&wire::pong(1, b"last")), to_client(BINARY, &wire::pong(1, b"last").encode_to_vec()));
    let vm = start();
    let mut socket = Socket::open(&vm);
    socket.0.upstream_sends(b"", true);
    assert_eq!(socket.answers(), gone);
    let mut socket = Socket::open(&vm);
    socket.0.upstream_sends(&answer, true);
    assert_eq!(socket.answers(), [frame.as_slice(), &gone].concat());
    // No frame can follow trailers.
    let mut socket = Socket::open(&vm);
    socket.bridge(&answer);
    socket.0.upstream_trailers([("grpc-status", "0")]);
    assert_eq!(socket.answers(), frame);
    assert!(socket.0.is_finished() && !socket.0.is_reset());
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn host_that_replaces_only_whole_chunks_is_supported() {
    let vm = start();
    let mut socket = Socket::open(&vm);
    let answer = wire::fetched(1, 3_000).encode_to_vec();
    let wire = grpc_bytes(&answer);
    for chunk in [&wire[..1_000], &wire[1_000..]] {
        vm.refuse(HostCall::SetBufferBytes, When::Nth(1), Status::BAD_ARGUMENT);
        socket.bridge(chunk);
        vm.allow(HostCall::SetBufferBytes);
    }
    assert_eq!(socket.answers(), to_client(BINARY, &answer));
    socket.works();
}
