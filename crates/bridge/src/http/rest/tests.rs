//! The resources of a cluster, mostly of NATS.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use sluicegate_delivery::drain::Drain;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::script::Script;
use sluicegate_dialect as dialect;
use sluicegate_fair_share::{Holder, Ledger, Permits};
use sluicegate_rights::{Rights, Topics};
use tokio_util::task::TaskTracker;

use super::*;
use crate::http::headers::Headers;

/// The status, the headers `sluicegate-…` and the body of an answer.
async fn ask(method: Method, target: &str, accept: &str) -> (StatusCode, String, String) {
    let (cluster, _) = Script::cluster_of(System::Nats, 1 << 20);
    ask_of(&Grant::all(&cluster), method, target, accept).await
}

async fn ask_of(grant: &Grant, method: Method, target: &str, accept: &str) -> (StatusCode, String, String) {
    let open = TaskTracker::new();
    let headers = HeaderMap::from_iter([(http::header::ACCEPT, accept.parse().unwrap())]);
    let body = Bytes::new();
    let request = Request { grant, method: &method, headers: Headers(&headers), body: &body };
    let (calls, waiting) = (Permits::new(Ledger::new(1)), Permits::new(Ledger::new(1)));
    let running = RequestPermits::begin(&calls, Holder::default(), &waiting, &Drain::default(), open.token());
    let answer = answer(&request, target, &running.unwrap()).await;
    let response = answer.unwrap_or_else(Problem::plain);
    let own = response.headers.iter().filter(|(name, _)| name.as_str().starts_with("sluicegate-"));
    let own: Vec<String> = own.map(|(name, value)| format!("{name}: {value}")).collect();
    (response.status, own.join("\n"), String::from_utf8(response.body.to_vec()).unwrap())
}

#[tokio::test]
async fn streams_are_read_by_their_paths() {
    // A scripted log has this many records after the dot, each of partition 0 without a value.
    let stream = "/streams/0%2E2";
    for (target, positions, want) in [
        ("/streams".to_owned(), "", r#"["a","b.1","b.2","gone"]"#),
        (stream.to_owned(), "", r#"{"name":"0.2","first_sequence":-2,"end":-1}"#),
        (format!("{stream}/sequences"), "", r#"{"first_sequence":-2,"end":-1}"#),
        (format!("{stream}/sequences?timestamp=5"), "", r#"{"sequence":5}"#),
        (
            format!("{stream}/messages?sequence=1"),
            "sluicegate-next-sequence: 2\nsluicegate-first-sequence: 0\nsluicegate-end: 2",
            r#"[{"stream":"0.2","sequence":0,"timestamp":0,"subject":"","data":{"base64":""}}]"#,
        ),
        (format!("{stream}/events"), "", ""),
    ] {
        let accept = if target.ends_with("/events") { "text/event-stream" } else { "application/json" };
        let found = ask(Method::GET, &target, accept).await;
        assert_eq!(found, (StatusCode::OK, positions.to_owned(), want.to_owned()), "{target}");
    }
}

#[tokio::test]
async fn refusals_have_the_words_of_nats() {
    for (method, target, status, want) in [
        (Method::GET, "/topics/t", 404, "the cluster is of NATS: expected /streams"),
        (Method::GET, "/streams/gone/events", 404, "stream gone does not exist, create it first"),
        (
            Method::DELETE,
            "/streams/s",
            405,
            "method not allowed for a stream: expected GET, HEAD, POST, OPTIONS",
        ),
        (
            Method::POST,
            "/streams/s/messages",
            405,
            "method not allowed for messages: expected GET, HEAD, OPTIONS",
        ),
        (Method::GET, "/streams?x=1", 400, "unknown query parameter x: expected none"),
        (
            Method::GET,
            "/streams/0/sequences?isolation=read_committed",
            400,
            "unknown query parameter isolation: expected timestamp",
        ),
        (Method::GET, "/streams/s/events?last_event_id=x", 400, "expected the id of an event of this stream"),
    ] {
        let accept = if target.contains("/events") { "text/event-stream" } else { "application/json" };
        let (found, _, body) = ask(method, target, accept).await;
        assert_eq!(found.as_u16(), status, "{target}: {body}");
        assert!(body.contains(want), "{target}: {body}");
    }
}

#[tokio::test]
async fn no_row_reads_a_topic_that_is_not_granted() {
    let reads = |read: Option<Topics>| Rights { read, write: None };
    for (system, dialect) in [System::Kafka, System::Nats].into_iter().zip(dialect::ALL) {
        for row in dialect.words().resources.rows.iter().filter(|row| row.get.is_some()) {
            let (cluster, _) = Script::cluster_of(system, 1);
            let target = row.path.replace("{partition}", "0");
            for (rights, lists) in [(reads(Topics::parse(b"other")), true), (reads(None), false)] {
                let grant = Grant::of(&cluster, rights);
                let (status, _, body) = ask_of(&grant, Method::GET, &target, "*/*").await;
                // The list has the granted topics.
                let is_list = row.get == Some(Get::List);
                assert_eq!(status.as_u16(), if is_list && lists { 200 } else { 403 }, "{target}: {body}");
            }
        }
    }
}

#[test]
fn errors_of_streams_are_not_those_of_the_proxies() {
    for (target, want) in [
        ("/topics", true),
        ("/streams2?streams", true),
        ("", true),
        ("/streams", false),
        ("/streams?x", false),
        ("/streams/s/messages?sequence=1", false),
    ] {
        assert_eq!(!error_types(target).is_empty(), want, "{target}");
    }
}

#[tokio::test]
async fn parameters_that_make_no_sense_are_refused() {
    let (cluster, _) = Script::cluster(1 << 20);
    for (path, want) in [
        ("records?offsets=0:0&offset=0", "query parameter offset: expected it without offsets"),
        ("partitions/0/offsets?timestamp=-4", "timestamp: expected a whole number from -3"),
    ] {
        let target = format!("/topics/0/{path}");
        let (status, _, body) = ask_of(&Grant::all(&cluster), Method::GET, &target, "*/*").await;
        assert!(status.as_u16() == 400 && body.contains(want), "{target}: {body}");
    }
}
