//! Where reads and events begin, and what they give: the same rules on a real Kafka and a real nats-server, and in
//! sessions. The bridge's `http::rest` tests positions and formats in detail.

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{CmdKafkaSubscribe, ErrorResp, KafkaSource, Reason, kafka_source};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::http::events::Events;
use crate::http::openapi::ask;
use crate::http::stacks::{NATS, REST, shared};

const START: i64 = 1_700_000_000_000;

async fn get(stack: &Stack, path: &str) -> Response {
    ask(stack.gateway(), Request::get(path).with("accept", "application/json")).await
}

/// The offsets, or sequences, of a read.
async fn places(stack: &Stack, path: &str) -> Vec<i64> {
    let response = get(stack, path).await;
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.json().as_array().unwrap().iter().map(place).collect()
}

fn place(record: &Value) -> i64 {
    record["offset"].as_i64().or(record["sequence"].as_i64()).unwrap()
}

/// The offsets, or sequences, of the first `count` events.
async fn streamed(stack: &Stack, path: &str, count: usize) -> Vec<i64> {
    let mut events = Events::open_at(stack, path, None).await;
    events.collect(count).await;
    events.all().into_iter().map(place).collect()
}

#[tokio::test]
async fn reads_give_a_page_from_any_position() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("positions", 2, &[]).await.unwrap();
    let path = &format!("{REST}/topics/{topic}/partitions/0");
    for number in 0..5 {
        let record = Record { timestamp: Some(START + number), ..Record::of(number.to_string()) };
        kafka.produce(topic, 0, &[record], Write::default()).await.unwrap();
        // Records that were read before are at hand, one at a time.
        let want: Vec<i64> = (0..=number).collect();
        assert_eq!(places(&stack, &format!("{path}/records")).await, want);
        assert_eq!(places(&stack, &format!("{REST}/topics/{topic}/records")).await, want);
    }
    for (from, want) in [
        ("earliest", &[0, 1, 2, 3, 4][..]),
        ("3", &[3, 4]),
        ("-2", &[3, 4]),
        ("-99", &[0, 1, 2, 3, 4]),
        ("s@1700000000003", &[3, 4]),
        ("s@2023-11-14T22:13:20.003Z", &[3, 4]),
        ("s@-1h", &[]),
        ("latest", &[]),
    ] {
        let read = format!("{path}/records?timeout=0&offset={from}");
        assert_eq!(places(&stack, &read).await, want, "{from}");
        let events = format!("{path}/events?from={from}");
        assert_eq!(streamed(&stack, &events, want.len()).await, want, "{from}");
        if from != "3" {
            let read = format!("{REST}/topics/{topic}/records?timeout=0&offset={from}");
            assert_eq!(places(&stack, &read).await, want, "{from}");
            let events = format!("{REST}/topics/{topic}/events?from={from}");
            assert_eq!(streamed(&stack, &events, want.len()).await, want, "{from}");
        }
    }
}

#[tokio::test]
async fn reads_of_a_stream_give_a_page_from_any_position() {
    let (_, stack) = shared(Way::Tunnel).await;
    let (streams, stream) = (Streams::shared().await.unwrap(), "positions");
    streams.create(stream, json!({})).await.unwrap();
    let path = &format!("{NATS}/streams/{stream}");
    for number in 1..=5 {
        streams.write("positions.a", [Bytes::from(number.to_string())]).await.unwrap();
        assert_eq!(places(&stack, &format!("{path}/messages")).await, (1..=number).collect::<Vec<_>>());
    }
    for (from, want) in [
        ("earliest", &[1, 2, 3, 4, 5][..]),
        ("0", &[1, 2, 3, 4, 5]),
        ("4", &[4, 5]),
        ("-2", &[4, 5]),
        ("-99", &[1, 2, 3, 4, 5]),
        ("s@-1h", &[1, 2, 3, 4, 5]),
        ("latest", &[]),
    ] {
        let read = format!("{path}/messages?timeout=0&sequence={from}");
        assert_eq!(places(&stack, &read).await, want, "{from}");
        let events = format!("{path}/events?from={from}");
        assert_eq!(streamed(&stack, &events, want.len()).await, want, "{from}");
    }
}

#[tokio::test]
async fn offset_after_the_end_is_the_same_error_everywhere() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("beyond", 1, &[]).await.unwrap();
    kafka.produce(topic, 0, &vec![Record::of("1"); 5], Write::default()).await.unwrap();
    let (streams, stream) = (Streams::shared().await.unwrap(), "beyond");
    streams.create(stream, json!({})).await.unwrap();
    streams.write("beyond.a", vec![Bytes::from_static(b"1"); 5]).await.unwrap();
    for (path, ends) in [
        (format!("{REST}/topics/{topic}/partitions/0/records?offset=6"), [0, 5]),
        (format!("{REST}/topics/{topic}/records?offsets=0:6"), [0, 5]),
        (format!("{REST}/topics/{topic}/partitions/0/events?from=6"), [0, 5]),
        (format!("{NATS}/streams/{stream}/messages?sequence=7"), [1, 6]),
        (format!("{NATS}/streams/{stream}/events?from=7"), [1, 6]),
    ] {
        let response = ask(stack.gateway(), Request::get(&path)).await;
        let problem = response.json();
        assert_eq!((response.status, &problem["reason"]), (400, &json!("offset_out_of_range")), "{path}");
        assert_eq!([&problem["earliest_offset"], &problem["latest_offset"]], ends, "{path}: {problem}");
    }

    let mut socket = Socket::open(&stack).await;
    let from = Some(kafka_source::From::Offset(6));
    let source = KafkaSource { topic: topic.clone(), from, ..Default::default() };
    let subscribe = CmdKafkaSubscribe { sources: vec![source], ..Default::default() };
    let refused = match socket.ask(Req::CmdKafkaSubscribe(subscribe)).await {
        Resp::ErrorResp(error) => error,
        other => panic!("{other:?}"),
    };
    let fetched = socket.fetch(topic, 0, 6).await.unwrap_err();
    for error in [refused, fetched] {
        let ErrorResp { code, retriable, earliest_offset, latest_offset, .. } = error;
        assert_eq!((error.reason(), code, retriable), (Reason::OffsetOutOfRange, 1, false), "{error:?}");
        assert_eq!((earliest_offset, latest_offset), (Some(0), Some(5)), "{error:?}");
    }
}

#[tokio::test]
async fn odd_values_are_base64_everywhere_and_block_no_others() {
    let (kafka, stack) = shared(Way::Tunnel).await;
    let topic = &kafka.topic("odd", 1, &[]).await.unwrap();
    let values = [&b"1"[..], b"v", b"\xff", b"{\"n\": 2}"];
    let records: Vec<Record> = values.iter().map(|value| Record::of(*value)).collect();
    kafka.produce(topic, 0, &records, Write::default()).await.unwrap();
    let (streams, stream) = (Streams::shared().await.unwrap(), "odd");
    streams.create(stream, json!({})).await.unwrap();
    streams.write("odd.a", values.map(Bytes::from_static)).await.unwrap();
    let want = [json!(1), json!({"base64": "dg=="}), json!({"base64": "/w=="}), json!({"n": 2})];
    for (path, read, value) in [
        (format!("{REST}/topics/{topic}/partitions/0"), "records", "value"),
        (format!("{NATS}/streams/{stream}"), "messages", "data"),
    ] {
        let records = get(&stack, &format!("{path}/{read}")).await.json();
        let found: Vec<&Value> = records.as_array().unwrap().iter().map(|record| &record[value]).collect();
        assert_eq!(found, want.iter().collect::<Vec<_>>());
        let mut events = Events::open_at(&stack, &format!("{path}/events?from=earliest"), None).await;
        events.collect(want.len()).await;
        let found: Vec<&Value> = events.all().into_iter().map(|record| &record[value]).collect();
        assert_eq!(found, want.iter().collect::<Vec<_>>());
    }
}
