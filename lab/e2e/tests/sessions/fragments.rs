//! Messages are the same however a client splits its bytes (RFC 6455, sections 5.4 and 5.5).

use sluicegate_stack::raw::{BINARY, CLOSE, FIN, Frame, PING, PONG, Raw, TEXT, Upgrade, close, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::sessions::peer::{ping, pong};
use crate::sessions::stacks::committed;

async fn session_of_single_bytes_is_the_same_session(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(stack.gateway()).await;
    let state = [b's'; 150];
    let message = ping(8, b"in fragments");
    let (start, end) = message.split_at(4);
    let (first, second) = "sp\u{e4}t".as_bytes().split_at(3);
    let session = [
        masked(BINARY, &ping(7, &state)),
        masked(BINARY & !FIN, start),
        masked(PING, b"between"),
        masked(0, b""),
        masked(FIN, end),
        // Text that is cut within a character is still text, and asks for nothing.
        masked(TEXT & !FIN, first),
        masked(FIN, second),
        masked(CLOSE, b"\x03\xE8bye"),
    ];
    for byte in session.concat() {
        raw.write([byte]).await;
        // Lets the byte go before the next is written.
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.answer().await, pong(7, &state));
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"between".to_vec() });
    assert_eq!(raw.answer().await, pong(8, b"in fragments"));
    raw.is_closed(&close(1000, "bye"), "after the last byte").await;
}

async fn frames_right_behind_the_upgrade_are_answered(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::connect(stack.gateway()).await;
    let frames = [masked(BINARY, &ping(1, b"too early")), masked(PING, b"p")].concat();
    raw.write([Upgrade::default().bytes(), frames].concat()).await;
    let response = raw.response().await;
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(raw.answer().await, pong(1, b"too early"));
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"p".to_vec() });
}

in_every_way! {
    session_of_single_bytes_is_the_same_session
    frames_right_behind_the_upgrade_are_answered
}
