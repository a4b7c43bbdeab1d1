//! Many records in a request, as the REST proxies take them: what becomes of each, and what is refused as a whole.

use serde_json::{Value, json};
use sluicegate_tests::http::client::{Request, Response};
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::answers::rest_problem;
use crate::console::{Printed, consume};
use crate::openapi::ask;
use crate::stacks::{REST, shared};

in_every_gateway! {
    records_of_both_formats_arrive_as_they_say
    the_path_names_the_partition_of_all
    a_record_that_fails_fails_alone
}

pub(crate) const JSON: &str = "application/vnd.kafka.json.v2+json";
pub(crate) const BINARY: &str = "application/vnd.kafka.binary.v2+json";

pub(crate) async fn post(
    stack: &Stack,
    path: &str,
    content_type: &str,
    body: impl Into<Vec<u8>>,
) -> Response {
    let request = Request::post(format!("{REST}{path}"), body.into()).with("content-type", content_type);
    ask(stack.gateway(), request).await
}

/// Expects every record to be written, and says where: partition and offset.
#[track_caller]
pub(crate) fn offsets(response: &Response) -> Vec<(i32, i64)> {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/vnd.kafka.v2+json"));
    let json = response.json();
    let number = |one: &Value, name: &str| one[name].as_i64().unwrap_or_else(|| panic!("{json}"));
    let list = json["offsets"].as_array().unwrap().iter();
    let places: Vec<_> = list.map(|one| (number(one, "partition"), number(one, "offset"))).collect();
    let one = |(partition, offset): &(i64, i64)| {
        format!(r#"{{"partition":{partition},"offset":{offset},"error_code":null,"error":null}}"#)
    };
    let all: Vec<String> = places.iter().map(one).collect();
    let want = format!(r#"{{"offsets":[{}],"key_schema_id":null,"value_schema_id":null}}"#, all.join(","));
    assert_eq!(response.text(), want);
    places.into_iter().map(|(partition, offset)| (partition.try_into().unwrap(), offset)).collect()
}

/// A record, and its key, value and headers as they are written. Each is for partition 1.
type Case = (&'static str, Option<&'static [u8]>, Option<&'static [u8]>, &'static [&'static str]);

const JSON_CASES: [Case; 12] = [
    (r#"{"value":{"foo":"bar"},"partition":1}"#, None, Some(br#"{"foo":"bar"}"#), &[]),
    (r#"{"key":"k","value":"v","partition":1}"#, Some(br#""k""#), Some(br#""v""#), &[]),
    (
        r#"{ "key" : { "id" : 1.0 } , "value" : [ "a b" , -0.0 ], "partition" : 1 }"#,
        Some(br#"{"id":1.0}"#),
        Some(br#"["a b",-0.0]"#),
        &[],
    ),
    (
        r#"{"key":1e400,"value":12345678901234567890123,"partition":1}"#,
        Some(b"1e400"),
        Some(b"12345678901234567890123"),
        &[],
    ),
    (r#"{"key":"","value":"","partition":1}"#, Some(br#""""#), Some(br#""""#), &[]),
    (r#"{"key":false,"value":0,"partition":1}"#, Some(b"false"), Some(b"0"), &[]),
    (r#"{"key":null,"value":null,"partition":1}"#, None, None, &[]),
    (r#"{"key":"tombstone","partition":1}"#, Some(br#""tombstone""#), None, &[]),
    (
        r#"{"partition":1,"value":"\u00e9 é \/","value_schema":null,"unknown":{"a":[1]}}"#,
        None,
        Some(r#""\u00e9 é \/""#.as_bytes()),
        &[],
    ),
    (
        r#"{"value":1,"partition":1,"headers":[{"key":"b","value":"MQ=="},{"key":"a","value":""},{"key":"b","value":"Mg=="}]}"#,
        None,
        Some(b"1"),
        &["b:1", "a:", "b:2"],
    ),
    (r#"{"value":1,"partition":1,"headers":[{"key":"n","value":null}]}"#, None, Some(b"1"), &["n:<null>"]),
    (r#"{"value":1,"partition":1,"headers":[]}"#, None, Some(b"1"), &[]),
];
const BINARY_CASES: [Case; 5] = [
    (r#"{"key":"a2V5","value":"Y29uZmx1ZW50","partition":1}"#, Some(b"key"), Some(b"confluent"), &[]),
    (r#"{"value":"AAEC/f7/","partition":1}"#, None, Some(&[0, 1, 2, 0xFD, 0xFE, 0xFF]), &[]),
    (r#"{"key":"","value":"","partition":1}"#, Some(b""), Some(b""), &[]),
    (r#"{"key":null,"value":null,"partition":1}"#, None, None, &[]),
    (
        r#"{"value":"\u0059\u0051==","partition":1,"headers":[{"key":"é","value":"w6k="}]}"#,
        None,
        Some(b"a"),
        &["é:é"],
    ),
];

async fn records_of_both_formats_arrive_as_they_say(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("formats", 2, &[]).await.unwrap();
    let mut wanted = Vec::new();
    for (types, cases) in [
        (
            &[
                JSON,
                "application/vnd.kafka.json+json",
                "application/json",
                "Application/Vnd.Kafka.JSON.v2+json; charset=utf-8",
            ][..],
            &JSON_CASES[..],
        ),
        (&[BINARY], &BINARY_CASES),
    ] {
        for content_type in types {
            // All in one request, and each in one of its own.
            let all = cases.iter().map(|(record, ..)| *record).collect::<Vec<_>>().join(", ");
            let places = offsets(
                &post(&stack, &format!("/topics/{topic}"), content_type, format!(r#"{{"records":[{all}]}}"#))
                    .await,
            );
            assert_eq!(places.len(), cases.len());
            wanted.extend(places.into_iter().zip(cases));
            for case in cases {
                let body =
                    format!(" {{ \"key_schema\":null, \"records\" : [\n{}\n], \"other\":[{{}}] }} ", case.0);
                let place = offsets(&post(&stack, &format!("/topics/{topic}"), content_type, body).await);
                wanted.push((place[0], case));
            }
        }
    }
    let records = consume(kafka, topic, 2).await;
    assert_eq!(records.len(), wanted.len());
    for (place, (record, key, value, headers)) in wanted {
        assert_eq!(place.0, 1, "{record}");
        let Printed { key: printed_key, value: printed_value, headers: printed_headers, .. } =
            &records[&place];
        assert_eq!(printed_key.as_deref(), *key, "{record}");
        assert_eq!(printed_value.as_deref(), *value, "{record}");
        assert_eq!(printed_headers, headers, "{record}");
    }
}

async fn the_path_names_the_partition_of_all(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("path", 3, &[]).await.unwrap();
    let body = r#"{"records":[{"value":1,"timestamp":1700000000123},{"key":"k","value":2,"timestamp":1},{"value":3,"partition":null}]}"#;
    let places = offsets(&post(&stack, &format!("/topics/{topic}/partitions/2"), JSON, body).await);
    assert_eq!(places, [(2, 0), (2, 1), (2, 2)]);
    let records = consume(kafka, topic, 3).await;
    assert_eq!((records[&(2, 0)].timestamp, records[&(2, 1)].timestamp), (1_700_000_000_123, 1));
    // -1 is any partition, and the same key goes to the same one.
    let body = r#"{"records":[{"key":"k","value":1,"partition":-1},{"key":"k","value":2},{"value":3,"partition":-1}]}"#;
    let places = offsets(&post(&stack, &format!("/topics/{topic}"), JSON, body).await);
    assert_eq!(places[0].0, places[1].0);
    // A name in percent-encoding, and a query that nobody knows.
    let encoded = topic.replace('-', "%2D");
    offsets(&post(&stack, &format!("/topics/{encoded}"), JSON, r#"{"records":[{"value":1}]}"#).await);
    let unknown = post(&stack, &format!("/topics/{topic}?x=1"), JSON, r#"{"records":[{"value":1}]}"#).await;
    rest_problem(&unknown, 400, 400, "x");
}

async fn a_record_that_fails_fails_alone(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("alone", 3, &[("max.message.bytes", "1000")]).await.unwrap();
    // The one that is too large has no neighbours: Kafka refuses a batch as a whole.
    let records = json!({"records": [
        {"value": "a", "partition": 0},
        {"value": "b", "partition": 7},
        {"value": "x".repeat(2000), "partition": 1},
        {"value": "c", "partition": 2},
        {"value": "d", "partition": 0},
    ]});
    let response = post(&stack, &format!("/topics/{topic}"), JSON, records.to_string()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let json = response.json();
    let all = json["offsets"].as_array().unwrap();
    assert_eq!(all.len(), 5, "{json}");
    for (at, partition, offset) in [(0, 0, 0), (3, 2, 0), (4, 0, 1)] {
        assert_eq!(
            all[at],
            json!({"partition": partition, "offset": offset, "error_code": null, "error": null}),
            "{at}"
        );
    }
    for (at, words) in [(1, "partition"), (2, "1000")] {
        let one = &all[at];
        assert_eq!(
            (&one["partition"], &one["offset"], &one["error_code"]),
            (&Value::Null, &Value::Null, &json!(1)),
            "{json}"
        );
        let said = one["error"].as_str().unwrap();
        assert!(at == 2 || said.contains(words), "{said}");
        assert_eq!(one.as_object().unwrap().len(), 4, "{one}");
    }
    let written = consume(kafka, topic, 3).await;
    let values: Vec<_> = written.values().map(|printed| printed.value.as_deref().unwrap()).collect();
    assert_eq!(values, [br#""a""#, br#""d""#, br#""c""#]);
}
