//! What a request that writes is answered.

use std::sync::Arc;

use ::http::Method;
use bytes::Bytes;
use sluicegate_protocol::HttpHeader;

use super::super::super::headers::Headers;
use super::*;
use crate::cluster::Cluster;
use crate::writing::failure;

async fn ask(content_type: &str, write: bool, body: &str) -> (Result<Response, Problem>, Arc<Cluster>) {
    let cluster = Arc::new(Cluster::script(1));
    let name = "content-type".to_owned();
    let headers = [HttpHeader { name, value: Bytes::copy_from_slice(content_type.as_bytes()) }];
    let body = Bytes::copy_from_slice(body.as_bytes());
    let request =
        Request { cluster: &cluster, method: Method::POST, headers: Headers(&headers), body: &body };
    // The name of a scripted topic says how many milliseconds it takes to look it up.
    let answer = post(&request, write, "0", None, "application/vnd.kafka.v2+json").await;
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

fn failed(error: ErrorResp) -> Produced {
    Produced { error: Some(error), ..Produced::default() }
}

#[test]
fn a_record_that_failed_says_whether_it_may_be_sent_again() {
    let full = failed(failure::queue_full());
    let offset = serde_json::to_string(&Offset::of(&full)).unwrap();
    assert_eq!(offset, r#"{"partition":null,"offset":null,"error_code":2,"error":"the queue is full"}"#);
    let large = failed(failure::refused(failure::MESSAGE_TOO_LARGE, "too large".to_owned()));
    assert!(serde_json::to_string(&Offset::of(&large)).unwrap().contains(r#""error_code":1,"#));
}

#[test]
fn a_request_of_which_all_records_fail_alike_has_failed() {
    let missing = |text: &str| failed(failure::refused(failure::UNKNOWN_TOPIC_OR_PARTITION, text.to_owned()));
    let full = failed(failure::queue_full());
    assert_eq!(common(&[missing("a"), missing("b")]).unwrap().message, "a");
    assert!(common(&[missing("a"), full.clone()]).is_none());
    assert!(common(&[full.clone(), Produced::default()]).is_none());
    assert!(common(&[Produced::default(), full]).is_none());
    assert!(common(&[]).is_none());
}
