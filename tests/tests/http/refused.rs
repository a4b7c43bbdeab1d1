//! Lists of records that are refused as a whole.

use sluicegate_tests::http::client::Request;
use sluicegate_tests::in_every_gateway;
use sluicegate_tests::way::Way;

use crate::answers::rest_problem;
use crate::openapi::ask;
use crate::rest::{BINARY, JSON, offsets, post};
use crate::stacks::{REST, shared};

in_every_gateway! {
    what_is_no_list_of_records_is_refused_as_a_whole
    an_error_is_of_the_type_that_the_client_accepts
    a_request_has_a_thousand_records_at_most
    a_topic_that_is_not_there_is_not_made
}

async fn what_is_no_list_of_records_is_refused_as_a_whole(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("whole", 1, &[]).await.unwrap();
    let path = &format!("/topics/{topic}");
    let good = r#"{"value":1}"#;
    // No JSON: its place.
    for (body, place) in [
        ("", "line 1"),
        ("{\n\"records\":[}", "line 2 column 12"),
        ("[1", "line 1"),
        ("{\"records\":[{\"value\":1}]} x", "line 1"),
    ] {
        rest_problem(&post(&stack, path, JSON, body).await, 400, 400, place);
    }
    // JSON, but not of this form; a good record beside it is not written.
    for body in [
        "{}",
        "[]",
        "7",
        "null",
        r#"{"records":null}"#,
        r#"{"records":{}}"#,
        r#"{"records":[7]}"#,
        r#"{"records":[null]}"#,
        r#"{"records":[{"value":1,"partition":"0"}]}"#,
        r#"{"records":[{"value":1,"partition":-2}]}"#,
        r#"{"records":[{"value":1,"partition":0.5}]}"#,
        r#"{"records":[{"value":1,"partition":2147483648}]}"#,
        r#"{"records":[{"value":1,"timestamp":"now"}]}"#,
        r#"{"records":[{"value":1,"timestamp":-2}]}"#,
        r#"{"records":[{"value":1,"headers":{}}]}"#,
        r#"{"records":[{"value":1,"headers":[{"value":"MQ=="}]}]}"#,
        r#"{"records":[{"value":1,"headers":[{"key":1,"value":"MQ=="}]}]}"#,
        r#"{"records":[{"value":1,"headers":[{"key":"a","value":"?"}]}]}"#,
        r#"{"records":[{"value":1,"headers":[{"key":"a","value":1}]}]}"#,
        r#"{"records":[{"value":1,"value":2}]}"#,
        r#"{"records":[],"records":[{"value":1}]}"#,
    ] {
        let body = body.replace(r#"{"records":[{"#, &format!(r#"{{"records":[{good},{{"#));
        rest_problem(&post(&stack, path, JSON, body).await, 422, 422, "");
    }
    for value in ["?", "YQ", "YQ=", "Y Q==", "YQ==\\n", "-_8=", "YR=="] {
        let body = format!(r#"{{"records":[{{"value":"YQ=="}},{{"value":"{value}"}}]}}"#);
        rest_problem(&post(&stack, path, BINARY, body).await, 422, 422, "base64");
    }
    for value in ["1", "{}", "true", "[]"] {
        let body = format!(r#"{{"records":[{{"value":{value}}}]}}"#);
        rest_problem(&post(&stack, path, BINARY, body).await, 422, 422, "base64");
    }
    // Other formats, packed ones included.
    let body = format!(r#"{{"records":[{good}]}}"#);
    for content_type in [
        "application/vnd.kafka.avro.v2+json",
        "application/vnd.kafka.protobuf.v2+json",
        "application/vnd.kafka.v3+json",
        "text/plain",
        "application/octet-stream",
        "",
    ] {
        rest_problem(
            &post(&stack, path, content_type, body.as_str()).await,
            415,
            415,
            "application/vnd.kafka.json.v2+json",
        );
    }
    let gzip = Request::post(format!("{REST}{path}"), body)
        .with("content-type", JSON)
        .with("content-encoding", "gzip");
    rest_problem(&ask(stack.gateway(), gzip).await, 415, 415, "Content-Encoding");
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 0));
}

async fn an_error_is_of_the_type_that_the_client_accepts(way: Way) {
    let (_, stack) = shared(way).await;
    let path = "/kafka/topics/no-such-topic/partitions/0/records?offset=0";
    for (accept, want) in [
        ("application/vnd.kafka.v2+json", "application/vnd.kafka.v2+json"),
        (
            "application/vnd.kafka.v2+json, application/vnd.kafka+json, application/json",
            "application/vnd.kafka.v2+json",
        ),
        ("application/vnd.kafka.json.v2+json", "application/vnd.kafka.v2+json"),
        ("application/json", "application/problem+json"),
        ("*/*", "application/problem+json"),
    ] {
        let request = Request::get(path).with("accept", accept);
        let response = ask(stack.gateway(), request).await;
        assert_eq!((response.status, response.header("content-type")), (404, Some(want)), "{accept}");
        assert_eq!(response.json()["error_code"], 40401);
    }
}

async fn a_request_has_a_thousand_records_at_most(way: Way) {
    let (kafka, stack) = shared(way).await;
    let topic = &kafka.topic("thousand", 1, &[]).await.unwrap();
    let body = |count: usize| format!(r#"{{"records":[{}]}}"#, vec![r#"{"value":1}"#; count].join(","));
    let path = &format!("/topics/{topic}");
    let places = offsets(&post(&stack, path, JSON, body(1000)).await);
    assert_eq!(places, (0..1000).map(|offset| (0, offset)).collect::<Vec<_>>());
    for count in [1001, 80_000] {
        let response = post(&stack, path, JSON, body(count)).await;
        assert!([413, 422].contains(&response.status), "{response:?}");
        rest_problem(&response, response.status, response.status.into(), "1000");
    }
    rest_problem(&post(&stack, path, JSON, body(0)).await, 422, 422, "at least one");
    assert_eq!(kafka.watermarks(topic, 0).unwrap(), (0, 1000));
}

async fn a_topic_that_is_not_there_is_not_made(way: Way) {
    let (kafka, stack) = shared(way).await;
    let body = r#"{"records":[{"value":1},{"value":2}]}"#;
    for path in ["/topics/no-such-topic", "/topics/no-such-topic/partitions/0"] {
        let response = post(&stack, path, JSON, body).await;
        rest_problem(&response, 404, 40401, "no-such-topic");
    }
    assert!(!kafka.topics().unwrap().iter().any(|known| known == "no-such-topic"));
    let topic = kafka.topic("known", 1, &[]).await.unwrap();
    let response = post(&stack, &format!("/topics/{topic}/partitions/1"), JSON, body).await;
    rest_problem(&response, 404, 40402, "partition");
}
