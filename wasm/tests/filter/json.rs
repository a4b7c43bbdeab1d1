//! A session of JSON: texts pass in both directions, and the filter reads none.

use sluicegate_harness::envoy::Vm;
use sluicegate_protocol::control_resp::Control as ToSay;

use crate::socket::{Socket, accepted, start, upgrade};
use crate::wire::{self, PONG, TEXT, from_client, grpc_bytes, to_client};

/// An open session of JSON.
pub(crate) fn open(vm: &Vm) -> Socket {
    let mut stream = vm.request(upgrade().with("sec-websocket-protocol", "sluicegate.v1.json"));
    stream.upstream_headers(accepted(), false);
    Socket(stream)
}

#[test]
fn texts_pass_as_they_are() {
    let vm = start();
    let mut socket = open(&vm);
    let request = "{\"ping\":{\"state\":\"spät\"}}".as_bytes();
    socket.client([from_client(0x01, &request[..9]), from_client(0x80, &request[9..])].concat());
    assert!(wire::messages(&socket.0.take_to_upstream()).contains(&request));
    let answer = [b' '; 300];
    socket.bridge([grpc_bytes(b"{}"), wire::to_say(ToSay::Pong("p".into())), grpc_bytes(&answer)].concat());
    let answers = [to_client(TEXT, b"{}"), to_client(PONG, b"p"), to_client(TEXT, &answer)];
    assert_eq!(socket.answers(), answers.concat());
}
