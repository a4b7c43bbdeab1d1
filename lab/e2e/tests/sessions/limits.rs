//! Requests over the size limit cost no memory.

use std::time::{Duration, Instant};

use serde_json::json;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdSession, PubSubResp, SessionResp};
use sluicegate_stack::envoy::plugin;
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::process::Process;
use sluicegate_stack::raw::{BINARY, Raw, close, head};
use sluicegate_stack::way::Way;
use sluicegate_tests::{directly, in_every_profile};

use crate::sessions::peer::{Peer, ping, pong, request};
use crate::sessions::stacks::{alone, start};

async fn bytes_over_the_limit_are_not_kept(way: Way) {
    let stack = alone(way).await;
    let mut bystander = Peer::open(&stack).await;
    bystander.is_idle().await;
    let resident = |process: &Process| process.usage().unwrap().resident_bytes;
    let before: Vec<u64> = stack.processes().map(resident).collect();
    let chunk = vec![0; 1 << 20];
    for _ in 0..8 {
        let mut raw = Raw::open(stack.gateway()).await;
        raw.write([head(BINARY, 0x80, 1 << 40), vec![0; 4]].concat()).await;
        assert_eq!(raw.frame().await, close(1009, "message over the limit of 1048576 bytes"));
        let told = Instant::now();
        while raw.try_write(&chunk).await {
            assert!(told.elapsed() < Duration::from_secs(10), "a client that was closed goes on sending");
        }
    }
    for (process, before) in stack.processes().zip(before) {
        let grown = resident(process).saturating_sub(before) >> 20;
        assert!(grown < 32, "the process of {} grew by {grown} MiB", process.log().display());
    }
    bystander.is_idle().await;
}

/// A message of the size that the session tells is answered. One byte more closes the session.
async fn session_tells_how_large_a_message_can_be(way: Way) {
    for (filter, bridge, expected) in [(2048, 4096, 2048), (4096, 2048, 2048)] {
        let expected = if way.filter_runs_sessions() { expected } else { bridge };
        let limits = format!("[limits]\nmax_request_bytes = {bridge}\n");
        let edits = match way.is_envoy() {
            true => vec![plugin(&format!("\"max_message_bytes\": {filter},"), &[])],
            false => Vec::new(),
        };
        let stack = start(way, &limits, edits).await;
        let mut peer = Peer::open(&stack).await;
        peer.send(request(1, Req::CmdSession(CmdSession {}))).await;
        let resp = Some(Resp::SessionResp(SessionResp { max_message_bytes: expected, ..Default::default() }));
        assert_eq!(peer.answer().await, PubSubResp { sequence: 1, resp });

        let mut json = JsonSocket::open(&stack).await;
        json.send(r#"{"id": 2, "session": {}}"#).await;
        assert_eq!(json.receive().await, json!({"id": 2, "session": {"max_message_bytes": expected}}));

        let state = |len: usize| vec![b'x'; len];
        let largest = usize::try_from(expected).unwrap() - ping(3, &[]).len() - OVERHEAD;
        peer.expect(ping(3, &state(largest)), pong(3, &state(largest)), "the largest ping").await;
        peer.send(ping(4, &state(largest + 1))).await;
        let close = peer.is_closed().await.expect("a close frame with a code");
        assert_eq!(u16::from(close.code), 1009, "{close}");
    }
}

/// The length of a ping with a state of 128 to 16,383 bytes, without the state and what is there without one.
const OVERHEAD: usize = 4;

in_every_profile! {
    bytes_over_the_limit_are_not_kept
    session_tells_how_large_a_message_can_be
}

directly! {
    session_tells_how_large_a_message_can_be
}
