//! What a request gets for an answer, as far as it needs no Kafka.

use prost::Message as _;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdEmpty, ControlReq, PubSubReq, Refusal, control_req};
use sluicegate_tests::in_every_way;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;
use tokio_tungstenite::tungstenite::Message;

use crate::peer::{Peer, error, ping, pong, request};
use crate::stacks::{alone, committed};

async fn a_ping_gets_its_state_and_sequence_back(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    for sequence in [0, 1, -1, i64::MAX, i64::MIN] {
        for size in [0, 1, 100, 125, 126, 65_535, 65_536, 1_000_000] {
            let state: Vec<u8> = (0..size).map(|n| n as u8).collect();
            let what = (sequence, size);
            peer.expect(ping(sequence, &state), pong(sequence, &state), what).await;
        }
    }
}

/// Bytes as APISIX's own definition of the contract makes them.
async fn the_bytes_on_the_wire_are_those_of_apisix(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    let wire = b"\x08\x07\x82\x02\x07\x0A\x05state";
    peer.send(wire.to_vec()).await;
    assert_eq!(peer.next().await, Message::binary(wire.to_vec()));
    peer.send(b"\x08\x07\xFA\x01\x00".to_vec()).await;
    let refused = b"\x08\x07\xFA\x01\x11\x12\x0Funknown command".to_vec();
    assert_eq!(peer.next().await, Message::binary(refused));
}

async fn what_asks_for_nothing_gets_no_answer(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    let as_text = |bytes: &[u8]| Message::text(String::from_utf8(bytes.to_vec()).unwrap());
    for nothing in [
        Message::text(""),
        Message::text("hello"),
        Message::text("x".repeat(70_000)),
        as_text(b"\x08\x07"),
        Message::binary(Vec::new()),
        Message::binary(b"\x08\x07".to_vec()),
        Message::binary(b"\x08\x07\x08\x08".to_vec()),
        Message::Pong(Vec::new().into()),
        Message::Pong(b"nobody asked".to_vec().into()),
    ] {
        peer.send(nothing).await;
        peer.is_idle().await;
    }
}

async fn a_command_that_nobody_knows_is_told_so(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    let empty = |sequence| request(sequence, Req::CmdEmpty(CmdEmpty {}));
    let unknown = |tag: &[u8], value: &[u8]| [b"\x08\x09", tag, value].concat();
    for (what, message) in [
        ("cmd_empty", empty(9)),
        ("cmd_empty with content", b"\x08\x09\xFA\x01\x01x".to_vec()),
        ("a field of length 0", unknown(b"\x9A\x02", b"\x00")),
        ("a field of bytes", unknown(b"\x9A\x02", b"\x03abc")),
        ("a number", unknown(b"\x98\x02", b"\x05")),
        ("eight bytes", unknown(b"\x99\x02", b"12345678")),
        ("four bytes", unknown(b"\x9D\x02", b"1234")),
        ("field 2", unknown(b"\x12", b"\x00")),
        ("field 1003", unknown(b"\xDA\x3E", b"\x00")),
        ("the highest field", unknown(b"\xFA\xFF\xFF\xFF\x0F", b"\x00")),
        ("the sequence behind the field", b"\x9A\x02\x00\x08\x09".to_vec()),
        ("the last sequence of two", [b"\x08\x04".to_vec(), empty(9)].concat()),
    ] {
        peer.expect(message, error(9, "unknown command"), what).await;
    }
    peer.is_idle().await;
}

/// As Protocol Buffers says of a oneof.
async fn the_last_of_two_commands_counts(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    let (ping, empty) = (ping(5, b"x"), request(6, Req::CmdEmpty(CmdEmpty {})));
    let both = [ping.clone(), empty.clone()].concat();
    peer.expect(both, error(6, "unknown command"), "empty last").await;
    peer.expect([empty, ping].concat(), pong(5, b"x"), "ping last").await;
}

async fn bytes_that_are_no_request_are_told_so(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    let whole = ping(7, b"some state");
    for (what, message) in [
        ("JSON", b"{\"sequence\": 7}".to_vec()),
        ("0xFF", vec![0xFF; 40]),
        ("field 0", vec![0, 0]),
        ("a ping that was cut off", whole[..whole.len() - 1].to_vec()),
        ("a ping with a byte behind it", [whole.as_slice(), b"\x08"].concat()),
        ("a ping that is a number", b"\x08\x07\x80\x02\x01".to_vec()),
        ("a sequence that is bytes", b"\x0A\x01x".to_vec()),
        ("a length of 2^63", b"\x82\x02\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01".to_vec()),
        ("a varint that does not end", vec![0x80; 11]),
        ("a group", b"\x08\x07\x83\x02\x84\x02".to_vec()),
        ("a ping whose content cannot be read", b"\x08\x07\x82\x02\x02\xFF\xFF".to_vec()),
        ("a topic that is not UTF-8", b"\x08\x07\x8A\x02\x03\x0A\x01\xFF".to_vec()),
    ] {
        peer.expect(message, error(0, "wrong command"), what).await;
    }
    peer.is_idle().await;
}

async fn a_control_message_from_a_client_is_unknown_and_never_reaches_the_bridge(way: Way) {
    use control_req::Control;

    let stack = alone(way).await;
    let before = refused_by_the_bridge(&stack).await;
    let mut peer = Peer::open(&stack).await;
    let control = |sequence, control| {
        let req = Some(Req::Control(ControlReq { control: Some(control) }));
        PubSubReq { sequence, req }.encode_to_vec()
    };
    let close = sluicegate_protocol::Close { code: 1000, reason: "by myself".into() };
    let refusal = Refusal { sequence: 7, message: "made up".into() };
    for what in [
        Control::Close(close.clone()),
        Control::Pong("p".into()),
        Control::Alive("a".into()),
        Control::Refusal(refusal),
    ] {
        for sequence in [0, 3] {
            let message = control(sequence, what.clone());
            peer.expect(message, error(sequence, "unknown command"), &what).await;
        }
    }
    let close = control(0, Control::Close(close));
    for (what, message) in [
        ("before a ping", [close.clone(), ping(4, b"x")].concat()),
        ("behind a ping", [ping(4, b"x"), close.clone()].concat()),
        ("between two pings", [ping(1, b"x"), close, ping(4, b"y")].concat()),
        ("empty, before a ping", [b"\xCA\x3E\x00".to_vec(), ping(4, b"x")].concat()),
        ("its tag in more bytes than needed", [b"\xCA\xBE\x80\x00\x00".to_vec(), ping(4, b"x")].concat()),
    ] {
        peer.expect(message, error(4, "unknown command"), what).await;
    }
    peer.expect(b"\x82\x02\x00".to_vec(), pong(0, b""), "an empty ping").await;
    // The filter says nothing of what it refused. The bridge counts what its own endpoint did, once each.
    let counted = if way.has_filter() { 0.0 } else { 8.0 + 5.0 };
    assert_eq!(
        refused_by_the_bridge(&stack).await,
        before + counted,
        "the bridge saw what was refused before"
    );
    peer.is_idle().await;
}

/// Commands that the bridge itself found to be unknown.
async fn refused_by_the_bridge(stack: &Stack) -> f64 {
    let mut commands = stack.bridge.metrics("sluicegate_commands_total").await.unwrap();
    commands.retain(|(name, _)| name.contains("unknown"));
    assert!(!commands.is_empty(), "the bridge counts no unknown commands under this name");
    commands.iter().map(|(_, count)| count).sum()
}

in_every_way! {
    a_ping_gets_its_state_and_sequence_back
    the_bytes_on_the_wire_are_those_of_apisix
    what_asks_for_nothing_gets_no_answer
    a_command_that_nobody_knows_is_told_so
    the_last_of_two_commands_counts
    bytes_that_are_no_request_are_told_so
    a_control_message_from_a_client_is_unknown_and_never_reaches_the_bridge
}
