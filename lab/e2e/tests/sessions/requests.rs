//! Answers to requests that need no Kafka.

use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use tokio_tungstenite::tungstenite::Message;

use crate::sessions::peer::{Peer, ping, pong};
use crate::sessions::stacks::committed;

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

in_every_way! {
    ping_is_answered_with_its_state_and_sequence
}
