//! Compares `docs/reference/openapi.yaml` with the answers in these tests.

mod consumers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use sluicegate_stack::http::client::{self, Client, Request, Response, Streamed};
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::nats::Streams;
use sluicegate_stack::way::Way;

use crate::pool::{ANY, NATS_REST, REST, routed};
use crate::schema::{self, Document, members};

/// Asks as [`client::ask`] does, and expects the answer to be documented.
pub(crate) async fn ask(gateway: SocketAddr, request: Request) -> Response {
    let operation = operation(&request);
    let response = client::ask(gateway, request).await;
    check(operation, &response);
    response
}

/// The same for an answer that does not end.
pub(crate) async fn stream(gateway: SocketAddr, request: Request) -> Streamed {
    let operation = operation(&request);
    let streamed = Client::connect(gateway).await.unwrap().stream(request).await.unwrap();
    check(operation, &streamed.head);
    streamed
}

#[tokio::test]
async fn every_documented_answer_is_seen() {
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("documented", 1, &[]).await.unwrap();
    let stack = routed(Way::Tunnel).await.alone().await;
    let gateway = stack.gateway();
    let compacted = &kafka.topic("documented-keys", 1, &[("cleanup.policy", "compact")]).await.unwrap();
    let produce = |topic: &str, body: &str| Request::post(ANY, body.to_owned()).with("x-kafka-topic", topic);
    let large = &"x".repeat(2 << 20);
    let mut requests = vec![
        (200, produce(topic, "1").with("x-kafka-key", "k")),
        // A record without a key can only be blamed where no other is under way.
        (422, produce(compacted, "v")),
        (202, produce(topic, "1").with("prefer", "respond-async")),
        (400, produce(topic, "v").with("x-kafka-partition", "x")),
        (403, Request::post("/unwritten", "v")),
        (404, produce("no-such-topic", "v")),
        (409, with_gap(produce(topic, "v"))),
        (413, produce(topic, large)),
        (415, produce(topic, "v").with("content-encoding", "gzip")),
        (502, Request::post("/nowhere", "v")),
    ];
    let at = format!("/topics/{topic}");
    let kafka = Resources {
        route: REST,
        readonly: "/readonly",
        web: "/web",
        name: topic,
        content_type: "application/vnd.kafka.json.v2+json",
        body: r#"{"records":[{"value":1}]}"#.to_owned(),
        writes: vec![at.clone(), format!("{at}/partitions/0")],
        reads: vec![
            "/topics".to_owned(),
            at.clone(),
            format!("{at}/partitions"),
            format!("{at}/partitions/0"),
            format!("{at}/partitions/0/offsets"),
            format!("{at}/partitions/0/offsets?timestamp=-1"),
            format!("{at}/partitions/0/records?offset=0"),
            format!("{at}/records?offsets=0:0"),
            format!("{at}/table/k"),
        ],
        events: vec![
            (format!("{at}/events"), "BAA.over"),
            (format!("{at}/partitions/0/events"), "BQAA.over"),
        ],
    };
    let (streams, stream) = (Streams::shared().await.unwrap(), "documented-stream");
    streams.create(stream, json!({})).await.unwrap();
    streams.write(&format!("{stream}.a"), ["1".into()]).await.unwrap();
    let at = format!("/streams/{stream}");
    let nats = Resources {
        route: NATS_REST,
        readonly: "/nats-readonly",
        web: "/nats-web",
        name: stream,
        content_type: "application/json",
        body: format!(r#"{{"messages":[{{"subject":"{stream}.a","data":1}}]}}"#),
        writes: vec![at.clone()],
        reads: vec![
            "/streams".to_owned(),
            at.clone(),
            format!("{at}/sequences"),
            format!("{at}/sequences?timestamp=-1"),
            format!("{at}/messages?sequence=1"),
            format!("{at}/table/{stream}.a"),
        ],
        events: vec![(format!("{at}/events"), "BQAA.over")],
    };
    requests.extend(of_clusters(topic));
    requests.extend(of_streams(gateway, topic, large).await);
    requests.extend(consumers::requests(topic, large));
    for resources in [kafka, nats] {
        for (path, _) in &resources.events {
            let events = self::stream(gateway, Request::get(format!("{}{path}", resources.route))).await;
            assert_eq!(events.head.status, 200);
        }
        requests.extend(resources.requests(large));
    }
    for (status, request) in requests {
        let what = format!("{} {}", request.method(), request.target());
        let response = ask(gateway, request).await;
        assert_eq!(response.status, status, "{what}: {response:?}");
    }
    API.assert_all_seen(|answer| ELSEWHERE.iter().any(|(status, _)| *status == status_of(answer)));
}

/// A write of a producer that the partition does not know.
fn with_gap(request: Request) -> Request {
    let request = request.with("producer-id", "unknown").with("producer-epoch", "0");
    request.with("producer-seq", "5").with("producer-age", "0")
}

/// Requests for streams, whose paths begin with `of` behind their route.
async fn of_streams(gateway: SocketAddr, topic: &str, large: &str) -> Vec<(u16, Request)> {
    let at = |route: &str, query: &str| format!("/durable{route}/of/{topic}/0{query}");
    let read = ask(gateway, Request::get(at("", ""))).await;
    let etag = read.header("etag").unwrap();
    let known = ask(gateway, Request::get(at("", "")).with("if-none-match", etag)).await;
    assert_eq!(known.status, 304);
    let gone = format!("?offset={}_{:020}", "A".repeat(22), 0);
    let get = |query: &str| Request::get(at("", query));
    let post = |route: &str, body: &str| {
        Request::post(at(route, ""), body.to_owned()).with("content-type", "application/json")
    };
    let producer_in = |epoch: &str, sequence: &str| {
        let request = post("", "1").with("producer-id", "documented").with("producer-epoch", epoch);
        request.with("producer-seq", sequence)
    };
    let producer = |sequence: &str| producer_in("0", sequence);
    let put = |topic: &str, content_type: &str| {
        let path = at("", "").replace("documented", topic);
        Request::new("PUT", path).with("content-type", content_type)
    };
    let unlistened = |method| {
        let path = "/durable-nats/of/documented-stream/elsewhere";
        Request::new(method, path).with("content-type", "application/json")
    };
    vec![
        (200, get("?offset=-1")),
        (204, get("?offset=now&live=long-poll&timeout=0")),
        (400, get("?offset=x")),
        (403, Request::get(at("-web", "")).with("origin", "https://else.example")),
        (404, Request::get(at("", "").replace("documented", "no-such"))),
        (410, get(&gone)),
        (502, Request::get(at("-nowhere", ""))),
        (200, put("documented", "application/json")),
        (400, put("documented", "application/json").with("stream-ttl", "1")),
        (403, Request::new("PUT", at("-web", "")).with("origin", "https://else.example")),
        (405, put("no-such", "application/json")),
        (409, put("documented", "text/plain")),
        (422, unlistened("PUT")),
        (502, Request::new("PUT", at("-nowhere", "")).with("content-type", "application/json")),
        (204, post("", "[1, 2]")),
        (200, producer("0")),
        (204, producer("0")),
        (409, producer("5")),
        (200, producer_in("1", "0")),
        (403, producer("1")),
        (400, post("", "{")),
        (
            404,
            Request::post(at("", "").replace("documented", "no-such"), "1")
                .with("content-type", "application/json"),
        ),
        (405, post("-web", "1")),
        (413, post("", &format!("{large:?}"))),
        (415, post("", "1").with("content-encoding", "gzip")),
        (422, unlistened("POST").body("1")),
        (502, post("-nowhere", "1")),
    ]
}

/// Requests for brokers, and for version 3.
fn of_clusters(topic: &str) -> Vec<(u16, Request)> {
    let get = |route: &str, path: &str| Request::get(format!("{route}{path}"));
    let mut requests = vec![
        (200, get(REST, "/brokers").with("accept", "application/json")),
        (403, get("/readonly", "/brokers")),
    ];
    for path in ["/brokers", "/v3/clusters", "/v3/clusters/default"] {
        requests.extend([
            (200, get(REST, path)),
            (400, get(REST, &format!("{path}?x=1"))),
            (403, get("/web", path).with("origin", "https://else.example")),
            (406, get(REST, path).with("accept", "text/plain")),
            (502, get("/rest-nowhere", path)),
        ]);
    }
    let records = format!("/v3/clusters/default/topics/{topic}/records");
    let post = |route: &str, path: &str, body: &str| {
        Request::post(format!("{route}{path}"), body.to_owned()).with("content-type", "application/json")
    };
    requests.extend([
        (404, get(REST, "/v3/clusters/other")),
        (200, post(REST, &records, r#"{"value":{"type":"JSON","data":1}}"#)),
        (200, post(REST, &records, r#"{"value":1}"#)),
        (400, post(REST, &format!("{records}?x=1"), "{}")),
        (403, post("/readonly", &records, "{}")),
        (404, post(REST, &records.replace("default", "other"), "{}")),
        (406, post(REST, &records, "{}").with("accept", "text/plain")),
        (415, post(REST, &records, "{}").with("content-encoding", "gzip")),
        (422, post(REST, &records, " ")),
        (502, post("/rest-nowhere", &records, "{}")),
    ]);
    requests
}

/// The resources of a system behind its routes.
struct Resources<'a> {
    route: &'static str,
    readonly: &'static str,
    web: &'static str,
    /// Of the topic or the stream.
    name: &'a str,
    content_type: &'static str,
    /// One record.
    body: String,
    writes: Vec<String>,
    reads: Vec<String>,
    /// With an id of a client that has everything.
    events: Vec<(String, &'static str)>,
}

impl Resources<'_> {
    /// A request for each answer, and its status.
    fn requests(&self, large: &str) -> Vec<(u16, Request)> {
        let Self { route, readonly, web, name, content_type, body, writes, reads, events } = self;
        let missing = |path: &str| format!("{route}{path}").replace(name, "no-such-name");
        let foreign =
            |path: &str| Request::get(format!("{web}{path}")).with("origin", "https://else.example");
        let nowhere = |path: &str| format!("/rest-nowhere{path}");
        let mut requests = Vec::new();
        for path in writes {
            let post = |path: String, body: &str| {
                Request::post(path, body.to_owned()).with("content-type", content_type)
            };
            let to_route = |body: &str| post(format!("{route}{path}"), body);
            requests.extend([
                (200, to_route(body)),
                (204, post(format!("{route}{path}?async=true"), body)),
                (400, to_route("{")),
                (403, post(format!("{readonly}{path}"), body)),
                (404, post(missing(path), body)),
                (406, to_route(body).with("accept", "text/plain")),
                (413, to_route(large)),
                (415, to_route(body).with("content-encoding", "gzip")),
                (422, to_route("{}")),
                (502, post(nowhere(path), body)),
            ]);
            if *route == REST {
                requests.push((409, with_gap(to_route(body))));
            }
        }
        for path in reads {
            let get = || Request::get(format!("{route}{path}"));
            let (unknown, _) = path.split_once('?').unwrap_or((path, ""));
            requests.extend([
                (200, get()),
                (200, get().with("accept", "application/json")),
                (400, Request::get(format!("{route}{unknown}?unknown=1"))),
                (403, foreign(path)),
                (406, get().with("accept", "text/plain")),
                (502, Request::get(nowhere(path))),
            ]);
            if path.contains(name) {
                requests.push((404, Request::get(missing(path))));
            }
        }
        for (path, over) in events {
            let get = || Request::get(format!("{route}{path}"));
            requests.extend([
                (204, get().with("last-event-id", over)),
                (400, get().with("last-event-id", "x")),
                (403, foreign(path)),
                (404, Request::get(missing(path))),
                (406, get().with("accept", "application/json")),
                (502, Request::get(nowhere(path))),
            ]);
        }
        requests
    }
}

#[test]
fn errors_are_listed_by_status() {
    let page = include_str!("../../../../docs/reference/errors.md");
    let (_, rows) = page.split_once("## Plain HTTP").unwrap();
    let (rows, _) = rows.split_once("problem document").unwrap();
    let listed: BTreeSet<u16> =
        rows.lines().filter_map(|row| row.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    // 405 is of methods that are not documented.
    let documented = API.parts.keys().map(|answer| status_of(answer)).filter(|status| *status >= 400);
    assert_eq!(listed, documented.chain([405]).collect());
}

/// Statuses of a broken, full or slow part, or of a stranger. Other tests produce them.
const ELSEWHERE: [(u16, &str); 7] = [
    (401, "`identity`: no identity, or a forged one"),
    (408, "`hostile`: a body that takes a minute"),
    (429, "the bridge's `permits`: a full queue"),
    (431, "`hostile`: mostly the gateway's own"),
    (500, "the bridge's `http::problem`: Kafka refuses"),
    (503, "`lost`: no bridge"),
    (504, "`lost`: an answer that is lost"),
];

/// Answers, such as `get /kafka/topics 200`.
static API: LazyLock<Document<Answer>> = LazyLock::new(|| {
    let document = &schema::parse(include_str!("../../../../docs/reference/openapi.yaml"));
    let mut answers = Vec::new();
    for (path, item) in members(&document["paths"]) {
        for (method, operation) in members(item).filter(|(key, _)| *key != "parameters") {
            for (status, answer) in members(&operation["responses"]) {
                answers.push((format!("{method} {path} {status}"), Answer::read(document, answer)));
            }
        }
    }
    answers.into_iter().collect()
});

const EVENTS: &str = "text/event-stream";

struct Answer {
    required_headers: Vec<String>,
    bodies: BTreeMap<String, Validator>,
}

impl Answer {
    fn read(document: &Value, answer: &Value) -> Self {
        let answer = schema::resolve(document, answer);
        let required = members(&answer["headers"]).filter(|(_, header)| header["required"] == true);
        let body = |(content_type, body): (&String, &Value)| {
            (content_type.clone(), schema::validator(document, &body["schema"]))
        };
        Self {
            required_headers: required.map(|(name, _)| name.clone()).collect(),
            bodies: members(&answer["content"]).map(body).collect(),
        }
    }
}

#[track_caller]
fn check(operation: Option<String>, response: &Response) {
    let Some(operation) = operation else { return };
    let content_type = response.header("content-type");
    // The gateway's own word in place of an answer: a page, or nothing.
    let is_gateways = match content_type {
        Some(content_type) => content_type.starts_with("text/") && content_type != EVENTS,
        None => response.status >= 400,
    };
    if is_gateways {
        return;
    }
    let key = format!("{operation}{}", response.status);
    let answer = API.parts.get(&key).unwrap_or_else(|| panic!("{key} is not documented: {response:?}"));
    let caching = response.header("cache-control").unwrap_or_default();
    // Clients of streams ask whether their copy still holds.
    let is_of_stream = operation.contains("/streams/{topic}") && response.status < 400;
    let wanted =
        ["no-store", if is_of_stream { "private, no-cache" } else { "no-store" }, "no-cache, no-store"];
    assert!(wanted.iter().any(|wanted| caching.starts_with(wanted)), "{key}: {response:?}");
    for header in &answer.required_headers {
        assert!(response.headers.contains_key(header), "{key} lacks {header}: {response:?}");
    }
    match content_type {
        None => assert!(answer.bodies.is_empty(), "{key} has a type: {response:?}"),
        Some(content_type) => {
            let body = answer.bodies.get(content_type);
            let body = body.unwrap_or_else(|| panic!("{key} has no {content_type}: {response:?}"));
            // Numbers that JSON allows, and this parser does not, are tested elsewhere.
            if let Ok(json) = serde_json::from_slice(&response.body) {
                let faults: Vec<String> = body.iter_errors(&json).map(|fault| fault.to_string()).collect();
                assert!(faults.is_empty(), "{key}: {faults:?} in {json}");
            }
        }
    }
    API.see(&key);
}

fn status_of(answer: &str) -> u16 {
    answer.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The documented operation of a request, such as `get /kafka/topics `, whatever its route is called.
fn operation(request: &Request) -> Option<String> {
    let target = request.target();
    let (path, _) = target.split_once(['?', '#']).unwrap_or((target, ""));
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    let parts = match &parts[..] {
        [of @ .., last, ""] => &[of, &[last]].concat(),
        parts => parts,
    };
    let path = match parts {
        [] | ["topics", "exact"] => "/produce".to_owned(),
        ["topics", _, "partitions", _, rest @ ..] => {
            ["/kafka/topics/{topic}/partitions/{partition}", &rest.concat()].join("/")
        }
        ["topics", _, "table", ..] => "/kafka/topics/{topic}/table/{key}".to_owned(),
        ["topics", _, rest @ ..] => ["/kafka/topics/{topic}", &rest.concat()].join("/"),
        ["consumers", _, "instances", _, rest @ ..] => {
            ["/kafka/consumers/{group}/instances/{instance}", &rest.join("/")].join("/")
        }
        ["consumers", _, rest @ ..] => ["/kafka/consumers/{group}", &rest.concat()].join("/"),
        ["v3", "clusters", _, "topics", _, "records"] => {
            "/kafka/v3/clusters/{cluster}/topics/{topic}/records".to_owned()
        }
        ["v3", "clusters", _] => "/kafka/v3/clusters/{cluster}".to_owned(),
        ["of", _, _] => "/streams/{topic}/{partition}".to_owned(),
        ["brokers"] | ["v3", "clusters"] => ["/kafka", &parts.join("/")].join("/"),
        ["streams", _, "table", ..] => "/nats/streams/{stream}/table/{subject}".to_owned(),
        ["streams", _, rest @ ..] => ["/nats/streams/{stream}", &rest.concat()].join("/"),
        [list @ ("topics" | "streams")] => {
            [if *list == "topics" { "/kafka" } else { "/nats" }, list].join("/")
        }
        _ => return None,
    };
    let operation = format!("{} {} ", request.method().to_lowercase(), path.trim_end_matches('/'));
    API.parts.keys().any(|answer| answer.starts_with(&operation)).then_some(operation)
}
