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
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("json", 2, &[]).await.unwrap();
    let mut socket = DocumentedSocket::open(&stack).await;
    let answer = socket.ask(json!({"id": -7, "ping": {"state": "spät"}})).await;
    assert_eq!(answer, json!({"id": -7, "pong": {"state": "spät"}}));

    let header = json!([{"key": "h", "value": "x"}]);
    let records = json!([
        {"topic": topic, "partition": 0, "key": "a", "value": {"n": 1}, "headers": header, "timestamp": 1000},
        {"topic": topic, "partition": 0, "value": {"base64": "stays JSON"}, "timestamp": "2000"},
        {"topic": topic, "partition": 1, "value": null, "timestamp": 3000}]);
    let answer = socket.ask(json!({"id": 2, "produce": {"records": records}})).await;
    let written = |partition: i64, offset: i64, timestamp: i64| json!({"partition": partition, "offset": offset, "timestamp": timestamp});
    assert_eq!(
        answer,
        json!({"id": 2, "results": [written(0, 0, 1000), written(0, 1, 2000), written(1, 0, 3000)]})
    );

    let fetch = json!({"topic": topic, "partition": 0, "offset": "0", "max_wait_ms": 0});
    let answer = socket.ask(json!({"id": 3, "fetch": fetch})).await;
    let messages = json!([
        {"partition": 0, "offset": 0, "timestamp": 1000, "key": "a", "value": {"n": 1}, "headers": header},
        {"partition": 0, "offset": 1, "timestamp": 2000, "key": null, "value": {"base64": "stays JSON"}}]);
    let want = json!({"id": 3, "messages": messages, "next": {"0": 2}, "high_watermark": 2, "last_stable_offset": 2,
        "log_start_offset": 0});
    assert_eq!(answer, want);

    let beyond = json!({"topic": topic, "partition": 0, "offset": 9});
    let answer = socket.ask(json!({"id": 8, "fetch": beyond})).await;
    assert_eq!(answer["error"]["reason"], "OFFSET_OUT_OF_RANGE", "{answer}");
}
