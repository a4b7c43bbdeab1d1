//! `rest` routes to a real nats-server. The bridge's `http::rest` tests bodies, queries and errors in detail; `drain`,
//! `produce` and `openapi` write to Kafka and read.

use bytes::Bytes;
use serde_json::json;
use sluicegate_stack::http::client::Request;
use sluicegate_stack::nats::Streams;
use sluicegate_stack::way::Way;

use crate::http::events::Events;
use crate::http::openapi::ask;
use crate::pool::{NATS_REST, standard};

#[tokio::test]
async fn messages_are_written_and_read_as_they_say() {
    let (_, stack) = standard(Way::Tunnel).await;
    let (streams, stream) = (Streams::shared().await.unwrap(), "http-rest");
    streams.create(stream, json!({})).await.unwrap();
    let path = &format!("{NATS_REST}/streams/{stream}");
    let header = json!([{"key": "h", "value": "dg=="}]);
    let first =
        json!({"subject": format!("{stream}.a"), "data": {"n": 1.0}, "headers": header, "message_id": "one"});
    let second = json!({"subject": format!("{stream}.b"), "data": null});
    let elsewhere = json!({"subject": "elsewhere", "data": 1});
    let post = Request::post(path, json!({"messages": [first, second, elsewhere]}).to_string());
    let told = ask(stack.gateway(), post.with("content-type", "application/json")).await.json();
    let results = told["results"].as_array().unwrap();
    assert_eq!(results[0], json!({"sequence": 1, "duplicate": false, "duplicate_window_ms": 120_000}));
    assert_eq!((&results[1], results.len()), (&json!({"sequence": 2}), 3));
    assert_eq!(results[2]["error"]["reason"], "invalid_record", "{told}");

    let get = Request::get(format!("{path}/messages?sequence=0")).with("accept", "application/json");
    let read = ask(stack.gateway(), get).await;
    let messages = read.json();
    assert_eq!(messages.as_array().unwrap().len(), 2, "{messages}");
    assert_eq!([&messages[0]["data"], &messages[1]["data"]], [&json!({"n": 1.0}), &json!({"base64": ""})]);
    assert_eq!(messages[0]["subject"], format!("{stream}.a"));
    assert!(messages[0]["headers"].as_array().unwrap().contains(&header[0]), "{messages}");
    assert_eq!(read.header("sluicegate-next-sequence"), Some("3"));

    let mut events = Events::open(&stack, &format!("{path}/events?from=earliest")).await;
    events.collect(2).await;
    // The largest message of a server with default settings.
    let text = "x".repeat((1 << 20) - 2);
    streams.write(&format!("{stream}.c"), [Bytes::from(format!("\"{text}\""))]).await.unwrap();
    events.collect(3).await;
    let all = events.all();
    assert_eq!([&all[0]["sequence"], &all[1]["sequence"], &all[2]["sequence"]], [1, 2, 3]);
    assert_eq!(all[2]["data"].as_str(), Some(&*text));

    for (sequence, is_duplicate) in [(4, None), (4, Some("true"))] {
        let message = json!({"messages": [{"subject": format!("{stream}.p"), "data": 1}]}).to_string();
        let once =
            [("producer-id", "p"), ("producer-epoch", "0"), ("producer-seq", "0"), ("producer-age", "0")];
        let post = Request::post(path, message).with("content-type", "application/json");
        let written =
            ask(stack.gateway(), once.iter().fold(post, |post, (name, value)| post.with(name, value))).await;
        let result = &written.json()["results"][0];
        assert_eq!((&result["sequence"], &result["in_order"]), (&json!(sequence), &json!(true)), "{result}");
        assert_eq!(written.header("producer-duplicate"), is_duplicate);
    }
}
