//! However a client cuts its bytes, its messages are the same (RFC 6455, sections 5.4 and 5.5).

use sluicegate_tests::in_every_way;
use sluicegate_tests::way::Way;

use crate::peer::{ping, pong};
use crate::raw::{BINARY, CLOSE, FIN, Frame, PING, PONG, Raw, TEXT, Upgrade, close, head, masked};
use crate::stacks::committed;

async fn a_websocket_ping_gets_a_pong_of_the_same_payload(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    for size in [0, 1, 4, 124, 125] {
        let payload = vec![b'p'; size];
        raw.write(&masked(PING, &payload)).await;
        assert_eq!(raw.frame().await, Frame { first: PONG, payload });
    }
}

async fn a_ping_inside_a_fragmented_message_is_answered_before_it(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let message = ping(7, b"in three fragments");
    let (start, rest) = message.split_at(4);
    let (middle, end) = rest.split_at(9);
    raw.write(&masked(BINARY & !FIN, start)).await;
    raw.write(&masked(PING, b"first")).await;
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"first".to_vec() });
    let together =
        [masked(0, middle), masked(PING, b"second"), masked(0, b""), masked(PONG, b""), masked(FIN, end)];
    raw.write(&together.concat()).await;
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"second".to_vec() });
    assert_eq!(raw.answer().await, pong(7, b"in three fragments"));
}

async fn fragments_of_no_and_of_one_byte_are_one_message(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let mut frames = masked(BINARY & !FIN, b"");
    for byte in ping(7, b"byte after byte") {
        frames.extend(masked(0, &[byte]));
        frames.extend(masked(0, b""));
    }
    frames.extend(masked(FIN, b""));
    raw.write(&frames).await;
    assert_eq!(raw.answer().await, pong(7, b"byte after byte"));
    // A text that is cut inside a character is still a text.
    let (start, end) = "sp\u{e4}t".as_bytes().split_at(3);
    raw.write(&[masked(TEXT & !FIN, start), masked(FIN, end), masked(BINARY, &ping(8, b""))].concat()).await;
    assert_eq!(raw.answer().await, pong(8, b""));
}

async fn a_session_that_arrives_byte_by_byte_is_the_same_session(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let state = [b's'; 150];
    let session = [masked(BINARY, &ping(7, &state)), masked(PING, b"p"), masked(CLOSE, b"\x03\xE8bye")];
    for byte in session.concat() {
        raw.write(&[byte]).await;
        // Lets the byte go before the next is written.
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.answer().await, pong(7, &state));
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"p".to_vec() });
    raw.is_closed(&close(1000, "bye"), "after the last byte").await;
}

/// Each cut is a segment of its own: the answer to what is in front of it has come before the rest is sent.
async fn a_frame_may_be_cut_anywhere(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let frame = masked(BINARY, &ping(7, &[b's'; 130]));
    for cut in 0..=20 {
        let (start, end) = frame.split_at(cut);
        raw.write(&[&masked(BINARY, &ping(cut as i64, b"before")), start].concat()).await;
        assert_eq!(raw.answer().await, pong(cut as i64, b"before"), "cut at byte {cut}");
        raw.write(end).await;
        assert_eq!(raw.answer().await, pong(7, &[b's'; 130]), "cut at byte {cut}");
    }
}

async fn two_hundred_frames_in_one_segment_get_two_hundred_answers_in_order(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let frames: Vec<u8> = (0..200).flat_map(|n| masked(BINARY, &ping(n, b"x"))).collect();
    raw.write(&frames).await;
    for n in 0..200 {
        assert_eq!(raw.answer().await, pong(n, b"x"));
    }
    let pings: Vec<u8> = (0..200_u8).flat_map(|n| masked(PING, &[n])).collect();
    raw.write(&pings).await;
    for n in 0..200 {
        assert_eq!(raw.frame().await, Frame { first: PONG, payload: vec![n] });
    }
}

/// RFC 6455, section 5.2, asks a sender for the shortest form of a length, and no receiver to mind.
async fn a_length_in_a_longer_form_than_needed_is_read(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let message = ping(7, b"x");
    for long in [&[0xFE, 0, message.len() as u8][..], &[0xFF, 0, 0, 0, 0, 0, 0, 0, message.len() as u8]] {
        raw.write(&[&[BINARY], long, &[0; 4], &message].concat()).await;
        assert_eq!(raw.answer().await, pong(7, b"x"));
    }
}

async fn frames_right_behind_the_upgrade_are_not_lost(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::connect(stack.gateway()).await;
    let frames = [masked(BINARY, &ping(1, b"too early")), masked(PING, b"p")].concat();
    raw.write(&[Upgrade::default().bytes(), frames].concat()).await;
    let response = raw.response().await;
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(raw.answer().await, pong(1, b"too early"));
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"p".to_vec() });
}

/// What stands at the boundaries of the three forms of a length (section 5.2).
async fn answers_of_every_length_are_framed_by_the_rules(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    for size in (110..130).chain(65_520..65_545) {
        let state = vec![b's'; size];
        let answer = ping(7, &state); // a pong has the same bytes
        raw.write(&masked(BINARY, &answer)).await;
        let want = [head(BINARY, 0, answer.len() as u64), answer].concat();
        let got = raw.exactly(want.len()).await;
        assert!(got == want, "an answer of {size} bytes is framed as {:?}", &got[..12]);
    }
}

in_every_way! {
    a_websocket_ping_gets_a_pong_of_the_same_payload
    a_ping_inside_a_fragmented_message_is_answered_before_it
    fragments_of_no_and_of_one_byte_are_one_message
    a_session_that_arrives_byte_by_byte_is_the_same_session
    a_frame_may_be_cut_anywhere
    two_hundred_frames_in_one_segment_get_two_hundred_answers_in_order
    a_length_in_a_longer_form_than_needed_is_read
    frames_right_behind_the_upgrade_are_not_lost
    answers_of_every_length_are_framed_by_the_rules
}
