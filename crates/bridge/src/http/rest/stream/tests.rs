//! Streams of records: their answers, and their ends.

use http::Method;
use http_body_util::BodyExt;
use sluicegate_backend::command::SchemaChoice;
use sluicegate_delivery::grant::{Holding, Person};
use sluicegate_delivery::testing::script::Script;
use sluicegate_protocol::SchemaType;
use sluicegate_rights::{Rights, Topics};

use super::super::super::tests::{headers, rest, streamed};
use super::*;

/// The topic's records are checked at once.
const TARGET: &str = "/v3/clusters/test/topics/0/records";

async fn ask(grant: &Grant, target: &str, body: &str) -> (u16, Vec<String>) {
    let lines = headers(&[("content-type", "application/json; charset=UTF-8")]);
    streamed(crate::http::ask(grant, &rest(target), Method::POST, &lines, body).await).await
}

/// The examples and errors of Confluent's API, with what becomes of each record.
#[tokio::test]
async fn each_record_is_answered_in_its_place() {
    let ok = |offset: usize, parts: &str| {
        format!(
            r#"{{"error_code":200,"cluster_id":"test","topic_name":"0","partition_id":0,"offset":{offset},"timestamp":"1970-01-01T00:00:00Z"{parts}}}"#
        )
    };
    let full = r#"{"partition_id":1,"headers":[{"name":"Header-1","value":"SGVhZGVyLTE="},{"name":"n"}],
        "key":{"type":"BINARY","data":"Zm9vYmFy"},"value":{"type":"JSON","data":{"foo": "bar"}},
        "timestamp":"2021-02-05T19:14:42Z"}"#;
    let of_full = r#","key":{"type":"BINARY","size":6},"value":{"type":"JSON","size":13}"#;
    let failed = |message: &str| format!(r#"{{"error_code":400,"message":"{message}"}}"#);
    let unknown = "the record: unknown member records, expected one of partition_id, headers, key, value, \
                   timestamp";
    let [a, b] = ["a", "b"].map(|data| format!(r#"{{"value":{{"type":"STRING","data":"{data}"}}}}"#));
    let text = |offset| ok(offset, r#","value":{"type":"STRING","size":1}"#);
    for (body, want, values) in [
        (full, vec![ok(0, of_full)], &[r#"{"foo":"bar"}"#][..]),
        (&format!("{a}{b} {{}}"), vec![text(0), text(1), ok(2, "")], &["a", "b", ""]),
        (
            &format!(r#"{{"key":null,"value":{{"type":"BINARY","data":1}}}}{{"timestamp":null,{}"#, &b[1..]),
            vec![failed("value.data: expected a base64 string or null"), text(0)],
            &["b"],
        ),
        (
            r#"{"records":[]}{"value":{"type":"TEXT","data":1}}{"partition_id":-1}{"timestamp":1}"#,
            vec![
                failed(unknown),
                failed("value.type: expected BINARY, JSON, STRING, AVRO, JSONSCHEMA or PROTOBUF"),
                failed("partition_id: expected a whole number from 0 to 2147483647"),
                failed("timestamp: expected a time such as 2026-01-31T12:00:00Z"),
            ],
            &[],
        ),
        // The rest is not read.
        (
            &format!("{a}[{{}}]{{}}"),
            vec![text(0), failed("expected an object, or several after one another, as the body")],
            &["a"],
        ),
        (r#"{"value":{]{}"#, vec![failed("the body ended within a record")], &[]),
        (
            r#"{"value" 1}{}"#,
            vec![failed("the record is not valid JSON: expected `:` at line 1 column 10")],
            &[],
        ),
    ] {
        let (cluster, script) = Script::cluster(1);
        let (status, lines) = ask(&Grant::all(&cluster), TARGET, body).await;
        assert_eq!((status, lines), (200, want), "{body}");
        assert_eq!(script.taken(), values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>(), "{body}");
    }
}

#[tokio::test]
async fn schemas_of_records_are_named_as_in_the_api() {
    let subject = |subject: &str| Ok(SchemaChoice::Subject(subject.into()));
    let avro = SchemaChoice::Text { kind: SchemaType::Avro, text: r#""int""#.into(), registers: false };
    for (value, want) in [
        (r#"{"data":1}"#, subject("0-value")),
        (r#"{"subject":"s","data":1}"#, subject("s")),
        (r#"{"subject_name_strategy":"TOPIC_NAME","schema_id":7,"data":1}"#, Ok(SchemaChoice::Id(7))),
        (r#"{"type":"AVRO","schema":"\"int\"","data":1}"#, Ok(avro)),
        (r#"{"schema_version":1,"data":1}"#, Err("value.schema_version: not served, expected schema_id")),
        (r#"{"schema":"1","data":1}"#, Err("value.schema: expected it with type AVRO, JSONSCHEMA or")),
        (r#"{"type":"AVRO","data":1}"#, Err("value.schema: missing, expected it with this type")),
        (r#"{"type":"AVRO","schema_id":1,"data":1}"#, Err("value.schema_id: expected it without type")),
        (r#"{"type":"JSON","subject":"s","data":1}"#, Err("value.subject: expected none with the type JSON")),
        (r#"{"type":"AVRO","schema":"1","subject":"s","data":1}"#, Err("value.subject: expected 0-value")),
        (r#"{"subject_name_strategy":"RECORD_NAME","data":1}"#, Err("expected TOPIC_NAME")),
    ] {
        let (cluster, script) = Script::cluster(1);
        let (_, lines) = ask(&Grant::all(&cluster), TARGET, &format!(r#"{{"value":{value}}}"#)).await;
        match want {
            Ok(want) => assert_eq!(script.schemas(), [Some(want)], "{value}: {lines:?}"),
            Err(want) => {
                assert!(lines[0].contains(want) && script.taken().is_empty(), "{value}: {lines:?}");
            }
        }
    }
}

#[tokio::test]
async fn refused_request_has_the_status_of_its_error() {
    let (cluster, script) = Script::cluster(1);
    let all = Grant::all(&cluster);
    let reads = Rights { read: Some(Topics::default()), write: None, consume: None };
    for (grant, target, content_type, accept, body, status) in [
        (Grant::of(&cluster, reads), TARGET, JSON, "*/*", "{}", 403),
        (all.clone(), "/kafka/v3/clusters/own-id/topics/0/records/", JSON, "*/*", "[]", 200),
        (all.clone(), "/v3/clusters/other/topics/0/records", JSON, JSON, "{}", 404),
        (all.clone(), TARGET, "application/vnd.kafka.json.v2+json", JSON, "{}", 415),
        (all.clone(), TARGET, JSON, "text/html", "{}", 406),
        (all.clone(), TARGET, JSON, JSON, " \n", 422),
        (all, "/v3/clusters/test/topics/0/records?async=true", JSON, JSON, "{}", 400),
    ] {
        let lines = headers(&[("content-type", content_type), ("accept", accept)]);
        let (found, text) =
            streamed(crate::http::ask(&grant, &rest(target), Method::POST, &lines, body).await).await;
        assert_eq!(found, status, "{target} {content_type} {accept}: {text:?}");
    }
    assert!(script.taken().is_empty());
}

/// A request whose body a test sends.
struct Client {
    body: Sender<Result<Bytes, Problem>>,
    answers: super::super::super::response::Body,
    calls: Arc<sluicegate_fair_share::Permits>,
    open: tokio_util::task::TaskTracker,
}

impl Client {
    async fn open(grant: &Grant, first: &'static str) -> Self {
        use sluicegate_fair_share::{Ledger, Permits};

        let (calls, waiting) = (Permits::new(Ledger::new(1)), Permits::new(Ledger::new(1)));
        let open = tokio_util::task::TaskTracker::new();
        let running = RequestPermits::begin(&calls, grant.holder(), &waiting, grant.drain(), open.token());
        let (body, mut parts) = mpsc::channel(1);
        body.try_send(Ok(Bytes::from(first))).unwrap();
        let parts = futures_util::stream::poll_fn(move |cx| parts.poll_recv(cx)).boxed();
        let (lines, empty) = (headers(&[("content-type", JSON)]), Bytes::new());
        let request = Request {
            grant,
            method: &Method::POST,
            headers: super::super::super::headers::Headers(&lines),
            body: &empty,
            authority: None,
            max_body_bytes: 100,
            cloudevents: false,
        };
        let target = Target::parse(TARGET, grant.system()).unwrap();
        let response = post(&request, target, parts, &running.unwrap()).await.unwrap();
        Self { body, answers: response.into_http(&Method::POST, None).into_body(), calls, open }
    }

    async fn send(&self, text: &'static str) {
        self.body.send(Ok(text.into())).await.unwrap();
    }

    /// The next part of the response; empty: it has ended.
    async fn answer(&mut self) -> String {
        let frame = self.answers.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        String::from_utf8(frame.unwrap_or_default().to_vec()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn records_are_answered_while_the_body_goes_on() {
    let (cluster, script) = Script::cluster(1);
    let mut client = Client::open(&Grant::all(&cluster), " {").await;
    client.send("}{}").await;
    for offset in 0..2 {
        assert!(client.answer().await.contains(&format!(r#""offset":{offset},"#)));
    }
    // Longer than a call lasts.
    tokio::time::sleep(Duration::from_secs(200)).await;
    client.send("{}").await;
    assert!(client.answer().await.contains(r#""offset":2,"#));
    // More than a body can have, in the order of the records though the first takes longer.
    script.acknowledge_in(Duration::from_secs(1));
    let records = r#"{"value":{"type":"STRING","data":"a"}}{"value":{"type":"STRING","data":"b"}}{"x":1}"#;
    client.send(records).await;
    for want in [r#""offset":3,"#, r#""offset":4,"#, "unknown member x"] {
        let answer = client.answer().await;
        assert!(answer.contains(want), "{answer}");
    }
    client.send("{").await;
    assert!(client.answer().await.contains(r#"{"error_code":408,"message":"the next record did not arrive"#));
    assert_eq!(client.answer().await, "");
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_holds_neither_a_call_nor_the_drain() {
    let (cluster, _script) = Script::cluster(1);
    let grant = Grant::all(&cluster);
    let free = |client: &Client| client.calls.try_acquire(grant.holder(), 1).is_some();
    let mut client = Client::open(&grant, "{}{}{}").await;
    tokio::time::sleep(STAY_AFTER / 2).await;
    assert!(!free(&client));
    tokio::time::sleep(STAY_AFTER).await;
    assert!(free(&client));
    for offset in 0..3 {
        assert!(client.answer().await.contains(&format!(r#""offset":{offset},"#)));
    }
    // It is a call again, and what it has taken is answered to a client that reads.
    client.send("{}{}").await;
    tokio::time::sleep(STAY_AFTER / 2).await;
    assert!(!free(&client));
    grant.drain().begin(1, Duration::ZERO);
    for offset in 3..5 {
        assert!(client.answer().await.contains(&format!(r#""offset":{offset},"#)));
    }
    assert_eq!(client.answer().await, "");

    let (cluster, _script) = Script::cluster(1);
    let grant = Grant::all(&cluster);
    let client = Client::open(&grant, "{}{}{}").await;
    tokio::time::sleep(STAY_AFTER).await;
    grant.drain().begin(1, Duration::ZERO);
    client.open.close();
    tokio::time::timeout(LAST_ANSWERS * 2, client.open.wait()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stream_ends_with_its_grant_its_bridge_or_a_large_record() {
    for (end, want) in [
        ("expires", r#"{"error_code":401,"message":"the identity has expired, log in again"}"#),
        ("drains", ""),
        ("grows", r#"{"error_code":413,"message":"record too large (limits.max_request_bytes = 100)"}"#),
        ("leaves", "{\"error_code\":400,\"message\":\"the body ended within a record\"}"),
    ] {
        let (cluster, script) = Script::cluster(1);
        let person = Person::new(Some("i".into()), Some("alice".into()), None, None);
        let expires = (end == "expires").then(|| Instant::now() + Duration::from_secs(5));
        let grant = Grant::all(&cluster).held(Some(Holding { person: Arc::new(person), expires }), None);
        let mut client = Client::open(&grant, "{}").await;
        assert!(client.answer().await.contains("\"offset\":0"), "{end}");
        match end {
            "drains" => grant.drain().begin(1, Duration::from_secs(1)),
            "grows" => client.send(Box::leak(format!("{{{}", "1".repeat(100)).into_boxed_str())).await,
            "leaves" => {
                client.send("{").await;
                client.body = mpsc::channel(1).0;
            }
            _ => {}
        }
        assert_eq!(client.answer().await.trim_end(), want, "{end}");
        assert_eq!(client.answer().await, "", "{end}");
        assert_eq!(script.taken().len(), 1);
    }
}
