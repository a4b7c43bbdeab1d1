//! `rest` routes through each gateway and a real Kafka: writing lists of records, reading records, offsets and topics.
//! The bridge's `http::rest` tests bodies, queries and errors in detail.

use serde_json::{Value, json};
use sluicegate_stack::http::client::{Request, Response};
use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_gateway;

use crate::http::console::{Printed, consume};
use crate::http::openapi::ask;
use crate::http::stacks::{REST, home, shared};

in_every_gateway! {
    lists_of_records_are_written_as_they_say
    wrong_calls_write_nothing
    records_are_read_as_stored_and_can_be_written_again
    topics_and_offsets_are_listed
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
fn offsets(response: &Response) -> Vec<(i32, i64)> {
    assert_eq!((response.status, response.header("content-type")), (200, Some(V2)), "{}", response.text());
    let json = response.json();
    let place = |one: &Value| {
        let known = json!({"partition": one["partition"], "offset": one["offset"], "error_code": null, "error": null});
        assert_eq!(one, &known, "{json}");
        (i32::try_from(one["partition"].as_i64().unwrap()).unwrap(), one["offset"].as_i64().unwrap())
    };
    json["offsets"].as_array().unwrap().iter().map(place).collect()
}

async fn lists_of_records_are_written_as_they_say(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("lists", 3, &[("max.message.bytes", "1000")]).await.unwrap();
    let list = r#"{"key_schema": null, "records": [
        { "key": { "id" : 1.0 } , "value" : [ "a b" , -0.0 ], "partition": 1, "timestamp": 1700000000123 },
        {"value": 1, "partition": 1, "headers": [{"key": "b", "value": "MQ=="}, {"key": "n", "value": null}]},
        {"key": "tombstone", "value": null, "partition": 1} ]}"#;
    assert_eq!(
        offsets(&post(&stack, &format!("/topics/{topic}"), JSON, list).await),
        [(1, 0), (1, 1), (1, 2)]
    );
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
    let large = json!({"records": [{"value": "x".repeat(2000), "partition": 1}]});
    let told = post(&stack, &format!("/topics/{topic}"), JSON, large.to_string()).await;
    assert_eq!(told.status, 413, "{}", told.text());

    let records = consume(kafka, topic, 3).await;
    let printed = |headers: &[&str], key: Option<&[u8]>, value: Option<&[u8]>, timestamp: i64| Printed {
        timestamp,
        headers: headers.iter().map(ToString::to_string).collect(),
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
    };
    let at = |place: (i32, i64)| records[&place].clone();
    let now = |place: (i32, i64)| at(place).timestamp;
    let json = printed(&[], Some(br#"{"id":1.0}"#), Some(br#"["a b",-0.0]"#), 1_700_000_000_123);
    assert_eq!(at((1, 0)), json);
    assert_eq!(at((1, 1)), printed(&["b:1", "n:<null>"], None, Some(b"1"), now((1, 1))));
    assert_eq!(at((1, 2)), printed(&[], Some(br#""tombstone""#), None, now((1, 2))));
    assert_eq!(at((2, 0)), printed(&[], Some(b"key"), Some(&[0, 1, 2, 0xFD, 0xFE, 0xFF]), now((2, 0))));
    assert_eq!(records.len(), 6, "{records:?}");
}

async fn wrong_calls_write_nothing(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("wrong", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    for (record, want) in [
        (
            r#"{"key":"k","vlaue":1}"#,
            "records[1]: unknown member vlaue, expected one of key, value, partition",
        ),
        (r#"{"key":"k"}"#, "records[1].value: missing, expected a value or null"),
        ("{}", "records[1].value: missing, expected a value or null"),
    ] {
        for path in [format!("/topics/{topic}"), format!("/topics/{topic}/partitions/0")] {
            let body = format!(r#"{{"records":[{{"key":"k","value":1}},{record}]}}"#);
            let response = post(&stack, &path, JSON, body).await;
            assert_eq!(response.status, 422, "{}", response.text());
            assert!(response.text().contains(want), "{}", response.text());
        }
    }
    let null = r#"{"records":[{"key":"k","value":null}]}"#;
    // The first that is written.
    assert_eq!(offsets(&post(&stack, &format!("/topics/{topic}"), JSON, null).await), [(0, 0)]);
}

/// Writes records without the gateway, at [`START`] and the milliseconds after it.
async fn store(kafka: &Kafka, about: &str, records: &[(Option<&str>, Option<&str>)]) -> String {
    let topic = kafka.topic(about, 1, &[]).await.unwrap();
    let bytes = |text: &Option<&str>| text.map(|text| text.as_bytes().to_vec());
    let record = |(at, (key, value)): (i64, &(Option<&str>, Option<&str>))| Record {
        key: bytes(key),
        value: bytes(value),
        timestamp: Some(START + at),
        ..Record::default()
    };
    let records: Vec<Record> = (0..).zip(records).map(record).collect();
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    topic
}

async fn records_are_read_as_stored_and_can_be_written_again(way: Way) {
    let (kafka, stack) = shared(way).await;
    let stored = [
        (None, None),
        (Some(r#""k""#), Some(r#"{"a":1.00,"b":[1e400,-0.0],"c":"\u00e9 é \/ 😀"}"#)),
        (Some(r#"{"id":1.0}"#), Some("9007199254740993")),
        (Some("[]"), Some(r#"{"a":1,"a":2}"#)),
    ];
    let source = &store(kafka, "source", &stored).await;
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
}

async fn topics_and_offsets_are_listed(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &store(kafka, "listed", &[(None, Some("1")), (None, Some("2")), (None, Some("3"))]).await;
    kafka.delete_records_before(topic, 0, 1).await.unwrap();
    let at = format!("/topics/{topic}/partitions/0/offsets");
    says(&get(&stack, &at, V2).await, V2, r#"{"beginning_offset":1,"end_offset":3}"#);
    says(&get(&stack, &format!("{at}?timestamp={}", START + 2), V2).await, V2, r#"{"offset":2}"#);
    let listed = get(&stack, "/topics", V2).await;
    let topics: Vec<String> = serde_json::from_slice(&listed.body).unwrap();
    assert!(topics.is_sorted() && topics.contains(topic) && topics.iter().any(|name| name == home(way)));
    assert!(!topics.iter().any(|name| name.starts_with("__")), "{topics:?}");
    let partition = r#"{"partition":0,"leader":1,"replicas":[{"broker":1,"leader":true,"in_sync":true}]}"#;
    let want = format!(r#"{{"name":"{topic}","configs":{{}},"partitions":[{partition}]}}"#);
    says(&get(&stack, &format!("/topics/{topic}"), V2).await, V2, &want);
}
