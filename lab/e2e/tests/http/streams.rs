//! `rest` and `produce` routes through each gateway and a real nats-server. The bridge's `http` tests paths, queries
//! and errors in detail.

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::http::events::Events;
use crate::http::openapi::ask;
use crate::http::stacks::{NATS, PUBLISH, shared};

in_every_gateway! {
    messages_are_written_and_read_as_they_say
    events_of_a_stream_resume_exactly_after_any_event
    produce_route_publishes_to_a_subject
    purged_deleted_and_recreated_streams_are_told_apart
}

async fn get(stack: &Stack, path: &str) -> Response {
    ask(stack.gateway(), Request::get(format!("{NATS}{path}")).with("accept", "application/json")).await
}

async fn post(stack: &Stack, path: &str, body: &Value) -> Response {
    let request = Request::post(format!("{NATS}{path}"), body.to_string());
    ask(stack.gateway(), request.with("content-type", "application/json")).await
}

/// A stream of a test's own, whose name begins with `about`.
async fn stream(about: &str, way: Way) -> (Streams, String) {
    let (streams, name) = (Streams::shared().await.unwrap(), format!("{about}-{}", way.name()));
    streams.create(&name, json!({})).await.unwrap();
    (streams, name)
}

async fn write(streams: &Streams, stream: &str, count: i64) {
    let data = (1..=count).map(|number| Bytes::from(number.to_string()));
    streams.write(&format!("{stream}.a"), data).await.unwrap();
}

async fn messages_are_written_and_read_as_they_say(way: Way) {
    let (_, stack) = shared(way).await;
    let (_, stream) = stream("rest", way).await;
    let path = &format!("/streams/{stream}");
    let header = json!([{"key": "h", "value": "dg=="}]);
    let first =
        json!({"subject": format!("{stream}.a"), "data": {"n": 1.0}, "headers": header, "message_id": "one"});
    let second = json!({"subject": format!("{stream}.b"), "data": null});
    let elsewhere = json!({"subject": "elsewhere", "data": 1});
    let told = post(&stack, path, &json!({"messages": [first, second, elsewhere]})).await.json();
    let results = told["results"].as_array().unwrap();
    assert_eq!(results[0], json!({"sequence": 1, "duplicate": false, "duplicate_window_ms": 120_000}));
    assert_eq!((&results[1], results.len()), (&json!({"sequence": 2}), 3));
    assert_eq!(results[2]["error"]["reason"], "invalid_record", "{told}");
    let wrong = post(&stack, path, &json!({"messages": [{"subject": format!("{stream}.a")}]})).await;
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let again = post(&stack, path, &json!({"messages": [first]})).await.json();
    assert_eq!(again["results"][0]["duplicate"], true, "{again}");
    assert_eq!(again["results"][0]["sequence"], 1, "{again}");

    let read = get(&stack, &format!("{path}/messages?sequence=0")).await;
    let messages = read.json();
    assert_eq!(messages.as_array().unwrap().len(), 2, "{messages}");
    assert_eq!([&messages[0]["data"], &messages[1]["data"]], [&json!({"n": 1.0}), &json!({"base64": ""})]);
    assert_eq!(messages[0]["subject"], format!("{stream}.a"));
    assert!(messages[0]["headers"].as_array().unwrap().contains(&header[0]), "{messages}");
    for (name, value) in
        [("sluicegate-next-sequence", "3"), ("sluicegate-first-sequence", "1"), ("sluicegate-end", "3")]
    {
        assert_eq!(read.header(name), Some(value), "{name}");
    }
    assert_eq!(get(&stack, path).await.json(), json!({"name": stream, "first_sequence": 1, "end": 3}));
    let listed = get(&stack, &format!("{path}/sequences?timestamp=-3")).await.json();
    assert_eq!(listed["sequence"], 2, "{listed}");
    let names = get(&stack, "/streams").await.json();
    assert!(names.as_array().unwrap().contains(&json!(stream)), "{names}");
    let kafka = get(&stack, "/topics/orders").await;
    assert_eq!(kafka.status, 404);
    assert!(kafka.text().contains("expected /streams"), "{}", kafka.text());
}

async fn events_of_a_stream_resume_exactly_after_any_event(way: Way) {
    let (_, stack) = shared(way).await;
    let (streams, stream) = stream("events", way).await;
    write(&streams, &stream, 10).await;
    let path = &format!("/streams/{stream}/events?from=earliest");
    let sequences = |events: &Events| -> Vec<i64> {
        events.all().iter().map(|message| message["sequence"].as_i64().unwrap()).collect()
    };
    for cut in 1..10 {
        let mut first = Events::open_at(&stack, &format!("{NATS}{path}"), None).await;
        first.collect(cut).await;
        let mut second =
            Events::open_at(&stack, &format!("{NATS}{path}"), first.ids().last().map(String::as_str)).await;
        second.collect(10 - cut).await;
        let both = [sequences(&first), sequences(&second)].concat();
        assert_eq!(both, (1..=10).collect::<Vec<_>>(), "after {cut}");
    }
    let mut live = Events::open_at(&stack, &format!("{NATS}/streams/{stream}/events"), None).await;
    assert!(
        live.block().await.starts_with("retry: "),
        "begins at the end before the next message is written"
    );
    write(&streams, &stream, 1).await;
    live.collect(1).await;
    assert_eq!(sequences(&live), [11]);
}

async fn produce_route_publishes_to_a_subject(way: Way) {
    let (_, stack) = shared(way).await;
    let (streams, stream) = stream("produce", way).await;
    let publish = |subject: &str| {
        let request = Request::post(PUBLISH, "data").with("x-nats-topic", &*stream);
        request.with("x-nats-key", subject).with("idempotency-key", "once")
    };
    let subject = format!("{stream}.orders");
    let told = ask(stack.gateway(), publish(&subject)).await;
    let want = json!({"stream": stream, "sequence": 1, "duplicate": false, "duplicate_window_ms": 120_000});
    assert_eq!((told.status, told.json()), (200, want));
    assert_eq!(ask(stack.gateway(), publish(&subject)).await.json()["duplicate"], true);
    for (subject, status) in [("$JS.API.STREAM.DELETE.x", 403), ("elsewhere", 422), ("a.*", 400)] {
        let refused = ask(stack.gateway(), publish(subject)).await;
        assert_eq!(refused.status, status, "{subject}: {}", refused.text());
        assert!(!refused.text().contains("kafka"), "{}", refused.text());
    }
    assert_eq!(streams.read(&stream).await.unwrap().len(), 1);
}

async fn purged_deleted_and_recreated_streams_are_told_apart(way: Way) {
    let (_, stack) = shared(way).await;
    let (streams, stream) = stream("purged", way).await;
    write(&streams, &stream, 5).await;
    streams.call(&format!("STREAM.PURGE.{stream}"), &json!({})).await.unwrap();
    write(&streams, &stream, 1).await;
    let path = format!("{NATS}/streams/{stream}/events?from=3");
    let mut events = Events::open_at(&stack, &path, None).await;
    let skipped = events.event("skipped").await;
    assert_eq!(skipped, json!({"from": 3, "to": 6, "cause": "deleted"}));
    events.collect(1).await;
    assert_eq!(events.all()[0]["sequence"], 6);
    let below = get(&stack, &format!("/streams/{stream}/messages?sequence=2")).await;
    assert_eq!(below.status, 400);
    assert!(below.text().contains("expected 6 to 7"), "{}", below.text());

    streams.call(&format!("STREAM.DELETE.{stream}"), &json!({})).await.unwrap();
    streams.create(&stream, json!({})).await.unwrap();
    write(&streams, &stream, 9).await;
    let ended = events.event("error").await;
    assert_eq!(ended["reason"], "recreated", "{ended}");
    let again = get(&stack, &format!("/streams/{stream}/messages?sequence=8")).await.json();
    assert_eq!(again[0]["data"], 8, "{again}");

    streams.call(&format!("STREAM.DELETE.{stream}"), &json!({})).await.unwrap();
    let gone = get(&stack, &format!("/streams/{stream}/messages?sequence=1")).await;
    assert_eq!((gone.status, &gone.json()["nats_code"]), (404, &json!(10059)), "{}", gone.text());
}

/// The largest message of a server with default settings.
#[tokio::test]
async fn message_of_1_mib_is_read_and_delivered() {
    let (_, stack) = shared(Way::Tunnel).await;
    let (streams, stream) = stream("large", Way::Tunnel).await;
    let text = "x".repeat((1 << 20) - 2);
    let data = Bytes::from(format!("\"{text}\""));
    streams.write(&format!("{stream}.a"), [data]).await.unwrap();
    let read = get(&stack, &format!("/streams/{stream}/messages?sequence=1")).await.json();
    assert_eq!(read[0]["data"].as_str().map(str::len), Some(text.len()));
    let path = &format!("{NATS}/streams/{stream}/events?from=earliest");
    let mut events = Events::open_at(&stack, path, None).await;
    events.collect(1).await;
    assert_eq!(events.all()[0]["data"].as_str(), Some(&*text));
}
