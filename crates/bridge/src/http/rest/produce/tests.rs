//! What a request that writes is answered.

use std::sync::Arc;

use ::http::{HeaderMap, Method, header};
use bytes::Bytes;
use sluicegate_protocol::metadata;
use sluicegate_ws_session::source::Source;

use super::super::super::headers::Headers;
use super::*;
use crate::cluster::Cluster;
use crate::grant::Grant;
use crate::kafka_code;
use crate::writing::failure;

async fn ask(content_type: &str, write: bool, body: &str) -> (Result<Response, Problem>, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::script(1));
    let write = if write { "true" } else { "false" };
    let granted = HeaderMap::from_iter([(metadata::WRITE.parse().unwrap(), write.parse().unwrap())]);
    let grant = Grant::of(Arc::clone(&cluster), Source::default(), &granted).ok().unwrap();
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
    let body = Bytes::copy_from_slice(body.as_bytes());
    let request = Request { grant: &grant, method: &Method::POST, headers: Headers(&headers), body: &body };
    // The name of a scripted topic says how many milliseconds it takes to look it up.
    let answer = post(&request, "0", None, "application/vnd.kafka.v2+json").await;
    (answer, cluster)
}

const TWO: &str = r#"{"records":[{"value":"AA=="},{"value":"AQ=="}]}"#;

#[tokio::test]
async fn records_are_answered_in_their_order() {
    let (answer, cluster) = ask("application/vnd.kafka.binary.v2+json", true, TWO).await;
    let response = answer.unwrap();
    let want = concat!(
        r#"{"offsets":[{"partition":0,"offset":0,"error_code":null,"error":null},"#,
        r#"{"partition":0,"offset":1,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#
    );
    assert_eq!(response, Response::with_body(StatusCode::OK, "application/vnd.kafka.v2+json", want.into()));
    assert_eq!(cluster.script.taken(), ["\0", "\u{1}"]);
    for json in ["application/vnd.kafka.json.v2+json", "application/vnd.kafka.json+json", "Application/JSON"]
    {
        let (answer, cluster) = ask(json, true, TWO).await;
        assert_eq!(answer.unwrap().status, StatusCode::OK);
        assert_eq!(cluster.script.taken(), ["\"AA==\"", "\"AQ==\""]);
    }
}

#[tokio::test]
async fn what_is_refused_as_a_whole_writes_nothing() {
    let json = "application/vnd.kafka.json.v2+json";
    for (content_type, write, body, status) in [
        (json, false, TWO, 403),
        ("", true, TWO, 415),
        ("text/plain", true, TWO, 415),
        ("application/vnd.kafka.avro.v2+json", true, TWO, 415),
        (json, true, "{", 400),
        (json, true, r#"{"records":[{},{"partition":"x"}]}"#, 422),
    ] {
        let (answer, cluster) = ask(content_type, write, body).await;
        assert_eq!(answer.unwrap_err().plain().status.as_u16(), status, "{content_type} {body}");
        assert!(cluster.script.taken().is_empty());
    }
}

const WRITTEN: Fate = Ok(Written { partition: 0, offset: 0, timestamp: 0 });

#[track_caller]
fn check_offset(error: WriteError, want: &str) {
    assert_eq!(serde_json::to_string(&Offset::of(Err(error))).unwrap(), want);
}

#[test]
fn a_record_that_failed_says_whether_it_may_be_sent_again() {
    check_offset(
        WriteError::QueueFull,
        r#"{"partition":null,"offset":null,"error_code":2,"error":"the queue has no room for more of this client's records"}"#,
    );
    check_offset(
        failure::refused(kafka_code::MESSAGE_TOO_LARGE, "too large".to_owned()),
        r#"{"partition":null,"offset":null,"error_code":1,"error":"too large"}"#,
    );
    check_offset(
        WriteError::ProducerEnded { unknown_outcome: true },
        r#"{"partition":null,"offset":null,"error_code":2,"error":"the producer came to its end","unknown_outcome":true}"#,
    );
}

#[test]
fn a_request_of_which_all_records_fail_alike_has_failed() {
    let missing = |text: &str| failure::refused(kafka_code::UNKNOWN_TOPIC_OR_PARTITION, text.to_owned());
    let full = || Err(WriteError::QueueFull);
    assert_eq!(common(&[Err(missing("a")), Err(missing("b"))]), Some(&missing("a")));
    assert!(common(&[Err(missing("a")), full()]).is_none());
    assert!(common(&[full(), WRITTEN]).is_none());
    assert!(common(&[WRITTEN, full()]).is_none());
    assert!(common(&[]).is_none());
}
