//! The record of a request, by its route and headers, and the response.

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue};
use sluicegate_backend::{CommandError, Fault};
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::testing::script::Script;
use sluicegate_fair_share::{Holder, Ledger, Permits};
use sluicegate_rights::{Rights, Topics};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::*;

fn route() -> HttpProduce {
    HttpProduce {
        topic: "route".into(),
        partition: Some(7),
        key: Some("route's".into()),
        header_prefix: "x-kafka-".into(),
        topic_override: true,
        partition_override: true,
        key_override: true,
        record_header_prefix: "x-kafka-header-".into(),
        ..HttpProduce::default()
    }
}

fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
    let header = |(name, value): &(&str, &[u8])| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value).unwrap())
    };
    lines.iter().map(header).collect()
}

fn of(route: &HttpProduce, lines: &[(&str, &[u8])], body: &str) -> Result<Record, Problem> {
    record(Headers(&headers(lines)), &Bytes::copy_from_slice(body.as_bytes()), route, System::Kafka)
}

/// The problem's text, or the key and the headers of the message.
fn of_nats(route: &HttpProduce, lines: &[(&str, &[u8])], body: &str) -> Result<Record, String> {
    let record =
        record(Headers(&headers(lines)), &Bytes::copy_from_slice(body.as_bytes()), route, System::Nats);
    record.map_err(|problem| {
        let response = problem.plain();
        assert_eq!(response.status.as_u16(), 400);
        String::from_utf8(response.body.to_vec()).unwrap()
    })
}

#[test]
fn key_is_the_subject_on_nats() {
    let route = HttpProduce { partition: None, ..route() };
    let key = |route: &HttpProduce, lines: &[(&str, &[u8])], body: &str| {
        of_nats(route, lines, body).map(|record| record.key.unwrap())
    };
    assert_eq!(key(&route, &[], "").unwrap(), "route's");
    assert_eq!(key(&route, &[("x-kafka-key", b"a.b")], "").unwrap(), "a.b");
    let found = HttpProduce { jsonkey: Some("s".into()), key: None, ..route.clone() };
    let json: (&str, &[u8]) = ("content-type", b"application/json");
    assert_eq!(key(&found, &[json], r#"{"s":"c.d"}"#).unwrap(), "c.d");
    let bare = HttpProduce { key: None, ..route.clone() };
    let numbered: [(&str, &[u8]); 1] = [("x-kafka-partition", b"0")];
    for (route, lines, body, want) in [
        (&bare, &[][..], "", "no subject: expected the header x-kafka-key"),
        (&route, &[("x-kafka-key", &b""[..])], "", "no subject: expected the header x-kafka-key"),
        (&found, &[json], r#"{"s":null}"#, "no subject: expected the header x-kafka-key"),
        (&found, &[json], "{}", "no subject in the body: expected one at s"),
        (&route, &numbered, "", "streams have no partitions: leave out the header x-kafka-partition"),
        (
            &HttpProduce { topic: String::new(), ..route.clone() },
            &[],
            "",
            "no stream: expected the header x-kafka-topic",
        ),
    ] {
        let text = key(route, lines, body).unwrap_err();
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn idempotency_key_is_the_message_id_on_nats() {
    let route = HttpProduce { partition: Some(-1), ..route() };
    let lines: [(&str, &[u8]); 2] = [("x-kafka-header-a", b"1"), ("idempotency-key", b"k")];
    let names = |record: Record| record.headers.into_iter().map(|header| header.key).collect::<Vec<_>>();
    assert_eq!(names(of_nats(&route, &lines, "").unwrap()), ["a", "Nats-Msg-Id"]);
    assert_eq!(names(of(&route, &lines, "").unwrap()), ["a"], "Kafka has none");
}

#[tokio::test(start_paused = true)]
async fn acknowledged_message_is_answered_with_its_sequence() {
    let body = async |lines: &[(&str, &[u8])]| Writer::of(System::Nats).ask(Method::POST, lines).await.body;
    let subject: (&str, &[u8]) = ("x-kafka-key", b"a.b");
    let text = String::from_utf8(body(&[subject]).await.to_vec()).unwrap();
    assert!(text.contains("\"status\":500,\"detail\":\"streams have no partitions: remove"), "{text}");
    // The route has a partition.
    let none: (&str, &[u8]) = ("x-kafka-partition", b"-1");
    assert_eq!(body(&[subject, none]).await, r#"{"stream":"10","sequence":0}"#);
    let want = r#"{"stream":"10","sequence":0,"duplicate":false,"duplicate_window_ms":120000}"#;
    assert_eq!(body(&[subject, none, ("idempotency-key", b"k")]).await, want);
    assert_eq!(body(&[subject, none, ASYNC[0]]).await, r#"{"stream":"10"}"#);
}

#[test]
fn body_is_the_value_unchanged() {
    for body in ["", " { ", "\u{0}", "{ \"a\": 1 }"] {
        let record = of(&route(), &[("content-type", b"text/plain")], body).unwrap();
        let want = Record {
            topic: "route".into(),
            partition: Some(7),
            key: Some("route's".into()),
            value: Some(Bytes::copy_from_slice(body.as_bytes())),
            headers: Vec::new(),
            timestamp: None,
        };
        assert_eq!(record, want);
    }
    let bare = HttpProduce { topic: "t".into(), ..HttpProduce::default() };
    let record = of(&bare, &[], "x").unwrap();
    assert_eq!((record.partition, record.key), (None, None));
}

#[test]
fn headers_override_the_route() {
    let lines: [(&str, &[u8]); 3] =
        [("x-kafka-topic", b"own"), ("x-kafka-partition", b"-1"), ("x-kafka-key", b"\xFF k")];
    let record = of(&route(), &lines, "").unwrap();
    assert_eq!(record.topic, "own");
    assert_eq!(record.partition, Some(-1));
    assert_eq!(record.key.as_deref(), Some(&b"\xFF k"[..]));
    let record = of(&HttpProduce { topic: String::new(), ..route() }, &lines[..1], "").unwrap();
    assert_eq!((record.topic.as_str(), record.partition), ("own", Some(7)));
    let record = of(&route(), &[("x-kafka-key", b"")], "").unwrap();
    assert_eq!(record.key.as_deref(), Some(&b""[..]), "an empty key is a key");
}

#[test]
fn key_comes_from_header_then_document_then_route() {
    let route = HttpProduce { jsonkey: Some("a.b".into()), ..route() };
    let json: (&str, &[u8]) = ("content-type", b"application/json; charset=utf-8");
    let key = |lines: &[(&str, &[u8])], body: &str| of(&route, lines, body).unwrap().key;
    for (body, want) in [
        (r#"{"a": {"b": "x\"\u00e9"}}"#, Some("x\"é")),
        (r#"{"a": {"b": ""}}"#, Some("")),
        (r#"{"a": {"b": 1.50}}"#, Some("1.50")),
        (r#"{"a": {"b": 12345678901234567890123}}"#, Some("12345678901234567890123")),
        (r#"{"a": {"b": true}}"#, Some("true")),
        (r#"{"a": {"b": { "c" : [ 1, " " ] }}}"#, Some(r#"{"c":[1," "]}"#)),
        (r#"{"a": {"b": null}}"#, None),
    ] {
        assert_eq!(key(&[json], body).as_deref(), want.map(str::as_bytes), "{body}");
    }
    let body = r#"{"a": {"b": "document's"}}"#;
    assert_eq!(key(&[json, ("x-kafka-key", b"header's")], body).unwrap(), "header's");
    assert_eq!(key(&[("content-type", b"text/json")], body).unwrap(), "route's");
    let by_route = HttpProduce { jsonkey: None, ..route.clone() };
    assert_eq!(of(&by_route, &[json], body).unwrap().key.unwrap(), "route's");
}

#[test]
fn json_is_only_compacted() {
    let body = "{ \"b\" : 1e400,\r\n\"a\":\t[ -0, 12345678901234567890123, \"\\u00e9 \\/\" ], \"b\": 2 }";
    let record = of(&route(), &[("content-type", b"APPLICATION/JSON")], body).unwrap();
    let want = r#"{"b":1e400,"a":[-0,12345678901234567890123,"\u00e9 \/"],"b":2}"#;
    assert_eq!(record.value.unwrap(), want);
}

#[test]
fn headers_with_the_prefix_become_record_headers() {
    let lines: [(&str, &[u8]); 6] = [
        ("x-kafka-header-b", b"1"),
        ("accept", b"*/*"),
        ("x-kafka-header-a", b"\xFF"),
        ("x-kafka-header-b", b""),
        ("x-kafka-key", b"k"),
        ("x-kafka-header-", b"no name"),
    ];
    let found: Vec<(String, Bytes)> = of(&route(), &lines, "")
        .unwrap()
        .headers
        .into_iter()
        .map(|header| (header.key, header.value.unwrap()))
        .collect();
    let want: [(&str, &[u8]); 4] = [("b", b"1"), ("b", b""), ("a", b"\xFF"), ("", b"no name")];
    assert_eq!(found, want.map(|(key, value)| (key.to_owned(), Bytes::from_static(value))));
    // A prefix that the overrides' names share.
    let wide = HttpProduce { record_header_prefix: "x-kafka-".into(), ..route() };
    let found = of(&wide, &lines, "").unwrap().headers;
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|header| header.key.starts_with("header-")));
    let none = HttpProduce { record_header_prefix: String::new(), ..route() };
    assert!(of(&none, &lines, "").unwrap().headers.is_empty());
}

#[test]
fn gateway_headers_never_become_record_headers() {
    let lines: [(&str, &[u8]); 5] = [
        ("sluicegate-gateway-secret", b"secret"),
        ("sluicegate-cluster-definition", b"password"),
        ("x-envoy-internal", b"true"),
        ("x-envelope", b"1"),
        ("sluice", b"2"),
    ];
    for prefix in
        ["s", "sluicegate", "sluicegate-", "sluicegate-gateway-", "x", "x-", "x-env", "x-envoy-", "x-envoy-i"]
    {
        let route = HttpProduce { record_header_prefix: prefix.into(), ..route() };
        let found = of(&route, &lines, "").unwrap().headers;
        let found: Vec<&[u8]> = found.iter().map(|header| header.value.as_deref().unwrap()).collect();
        let want: &[&[u8]] = match prefix {
            "s" => &[b"2"],
            "x" | "x-" | "x-env" => &[b"1"],
            _ => &[],
        };
        assert_eq!(found, want, "{prefix}");
    }
}

#[track_caller]
fn check(route: &HttpProduce, lines: &[(&str, &[u8])], body: &str, status: u16, want: &str) {
    let response = of(route, lines, body).unwrap_err().plain();
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    assert_eq!(response.status.as_u16(), status, "{text}");
    assert!(text.contains(want), "{text}");
}

#[test]
fn invalid_requests_are_refused() {
    let json: (&str, &[u8]) = ("content-type", b"application/json");
    let route = HttpProduce { jsonkey: Some("id".into()), ..route() };
    for (lines, body, status, want) in [
        (
            &[("x-kafka-partition", &b"x"[..])][..],
            "",
            400,
            "header x-kafka-partition: expected a whole number",
        ),
        (&[("x-kafka-partition", b"-2")], "", 400, "from -1 to 2147483647"),
        (&[("x-kafka-partition", b"2147483648")], "", 400, "from -1"),
        (&[("x-kafka-partition", b"+1")], "", 400, "from -1"),
        (&[("x-kafka-partition", b"")], "", 400, "from -1"),
        (&[("x-kafka-partition", b"\xFF")], "", 400, "header x-kafka-partition: expected UTF-8"),
        (&[("x-kafka-topic", b"a"), ("x-kafka-topic", b"a")], "", 400, "header x-kafka-topic is repeated"),
        (&[("x-kafka-key", b"a"), ("x-kafka-key", b"b")], "", 400, "header x-kafka-key is repeated"),
        (&[("content-encoding", b"gzip")], "", 415, "expected it without Content-Encoding"),
        (&[json], "{\"id\":\n1,}", 400, "at line 2 column 3"),
        (&[json], "", 400, "the body is not valid JSON"),
        (&[json], "{\"di\": 1}", 400, "no key in the body: expected one at id"),
        (&[json], "{\"id\": \"\\ud83d\"}", 400, "half a surrogate pair"),
    ] {
        check(&route, lines, body, status, want);
    }
    let many = vec![("x-kafka-header-a", &b""[..]); MAX_HEADERS + 1];
    check(&route, &many, "", 431, "101 headers with the prefix x-kafka-header-: expected at most 100");
    assert_eq!(of(&route, &many[1..], "").unwrap().headers.len(), MAX_HEADERS);
}

#[test]
fn overrides_that_the_route_does_not_allow_are_refused() {
    let closed =
        HttpProduce { topic_override: false, partition_override: false, key_override: false, ..route() };
    for name in ["x-kafka-topic", "x-kafka-partition", "x-kafka-key"] {
        let want = format!("header {name} is not allowed on this route");
        check(&closed, &[(name, b"1")], "", 403, &want);
    }
    assert!(of(&closed, &[("x-kafka-other", b"1"), ("topic", b"x")], "").is_ok());
}

#[test]
fn invalid_route_is_not_the_clients_fault() {
    let json: (&str, &[u8]) = ("content-type", b"application/json");
    let route = HttpProduce { jsonkey: Some("a|b".into()), ..route() };
    check(&route, &[json], "{}", 500, "invalid jsonkey \\\"a|b\\\" in the route: `|` is a pipe");
    assert!(of(&route, &[], "").is_ok());
}

/// A cluster, and the requests to it.
struct Writer {
    cluster: Arc<Cluster>,
    script: Arc<Script>,
    /// Work that still runs after the response.
    open: TaskTracker,
    calls: Arc<Permits>,
}

impl Writer {
    fn of(system: System) -> Self {
        let (cluster, script) = Script::cluster_of(system, 1);
        Self { cluster, script, open: TaskTracker::new(), calls: Permits::new(Ledger::new(1)) }
    }

    /// With a cluster that is slow to acknowledge.
    fn slow() -> Self {
        let writer = Self::of(System::Kafka);
        writer.script.acknowledge_in(Duration::from_secs(10));
        writer
    }

    async fn ask(&self, method: Method, lines: &[(&str, &[u8])]) -> Response {
        let grant = Grant::of(&self.cluster, Rights { read: None, write: Some(Topics::default()) });
        let headers = headers(lines);
        let body = Bytes::from_static(b"body");
        let request = Request { grant: &grant, method: &method, headers: Headers(&headers), body: &body };
        let (waiting, token) = (Permits::new(Ledger::new(1)), self.open.token());
        let running =
            RequestPermits::begin(&self.calls, Holder::default(), &waiting, &Default::default(), token);
        // A scripted topic's name is the time of its look-up in milliseconds.
        let route = HttpProduce { topic: "10".into(), ..route() };
        answer(&request, &route, &running.unwrap()).await.unwrap_or_else(Problem::plain)
    }

    /// Waits until all requests have ended.
    async fn over(&self, within: Duration) {
        self.open.close();
        tokio::time::timeout(within, self.open.wait()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledged_record_is_answered_with_its_offset() {
    let writer = Writer::of(System::Kafka);
    let response = writer.ask(Method::POST, &[]).await;
    assert_eq!(response.status, StatusCode::OK);
    assert_eq!(response.body, r#"{"topic":"10","partition":0,"offset":0,"timestamp":0}"#);
    assert_eq!(writer.script.taken(), ["body"]);
    assert!(writer.open.is_empty());
}

const ASYNC: [(&str, &[u8]); 1] = [("prefer", b"respond-async")];

#[tokio::test(start_paused = true)]
async fn respond_async_frees_its_permit_when_the_record_is_queued() {
    for (lines, is_held_for) in [(&ASYNC[..], 10), (&[], 10_010)] {
        let (writer, start) = (Writer::slow(), Instant::now());
        let free = async {
            while writer.calls.try_acquire(Holder::default(), 1).is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            start.elapsed().as_millis()
        };
        let (_, held_for) = tokio::join!(writer.ask(Method::POST, lines), free);
        assert!((is_held_for..is_held_for + 5).contains(&held_for), "{held_for} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn respond_async_is_answered_when_queued_and_runs_until_written() {
    let (writer, start) = (Writer::slow(), Instant::now());
    let response = writer.ask(Method::POST, &ASYNC).await;
    assert_eq!(response.status, StatusCode::ACCEPTED);
    assert_eq!(response.body, r#"{"topic":"10"}"#);
    assert_eq!(writer.script.taken(), ["body"]);
    assert!(start.elapsed() < Duration::from_secs(1) && !writer.open.is_empty());
    writer.over(Duration::from_secs(11)).await;
    assert!(start.elapsed() >= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn respond_async_reports_why_a_record_is_not_queued() {
    for (fault, status) in
        [(Fault::QueueFull, 429), (Fault::NotFound, 404), (Fault::TooLarge, 413), (Fault::Transient, 503)]
    {
        for lines in [&ASYNC[..], &[]] {
            let writer = Writer::of(System::Kafka);
            writer.script.refuse(CommandError::new(fault, 0, ""));
            let response = writer.ask(Method::POST, lines).await;
            assert_eq!(response.status.as_u16(), status, "{fault:?}");
            writer.over(Duration::ZERO).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn record_of_a_disconnected_client_is_written() {
    let writer = Writer::slow();
    let asked = tokio::time::timeout(Duration::from_millis(1), writer.ask(Method::POST, &ASYNC));
    assert!(asked.await.is_err(), "the topic's look-up takes longer");
    assert!(writer.script.taken().is_empty());
    writer.over(Duration::from_secs(11)).await;
    assert_eq!(writer.script.taken(), ["body"]);
}

#[tokio::test]
async fn other_methods_write_nothing() {
    let writer = Writer::of(System::Kafka);
    let response = writer.ask(Method::OPTIONS, &[]).await;
    let want = Response::options("POST, OPTIONS");
    assert_eq!((response.status, response.headers), (want.status, want.headers));
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::TRACE] {
        assert_eq!(writer.ask(method, &[]).await.status, StatusCode::METHOD_NOT_ALLOWED);
    }
    assert!(writer.script.taken().is_empty());
}
