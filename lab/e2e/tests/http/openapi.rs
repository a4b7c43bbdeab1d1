//! Compares `docs/reference/openapi.yaml` with the answers in these tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::Value;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::http::client::{self, Client, Request, Response, Streamed};
use sluicegate_stack::nats::Streams;

use crate::schema;
use crate::http::stacks::{ANY, NATS, REST, shared};

/// Asks as [`client::ask`] does, and expects the answer to be documented.
pub(crate) async fn ask(gateway: SocketAddr, request: Request) -> Response {
    let (method, path) = (request.method().to_lowercase(), template(request.target()));
    let response = client::ask(gateway, request).await;
    if let Some(path) = path {
        API.check(path, &method, &response);
    }
    response
}

/// The same for an answer that does not end.
pub(crate) async fn stream(gateway: SocketAddr, request: Request) -> Streamed {
    let path = template(request.target());
    let streamed = Client::connect(gateway).await.unwrap().stream(request).await.unwrap();
    if let Some(path) = path {
        API.check(path, "get", &streamed.head);
    }
    streamed
}

#[tokio::test]
async fn every_documented_answer_is_seen() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = &kafka.topic("documented", 1, &[]).await.unwrap();
    let compacted = &kafka.topic("documented-keys", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let produce = |topic: &str, body: &str| Request::post(ANY, body.to_owned()).with("x-kafka-topic", topic);
    let large = &"x".repeat(2 << 20);
    let mut requests = vec![
        (200, produce(topic, "1").with("x-kafka-key", "k")),
        (202, produce(topic, "1").with("prefer", "respond-async")),
        (400, produce(topic, "v").with("x-kafka-partition", "x")),
        (403, Request::post("/unwritten", "v")),
        (404, produce("no-such-topic", "v")),
        (413, produce(topic, large)),
        (415, produce(topic, "v").with("content-encoding", "gzip")),
        (422, produce(compacted, "v")),
        (502, Request::post("/nowhere", "v")),
    ];
    let one = r#"{"records":[{"value":1}]}"#;
    let post = |path: &str, body: &str| Request::post(path, body.to_owned()).with("content-type", JSON);
    for at in [format!("/topics/{topic}"), format!("/topics/{topic}/partitions/0")] {
        let path = &format!("{REST}{at}");
        requests.extend([
            (200, post(path, one)),
            (400, post(path, "{")),
            (403, post(&format!("/readonly{at}"), one)),
            (404, post(&path.replace(topic, "no-such-topic"), one)),
            (406, post(path, one).with("accept", "text/plain")),
            (413, post(path, large)),
            (415, post(path, one).with("content-encoding", "gzip")),
            (422, post(path, "{}")),
            (502, post(&format!("/rest-nowhere{at}"), one)),
        ]);
    }
    for (at, query) in [
        ("/topics".to_owned(), ""),
        (format!("/topics/{topic}"), ""),
        (format!("/topics/{topic}/partitions/0/offsets"), ""),
        (format!("/topics/{topic}/partitions/0/offsets"), "?timestamp=-1"),
        (format!("/topics/{topic}/partitions/0/records"), "?offset=0"),
        (format!("/topics/{topic}/records"), "?offsets=0:0"),
        (format!("/topics/{topic}/table/k"), ""),
    ] {
        let get = |route: &str| Request::get(format!("{route}{at}{query}"));
        requests.extend([
            (200, get(REST)),
            (200, get(REST).with("accept", "application/json")),
            (400, Request::get(format!("{REST}{at}?unknown=1"))),
            (403, get("/web").with("origin", "https://elsewhere.example")),
            (406, get(REST).with("accept", "text/plain")),
            (502, get("/rest-nowhere")),
        ]);
        if at != "/topics" {
            requests.push((404, Request::get(format!("{REST}{at}{query}").replace(topic, "no-such-topic"))));
        }
    }
    for at in [format!("/topics/{topic}/events"), format!("/topics/{topic}/partitions/0/events")] {
        let path = &format!("{REST}{at}");
        assert_eq!(stream(stack.gateway(), Request::get(path)).await.head.status, 200);
        let ids = ["BAA.over", "BQAA.over"];
        requests.extend([
            (204, Request::get(path).with("last-event-id", ids[usize::from(at.contains("partitions"))])),
            (400, Request::get(path).with("last-event-id", "x")),
            (403, Request::get(format!("/web{at}")).with("origin", "https://elsewhere.example")),
            (404, Request::get(path.replace(topic, "no-such-topic"))),
            (406, Request::get(path).with("accept", "application/json")),
            (502, Request::get(format!("/rest-nowhere{at}"))),
        ]);
    }
    requests.extend(of_streams(stack.gateway()).await);
    for (status, request) in requests {
        let what = format!("{} {}", request.method(), request.target());
        let response = ask(stack.gateway(), request).await;
        assert_eq!(response.status, status, "{what}: {response:?}");
    }
    let seen = API.seen.lock().unwrap();
    let provoked = |(_, status): &&(String, u16)| !ELSEWHERE.iter().any(|(other, _)| other == status);
    let missing: Vec<_> =
        API.answers.keys().filter(provoked).filter(|answer| !seen.contains(*answer)).collect();
    assert!(missing.is_empty(), "documented, and never seen: {missing:?}");
}

/// Requests for streams of NATS, and the statuses of their answers.
async fn of_streams(gateway: SocketAddr) -> Vec<(u16, Request)> {
    let stream = "documented-stream";
    let streams = Streams::shared().await.unwrap();
    streams.create(stream, serde_json::json!({})).await.unwrap();
    streams.write(&format!("{stream}.a"), ["1".into()]).await.unwrap();
    let json = |path: &str, body: &str| {
        Request::post(path, body.to_owned()).with("content-type", "application/json")
    };
    let (path, large) = (format!("{NATS}/streams/{stream}"), "x".repeat(2 << 20));
    let one = format!(r#"{{"messages":[{{"subject":"{stream}.a","data":1}}]}}"#);
    let mut requests = vec![
        (200, json(&path, &one)),
        (400, json(&path, "{")),
        (403, json(&path.replace(NATS, "/nats-readonly"), &one)),
        (404, json(&path.replace(stream, "no-such-stream"), &one)),
        (406, json(&path, &one).with("accept", "text/plain")),
        (413, json(&path, &large)),
        (415, json(&path, &one).with("content-encoding", "gzip")),
        (422, json(&path, "{}")),
        (502, json(&path.replace(NATS, "/rest-nowhere"), &one)),
    ];
    for (at, query) in [
        ("/streams".to_owned(), ""),
        (format!("/streams/{stream}"), ""),
        (format!("/streams/{stream}/sequences"), ""),
        (format!("/streams/{stream}/sequences"), "?timestamp=-1"),
        (format!("/streams/{stream}/messages"), "?sequence=1"),
        (format!("/streams/{stream}/table/{stream}.a"), ""),
    ] {
        let get = |route: &str| Request::get(format!("{route}{at}{query}"));
        requests.extend([
            (200, get(NATS)),
            (200, get(NATS).with("accept", "application/json")),
            (400, Request::get(format!("{NATS}{at}?unknown=1"))),
            (403, get("/nats-web").with("origin", "https://elsewhere.example")),
            (406, get(NATS).with("accept", "text/plain")),
            (502, get("/rest-nowhere")),
        ]);
        if at != "/streams" {
            requests
                .push((404, Request::get(format!("{NATS}{at}{query}").replace(stream, "no-such-stream"))));
        }
    }
    let events = &format!("{path}/events");
    assert_eq!(self::stream(gateway, Request::get(events)).await.head.status, 200);
    requests.extend([
        (204, Request::get(events).with("last-event-id", "BQAA.over")),
        (400, Request::get(events).with("last-event-id", "x")),
        (403, Request::get(events.replace(NATS, "/nats-web")).with("origin", "https://elsewhere.example")),
        (404, Request::get(events.replace(stream, "no-such-stream"))),
        (406, Request::get(events).with("accept", "application/json")),
        (502, Request::get(events.replace(NATS, "/rest-nowhere"))),
    ]);
    requests
}

#[test]
fn errors_are_listed_by_status() {
    let page = include_str!("../../../../docs/reference/errors.md");
    let (_, rows) = page.split_once("## Plain HTTP").unwrap();
    let (rows, _) = rows.split_once("problem document").unwrap();
    let listed: BTreeSet<u16> =
        rows.lines().filter_map(|row| row.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    // 405 is of methods that are not documented.
    let documented = API.answers.keys().map(|(_, status)| *status).filter(|status| *status >= 400);
    assert_eq!(listed, documented.chain([405]).collect());
}

/// Statuses of a broken, full or slow part, or of a stranger. Other suites produce them.
const ELSEWHERE: [(u16, &str); 7] = [
    (401, "the suite `identity`: no identity, or a forged one"),
    (408, "hostile: a body that takes a minute"),
    (429, "neighbours: a full queue"),
    (431, "sizes: mostly the gateway's own"),
    (500, "outages: Kafka refuses"),
    (503, "outages: no bridge or no broker"),
    (504, "lost: an answer that is lost"),
];

static API: LazyLock<Api> = LazyLock::new(Api::read);
const JSON: &str = "application/vnd.kafka.json.v2+json";
const EVENTS: &str = "text/event-stream";

/// By operation, such as `get /kafka/topics`, and status.
struct Api {
    answers: BTreeMap<(String, u16), Answer>,
    seen: Mutex<BTreeSet<(String, u16)>>,
}

struct Answer {
    required_headers: Vec<String>,
    bodies: BTreeMap<String, Validator>,
}

impl Api {
    fn read() -> Self {
        let text = include_str!("../../../../docs/reference/openapi.yaml");
        let document = schema::document(text);
        let mut answers = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in
                item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters")
            {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let key = (format!("{method} {path}"), status.parse().unwrap());
                    answers.insert(key, Answer::read(&document, answer));
                }
            }
        }
        Self { answers, seen: Mutex::default() }
    }

    #[track_caller]
    fn check(&self, path: &str, method: &str, response: &Response) {
        let operation = format!("{method} {path}");
        if !self.answers.keys().any(|(known, _)| *known == operation) {
            return;
        }
        let content_type = response.header("content-type");
        // The gateway's own word in place of an answer: a page, or nothing.
        let is_gateways = match content_type {
            Some(content_type) => content_type.starts_with("text/") && content_type != EVENTS,
            None => response.status >= 400,
        };
        if is_gateways {
            return;
        }
        let key = (operation, response.status);
        let answer =
            self.answers.get(&key).unwrap_or_else(|| panic!("{key:?} is not documented: {response:?}"));
        for header in &answer.required_headers {
            assert!(response.headers.contains_key(header), "{key:?} lacks {header}: {response:?}");
        }
        match content_type {
            None => assert!(answer.bodies.is_empty(), "{key:?} has a type: {response:?}"),
            Some(content_type) => {
                let body = answer.bodies.get(content_type);
                let body = body.unwrap_or_else(|| panic!("{key:?} has no {content_type}: {response:?}"));
                // Numbers that JSON allows, and this parser does not, are tested elsewhere.
                if let Ok(json) = serde_json::from_slice(&response.body) {
                    let faults: Vec<String> =
                        body.iter_errors(&json).map(|fault| fault.to_string()).collect();
                    assert!(faults.is_empty(), "{key:?}: {faults:?} in {json}");
                }
            }
        }
        self.seen.lock().unwrap().insert(key);
    }
}

impl Answer {
    fn read(document: &Value, answer: &Value) -> Self {
        let answer = match answer["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => answer,
        };
        let headers = answer["headers"].as_object().into_iter().flatten();
        let required = headers.filter(|(_, header)| header["required"] == true);
        let body = |(content_type, body): (&String, &Value)| {
            (content_type.clone(), schema::validator(document, &body["schema"]))
        };
        Self {
            required_headers: required.map(|(name, _)| name.clone()).collect(),
            bodies: answer["content"].as_object().into_iter().flatten().map(body).collect(),
        }
    }
}

/// The documented path that a request's is one of, whatever its route is called.
fn template(target: &str) -> Option<&'static str> {
    let (path, _) = target.split_once(['?', '#']).unwrap_or((target, ""));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match &parts[..] {
        ["kafka", "topics", "exact"] => Some("/produce"),
        [_, "topics"] => Some("/kafka/topics"),
        [_, "topics", _] => Some("/kafka/topics/{topic}"),
        [_, "topics", _, "records"] => Some("/kafka/topics/{topic}/records"),
        [_, "topics", _, "events"] => Some("/kafka/topics/{topic}/events"),
        [_, "topics", _, "table", ..] => Some("/kafka/topics/{topic}/table/{key}"),
        [_, "topics", _, "partitions", _] => Some("/kafka/topics/{topic}/partitions/{partition}"),
        [_, "topics", _, "partitions", _, "records"] => {
            Some("/kafka/topics/{topic}/partitions/{partition}/records")
        }
        [_, "topics", _, "partitions", _, "events"] => {
            Some("/kafka/topics/{topic}/partitions/{partition}/events")
        }
        [_, "topics", _, "partitions", _, "offsets"] => {
            Some("/kafka/topics/{topic}/partitions/{partition}/offsets")
        }
        [_, "streams"] => Some("/nats/streams"),
        [_, "streams", _] => Some("/nats/streams/{stream}"),
        [_, "streams", _, "messages"] => Some("/nats/streams/{stream}/messages"),
        [_, "streams", _, "sequences"] => Some("/nats/streams/{stream}/sequences"),
        [_, "streams", _, "table", ..] => Some("/nats/streams/{stream}/table/{subject}"),
        [_, "streams", _, "events"] => Some("/nats/streams/{stream}/events"),
        [_] | ["jsonkey", _] => Some("/produce"),
        _ => None,
    }
}
