//! Reading over plain HTTP: records, offsets and topics, and in which form.

use std::time::Duration;

use sluicegate_tests::http::client::{Request, Response};
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::kafka::{Kafka, Record, Write};
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;
use tokio::time::Instant;

use crate::answers::rest_problem;
use crate::openapi::ask;
use crate::stacks::{REST, shared};

in_every_gateway! {
    what_is_read_can_be_written_again_and_is_the_same
    records_are_as_they_are_stored
    what_is_no_json_is_for_those_who_take_binary
    the_client_says_which_form_it_takes
    a_read_at_the_log_end_waits_as_long_as_it_is_told
    what_cannot_be_read_is_refused
}

const JSON: &str = "application/vnd.kafka.json.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";

pub(crate) async fn get(stack: &Stack, path: &str, accept: &str) -> Response {
    let mut request = Request::get(format!("{REST}{path}"));
    if !accept.is_empty() {
        request = request.with("accept", accept);
    }
    ask(stack.gateway(), request).await
}

#[track_caller]
pub(crate) fn says(response: &Response, content_type: &str, text: &str) {
    assert_eq!((response.status, response.text()), (200, text));
    assert_eq!(response.header("content-type"), Some(content_type));
}

pub(crate) const START: i64 = 1_700_000_000_000;

/// Key and value.
pub(crate) type Stored<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Writes records without the gateway, at [`START`] and the milliseconds after it.
pub(crate) async fn store(kafka: &Kafka, about: &str, records: &[Stored<'_>]) -> String {
    let topic = kafka.topic(about, 1, &[]).await.unwrap();
    let record = |(at, (key, value)): (i64, &Stored<'_>)| Record {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        timestamp: Some(START + at),
    };
    let records: Vec<Record> = (0..).zip(records).map(record).collect();
    kafka.produce(&topic, 0, &records, Write::default()).await.unwrap();
    topic
}

/// The answer that holds these keys and values, of [`store`]'s timestamps, from an offset on.
fn listed(topic: &str, from: i64, records: &[(&str, &str)]) -> String {
    let one = |(at, (key, value)): (i64, &(&str, &str))| {
        let timestamp = START + at;
        format!(
            r#"{{"topic":"{topic}","key":{key},"value":{value},"partition":0,"offset":{at},"timestamp":{timestamp}}}"#
        )
    };
    let all: Vec<String> = (from..).zip(records).map(one).collect();
    format!("[{}]", all.join(","))
}

async fn what_is_read_can_be_written_again_and_is_the_same(way: Way) {
    let (kafka, stack) = shared(way).await;
    let texts = [
        ("null", "null"),
        (r#""k""#, r#"{"a":1.00,"b":[1e400,-0.0,12345678901234567890123],"c":"\u00e9 é \/ 😀"}"#),
        ("7", "9007199254740993"),
        (r#"{"id":1.0}"#, "-0.0"),
        (r#""""#, r#""""#),
        ("null", "1E400"),
        ("1e-400", "true"),
        ("[]", r#"{"a":1,"a":2}"#),
    ];
    let bytes: Vec<_> = texts
        .iter()
        .map(|(key, value)| [*key, *value].map(|text| (text != "null").then_some(text.as_bytes())))
        .map(|[key, value]| (key, value))
        .collect();
    let source = &store(kafka, "source", &bytes).await;
    for form in [JSON, BINARY] {
        let copy = &kafka.topic("copy", 1, &[]).await.unwrap();
        let read = get(&stack, &format!("/topics/{source}/partitions/0/records?offset=0"), form).await;
        if form == JSON {
            says(&read, JSON, &listed(source, 0, &texts));
        }
        let again = Request::post(
            format!("{REST}/topics/{copy}/partitions/0"),
            format!(r#"{{"records":{}}}"#, read.text()),
        )
        .with("content-type", form);
        assert_eq!(ask(stack.gateway(), again).await.status, 200);
        let copied = get(&stack, &format!("/topics/{copy}/partitions/0/records?offset=0"), form).await;
        let want = read.text().replace(source, copy);
        says(&copied, form, &want);
    }
}

async fn records_are_as_they_are_stored(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &store(
        kafka,
        "stored",
        &[
            (None, None),
            (Some(b""), Some(b"")),
            (Some(&[0, 0xFF]), Some(&[0xFE])),
            (Some(b"key"), Some(b"{ \"a\" : 1 }")),
        ],
    )
    .await;
    let at = format!("/topics/{topic}/partitions/0/records");
    let all = [
        ("null", "null"),
        (r#""""#, r#""""#),
        (r#""AP8=""#, r#""/g==""#),
        (r#""a2V5""#, r#""eyAiYSIgOiAxIH0=""#),
    ];
    says(&get(&stack, &format!("{at}?offset=0"), BINARY).await, BINARY, &listed(topic, 0, &all));
    says(&get(&stack, &format!("{at}?offset=2"), BINARY).await, BINARY, &listed(topic, 2, &all[2..]));
    says(
        &get(&stack, &format!("{at}?timeout=100&offset=3&max_bytes=1000"), BINARY).await,
        BINARY,
        &listed(topic, 3, &all[3..]),
    );
    // As Kafka does: what does not fit comes alone.
    let first = get(&stack, &format!("{at}?offset=0&max_bytes=1"), BINARY).await;
    says(&first, BINARY, &listed(topic, 0, &all[..1]));
}

async fn what_is_no_json_is_for_those_who_take_binary(way: Way) {
    let (kafka, stack) = shared(way).await;
    for (key, value) in [
        (None, &b"text"[..]),
        (Some(&b"k"[..]), b"1"),
        (None, b""),
        (None, b"1 2"),
        (None, &[0xFF]),
        (None, b"\"\xFF\""),
        (None, b"01"),
    ] {
        let topic = &store(
            kafka,
            "mixed",
            &[(None, Some(b" {\"a\" :1} ")), (None, Some(b"2")), (key, Some(value)), (None, Some(b"4"))],
        )
        .await;
        let at = format!("/topics/{topic}/partitions/0/records");
        // Its neighbours are read; itself not, and whoever asks for it is told what helps.
        let response = get(&stack, &format!("{at}?offset=0"), JSON).await;
        assert_eq!(response.header("content-type"), Some(JSON));
        let records = response.json();
        let values: Vec<_> =
            records.as_array().unwrap().iter().map(|record| record["value"].to_string()).collect();
        assert_eq!(values, [r#"{"a":1}"#, "2"]);
        let refused =
            rest_problem(&get(&stack, &format!("{at}?offset=2"), "application/json").await, 406, 406, "2");
        assert!(refused["detail"].as_str().unwrap().contains("binary"), "{refused}");
        says(&get(&stack, &format!("{at}?offset=3"), JSON).await, JSON, &listed(topic, 3, &[("null", "4")]));
        assert_eq!(get(&stack, &format!("{at}?offset=2"), BINARY).await.json().as_array().unwrap().len(), 2);
    }
}

async fn the_client_says_which_form_it_takes(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &store(kafka, "accept", &[(None, Some(b"1"))]).await;
    let path = format!("/topics/{topic}/partitions/0/records?offset=0");
    for (accept, want) in [
        ("", BINARY),
        ("*/*", BINARY),
        ("application/*", BINARY),
        (BINARY, BINARY),
        ("application/vnd.kafka.v2+json", BINARY),
        (JSON, JSON),
        ("application/json", JSON),
        ("Application/Vnd.Kafka.JSON.V2+json", JSON),
        ("application/vnd.kafka.json.v2+json;q=0.1, application/vnd.kafka.binary.v2+json;q=0.9", BINARY),
        ("application/vnd.kafka.binary.v2+json ; q=0.1 ,application/vnd.kafka.json.v2+json", JSON),
        ("*/*;q=0.1, application/json", JSON),
        ("text/html, application/xhtml+xml, */*;q=0.8", BINARY),
        ("application/vnd.kafka.avro.v2+json, application/json;q=0.001", JSON),
        ("application/vnd.kafka.binary.v2+json;q=0, */*", JSON),
    ] {
        let response = get(&stack, &path, accept).await;
        let value = if want == JSON { "1" } else { r#""MQ==""# };
        says(&response, want, &listed(topic, 0, &[("null", value)]));
    }
    for accept in [
        "text/html",
        "application/vnd.kafka.avro.v2+json",
        "application/json;q=0",
        "application/xml, text/*",
        "*/*;q=0",
    ] {
        let response = get(&stack, &path, accept).await;
        assert_eq!(
            (response.status, response.json()["error_code"].as_u64()),
            (406, Some(406)),
            "{accept}: {response:?}"
        );
    }
}

async fn a_read_at_the_log_end_waits_as_long_as_it_is_told(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &store(kafka, "waiting", &[(None, Some(b"1"))]).await;
    let at = format!("/topics/{topic}/partitions/0/records?offset=1");
    let asked = Instant::now();
    says(&get(&stack, &format!("{at}&timeout=0"), JSON).await, JSON, "[]");
    says(&get(&stack, &at, BINARY).await, BINARY, "[]");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let asked = Instant::now();
    says(&get(&stack, &format!("{at}&timeout=700"), JSON).await, JSON, "[]");
    assert!((700..5000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    let path = format!("{at}&timeout=20000");
    let reading = get(&stack, &path, JSON);
    let writing = async {
        let record = Record { timestamp: Some(START + 1), ..Record::of("2") };
        kafka.produce(topic, 0, &[record], Write::default()).await.unwrap();
    };
    let asked = Instant::now();
    let (read, ()) = tokio::join!(reading, writing);
    says(&read, JSON, &listed(topic, 1, &[("null", "2")]));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

async fn what_cannot_be_read_is_refused(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &store(kafka, "unread", &[(None, Some(b"1")), (None, Some(b"2"))]).await;
    kafka.delete_records_before(topic, 0, 1).await.unwrap();
    let at = format!("/topics/{topic}/partitions/0/records");
    for (query, words) in [
        ("", "offset"),
        ("?offset=", "offset"),
        ("?offset=x", "offset"),
        ("?offset=-1", "offset"),
        ("?offset=1.0", "offset"),
        ("?offset=9223372036854775808", "offset"),
        ("?offset=1&offset=1", "offset"),
        ("?offset=1&limit=2", "limit"),
        ("?offset=1&timeout=30001", "30000"),
        ("?offset=1&timeout=-1", "timeout"),
        ("?offset=1&timeout=x", "timeout"),
        ("?offset=1&max_bytes=x", "max_bytes"),
        ("?offset=1&max_bytes=-1", "max_bytes"),
        ("?offset=1&OFFSET=1", "OFFSET"),
        ("?offset=1&%FF=1", ""),
        ("?offset=%zz", ""),
    ] {
        rest_problem(&get(&stack, &format!("{at}{query}"), "").await, 400, 400, words);
    }
    // Out of the log: where it begins and ends.
    for offset in [0, 3, i64::MAX] {
        let problem = rest_problem(
            &get(&stack, &format!("{at}?offset={offset}"), "").await,
            400,
            400,
            &offset.to_string(),
        );
        assert_eq!(problem["kafka_code"], 1, "{problem}");
    }
    rest_problem(
        &get(&stack, &format!("/topics/{topic}/partitions/1/records?offset=0"), "").await,
        404,
        40402,
        "partition",
    );
    rest_problem(
        &get(&stack, &format!("/topics/{topic}/partitions/1/offsets"), "").await,
        404,
        40402,
        "partition",
    );
    rest_problem(
        &get(&stack, "/topics/no-such-topic/partitions/0/records?offset=0", "").await,
        404,
        40401,
        "no-such-topic",
    );
    for partition in ["x", "-1", "2147483648", "+0", "0x0", "1.0"] {
        let response =
            get(&stack, &format!("/topics/{topic}/partitions/{partition}/records?offset=0"), "").await;
        assert!([400, 404].contains(&response.status), "{partition}: {response:?}");
    }
}
