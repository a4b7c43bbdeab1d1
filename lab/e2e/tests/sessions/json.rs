//! Sessions of JSON.
//!
//! `sluicegate-ws-session` and the bridge test the codec in detail. Here, each way in carries it.

mod asyncapi;

use serde_json::json;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use self::asyncapi::DocumentedSocket;
use crate::pool::standard;

in_ways! {
    [tunnel relay direct]
    commands_are_answered_as_text
}

async fn commands_are_answered_as_text(way: Way) {
    let (_, stack) = standard(way).await;
    let mut socket = DocumentedSocket::open(&stack).await;
    let answer = socket.ask(json!({"id": -7, "ping": {"state": "spät"}})).await;
    assert_eq!(answer, json!({"id": -7, "pong": {"state": "spät"}}));
}
