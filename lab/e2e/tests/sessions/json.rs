//! Sessions of JSON.
//!
//! `sluicegate-ws-session` and the bridge test the codec in detail. Here, each way in carries it.

mod asyncapi;
mod hostile;
pub(crate) mod peer;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use self::peer::JsonPeer;
use crate::sessions::stacks::writable;

async fn commands_are_answered_as_text(way: Way) {
    let stack = writable(way).await;
    let topic = &Kafka::shared().await.unwrap().topic("json", 2, &[]).await.unwrap();
    let mut peer = JsonPeer::open(&stack).await;
    let answer = peer.ask(json!({"id": -7, "ping": {"state": "spät"}})).await;
    assert_eq!(answer, json!({"id": -7, "pong": {"state": "spät"}}));

    let header = json!([{"key": "h", "value": "x"}]);
    let records = json!([
        {"topic": topic, "partition": 0, "key": "a", "value": {"n": 1}, "headers": header, "timestamp": 1000},
        {"topic": topic, "partition": 0, "value": {"base64": "stays JSON"}, "timestamp": "2000"},
        {"topic": topic, "partition": 1, "value": null, "timestamp": 3000}]);
    let answer = peer.ask(json!({"id": 2, "produce": {"records": records}})).await;
    let written = |partition: i64, offset: i64, timestamp: i64| json!({"partition": partition, "offset": offset, "timestamp": timestamp});
    assert_eq!(
        answer,
        json!({"id": 2, "results": [written(0, 0, 1000), written(0, 1, 2000), written(1, 0, 3000)]})
    );

    let fetch = json!({"topic": topic, "partition": 0, "offset": "0", "max_wait_ms": 0});
    let answer = peer.ask(json!({"id": 3, "fetch": fetch})).await;
    let messages = json!([
        {"partition": 0, "offset": 0, "timestamp": 1000, "key": "a", "value": {"n": 1}, "headers": header},
        {"partition": 0, "offset": 1, "timestamp": 2000, "key": null, "value": {"base64": "stays JSON"}}]);
    let ends = json!({"high_watermark": 2, "last_stable_offset": 2, "log_start_offset": 0});
    assert_eq!(answer, with(json!({"id": 3, "messages": messages, "next": {"0": 2}}), &ends));

    let place = |partition: i64| json!({"topic": topic, "partition": partition, "offset": 0});
    let multi = json!({"partitions": [place(0), place(1)], "format": "base64"});
    let answer = peer.ask(json!({"id": 4, "multi_fetch": multi})).await;
    assert_eq!(answer["results"][0]["messages"][0]["value"], "eyJuIjoxfQ==");
    assert_eq!(answer["results"][1]["messages"][0]["value"], Value::Null);
    assert_eq!(answer["results"][1]["next"], json!({"1": 1}));

    let time = |timestamp: i64| json!({"topic": topic, "partition": 0, "timestamp": timestamp});
    let answer = peer.ask(json!({"id": 5, "list_offset": time(-1)})).await;
    assert_eq!(answer, json!({"id": 5, "offset": 2}));
    let answer = peer.ask(json!({"id": 6, "list_offsets": {"offsets": [time(1500), time(9000)]}})).await;
    let results = json!([{"offset": 1, "timestamp": 2000}, {"offset": -1, "timestamp": -1}]);
    assert_eq!(answer, json!({"id": 6, "results": results}));

    let answer = peer.ask(json!({"id": 7, "metadata": {"topics": [topic]}})).await;
    assert_eq!(answer["topics"][0]["partitions"][1]["partition"], 1, "{answer}");

    let beyond = json!({"topic": topic, "partition": 0, "offset": 9});
    let answer = peer.ask(json!({"id": 8, "fetch": beyond})).await;
    let error = &answer["error"];
    assert_eq!(
        (&error["reason"], &error["retriable"], &error["code"]),
        (&json!("OFFSET_OUT_OF_RANGE"), &json!(false), &json!(1))
    );
    assert_eq!((&error["earliest_offset"], &error["latest_offset"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn deep_value_leaves_its_batch_readable() {
    let stack = writable(Way::Tunnel).await;
    let topic = &Kafka::shared().await.unwrap().topic("deep", 1, &[]).await.unwrap();
    let mut peer = JsonPeer::open(&stack).await;
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    let record = |value: &str| format!(r#"{{"topic":"{topic}","partition":0,"value":{value}}}"#);
    let records = ["1", &deep, "2"].map(record).join(",");
    let answer = peer.tell(format!(r#"{{"id":1,"produce":{{"records":[{records}]}}}}"#)).await;
    assert_eq!(answer["results"][2]["offset"], 2, "{answer}");

    let partition = json!({"topic": topic, "partition": 0, "offset": 0});
    let answer = peer.ask(json!({"id": 2, "multi_fetch": {"partitions": [partition]}})).await;
    let values = [0, 1, 2].map(|index: usize| &answer["results"][0]["messages"][index]["value"]);
    assert_eq!(values, [&json!(1), &json!({"base64": STANDARD.encode(deep)}), &json!(2)]);
}

/// Both objects' members.
fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

in_every_way! {
    commands_are_answered_as_text
}
