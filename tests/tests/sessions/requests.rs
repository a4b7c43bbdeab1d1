//! Answers to requests that need no Kafka.

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{Close, CmdEmpty, ControlReq, control_req};
use sluicegate_tests::in_every_way;
use sluicegate_tests::way::Way;
use tokio_tungstenite::tungstenite::Message;

use crate::peer::{Peer, error, ping, pong, request};
use crate::stacks::{alone, committed};

/// Of every form of a frame's length, to and fro, and around the boundaries between the forms.
async fn ping_is_answered_with_its_state_and_sequence(way: Way) {
    let stack = committed(way).await;
    let mut peer = Peer::open(&stack).await;
    for (sequence, sizes) in [
        (0, &[0, 1, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 125, 126][..]),
        (-1, &[65_520, 65_522, 65_524, 65_526, 65_528, 65_530, 65_535, 65_536]),
        (i64::MAX, &[1]),
        (i64::MIN, &[1_000_000]),
    ] {
        for size in sizes {
            let state: Vec<u8> = (0..*size).map(|n| n as u8).collect();
            peer.expect(ping(sequence, &state), pong(sequence, &state), (sequence, size)).await;
        }
    }
    // Bytes as APISIX's own definition of the contract makes them.
    let wire = b"\x08\x07\x82\x02\x07\x0A\x05state";
    peer.send(wire.to_vec()).await;
    assert_eq!(peer.next().await, Message::binary(wire.to_vec()));
    peer.send(b"\x08\x07\xFA\x01\x00".to_vec()).await;
    let refused = b"\x08\x07\xFA\x01\x11\x12\x0Funknown command".to_vec();
    assert_eq!(peer.next().await, Message::binary(refused));
}

async fn requests_that_are_no_command_never_reach_the_bridge(way: Way) {
    let stack = alone(way).await;
    let unknown = async || {
        let counted = stack.bridge.count("sluicegate_commands_total", "unknown").await;
        counted.expect("the bridge counts unknown commands")
    };
    let before = unknown().await;
    let mut peer = Peer::open(&stack).await;
    for nothing in [Message::text("hello"), Message::binary(Vec::new()), Message::Pong(b"p".to_vec().into())]
    {
        peer.send(nothing).await;
        peer.is_idle().await;
    }
    let (ping, empty) = (ping(5, b"x"), request(6, Req::CmdEmpty(CmdEmpty {})));
    let close = control_req::Control::Close(Close { code: 1000, reason: "by myself".into() });
    let close = request(0, Req::Control(ControlReq { control: Some(close) }));
    for (what, message, sequence) in [
        ("cmd_empty", empty.clone(), 6),
        ("a field of a later version", b"\x08\x09\x9A\x02\x03abc".to_vec(), 9),
        ("the last of two commands", [ping.clone(), empty.clone()].concat(), 6),
        ("a control message", close.clone(), 0),
        ("a control message behind a ping", [ping.clone(), close].concat(), 5),
    ] {
        peer.expect(message, error(sequence, "unknown command"), what).await;
    }
    for (what, message) in [
        ("JSON", b"{\"sequence\": 7}".to_vec()),
        ("content that cannot be read", b"\x08\x07\x82\x02\x02\xFF\xFF".to_vec()),
        ("a topic that is not UTF-8", b"\x08\x07\x8A\x02\x03\x0A\x01\xFF".to_vec()),
    ] {
        peer.expect(message, error(0, "wrong command"), what).await;
    }
    peer.expect([empty, ping].concat(), pong(5, b"x"), "a ping behind cmd_empty").await;
    // The filter refuses all but those whose content only the bridge decodes. The bridge's own endpoint counts each once.
    let counted = if way.has_filter() { 2.0 } else { 8.0 };
    assert_eq!(unknown().await, before + counted, "unknown commands that the bridge saw");
}

in_every_way! {
    ping_is_answered_with_its_state_and_sequence
    requests_that_are_no_command_never_reach_the_bridge
}
