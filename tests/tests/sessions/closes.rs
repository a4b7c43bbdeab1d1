//! How a session ends when its client wants it to.

use futures_util::future::join_all;
use sluicegate_protocol::CmdKafkaFetch;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_tests::in_every_way;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::peer::{Peer, ping, pong, request};
use crate::raw::{BINARY, CLOSE, Frame, Raw, masked};
use crate::stacks::{alone, committed, configured};
use crate::until;

async fn a_close_is_echoed_as_it_came_and_ends_the_connection(way: Way) {
    let stack = committed(way).await;
    let reasons = ["", "bye", "sp\u{e4}t", &"r".repeat(123)];
    let codes = [1000_u16, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 4999];
    let with_code = codes
        .iter()
        .flat_map(|code| reasons.iter().map(|reason| [&code.to_be_bytes(), reason.as_bytes()].concat()));
    join_all(with_code.chain([Vec::new()]).map(async |payload| {
        let mut raw = Raw::open(&stack).await;
        raw.write(&masked(CLOSE, &payload)).await;
        let echo = Frame { first: CLOSE, payload };
        raw.is_closed(&echo, "the echo").await;
    }))
    .await;
}

async fn answers_that_were_under_way_come_before_the_echo(way: Way) {
    let stack = committed(way).await;
    let mut raw = Raw::open(&stack).await;
    let state = vec![b's'; 100_000];
    let mut bytes: Vec<u8> = (0..5).flat_map(|n| masked(BINARY, &ping(n, &state))).collect();
    bytes.extend(masked(CLOSE, b"\x03\xE8"));
    bytes.extend(masked(BINARY, &ping(9, b"behind the close")));
    raw.write(&bytes).await;
    for n in 0..5 {
        assert!(raw.answer().await == pong(n, &state), "the answer {n}");
    }
    raw.is_closed(&Frame { first: CLOSE, payload: b"\x03\xE8".to_vec() }, "the echo").await;
}

async fn answers_that_fill_the_way_come_before_the_echo(way: Way) {
    let stack = committed(way).await;
    let state = vec![b's'; 200_000];
    let mut bytes: Vec<u8> = (0..5).flat_map(|n| masked(BINARY, &ping(n, &state))).collect();
    bytes.extend(masked(CLOSE, b"\x03\xE8"));
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut raw = Raw::open_narrow(&stack).await;
        raw.write(&bytes).await;
        clients.push(raw);
    }
    for raw in &mut clients {
        for n in 0..5 {
            assert!(raw.answer().await == pong(n, &state), "the answer {n}");
        }
        raw.is_closed(&Frame { first: CLOSE, payload: b"\x03\xE8".to_vec() }, "the echo").await;
    }
}

async fn a_close_does_not_wait_for_commands_in_flight(way: Way) {
    let stack = configured(way).await;
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("waiting", 1, &[]).await.unwrap();
    let mut raw = Raw::open(&stack).await;
    let fetch = CmdKafkaFetch { topic, partition: 0, offset: 0 };
    let waits = masked(BINARY, &request(1, Req::CmdKafkaFetch(fetch)));
    raw.write(&[waits, masked(CLOSE, b"\x03\xE8")].concat()).await;
    raw.is_closed(&Frame { first: CLOSE, payload: b"\x03\xE8".to_vec() }, "the echo, not an answer").await;
}

async fn a_session_that_ends_is_released_however_it_ends(way: Way) {
    let stack = alone(way).await;
    has_sessions(&stack, 0).await;
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(Raw::open(&stack).await);
    }
    has_sessions(&stack, 5).await;
    peers[0].write(&masked(CLOSE, b"\x03\xE8")).await;
    peers[1].write(&masked(CLOSE, b"")).await;
    peers[2].write(&masked(BINARY | 0x40, b"")).await;
    has_sessions(&stack, 2).await;
    // Without a word, and in the middle of one.
    peers[4].write(&masked(BINARY, &ping(1, b"x"))[..5]).await;
    drop(peers);
    has_sessions(&stack, 0).await;
}

async fn a_client_that_leaves_during_a_command_is_released(way: Way) {
    let stack = alone(way).await;
    let kafka = Kafka::shared().await.unwrap();
    let topic = kafka.topic("abandoned", 1, &[]).await.unwrap();
    let mut peer = Peer::open(&stack).await;
    for sequence in 0..50 {
        let fetch = CmdKafkaFetch { topic: topic.clone(), partition: 0, offset: 0 };
        peer.send(request(sequence, Req::CmdKafkaFetch(fetch))).await;
    }
    has_sessions(&stack, 1).await;
    drop(peer);
    has_sessions(&stack, 0).await;
}

/// Waits until the bridge, and the filter where there is one, know of this many sessions.
async fn has_sessions(stack: &Stack, want: u64) {
    until(format_args!("{want} open sessions"), async || {
        let bridge = stack.bridge.metrics("sluicegate_sessions{").await?;
        let bridge: f64 = bridge.iter().map(|(_, sessions)| sessions).sum();
        let filter = if stack.way().has_filter() {
            stack.envoy().stats("sluicegate.sessions_open$").await?.values().sum::<u64>()
        } else {
            want
        };
        match bridge == want as f64 && filter == want {
            true => Ok(()),
            false => Err(format!("{bridge} in the bridge and {filter} in the filter")),
        }
    })
    .await;
}

in_every_way! {
    a_close_is_echoed_as_it_came_and_ends_the_connection
    answers_that_were_under_way_come_before_the_echo
    answers_that_fill_the_way_come_before_the_echo
    a_close_does_not_wait_for_commands_in_flight
    a_session_that_ends_is_released_however_it_ends
    a_client_that_leaves_during_a_command_is_released
}
