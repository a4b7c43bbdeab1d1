//! A session of JSON: texts pass in both directions, and the filter reads none.

use prost::Message;
use sluicegate_harness::envoy::Vm;
use sluicegate_protocol::CONTROL_PREFIX;
use sluicegate_protocol::control_resp::Control as ToSay;

use crate::socket::{PROFILES, Profile, Socket, upgrade};
use crate::wire::{self, BINARY, PING, PONG, TEXT, from_client, grpc_bytes, to_client};

/// An open session of JSON.
pub(crate) fn open(vm: &Vm, profile: Profile) -> Socket {
    let mut stream = vm.request(upgrade().with("sec-websocket-protocol", "sluicegate.v1.json"));
    stream.upstream_headers(profile.accepted(), false);
    Socket(stream)
}

#[test]
fn texts_pass_however_they_are_cut() {
    let (request, answer) = ("{\"ping\":{\"state\":\"spät\"}}".as_bytes(), [b' '; 300]);
    let client = [from_client(0x01, &request[..9]), from_client(0x80, &request[9..])].concat();
    let bridge = [grpc_bytes(b"{}"), wire::to_say(ToSay::Pong("p".into())), grpc_bytes(&answer)].concat();
    let answers = [to_client(TEXT, b"{}"), to_client(PONG, b"p"), to_client(TEXT, &answer)].concat();
    for profile in PROFILES {
        let vm = profile.start();
        for cut in 0..=client.len().max(bridge.len()) {
            let mut socket = open(&vm, profile);
            socket.0.client_sends_split(&client, &[cut.min(client.len())]);
            let written = socket.0.take_to_upstream();
            let messages = wire::messages(&written).into_iter();
            let requests: Vec<_> = messages.filter(|message| !message.starts_with(&CONTROL_PREFIX)).collect();
            assert_eq!(requests, [request], "{profile:?}, cut at byte {cut}");
            socket.0.upstream_sends_split(&bridge, &[cut.min(bridge.len())]);
            assert_eq!(socket.answers(), answers, "{profile:?}, cut at byte {cut}");
        }
    }
}

#[test]
fn other_messages_close_the_session() {
    let forged = wire::said(sluicegate_protocol::control_req::Control::Pong("forged".into()));
    for (bad, code) in [
        (from_client(BINARY, b"{}"), 1003),
        (from_client(TEXT, b"\"\xff\""), 1007),
        (from_client(TEXT, &forged.encode_to_vec()), 1007),
    ] {
        for profile in PROFILES {
            let vm = profile.start();
            let mut socket = open(&vm, profile);
            socket.client([bad.clone(), from_client(PING, b""), from_client(TEXT, b"{}")].concat());
            let closes: Vec<_> = socket.requests().iter().filter_map(wire::said_close).collect();
            assert_eq!(closes, [code], "{profile:?}");
        }
    }
}
