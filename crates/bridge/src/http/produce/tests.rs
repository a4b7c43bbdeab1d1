//! The record of a request, by its route and headers, and the response.

use std::time::Duration;

use sluicegate_backend::{CommandError, Fault};
use sluicegate_delivery::cluster::Cluster;
use sluicegate_delivery::testing::script::Script;
use sluicegate_fair_share::{Holder, Ledger, Permits};
use sluicegate_rights::{Rights, Topics};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::super::tests::{check_problem, headers};
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

type Lines<'a> = &'a [(&'a str, &'a [u8])];

const JSON: (&str, &[u8]) = ("content-type", b"application/json");

fn of(route: &HttpProduce, lines: Lines<'_>, body: &str) -> Result<Record, Problem> {
    of_system(System::Kafka, route, lines, body)
}

fn of_system(system: System, route: &HttpProduce, lines: Lines<'_>, body: &str) -> Result<Record, Problem> {
    record(Headers(&headers(lines)), &Bytes::copy_from_slice(body.as_bytes()), route, system)
}

#[test]
fn key_is_the_subject_on_nats() {
    let route = HttpProduce { partition: None, ..route() };
    let found = HttpProduce { jsonkey: Some("s".into()), key: None, ..route.clone() };
    for (route, lines, body, want) in [
        (&route, &[][..], "", "route's"),
        (&route, &[("x-kafka-key", &b"a.b"[..])], "", "a.b"),
        (&found, &[JSON], r#"{"s":"c.d"}"#, "c.d"),
    ] {
        assert_eq!(of_system(System::Nats, route, lines, body).unwrap().key.unwrap(), want);
    }
    let bare = HttpProduce { key: None, ..route.clone() };
    let nameless = HttpProduce { topic: String::new(), ..route.clone() };
    let no_subject = "no subject: expected the header x-kafka-key";
    let numbered = "streams have no partitions: leave out the header x-kafka-partition";
    for (route, lines, body, want) in [
        (&bare, &[][..], "", no_subject),
        (&route, &[("x-kafka-key", &b""[..])], "", no_subject),
        (&found, &[JSON], r#"{"s":null}"#, no_subject),
        (&found, &[JSON], "{}", "no subject in the body: expected one at s"),
        (&route, &[("x-kafka-partition", b"0")], "", numbered),
        (&nameless, &[], "", "no stream: expected the header x-kafka-topic"),
    ] {
        check_problem(of_system(System::Nats, route, lines, body).unwrap_err(), 400, want);
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledged_message_is_answered_with_its_sequence() {
    let body = async |lines: Lines<'_>| Writer::of(System::Nats).ask(Method::POST, lines).await.body;
    let subject: (&str, &[u8]) = ("x-kafka-key", b"a.b");
    let text = String::from_utf8(body(&[subject]).await.to_vec()).unwrap();
    assert!(text.contains("\"status\":500,\"detail\":\"streams have no partitions: remove"), "{text}");
    // The route has a partition.
    let none: (&str, &[u8]) = ("x-kafka-partition", b"-1");
    assert_eq!(body(&[subject, none]).await, r#"{"stream":"10","sequence":0}"#);
    let want = r#"{"stream":"10","sequence":0,"duplicate":false,"duplicate_window_ms":120000}"#;
    assert_eq!(body(&[subject, none, ("idempotency-key", b"k")]).await, want);
    assert_eq!(body(&[subject, none, ASYNC[0]]).await, r#"{"stream":"10"}"#);
    let of_kafka = of(&route(), &[("idempotency-key", b"k")], "").unwrap();
    assert!(of_kafka.headers.is_empty(), "Kafka has no such id");
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
            ..Record::default()
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
    assert_eq!((record.topic.as_str(), record.partition), ("own", Some(-1)));
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
    let header: (&str, &[u8]) = ("x-kafka-key", b"header's");
    let document = r#"{"a": {"b": "document's"}}"#;
    for (lines, body, want) in [
        (&[json][..], document, Some("document's")),
        (&[json, header], document, Some("header's")),
        (&[("content-type", b"text/json")], document, Some("route's")),
        (&[json], r#"{"a": {"b": "x\"\u00e9"}}"#, Some("x\"é")),
        (&[json], r#"{"a": {"b": ""}}"#, Some("")),
        (&[json], r#"{"a": {"b": 12345678901234567890123}}"#, Some("12345678901234567890123")),
        (&[json], r#"{"a": {"b": true}}"#, Some("true")),
        (&[json], r#"{"a": {"b": { "c" : [ 1.50, " " ] }}}"#, Some(r#"{"c":[1.50," "]}"#)),
        (&[json], r#"{"a": {"b": null}}"#, None),
    ] {
        assert_eq!(of(&route, lines, body).unwrap().key.as_deref(), want.map(str::as_bytes), "{body}");
    }
    let by_route = HttpProduce { jsonkey: None, ..route.clone() };
    assert_eq!(of(&by_route, &[json], document).unwrap().key.unwrap(), "route's");
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
    let found = of(&route(), &lines, "").unwrap().headers;
    let found: Vec<_> = found.iter().map(|header| (&*header.key, header.value.as_deref().unwrap())).collect();
    let want: [(&str, &[u8]); 4] = [("b", b"1"), ("b", b""), ("a", b"\xFF"), ("", b"no name")];
    assert_eq!(found, want);
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

#[test]
fn invalid_requests_are_refused() {
    let closed =
        HttpProduce { topic_override: false, partition_override: false, key_override: false, ..route() };
    for name in ["x-kafka-topic", "x-kafka-partition", "x-kafka-key"] {
        let want = format!("header {name} is not allowed on this route");
        check_problem(of(&closed, &[(name, b"1")], "").unwrap_err(), 403, &want);
    }
    assert!(of(&closed, &[("x-kafka-other", b"1"), ("topic", b"x")], "").is_ok());
    let partition = "header x-kafka-partition: expected a whole number from -1 to 2147483647";
    for number in [&b"x"[..], b"-2", b"2147483648", b"+1", b""] {
        check_problem(of(&route(), &[("x-kafka-partition", number)], "").unwrap_err(), 400, partition);
    }
    let twice = |name| [(name, &b"a"[..]), (name, b"a")];
    let found = HttpProduce { jsonkey: Some("id".into()), ..route() };
    for (lines, body, status, want) in [
        (&[("x-kafka-partition", &b"\xFF"[..])][..], "", 400, "header x-kafka-partition: expected UTF-8"),
        (&twice("x-kafka-topic"), "", 400, "header x-kafka-topic is repeated"),
        (&twice("x-kafka-key"), "", 400, "header x-kafka-key is repeated"),
        (&[("content-encoding", b"gzip")], "", 415, "expected it without Content-Encoding"),
        (&[JSON], "{\"id\":\n1,}", 400, "at line 2 column 3"),
        (&[JSON], "", 400, "the body is not valid JSON"),
        (&[JSON], "{\"di\": 1}", 400, "no key in the body: expected one at id"),
        (&[JSON], "{\"id\": \"\\ud83d\"}", 400, "half a surrogate pair"),
    ] {
        check_problem(of(&found, lines, body).unwrap_err(), status, want);
    }
    let many = vec![("x-kafka-header-a", &b""[..]); MAX_HEADERS + 1];
    let want = "101 headers with the prefix x-kafka-header-: expected at most 100";
    check_problem(of(&route(), &many, "").unwrap_err(), 431, want);
    assert_eq!(of(&route(), &many[1..], "").unwrap().headers.len(), MAX_HEADERS);
    // An invalid route is not the client's fault.
    let invalid = HttpProduce { jsonkey: Some("a|b".into()), ..route() };
    let want = r#"invalid jsonkey \"a|b\" in the route: `|` is a pipe"#;
    check_problem(of(&invalid, &[JSON], "{}").unwrap_err(), 500, want);
    assert!(of(&invalid, &[], "").is_ok());
}

const EVENT: [(&str, &[u8]); 5] = [
    ("ce-specversion", b"1.0"),
    ("ce-id", b"1"),
    ("ce-source", b"/s"),
    ("ce-type", b"t"),
    ("ce-partitionkey", b"event's"),
];
const STRUCTURED: (&str, &[u8]) = ("content-type", b"application/cloudevents+json");
const BATCH: (&str, &[u8]) = ("content-type", b"application/cloudevents-batch+json");
const EVENT_JSON: &str =
    r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":"event's"}"#;

fn event(route: &HttpProduce, lines: Lines<'_>, body: &str) -> Result<Option<Events>, Problem> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    events_of(Headers(&headers(lines)), &body, route, System::Kafka)
}

/// "Every implementation MUST, by default, map the user provided record key to the Kafka record key."
#[test]
fn key_of_an_event_is_that_of_the_route_or_its_own() {
    let bare = HttpProduce { key: None, ..route() };
    let found = HttpProduce { jsonkey: Some("id".into()), ..bare.clone() };
    let (key, json): (_, (&str, &[u8])) = (("x-kafka-key", &b"header's"[..]), JSON);
    for (route, more, body, want) in [
        (&bare, &[][..], "", "event's"),
        (&route(), &[], "", "route's"),
        (&bare, &[key], "", "header's"),
        (&found, &[json], r#"{"id":7}"#, "7"),
        (&found, &[json], r#"{"id":null}"#, "event's"),
        // Without data there is nothing to find.
        (&found, &[json], "", "event's"),
        (&found, &[], r#"{"id":7}"#, "event's"),
        (&found, &[STRUCTURED], EVENT_JSON, "event's"),
    ] {
        let lines: Vec<_> = EVENT.iter().chain(more).copied().collect();
        let Ok(Some(Events::One(record))) = event(route, &lines, body) else { panic!("{lines:?}") };
        assert_eq!((record.key.as_deref(), record.value_schema), (Some(want.as_bytes()), None), "{lines:?}");
    }
    let lines: Vec<_> = EVENT.into_iter().chain([json]).collect();
    check_problem(event(&found, &lines, "{").unwrap_err(), 400, "not valid JSON");
    assert_eq!(event(&bare, &[key, json], "{"), Ok(None), "no event");
}

#[test]
fn event_has_the_headers_of_the_request_too() {
    let lines: Vec<_> = EVENT.into_iter().chain([("x-kafka-header-a", &b"1"[..])]).collect();
    let Ok(Some(Events::One(record))) = event(&route(), &lines, "x") else { panic!("no event") };
    assert_eq!((record.topic.as_str(), record.partition, record.value), ("route", Some(7), Some("x".into())));
    let names: Vec<_> = record.headers.iter().map(|header| header.key.as_str()).collect();
    assert_eq!(names, ["a", "ce_id", "ce_partitionkey", "ce_source", "ce_specversion", "ce_type"]);
}

/// Each event gets the headers of the request.
#[test]
fn headers_and_events_of_a_batch_are_bounded_together() {
    let value = vec![b'x'; 10_000];
    let batch = |count: usize| {
        let body = format!("[{}]", vec![EVENT_JSON; count].join(","));
        event(&route(), &[BATCH, ("x-kafka-header-a", &value)], &body)
    };
    assert!(matches!(batch(100), Ok(Some(Events::Batch(records))) if records.len() == 100));
    check_problem(batch(110).unwrap_err(), 413, "too many headers for a batch of 110");
}

#[tokio::test(start_paused = true)]
async fn batch_is_answered_for_each_event() {
    let ask = async |system, cloudevents, body: &str, more: Lines<'_>| {
        let (cluster, script) = Script::cluster_of(system, 1);
        // A scripted topic's name is the time of its look-up in milliseconds.
        let route = HttpProduce { topic: "10".into(), partition: None, cloudevents, ..route() };
        let resource = Some(sluicegate_protocol::http_route::Resource::Produce(route));
        let route = sluicegate_protocol::HttpRoute { resource, ..Default::default() };
        let lines: Vec<_> = [BATCH].iter().chain(more).copied().collect();
        let (grant, lines) = (Grant::all(&cluster), headers(&lines));
        let response = crate::http::ask(&grant, &route, Method::POST, &lines, body).await;
        let (status, text) = super::super::tests::told(response);
        (status, text, script.taken())
    };
    let two = format!("[{EVENT_JSON},{EVENT_JSON}]");
    let (status, text, taken) = ask(System::Kafka, true, &two, &[]).await;
    let offset = |offset| format!(r#"{{"partition":0,"offset":{offset},"error_code":null,"error":null}}"#);
    let results =
        |offsets: &str| format!(r#"{{"offsets":[{offsets}],"key_schema_id":null,"value_schema_id":null}}"#);
    assert_eq!((status, text), (200, results(&format!("{},{}", offset(0), offset(1)))));
    assert_eq!(taken, [EVENT_JSON; 2]);
    let (status, text, taken) = ask(System::Kafka, true, "[]", &[]).await;
    assert_eq!((status, text, taken.len()), (200, results(""), 0));
    let (status, text, _) = ask(System::Kafka, true, &two, &ASYNC).await;
    assert_eq!((status, text.as_str()), (202, r#"{"topic":"10"}"#));
    let (status, text, taken) = ask(System::Nats, true, &two, &[("idempotency-key", b"k")]).await;
    assert!(status == 400 && text.contains("expected it with one message, got 2"), "{text}");
    assert!(taken.is_empty());
    let (_, _, taken) = ask(System::Kafka, false, &two, &[]).await;
    assert_eq!(taken, [two], "the route has no CloudEvents");
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

    async fn ask(&self, method: Method, lines: Lines<'_>) -> Response {
        let rights = Rights { read: None, write: Some(Topics::default()), ..Rights::default() };
        let grant = Grant::of(&self.cluster, rights);
        let headers = headers(lines);
        let body = Bytes::from_static(b"body");
        let request = Request {
            grant: &grant,
            method: &method,
            headers: Headers(&headers),
            body: &body,
            authority: None,
            max_body_bytes: 0,
            cloudevents: false,
        };
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

const ASYNC: [(&str, &[u8]); 1] = [("prefer", b"respond-async")];

/// It is acknowledged ten seconds later, and written in any case.
#[tokio::test(start_paused = true)]
async fn respond_async_is_answered_and_frees_its_permit_when_the_record_is_queued() {
    let acknowledged = r#"{"topic":"10","partition":0,"offset":0,"timestamp":0}"#;
    for (lines, status, body, ms) in
        [(&ASYNC[..], 202, r#"{"topic":"10"}"#, 10), (&[], 200, acknowledged, 10_010)]
    {
        let (writer, start) = (Writer::slow(), Instant::now());
        let answered = async { (writer.ask(Method::POST, lines).await, start.elapsed()) };
        let freed = async {
            while writer.calls.try_acquire(Holder::default(), 1).is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            start.elapsed()
        };
        let ((response, answered_in), freed_in) = tokio::join!(answered, freed);
        assert_eq!((response.status.as_u16(), &response.body[..]), (status, body.as_bytes()));
        for elapsed in [answered_in, freed_in] {
            assert!((ms..ms + 5).contains(&elapsed.as_millis()), "{elapsed:?}");
        }
        assert_eq!((writer.script.taken(), writer.open.is_empty()), (vec!["body".into()], status == 200));
        writer.over(Duration::from_secs(11)).await;
        assert!(start.elapsed() >= Duration::from_secs(10));
    }
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
