//! Sessions that their client closes.

use std::net::Ipv4Addr;

use sluicegate_stack::raw::{BINARY, CLOSE, Frame, Raw, close, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::directly;
use sluicegate_tests::in_every_profile;
use sluicegate_tests::through_nginx;

use crate::sessions::peer::{ping, pong};
use crate::sessions::stacks::committed;

async fn close_is_echoed_behind_all_answers(way: Way) {
    let stack = committed(way).await;
    for payload in [&b""[..], b"\x03\xE8", b"\x0F\xA1sp\xC3\xA4t"] {
        let mut raw = Raw::open(stack.gateway()).await;
        let state = vec![b's'; 100_000];
        let mut bytes: Vec<u8> = (0..5).flat_map(|n| masked(BINARY, &ping(n, &state))).collect();
        bytes.extend(masked(CLOSE, payload));
        bytes.extend(masked(BINARY, &ping(9, b"behind the close")));
        raw.write(&bytes).await;
        for n in 0..5 {
            assert!(raw.answer().await == pong(n, &state), "answer {n}");
        }
        raw.is_closed(&Frame { first: CLOSE, payload: payload.to_vec() }, "the echo").await;
    }
}

/// Envoy drops what it still holds for a client where a response ends before its request.
async fn answers_that_fill_every_buffer_come_before_the_echo(way: Way) {
    let stack = committed(way).await;
    let state = vec![b's'; 200_000];
    let mut bytes: Vec<u8> = (0..5).flat_map(|n| masked(BINARY, &ping(n, &state))).collect();
    bytes.extend(masked(CLOSE, b"\x03\xE8"));
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut raw = Raw::open_narrow(stack.gateway(), Ipv4Addr::LOCALHOST, 4096).await;
        raw.write(&bytes).await;
        clients.push(raw);
    }
    for raw in &mut clients {
        for n in 0..5 {
            assert!(raw.answer().await == pong(n, &state), "answer {n}");
        }
        raw.is_closed(&close(1000, ""), "the echo").await;
    }
}

in_every_profile! {
    close_is_echoed_behind_all_answers
    answers_that_fill_every_buffer_come_before_the_echo
}

directly! {
    close_is_echoed_behind_all_answers
}

through_nginx! {
    close_is_echoed_behind_all_answers
}
