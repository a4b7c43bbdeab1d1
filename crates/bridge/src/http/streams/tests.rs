//! Streams of scripted logs, and of records in each form.

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use sluicegate_backend::System;
use sluicegate_delivery::grant::Grant;
use sluicegate_delivery::testing::logs::Logs;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::http_streams::Elements;
use sluicegate_protocol::{HttpRoute, KafkaMessage};
use sluicegate_rights::{Pattern, Rights, Row};

use super::super::tests::{header, headers, told};
use super::position::Position;
use super::*;

const JSON: &str = "application/json";

fn route(content_type: &str, target: &str) -> HttpRoute {
    let streams = HttpStreams { content_type: content_type.to_owned(), ..HttpStreams::default() };
    HttpRoute { path: target.to_owned(), resource: Some(Resource::Streams(streams)), ..HttpRoute::default() }
}

fn logs(count: usize) -> Logs {
    let logs = Logs::default();
    logs.set_values(|offset| ["1", "[2]", "{\"a\":3}"][usize::try_from(offset).unwrap() % 3]);
    logs.append(0, count);
    logs
}

async fn ask(logs: &Logs, method: Method, target: &str, lines: &[(&str, &str)], body: &str) -> Response {
    let grant = Grant::all(&logs.cluster());
    crate::http::ask(&grant, &route(JSON, target), method, &headers(lines), body).await
}

async fn get(logs: &Logs, target: &str) -> Response {
    ask(logs, Method::GET, target, &[], "").await
}

#[track_caller]
fn check(response: Response, status: u16, want: &str) {
    let (found, text) = told(response);
    assert!(found == status && text.contains(want), "expected {status} with {want:?}: {found} {text}");
}

#[tokio::test(start_paused = true)]
async fn reader_goes_on_where_each_answer_ended() {
    let logs = logs(2);
    let first = get(&logs, "/t/0").await;
    assert_eq!((first.status.as_u16(), &first.body[..]), (200, &b"[1,[2]]"[..]));
    assert_eq!(header(&first, "stream-up-to-date"), Some("true"));
    let next = header(&first, "stream-next-offset").unwrap();
    let rest = |parameters: &str| format!("/t/0?offset={next}{parameters}");
    let end = get(&logs, &rest("&unknown=x")).await;
    assert_eq!((&end.body[..], header(&end, "stream-next-offset")), (&b"[]"[..], Some(next)));
    let now = get(&logs, "/t/0?offset=now").await;
    assert_eq!((&now.body[..], header(&now, "stream-next-offset")), (&b"[]"[..], Some(next)));
    assert_eq!(header(&now, "etag"), None);
    let head = ask(&logs, Method::HEAD, "/t/0", &[], "").await;
    assert_eq!(header(&head, "stream-next-offset"), Some(next));
    let quiet = get(&logs, &rest("&live=long-poll&cursor=5")).await;
    assert_eq!(quiet.status.as_u16(), 204);
    assert_eq!(header(&quiet, "stream-next-offset"), Some(next));
    assert_eq!(header(&quiet, "stream-up-to-date"), Some("true"));
    let cursor: u64 = header(&quiet, "stream-cursor").unwrap().parse().unwrap();
    assert!(cursor > 5);
    let append = async {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        logs.append(0, 1);
    };
    let target = rest("&live=long-poll");
    let (more, ()) = tokio::join!(get(&logs, &target), append);
    assert_eq!((more.status.as_u16(), &more.body[..]), (200, &b"[{\"a\":3}]"[..]));
    assert_eq!(header(&more, "stream-up-to-date"), Some("true"));
}

#[tokio::test(start_paused = true)]
async fn client_that_has_a_page_is_told_so() {
    let logs = logs(2);
    let first = get(&logs, "/t/0").await;
    let etag = header(&first, "etag").unwrap();
    let again = async |etag: &str| ask(&logs, Method::GET, "/t/0", &[("if-none-match", etag)], "").await;
    for same in [etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
        let known = again(same).await;
        assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    }
    assert_eq!(again("\"x\"").await.status.as_u16(), 200);
    // As if the topic was compacted, or the route has other content.
    logs.set_values(|_| "4");
    assert_eq!(again(etag).await.status.as_u16(), 200);
    logs.append(0, 1);
    assert_eq!(again(etag).await.status.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn offset_that_the_log_does_not_have_is_refused() {
    let logs = logs(5);
    let id = Grant::all(&logs.cluster());
    let _ = get(&logs, "/t/0").await;
    let topic_id = id.topic_id(sluicegate_backend::Log { topic: "t", partition: 0 });
    let at = |offset| format!("/t/0?offset={}", Position::new(topic_id, offset).text());
    logs.delete_before(0, 2);
    for live in ["", "&live=long-poll", "&live=sse"] {
        check(get(&logs, &format!("{}{live}", at(1))).await, 410, "expected 2 to 5");
        check(get(&logs, &format!("{}{live}", at(6))).await, 400, "expected 2 to 5");
        let other = Position::new(Some(99), 3).text();
        check(get(&logs, &format!("/t/0?offset={other}{live}")).await, 410, "that was deleted: begin at -1");
    }
    assert_eq!(get(&logs, &at(5)).await.status.as_u16(), 200);
}

#[tokio::test(start_paused = true)]
async fn invalid_requests_are_refused() {
    let logs = logs(1);
    for query in ["offset=", "offset=-1&offset=-1", "offset=0,1", "offset=5", "offset=..%2f", "offset=a%00"] {
        check(get(&logs, &format!("/t/0?{query}")).await, 400, "offset");
    }
    for query in ["live=long-poll", "live=sse", "offset=-1&live=x", "offset=-1&isolation=x"] {
        check(get(&logs, &format!("/t/0?{query}")).await, 400, "query parameter");
    }
    for path in ["", "/", "/t", "/t/", "/t/0/", "/t/0/x", "/t/x", "/__ds/subscriptions/x"] {
        let response = get(&logs, path).await;
        assert!([400, 404].contains(&response.status.as_u16()), "{path}: {:?}", told(response));
    }
    let json = &("content-type", JSON);
    for (method, lines, body, status, want) in [
        (Method::POST, &[*json][..], "", 400, "the body is empty"),
        (Method::POST, &[*json], "[]", 400, "at least one message"),
        (Method::POST, &[*json], "{ invalid", 400, "not valid JSON"),
        (Method::POST, &[], "1", 400, "no Content-Type"),
        (Method::POST, &[("content-type", "text/plain")], "1", 409, "application/json"),
        (Method::POST, &[*json, ("stream-seq", "1")], "1", 400, "Kafka compares no such sequence"),
        (Method::POST, &[*json, ("stream-closed", "true")], "1", 400, "stream-closed"),
        (Method::POST, &[*json, ("producer-id", "a")], "1", 400, "expected all of"),
        (Method::PUT, &[*json, ("stream-ttl", "60")], "", 400, "stream-ttl"),
        (Method::PUT, &[*json, ("stream-fork-sub-offset", "0")], "", 400, "forks"),
        (Method::PUT, &[], "", 409, "application/json"),
        (Method::PUT, &[*json], "", 200, ""),
        (Method::DELETE, &[], "", 405, "method not allowed"),
    ] {
        check(ask(&logs, method, "/t/0", lines, body).await, status, want);
    }
    let mut route = route(JSON, "/t/0");
    for (elements, body, want) in [
        (Elements::State, r#"{"headers":{"control":"snapshot-end"}}"#, "message 0: expected a change"),
        (Elements::State, r#"[{"key":1,"headers":{"operation":"insert"}}]"#, "message 0: expected a change"),
        (Elements::State, r#"{"key":"k","headers":{"operation":"insert"}}"#, "message 0: expected a change"),
        (Elements::Envelope, r#"[{"value":1},{"value":1,"keys":"a"}]"#, "message 1: expected an object"),
        (Elements::Envelope, "{}", "message 0: expected an object"),
        (Elements::Values, "[1,1e999]", "message 1: expected JSON that strict parsers read"),
    ] {
        let Some(Resource::Streams(streams)) = &mut route.resource else { unreachable!() };
        streams.elements = elements.into();
        let grant = Grant::all(&logs.cluster());
        check(crate::http::ask(&grant, &route, Method::POST, &headers(&[*json]), body).await, 400, want);
    }
    let producer = [("producer-id", "a"), ("producer-epoch", "0"), ("producer-seq", "7")];
    let lines = [&producer[..], &[("content-type", "text/plain")]].concat();
    let conflict = ask(&logs, Method::POST, "/t/0", &lines, "x").await;
    assert_eq!(header(&conflict, "producer-expected-seq"), Some("7"), "the client would repeat it for ever");
}

/// The text of a stream of events until nothing comes for a second.
async fn events(logs: &Logs, content_type: &str, query: &str) -> String {
    let grant = Grant::all(&logs.cluster());
    let route = route(content_type, &format!("/t/0?live=sse&{query}"));
    let response = crate::http::ask(&grant, &route, Method::GET, &HeaderMap::new(), "").await;
    assert_eq!(response.status.as_u16(), 200, "{:?}", told(response));
    let mut body = response.into_http(&Method::GET, None).into_body();
    let mut text = String::new();
    let second = std::time::Duration::from_secs(1);
    while let Ok(Some(frame)) = tokio::time::timeout(second, body.frame()).await {
        text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
    }
    text
}

/// The data of each event, and in place of a control event its offset and whether that is the end.
fn parts(text: &str) -> Vec<String> {
    let event = |event: &str| {
        let (kind, data) = event.split_once('\n').unwrap();
        let data = data.strip_prefix("data:").unwrap().replace("\ndata:", "|");
        if kind == "event: data" {
            return data;
        }
        assert_eq!(kind, "event: control");
        let control: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert!(control["streamCursor"].as_str().unwrap().parse::<u64>().is_ok());
        let offset = Position::parse(control["streamNextOffset"].as_str().unwrap()).unwrap().offset;
        format!("{offset} {}", control["upToDate"] == true)
    };
    text.split_terminator("\n\n").map(event).collect()
}

#[tokio::test(start_paused = true)]
async fn each_event_with_data_is_followed_by_one_that_says_where_to_go_on() {
    let logs = logs(2);
    assert_eq!(parts(&events(&logs, JSON, "offset=-1").await), ["[1,[2]]", "2 true"]);
    assert_eq!(parts(&events(&logs, JSON, "offset=now").await), ["2 true"]);
    assert_eq!(parts(&events(&logs, JSON, "offset=-1&key=none").await), ["2 true"]);
    let one = |value| {
        let logs = Logs::default();
        logs.set_values(value);
        logs.append(0, 1);
        logs
    };
    let logs = one(|_| "a\r\n\r\nevent: control\ndata: x\rb");
    let text = events(&logs, "text/plain", "offset=-1").await;
    assert_eq!(parts(&text), ["a||event: control|data: x|b", "1 true"], "{text}");
    let logs = one(|_| "  two\n spaces");
    let text = events(&logs, "text/plain", "offset=-1").await;
    assert!(text.starts_with("event: data\ndata:   two\ndata:  spaces\n\n"), "{text}");
    let bytes = parts(&events(&logs, "image/png", "offset=-1").await);
    assert_eq!(bytes[0], "ICB0d28KIHNwYWNlcw==");
}

fn record(key: Option<&'static str>, value: Option<&'static [u8]>) -> KafkaMessage {
    let key = key.map(|key| Bytes::from_static(key.as_bytes()));
    KafkaMessage { offset: 7, timestamp: 5, key, value: value.map(Bytes::from_static), ..Default::default() }
}

/// The elements of records on a route of JSON.
fn put(streams: HttpStreams, records: &[KafkaMessage]) -> String {
    let content = Content::new(&HttpStreams { content_type: JSON.to_owned(), ..streams }, "t");
    let mut body = Vec::new();
    content.begin(&mut body);
    records.iter().for_each(|record| content.put(&mut body, System::Kafka, 0, record));
    content.end(&mut body);
    String::from_utf8(body).unwrap()
}

#[test]
fn records_become_elements() {
    let records = [
        record(Some("k"), Some(b"{\"a\": 1}")),
        record(None, Some(b"\xFF")),
        record(Some("k"), None),
        record(Some("n"), Some(b"2")),
    ];
    let change = |key: &str, value: &str, operation: &str| {
        format!(r#"{{"type":"t","key":"{key}",{value}"headers":{{"operation":"{operation}","offset":"7"}}}}"#)
    };
    let changes = [
        change("k", r#""value":{"a": 1},"#, "insert"),
        change("k", "", "delete"),
        change("n", r#""value":{"value":2},"#, "insert"),
    ];
    for (elements, want) in [
        (Elements::Values, r#"[{"a": 1},{"base64":"/w=="},null,2]"#),
        (Elements::State, &*format!("[{}]", changes.join(","))),
        (
            Elements::Envelope,
            concat!(
                r#"[{"partition":0,"offset":7,"timestamp":5,"key":"k","value":{"a": 1}},"#,
                r#"{"partition":0,"offset":7,"timestamp":5,"key":null,"value":{"base64":"/w=="}},"#,
                r#"{"partition":0,"offset":7,"timestamp":5,"key":"k","value":null},"#,
                r#"{"partition":0,"offset":7,"timestamp":5,"key":"n","value":2}]"#,
            ),
        ),
    ] {
        assert_eq!(put(HttpStreams { elements: elements.into(), ..HttpStreams::default() }, &records), want);
    }
}

#[test]
fn packed_messages_are_elements_again() {
    let header = |value: &'static str| sluicegate_protocol::Header {
        key: content::PACKED.to_owned(),
        value: Some(value.into()),
    };
    let packed = |value| KafkaMessage { headers: vec![header("2")], ..record(None, Some(value)) };
    let records = [packed(b"[1, [2]]"), packed(b"[ ]"), packed(b"7"), record(None, Some(b"[3]"))];
    assert_eq!(put(HttpStreams { pack: true, ..HttpStreams::default() }, &records), "[1, [2],[ ],7,[3]]");
}

/// A copy of one person's rows must not be taken for those of another.
#[tokio::test(start_paused = true)]
async fn people_see_their_rows_and_have_tags_of_their_own() {
    let logs = logs(3);
    logs.set_keys(|offset| if offset == 1 { "b:" } else { "a:" });
    let ask = async |prefix: &str, etag: &str| {
        let rows = [(Pattern::Name("t".into()), Some(Row::KeyPrefix(prefix.into())))].into_iter().collect();
        let grant = Grant::of(&logs.cluster(), Rights { read: Some(rows), write: None, ..Rights::default() });
        let lines = headers(&[("if-none-match", etag)]);
        crate::http::ask(&grant, &route(JSON, "/t/0"), Method::GET, &lines, "").await
    };
    let [a, b] = [ask("a:", "").await, ask("b:", "").await];
    assert_eq!([&a.body[..], &b.body], [&b"[1,{\"a\":3}]"[..], b"[[2]]"]);
    assert_eq!(header(&a, "stream-next-offset"), header(&b, "stream-next-offset"));
    let [etag_a, etag_b] = [&a, &b].map(|response| header(response, "etag").unwrap());
    assert_ne!(etag_a, etag_b);
    assert_eq!(ask("a:", etag_a).await.status.as_u16(), 304);
    assert_eq!(ask("b:", etag_a).await.status.as_u16(), 200);
}
