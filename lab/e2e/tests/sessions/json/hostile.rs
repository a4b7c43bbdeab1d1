//! Messages that are not valid commands.

use futures_util::future::join_all;
use serde_json::json;
use sluicegate_protocol::codec::JSON_SUBPROTOCOL;
use sluicegate_stack::raw::{BINARY, FIN, Raw, TEXT, Upgrade, close, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use super::peer::JsonPeer;
use crate::sessions::stacks::writable;

async fn messages_that_are_not_json_text_close_the_session(way: Way) {
    let stack = &writable(way).await;
    let mut bystander = JsonPeer::open(stack).await;
    let binary = (1003, "binary message in a session of JSON: send text messages");
    let not_utf8 = (1007, "text that is not UTF-8");
    let bad = [
        (masked(BINARY, b"{}"), binary),
        ([masked(BINARY & !FIN, b"{"), masked(FIN, b"}")].concat(), binary),
        (masked(TEXT, b"{\"ping\":{\"state\":\"\xff\"}}"), not_utf8),
        // As the gateway's own close would begin: a control message.
        (masked(TEXT, b"\xCA\x3E\x07\x1A\x05\x08\xE8\x07\x12\x00"), not_utf8),
        ([masked(TEXT & !FIN, b"\xCA"), masked(FIN, b"\x3E\x00")].concat(), not_utf8),
    ];
    join_all(bad.iter().map(async |(bytes, (code, reason))| {
        let upgrade = Upgrade::default().with("sec-websocket-protocol", JSON_SUBPROTOCOL);
        let mut raw = Raw::connect(stack.gateway()).await.upgraded(&upgrade).await;
        let (good, late) = (masked(TEXT, b"{\"ping\":{}}"), masked(TEXT, b"{\"id\":8,\"ping\":{}}"));
        raw.write([&good, bytes.as_slice(), &late].concat()).await;
        let frame = raw.frame().await;
        assert_eq!(
            (frame.first, &frame.payload[..]),
            (TEXT, &br#"{"id":0,"pong":{"state":""}}"#[..]),
            "{reason}"
        );
        raw.is_closed(&close(*code, reason), reason).await;
    }))
    .await;
    assert_eq!(bystander.tell("{\"ping\":{}}").await, json!({"id": 0, "pong": {"state": ""}}));
}

async fn invalid_commands_are_answered_and_the_session_goes_on(way: Way) {
    let stack = writable(way).await;
    let mut peer = JsonPeer::open(&stack).await;
    let deep = "[".repeat(300_000);
    let nested = format!("{deep}{}", "]".repeat(300_000));
    let large = "9".repeat(100_000);
    let name = "\\u0001".repeat(100_000);
    for (text, id, message) in [
        (String::new(), 0, "the message is not a JSON object: EOF"),
        (deep, 0, "the message is not a JSON object: "),
        (nested.clone(), 0, "the message is not a JSON object: "),
        (format!(r#"{{"id":5,"ping":{nested}}}"#), 5, "ping: invalid type: sequence"),
        (format!(r#"{{"id":5,"produce":{{"records":{nested}}}}}"#), 5, "produce: invalid type: sequence"),
        (format!(r#"{{"id":{large},"ping":{{}}}}"#), 0, "id: expected a whole number of 64 bits"),
        (format!(r#"{{"id":5,"fetch":{{"offset":{large}}}}}"#), 5, "fetch: number out of range"),
        (r#"{"id":5,"fetch":{"offset":1e999999}}"#.into(), 5, "fetch: number out of range"),
        (r#"{"id":5,"ping":{},"id":6}"#.into(), 0, "more than one id"),
        (r#"{"id":5,"ping":{},"ping":{}}"#.into(), 5, "more than one command"),
        (r#"{"id":5,"ping":{"state":"a","state":"b"}}"#.into(), 5, "ping: duplicate field `state`"),
        (format!(r#"{{"id":5,"{name}":{{}}}}"#), 5, "unknown command "),
    ] {
        let answer = peer.tell(&text).await;
        let error = &answer["error"];
        assert_eq!((&answer["id"], &error["reason"]), (&json!(id), &json!("INVALID_COMMAND")), "{text:.200}");
        let given = error["message"].as_str().unwrap();
        assert!(given.contains(message), "{text:.200}: {given:.200}");
        assert!(answer.to_string().len() <= 4096, "{text:.200}");
    }
    assert_eq!(peer.tell("{\"id\":9,\"ping\":{}}").await["id"], 9);
}

in_every_way! {
    messages_that_are_not_json_text_close_the_session
    invalid_commands_are_answered_and_the_session_goes_on
}
