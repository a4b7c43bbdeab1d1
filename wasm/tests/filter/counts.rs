//! The filter's metrics.

use std::time::Duration;

use prost::Message;
use sluicegate_harness::envoy::Vm;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdEmpty, PubSubReq};

use crate::socket::{PROFILES, Socket, accepted, start, start_with, upgrade};
use crate::wire::{self, BINARY, FIRST, PING, TEXT, from_client};

/// Runs `act` on a fresh filter and compares every metric; those not named are 0.
#[track_caller]
fn check(act: impl Fn(&Vm), want: &[(&str, u64)]) {
    let vm = start_with(r#", "max_message_bytes": 2048, "max_assembly_bytes": 4096"#);
    act(&vm);
    for (name, count) in want {
        assert_eq!(vm.metric(&format!("sluicegate.{name}")), Some(*count), "{name}");
    }
    assert_eq!(vm.counted().len(), want.len(), "{:?}", vm.counted());
}

/// The same with one open socket, whose session counts by itself.
#[track_caller]
fn check_session(act: impl Fn(&mut Socket), want: &[(&str, u64)]) {
    let want: Vec<_> = [("sessions_total", 1)].into_iter().chain(want.iter().copied()).collect();
    check(|vm| act(&mut Socket::open(vm)), &want);
}

#[test]
fn commands_are_counted_by_kind_and_bytes_by_direction() {
    let commands =
        [wire::ping(1, b"a"), wire::fetch(2), wire::fetch(3), wire::list_offset(4), wire::produce(5)];
    let frames: Vec<_> = commands.iter().flat_map(|c| from_client(BINARY, &c.encode_to_vec())).collect();
    let (sent, answer) = (frames.len() as u64, wire::grpc_bytes(&[7; 300]));
    check_session(
        |socket| {
            socket.client(&frames);
            [&answer[..3], &answer[3..100], &answer[100..]].into_iter().for_each(|part| socket.bridge(part));
        },
        &[
            ("commands.ping", 1),
            ("commands.kafka_fetch", 2),
            ("commands.kafka_list_offset", 1),
            ("commands.kafka_produce", 1),
            ("bytes_from_client", sent),
            ("bytes_to_client", 304),
        ],
    );
}

#[test]
fn errors_are_counted_by_kind() {
    let one = |wire: Vec<u8>, name| {
        check_session(|socket| socket.client(&wire), &[(name, 1), ("bytes_from_client", wire.len() as u64)]);
    };
    let empty = PubSubReq { sequence: 1, req: Some(Req::CmdEmpty(CmdEmpty {})) };
    one(from_client(BINARY, &empty.encode_to_vec()), "errors.unknown_command");
    one(from_client(BINARY, b"hello"), "errors.wrong_command");
    one(wire::to_client(BINARY, b"unmasked"), "errors.protocol");
    one(from_client(TEXT, b"\xff"), "errors.not_utf8");
    one(from_client(TEXT, b"{}"), "errors.not_binary");
    one(from_client(BINARY, &[0; 2049]), "errors.message_too_big");
}

#[test]
fn messages_of_json_sessions_are_counted() {
    let (text, binary) = (from_client(TEXT, b"{}"), from_client(BINARY, b"{}"));
    check(
        |vm| {
            let mut stream = vm.request(upgrade().with("sec-websocket-protocol", "sluicegate.v1.json"));
            stream.upstream_headers(accepted(), false);
            stream.client_sends([&text[..], &text, &binary].concat());
        },
        &[
            ("sessions_total", 1),
            ("commands.json", 2),
            ("errors.not_text", 1),
            ("bytes_from_client", 2 * text.len() as u64 + binary.len() as u64),
        ],
    );
}

#[test]
fn evicted_sessions_are_counted_when_they_learn_it() {
    let ping = from_client(PING, b"");
    check(
        |vm| {
            let mut sockets = [(); 3].map(|()| Socket::open(vm));
            for socket in &mut sockets {
                socket.client(from_client(FIRST, &[0; 1800]));
            }
            for socket in &mut sockets {
                socket.client(&ping);
            }
        },
        &[
            ("sessions_total", 3),
            ("errors.evicted", 2),
            ("bytes_from_client", 3 * (1808 + ping.len() as u64)),
        ],
    );
}

#[test]
fn open_sessions_are_counted_however_they_end() {
    let endings: [fn(&mut Socket); 4] = [
        |socket| socket.0.client_resets(),
        |socket| socket.0.upstream_resets(),
        |socket| socket.0.upstream_sends(b"", true),
        |socket| socket.0.upstream_trailers([("grpc-status", "0")]),
    ];
    for profile in PROFILES {
        let vm = profile.start();
        let sessions = |count| vm.metric(&format!("sluicegate.sessions_{count}"));
        let mut sockets = [(); 4].map(|()| Socket::open_in(&vm, profile));
        assert_eq!(sessions("open"), Some(4), "{profile:?}");
        for (ending, socket) in endings.into_iter().zip(&mut sockets) {
            ending(socket);
        }
        assert_eq!((sessions("open"), sessions("total")), (Some(0), Some(4)), "{profile:?}");
    }
    let vm = start();
    let mut socket = Socket::open(&vm);
    socket.client(wire::close(1000, ""));
    assert_eq!(vm.metric("sluicegate.sessions_open"), Some(1), "a close is not yet the end");
    vm.advance(Duration::from_secs(3));
    assert_eq!(vm.metric("sluicegate.sessions_open"), Some(0));
}
