//! A page without protobuf.

use serde_json::{Value, json};
use sluicegate_stack::json_socket::JsonSocket;
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;

use crate::pool::standard;

in_every_way! {
    json_client_filters_gives_credit_and_resumes
}

async fn json_client_filters_gives_credit_and_resumes(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("page", 2, &[]).await.unwrap();
    let record = |number: i64| Record {
        key: Some(if number % 2 == 0 { "mine" } else { "other" }.into()),
        ..Record::of(json!({"n": number}).to_string())
    };
    let records: Vec<Record> = (0..10).map(record).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();

    let mut socket = JsonSocket::open(&stack).await;
    let filters = json!([{"key": {"prefix": "mi"}}]);
    let wish = json!({"topic": topic, "from": "earliest", "filters": filters, "credit": 1});
    socket.send(json!({"id": 1, "subscribe": wish}).to_string()).await;
    let subscribed = socket.receive().await["subscribed"][0].take();
    assert_eq!((&subscribed["topic"], &subscribed["partitions"]), (&json!(topic), &json!({"0": 0, "1": 0})));

    let mut next = subscribed["partitions"].clone();
    let mut delivered = Vec::new();
    while next != json!({"0": 10, "1": 0}) {
        let answer = socket.receive().await;
        assert_eq!((&answer["id"], &answer["topic"]), (&json!(1), &json!(topic)), "{answer}");
        next.as_object_mut().unwrap().extend(answer["next"].as_object().unwrap().clone());
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        assert!(messages.len() <= 1, "{answer} for one byte of credit");
        if !messages.is_empty() {
            delivered.extend(messages);
            // Nothing comes in between.
            socket.send(r#"{"id":2,"ping":{}}"#).await;
            assert_eq!(socket.receive().await["id"], 2);
            let credit = json!({"subscription": 1, "bytes": answer["bytes"]});
            socket.send(json!({"credit": credit}).to_string()).await;
        }
    }
    let values: Vec<&Value> = delivered.iter().map(|message| &message["value"]).collect();
    assert_eq!(json!(values), json!([{"n": 0}, {"n": 2}, {"n": 4}, {"n": 6}, {"n": 8}]));
    socket.send(r#"{"id":3,"unsubscribe":{"subscription":1}}"#).await;
    while socket.receive().await != json!({"id": 3, "unsubscribed": {}}) {}

    let late = [Record { value: Some(b"\xFF".as_slice().into()), ..record(10) }];
    kafka.produce(topic, 0, &late, Write::default()).await.unwrap();
    let mut socket = JsonSocket::open(&stack).await;
    let resumed = json!({"topic": topic, "next": next, "topic_id": subscribed["topic_id"]});
    socket.send(json!({"id": -4, "subscribe": resumed}).to_string()).await;
    assert_eq!(socket.receive().await["subscribed"][0]["partitions"], next);
    let answer = loop {
        let answer = socket.receive().await;
        if answer.get("messages").is_some() {
            break answer;
        }
    };
    let message = &answer["messages"][0];
    assert_eq!((&message["offset"], &message["value"]), (&json!(10), &json!({"base64": "/w=="})), "{answer}");
    assert_eq!((&answer["next"], &answer["high_watermark"]), (&json!({"0": 11}), &json!(11)), "{answer}");
}
