//! Responses to writes.

use std::sync::Arc;

use ::http::{HeaderMap, Method, header};
use bytes::Bytes;
use sluicegate_backend::{Fault, Written};
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_rights::{Rights, Topics};

use super::super::super::headers::Headers;
use super::*;

async fn ask(content_type: &str, write: bool, body: &str) -> (Result<Response, Problem>, Arc<Script>) {
    let (cluster, script) = Script::cluster(1);
    let grant = Grant::of(&cluster, Rights { read: None, write: write.then(Topics::default) });
    (ask_with(&grant, &[("content-type", content_type)], "application/vnd.kafka.v2+json", body).await, script)
}

async fn ask_with(
    grant: &Grant,
    lines: &[(&'static str, &str)],
    answers: &'static str,
    body: &str,
) -> Result<Response, Problem> {
    let lines = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let (headers, body) = (lines.collect::<HeaderMap>(), Bytes::copy_from_slice(body.as_bytes()));
    let request = Request { grant, method: &Method::POST, headers: Headers(&headers), body: &body };
    // A scripted topic's name is the time of its look-up in milliseconds.
    post(&request, "0", None, answers).await
}

/// Writes to a stream, perhaps with an `Idempotency-Key`.
async fn publish(key: Option<&str>, body: &str) -> (u16, String, Arc<Script>) {
    let (cluster, script) = Script::cluster_of(System::Nats, 1);
    let key = key.map(|key| ("idempotency-key", key));
    let lines: Vec<_> = [("content-type", JSON)].into_iter().chain(key).collect();
    let response = ask_with(&Grant::all(&cluster), &lines, JSON, body).await.unwrap_or_else(Problem::plain);
    (response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap(), script)
}

#[tokio::test]
async fn messages_are_answered_with_their_sequences() {
    let body = r#"{"messages":[{"subject":"a","data":1},{"subject":"a","data":2,"message_id":"x"}]}"#;
    let (status, answer, script) = publish(None, body).await;
    let want =
        r#"{"results":[{"sequence":0},{"sequence":1,"duplicate":false,"duplicate_window_ms":120000}]}"#;
    assert_eq!((status, answer.as_str()), (200, want));
    assert_eq!(script.taken(), ["1", "2"]);
}

#[tokio::test]
async fn idempotency_key_is_for_one_message() {
    let one = r#"{"messages":[{"subject":"a","data":1}]}"#;
    let (status, answer, _) = publish(Some("k"), one).await;
    let want = r#"{"results":[{"sequence":0,"duplicate":false,"duplicate_window_ms":120000}]}"#;
    assert_eq!((status, answer.as_str()), (200, want));
    for (key, body, want) in [
        (
            "k",
            r#"{"messages":[{"subject":"a","data":1},{"subject":"a","data":1}]}"#,
            "expected it with one message, got 2",
        ),
        (
            "k",
            r#"{"messages":[{"subject":"a","data":1,"message_id":"k"}]}"#,
            "expected it or messages[0].message_id, not both",
        ),
        ("", one, "header idempotency-key: expected a value"),
    ] {
        let (status, answer, script) = publish(Some(key), body).await;
        assert!(status == 400 && answer.contains(want), "{answer}");
        assert!(script.taken().is_empty());
    }
}

#[tokio::test]
async fn failures_of_messages_have_the_words_of_nats() {
    let error = CommandError::new(Fault::Rejected, 10109, "sealed");
    let failed = dialect::of(System::Nats).results(vec![Err(error)]);
    let want = r#"{"error":{"reason":"rejected","detail":"sealed","nats_code":10109,"retriable":false}}"#;
    assert_eq!(String::from_utf8(failed).unwrap(), format!(r#"{{"results":[{want}]}}"#));
    for (error, want) in [
        (
            CommandError::new(Fault::NotFound, 0, "no stream listens to the subject"),
            r#""detail":"no stream listens to the subject","reason":"not_found"}"#,
        ),
        (
            CommandError::new(Fault::UnknownOutcome { retriable: true }, 7, "lost"),
            r#""detail":"lost; without a message id, a retry can write it twice","reason":"unknown_outcome","unknown_outcome":true}"#,
        ),
    ] {
        let (cluster, script) = Script::cluster_of(System::Nats, 1);
        script.refuse(error);
        let body = r#"{"messages":[{"subject":"a","data":1}]}"#;
        let asked = ask_with(&Grant::all(&cluster), &[("content-type", JSON)], JSON, body).await;
        let problem = asked.unwrap_err().plain();
        let text = std::str::from_utf8(&problem.body).unwrap();
        assert!(text.ends_with(want), "{text}");
    }
}

const JSON: &str = "application/json";

const TWO: &str = r#"{"records":[{"value":"AA=="},{"value":"AQ=="}]}"#;

#[tokio::test]
async fn results_keep_the_order_of_records() {
    let (answer, script) = ask("application/vnd.kafka.binary.v2+json", true, TWO).await;
    let response = answer.unwrap();
    let want = concat!(
        r#"{"offsets":[{"partition":0,"offset":0,"error_code":null,"error":null},"#,
        r#"{"partition":0,"offset":1,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#
    );
    let headers = [(header::CONTENT_TYPE, "application/vnd.kafka.v2+json".to_owned())];
    assert_eq!(
        (response.status, &response.headers[..], &response.body[..]),
        (StatusCode::OK, &headers[..], want.as_bytes())
    );
    assert_eq!(script.taken(), ["\0", "\u{1}"]);
    for json in ["application/vnd.kafka.json.v2+json", "application/vnd.kafka.json+json", "Application/JSON"]
    {
        let (answer, script) = ask(json, true, TWO).await;
        assert_eq!(answer.unwrap().status, StatusCode::OK);
        assert_eq!(script.taken(), ["\"AA==\"", "\"AQ==\""]);
    }
}

#[tokio::test]
async fn refused_request_writes_nothing() {
    let json = "application/vnd.kafka.json.v2+json";
    for (content_type, write, body, status) in [
        (json, false, TWO, 403),
        ("", true, TWO, 415),
        ("text/plain", true, TWO, 415),
        ("application/vnd.kafka.avro.v2+json", true, TWO, 415),
        (json, true, "{", 400),
        (json, true, r#"{"records":[{"value":1},{"value":2,"partition":"x"}]}"#, 422),
        (json, true, r#"{"records":[{"value":1},{}]}"#, 422),
    ] {
        let (answer, script) = ask(content_type, write, body).await;
        assert_eq!(answer.unwrap_err().plain().status.as_u16(), status, "{content_type} {body}");
        assert!(script.taken().is_empty());
    }
}

const WRITTEN: DeliveryReport = Ok(Written { partition: 0, offset: 0, timestamp: 0, dedup: None });

#[track_caller]
fn check_offset(fault: Fault, want: &str) {
    let error = CommandError::new(fault, 0, "text");
    let results = String::from_utf8(dialect::of(System::Kafka).results(vec![Err(error)])).unwrap();
    assert_eq!(results, format!(r#"{{"offsets":[{want}],"key_schema_id":null,"value_schema_id":null}}"#));
}

#[test]
fn failed_record_says_whether_to_retry() {
    check_offset(Fault::QueueFull, r#"{"partition":null,"offset":null,"error_code":2,"error":"text"}"#);
    check_offset(Fault::TooLarge, r#"{"partition":null,"offset":null,"error_code":1,"error":"text"}"#);
    check_offset(
        Fault::UnknownOutcome { retriable: true },
        r#"{"partition":null,"offset":null,"error_code":2,"error":"text","unknown_outcome":true}"#,
    );
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
