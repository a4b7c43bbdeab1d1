//! Responses to writes.

use std::sync::Arc;

use ::http::{Method, header};
use sluicegate_backend::{Fault, Written};
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_protocol::HttpRest;
use sluicegate_protocol::http_route::Resource;
use sluicegate_rights::{Rights, Topics};

use super::super::super::tests::{headers, rest, told};
use super::*;

/// Writes records. A scripted topic's name is the time of its look-up in milliseconds.
async fn ask(content_type: &str, write: bool, body: &str) -> (Response, Arc<Script>) {
    let (cluster, script) = Script::cluster(1);
    let grant =
        Grant::of(&cluster, Rights { read: None, write: write.then(Topics::default), ..Rights::default() });
    let lines = [("content-type", content_type), ("accept", V2)];
    (crate::http::ask(&grant, &rest("/topics/0"), Method::POST, &headers(&lines), body).await, script)
}

/// Writes messages, perhaps with an `Idempotency-Key`, to a stream that can refuse them.
async fn publish(key: Option<&str>, body: &str, error: Option<CommandError>) -> (u16, String, Arc<Script>) {
    let (cluster, script) = Script::cluster_of(System::Nats, 1);
    error.into_iter().for_each(|error| script.refuse(error));
    let lines: Vec<_> =
        [("content-type", JSON)].into_iter().chain(key.map(|key| ("idempotency-key", key))).collect();
    let (grant, lines) = (Grant::all(&cluster), headers(&lines));
    let response = crate::http::ask(&grant, &rest("/streams/0"), Method::POST, &lines, body).await;
    let (status, text) = told(response);
    (status, text, script)
}

#[tokio::test]
async fn messages_are_answered_with_their_sequences() {
    let body = r#"{"messages":[{"subject":"a","data":1},{"subject":"a","data":2,"message_id":"x"}]}"#;
    let (status, answer, script) = publish(None, body, None).await;
    let want =
        r#"{"results":[{"sequence":0},{"sequence":1,"duplicate":false,"duplicate_window_ms":120000}]}"#;
    assert_eq!((status, answer.as_str()), (200, want));
    assert_eq!(script.taken(), ["1", "2"]);
}

const ONE: &str = r#"{"messages":[{"subject":"a","data":1}]}"#;

#[tokio::test]
async fn idempotency_key_is_for_one_message() {
    let (status, answer, _) = publish(Some("k"), ONE, None).await;
    let want = r#"{"results":[{"sequence":0,"duplicate":false,"duplicate_window_ms":120000}]}"#;
    assert_eq!((status, answer.as_str()), (200, want));
    let two = r#"{"messages":[{"subject":"a","data":1},{"subject":"a","data":1}]}"#;
    let own_id = r#"{"messages":[{"subject":"a","data":1,"message_id":"k"}]}"#;
    for (key, body, want) in [
        ("k", two, "expected it with one message, got 2"),
        ("k", own_id, "expected it or messages[0].message_id, not both"),
        ("", ONE, "header idempotency-key: expected a value"),
    ] {
        let (status, answer, script) = publish(Some(key), body, None).await;
        assert!(status == 400 && answer.contains(want), "{answer}");
        assert!(script.taken().is_empty());
    }
}

#[tokio::test]
async fn failures_of_messages_have_the_words_of_nats() {
    let error = CommandError::new(Fault::Rejected, 10109, "sealed");
    let failed = dialect::of(System::Nats).results(vec![Err(error)], [None; 2]);
    let want = r#"{"error":{"reason":"rejected","detail":"sealed","nats_code":10109,"retriable":false}}"#;
    assert_eq!(String::from_utf8(failed).unwrap(), format!(r#"{{"results":[{want}]}}"#));
    let missing = CommandError::new(Fault::NotFound, 0, "no stream listens to the subject");
    let lost = CommandError::new(Fault::UnknownOutcome { retriable: true }, 7, "lost");
    let twice =
        r#""detail":"lost; without a message id, a retry can write it twice","reason":"unknown_outcome","#;
    for (error, want) in [
        (missing, r#""detail":"no stream listens to the subject","reason":"not_found"}"#),
        (lost, &format!(r#"{twice}"unknown_outcome":true}}"#)),
    ] {
        let (_, text, _) = publish(None, ONE, Some(error)).await;
        assert!(text.ends_with(want), "{text}");
    }
}

const JSON: &str = "application/json";
const V2: &str = "application/vnd.kafka.v2+json";
const V2_JSON: &str = "application/vnd.kafka.json.v2+json";

const TWO: &str = r#"{"records":[{"value":"AA=="},{"value":"AQ=="}]}"#;

#[tokio::test]
async fn results_keep_the_order_of_records() {
    let (response, script) = ask("application/vnd.kafka.binary.v2+json", true, TWO).await;
    let want = concat!(
        r#"{"offsets":[{"partition":0,"offset":0,"error_code":null,"error":null},"#,
        r#"{"partition":0,"offset":1,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#
    );
    assert_eq!((response.status, &response.body[..]), (StatusCode::OK, want.as_bytes()));
    assert_eq!(response.headers, [(header::CONTENT_TYPE, V2.to_owned())]);
    assert_eq!(script.taken(), ["\0", "\u{1}"]);
    let (binary, json) = (["\0", "\u{1}"], ["\"AA==\"", "\"AQ==\""]);
    for (content_type, want) in [
        (V2_JSON, json),
        ("application/vnd.kafka.json+json", json),
        ("application/vnd.kafka.json.v1+json; charset=utf-8", json),
        ("Application/JSON", json),
        (V2, binary),
        ("application/vnd.kafka+json", binary),
        ("APPLICATION/vnd.kafka.Binary.v1+json", binary),
        ("application/octet-stream", binary),
    ] {
        let (response, script) = ask(content_type, true, TWO).await;
        assert_eq!(response.status, StatusCode::OK, "{content_type}");
        assert_eq!(script.taken(), want, "{content_type}");
    }
}

#[tokio::test]
async fn answer_of_strimzis_async_has_no_results() {
    let (cluster, script) = Script::cluster(1);
    let (grant, lines) = (Grant::all(&cluster), headers(&[("content-type", V2_JSON)]));
    let response = crate::http::ask(&grant, &rest("/topics/0?async=true"), Method::POST, &lines, TWO).await;
    assert_eq!((response.status, &response.body[..]), (StatusCode::NO_CONTENT, &b""[..]));
    assert_eq!(script.taken(), ["\"AA==\"", "\"AQ==\""]);
    // One record is refused before any is queued.
    let body = r#"{"records":[{"value":1},{"value":2,"headers":[{"key":"\u0000","value":""}]}]}"#;
    for target in ["/topics/0?async=true", "/topics/0"] {
        let (status, results) =
            told(crate::http::ask(&grant, &rest(target), Method::POST, &lines, body).await);
        assert!(status == 200 && results.contains("NUL"), "{status} {results}");
    }
}

#[tokio::test]
async fn refused_request_writes_nothing() {
    for (content_type, write, body, status) in [
        (V2_JSON, false, TWO, 403),
        ("", true, TWO, 415),
        ("text/plain", true, TWO, 415),
        (V2_JSON, true, "{", 400),
        (V2_JSON, true, r#"{"records":[{"value":1},{"value":2,"partition":"x"}]}"#, 422),
        (V2_JSON, true, r#"{"records":[{"value":1},{}]}"#, 422),
    ] {
        let (response, script) = ask(content_type, write, body).await;
        assert_eq!(response.status.as_u16(), status, "{content_type} {body}");
        assert!(script.taken().is_empty());
    }
}

#[tokio::test]
async fn records_of_schema_types_need_a_schema() {
    const AVRO: &str = "application/vnd.kafka.avro.v2+json";
    for (body, want) in [
        (r#"{"records":[{"value":1}]}"#, "expected value_schema_id or value_schema"),
        (r#"{"value_schema_id":1,"records":[{"value":1,"key":2}]}"#, "expected key_schema_id or key_schema"),
        (r#"{"value_schema_id":"x","records":[{"value":1}]}"#, "value_schema_id: expected a whole number"),
        (r#"{"value_schema":{},"records":[{"value":1}]}"#, "value_schema: expected a schema as a string"),
    ] {
        let (response, script) = ask(AVRO, true, body).await;
        let (status, text) = told(response);
        assert!(status == 422 && text.contains(want), "{status} {text}");
        assert!(script.taken().is_empty());
    }
    // A tombstone needs none.
    let (response, script) = ask(AVRO, true, r#"{"records":[{"value":null}]}"#).await;
    assert_eq!((response.status, script.taken().len()), (StatusCode::OK, 1));
    // The answer has the id that a text was found by.
    let (response, _) = ask(AVRO, true, r#"{"value_schema":"\"long\"","records":[{"value":1}]}"#).await;
    assert!(told(response).1.ends_with(r#""key_schema_id":null,"value_schema_id":7}"#));
}

const WRITTEN: DeliveryReport = Ok(Written {
    partition: 0,
    offset: 0,
    timestamp: 0,
    dedup: None,
    key_schema_id: None,
    value_schema_id: None,
});

#[test]
fn failed_record_says_whether_to_retry() {
    for (fault, error_code, more) in [
        (Fault::QueueFull, 2, ""),
        (Fault::TooLarge, 1, ""),
        (Fault::UnknownOutcome { retriable: true }, 2, r#","unknown_outcome":true"#),
    ] {
        let failed = vec![Err(CommandError::new(fault, 0, "text"))];
        let results = String::from_utf8(dialect::of(System::Kafka).results(failed, [None; 2])).unwrap();
        let want =
            format!(r#"{{"partition":null,"offset":null,"error_code":{error_code},"error":"text"{more}}}"#);
        assert_eq!(results, format!(r#"{{"offsets":[{want}],"key_schema_id":null,"value_schema_id":null}}"#));
    }
}

#[test]
fn request_fails_if_all_its_records_fail_alike() {
    let missing = |text: &str| CommandError::new(Fault::NotFound, 3, text);
    let full = || Err(CommandError::new(Fault::QueueFull, 0, ""));
    assert_eq!(common_error(&[Err(missing("a")), Err(missing("b"))]), Some(&missing("a")));
    assert!(common_error(&[Err(missing("a")), full()]).is_none());
    assert!(common_error(&[full(), WRITTEN]).is_none());
    assert!(common_error(&[WRITTEN, full()]).is_none());
    assert!(common_error(&[]).is_none());
}

const BINARY: [(&str, &str); 4] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")];
const BATCH: &str = "application/cloudevents-batch+json";

/// Writes CloudEvents to a topic or a stream, whose route takes them or not.
async fn events(
    cloudevents: bool,
    system: System,
    lines: &[(&str, &str)],
    body: &str,
) -> (u16, String, Vec<Bytes>) {
    let (cluster, script) = Script::cluster_of(system, 1);
    let target = if system == System::Nats { "/streams/0" } else { "/topics/0/partitions/0" };
    let mut route = rest(target);
    route.resource = Some(Resource::Rest(HttpRest { cloudevents }));
    let response = crate::http::ask(&Grant::all(&cluster), &route, Method::POST, &headers(lines), body).await;
    let (status, text) = told(response);
    (status, text, script.taken())
}

#[tokio::test]
async fn events_are_written_in_each_mode() {
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":"a.b"}"#;
    let batch = format!("[{event},{event}]");
    let subject = [&BINARY[..], &[("ce-partitionkey", "a.b")]].concat();
    for (lines, body, want) in [
        (&subject[..], "x", vec!["x"]),
        (&[("content-type", "application/cloudevents+json")], event, vec![event]),
        (&[("content-type", BATCH)], &batch, vec![event; 2]),
        (&[("content-type", BATCH)], "[]", vec![]),
        // No event: as without the route's switch.
        (&[("content-type", JSON)], "", vec!["1"]),
    ] {
        for (system, records) in [(System::Kafka, r#"{"records":[{"value":1}]}"#), (System::Nats, ONE)] {
            let body = if body.is_empty() { records } else { body };
            let (status, text, taken) = events(true, system, lines, body).await;
            assert_eq!(status, 200, "{text}");
            assert_eq!(taken, want, "{text}");
        }
    }
    let (status, text, _) = events(true, System::Nats, &BINARY, "x").await;
    assert!(status == 400 && text.contains("no subject: expected the extension partitionkey"), "{text}");
    let (status, text, _) = events(true, System::Kafka, &BINARY[1..], "x").await;
    assert!(status == 400 && text.contains("invalid CloudEvent: headers ce-…: no specversion"), "{text}");
    let without = [&BINARY[..], &[("content-type", "text/plain")]].concat();
    let (status, _, taken) = events(false, System::Kafka, &without, "x").await;
    assert!(status == 415 && taken.is_empty(), "the route has no CloudEvents");
}
