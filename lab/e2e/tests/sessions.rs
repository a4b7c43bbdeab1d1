//! Sessions with a real Kafka: through a real Envoy in both profiles, through a real nginx, and directly at the
//! bridge's own WebSocket endpoint.
//!
//! `sluicegate-ws-session` tests RFC 6455 and requests in detail, `wasm/tests` the filter, and the bridge's own tests
//! its endpoint. Here, [`ways`] runs a session through every way in; the rest is what only real gateways do.

mod apisix_client;
mod bystanders;
mod configuration;
mod grpc;
mod json;
mod paths;
mod ways;

use bytes::Bytes;
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdPing, PongResp, PubSubResp};
use sluicegate_stack::raw::{Raw, request};

/// A ping's frame.
fn ping(sequence: i64, state: &[u8]) -> Vec<u8> {
    request(sequence, Req::CmdPing(CmdPing { state: Bytes::copy_from_slice(state) }))
}

fn pong(sequence: i64, state: &[u8]) -> PubSubResp {
    PubSubResp { sequence, resp: Some(Resp::PongResp(PongResp { state: Bytes::copy_from_slice(state) })) }
}

/// Expects the answer to a ping to be the next frame.
async fn is_alive(raw: &mut Raw, what: &str) {
    raw.write(ping(1_000_000, what.as_bytes())).await;
    assert_eq!(raw.answer().await, pong(1_000_000, what.as_bytes()), "{what}");
}
