//! `rest` routes through each gateway and a real Kafka: writing lists of records, reading records, offsets and topics.
//! The bridge's `http::rest` tests bodies, queries and errors in detail.

use bytes::Bytes;
use serde_json::{Value, json};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::{Record, Write};
use sluicegate_stack::nats::Streams;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::http::events::Events;
use crate::http::openapi::ask;
use crate::pool::{HOME, NATS_REST, REST, standard};

in_ways! {
    [tunnel relay apisix]
    lists_of_records_are_written_as_they_say
    records_are_read_as_stored_and_can_be_written_again
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const V2: &str = "application/vnd.kafka.v2+json";
const START: i64 = 1_700_000_000_000;

async fn post(stack: &Stack, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Response {
    let request = Request::post(format!("{REST}{path}"), body.into()).with("content-type", content_type);
    ask(stack.gateway(), request).await
}

async fn get(stack: &Stack, path: &str, accept: &str) -> Response {
    ask(stack.gateway(), Request::get(format!("{REST}{path}")).with("accept", accept)).await
}

#[track_caller]
fn says(response: &Response, content_type: &str, text: &str) {
    assert_eq!((response.status, response.text()), (200, text));
    assert_eq!(response.header("content-type"), Some(content_type));
}

/// Expects every record to be written, and says where: partition and offset.
#[track_caller]
fn offsets(response: &Response) -> Vec<(i64, i64)> {
    assert_eq!((response.status, response.header("content-type")), (200, Some(V2)), "{}", response.text());
    let json = response.json();
    let place = |one: &Value| {
        let (partition, offset) = (one["partition"].as_i64().unwrap(), one["offset"].as_i64().unwrap());
        let known = json!({"partition": partition, "offset": offset, "error_code": null, "error": null});
        assert_eq!(one, &known, "{json}");
        (partition, offset)
    };
    json["offsets"].as_array().unwrap().iter().map(place).collect()
}

async fn lists_of_records_are_written_as_they_say(way: Way) {
    let (kafka, stack) = standard(way).await;
    let topic = &kafka.topic("lists", 3, &[("max.message.bytes", "1000")]).await.unwrap();
    let list = r#"{"key_schema": null, "records": [
        { "key": { "id" : 1.0 } , "value" : [ "a b" , -0.0 ], "partition": 1, "timestamp": 1700000000123 },
        {"value": 1, "partition": 1, "headers": [{"key": "b", "value": "MQ=="}, {"key": "n", "value": null}]},
        {"key": "tombstone", "value": null, "partition": 1} ]}"#;
    let told = post(&stack, &format!("/topics/{topic}"), JSON, list).await;
    assert_eq!(offsets(&told), [(1, 0), (1, 1), (1, 2)]);
    // A name in percent-encoding, and the partition of all.
    let path = format!("/topics/{}/partitions/2", topic.replace('-', "%2D"));
    let binary = r#"{"records":[{"key":"a2V5","value":"AAEC/f7/"}]}"#;
    assert_eq!(offsets(&post(&stack, &path, BINARY, binary).await), [(2, 0)]);
    // A record that fails fails alone; the one that is too large has no neighbours in its batch.
    let mixed = json!({"records": [
        {"value": "a", "partition": 0}, {"value": "b", "partition": 7},
        {"value": "x".repeat(2000), "partition": 1}, {"value": "c", "partition": 0},
    ]});
    let told = post(&stack, &format!("/topics/{topic}"), JSON, mixed.to_string()).await.json();
    let all = told["offsets"].as_array().unwrap();
    assert_eq!([&all[0]["offset"], &all[3]["offset"]], [0, 1], "{told}");
    let failed = |one: &Value, codes: &[i32]| {
        one["offset"].is_null() && codes.iter().any(|code| one["error_code"] == *code)
    };
    // Others were in flight, so a retry could have helped, unless its client has failed before and writes apart.
    assert!(failed(&all[1], &[1]) && failed(&all[2], &[1, 2]), "{told}");

    let [first, second, third] = &kafka.read(topic, 1)[..] else { panic!("three records") };
    let parts = |at: usize| {
        let record = [first, second, third][at];
        (record.key.as_deref(), record.value.as_deref())
    };
    assert_eq!(parts(0), (Some(&br#"{"id":1.0}"#[..]), Some(&br#"["a b",-0.0]"#[..])));
    assert_eq!(first.timestamp, 1_700_000_000_123);
    assert_eq!(parts(1), (None, Some(&b"1"[..])));
    let headers: Vec<_> =
        second.headers.iter().map(|header| (&*header.key, header.value.as_deref())).collect();
    assert_eq!(headers, [("b", Some(&b"1"[..])), ("n", None)]);
    assert_eq!(parts(2), (Some(&br#""tombstone""#[..]), None));
    let [binary] = &kafka.read(topic, 2)[..] else { panic!("one record") };
    assert_eq!(binary.value.as_deref(), Some(&[0, 1, 2, 0xFD, 0xFE, 0xFF][..]));
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 2));
}

async fn records_are_read_as_stored_and_can_be_written_again(way: Way) {
    let (kafka, stack) = standard(way).await;
    let stored = [
        (None, None),
        (Some(r#""k""#), Some(r#"{"a":1.00,"b":[1e300,-0.0],"c":"\u00e9 é \/ 😀"}"#)),
        (Some(r#"{"id":1.0}"#), Some("9007199254740993")),
        (Some("[]"), Some(r#"{"a":1,"a":2}"#)),
    ];
    let source = &kafka.topic("source", 1, &[]).await.unwrap();
    let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let record = |(at, (key, value)): (i64, &(Option<&str>, Option<&str>))| Record {
        key: bytes(*key),
        value: bytes(*value),
        timestamp: Some(START + at),
        ..Record::default()
    };
    let records: Vec<Record> = (0..).zip(&stored).map(record).collect();
    kafka.produce(source, 0, &records, Write::default()).await.unwrap();
    let one = |(at, (key, value)): (usize, &(Option<&str>, Option<&str>))| {
        let [key, value] = [key, value].map(|text| text.unwrap_or("null"));
        let time = START + at as i64;
        format!(
            r#"{{"topic":"{source}","key":{key},"value":{value},"partition":0,"offset":{at},"timestamp":{time}}}"#
        )
    };
    let listed: Vec<String> = stored.iter().enumerate().map(one).collect();
    let from = |topic: &str, offset: usize| format!("/topics/{topic}/partitions/0/records?offset={offset}");
    for form in [JSON, BINARY] {
        let copy = &kafka.topic("copy", 1, &[]).await.unwrap();
        let read = get(&stack, &from(source, 0), form).await;
        if form == JSON {
            says(&read, JSON, &format!("[{}]", listed.join(",")));
            says(&get(&stack, &from(source, 3), JSON).await, JSON, &format!("[{}]", listed[3]));
            let of_topic = format!("/topics/{source}/records?offsets=0:3");
            says(&get(&stack, &of_topic, JSON).await, JSON, &format!("[{}]", listed[3]));
        }
        let again = format!(r#"{{"records":{}}}"#, read.text());
        assert_eq!(post(&stack, &format!("/topics/{copy}/partitions/0"), form, again).await.status, 200);
        says(&get(&stack, &from(copy, 0), form).await, form, &read.text().replace(source, copy));
    }

    kafka.delete_records_before(source, 0, 1).await.unwrap();
    let at = format!("/topics/{source}/partitions/0/offsets");
    says(&get(&stack, &at, V2).await, V2, r#"{"beginning_offset":1,"end_offset":4}"#);
    says(&get(&stack, &format!("{at}?timestamp={}", START + 2), V2).await, V2, r#"{"offset":2}"#);
    let listed = get(&stack, "/topics", V2).await;
    let topics: Vec<String> = serde_json::from_slice(&listed.body).unwrap();
    assert!(topics.is_sorted() && topics.contains(source) && topics.iter().any(|name| name == HOME));
    assert!(!topics.iter().any(|name| name.starts_with("__")), "{topics:?}");
    let partition = r#"{"partition":0,"leader":1,"replicas":[{"broker":1,"leader":true,"in_sync":true}]}"#;
    let want = format!(r#"{{"name":"{source}","configs":{{}},"partitions":[{partition}]}}"#);
    says(&get(&stack, &format!("/topics/{source}"), V2).await, V2, &want);
}

/// On a real nats-server.
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

    let path = &format!("{path}/events?from=earliest");
    let mut events = Events::open(&stack, path).await;
    events.collect(2).await;
    // The largest message of a server with default settings.
    let text = "x".repeat((1 << 20) - 2);
    streams.write(&format!("{stream}.c"), [Bytes::from(format!("\"{text}\""))]).await.unwrap();
    events.collect(3).await;
    let all = events.all();
    assert_eq!([&all[0]["sequence"], &all[1]["sequence"], &all[2]["sequence"]], [1, 2, 3]);
    assert_eq!(all[2]["data"].as_str(), Some(&*text));
}
