//! WebSocket upgrades: checked by the filter and forwarded to the bridge's own endpoint with its headers.

use sluicegate_harness::apisix::{Outcome, Route, Worker};
use sluicegate_harness::{Headers, Response};

use crate::gateway::{APISIX, apisix};
use crate::socket::{configuration, sorted, upgrade, upgrade_with};

const NO_ROUTE: &str = "the gateway's filter has no route for this path";
const TOO_MANY: &str = "too many headers: fewer than 100 are allowed, including those that the gateway adds";

fn start() -> (Worker, Route) {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    (worker, route)
}

#[track_caller]
fn passed(route: &Route, request: impl Into<Headers>) -> Headers {
    let stream = route.request(request, "");
    match stream.outcome() {
        Outcome::Forwarded(headers) => headers,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn told(route: &Route, request: Headers, status: u16, words: &str) {
    let response = answered(route, request);
    assert_eq!((response.status(), response.text()), (status, format!("{words}\n")));
    assert_eq!(response.headers.text("content-type"), Some("text/plain; charset=utf-8"));
}

#[track_caller]
fn refused(route: &Route, request: Headers, status: u16, detail: &str) -> Response {
    let response = answered(route, request);
    let document: serde_json::Value = serde_json::from_str(&response.text()).expect("JSON");
    assert_eq!(response.status(), status);
    assert_eq!((&document["status"], &document["detail"]), (&status.into(), &detail.into()));
    assert_eq!(response.headers.text("content-type"), Some("application/problem+json"));
    response
}

#[track_caller]
fn answered(route: &Route, request: Headers) -> Response {
    let stream = route.request(request, "");
    let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
    response
}

#[test]
fn bridge_gets_the_grant_and_no_gateway_header_of_the_client() {
    let (worker, route) = start();
    let request = upgrade()
        .with("user-agent", "test")
        .with("origin", "https://app.example")
        .with("sec-websocket-protocol", "mqtt, pubsub")
        .with("sec-websocket-extensions", "permessage-deflate")
        .and("sec-websocket-extensions", "x")
        .and("sluicegate-cluster", "payments")
        .and("sluicegate-cluster", "payments")
        .and("Sluicegate-Gateway-Secret", "guess")
        .and("sluicegate-cluster-definition", "CgdldmlsOjEK")
        .and("SLUICEGATE-IDENTITY", "root")
        .and("sluicegate-write", "false")
        .and("x-sluicegate-route", "other")
        .and("sluicegate-subprotocol", "other")
        .and("sluicegate-", "x");
    let want = [
        ":method: GET",
        ":path: /",
        ":scheme: http",
        "connection: Upgrade",
        "host: gateway.example",
        "origin: https://app.example",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-protocol: mqtt, pubsub",
        "sec-websocket-version: 13",
        "sluicegate-client: 10.0.0.9",
        "sluicegate-cluster: orders",
        "sluicegate-gateway-secret: s3cret-of-the-gateway",
        "sluicegate-subprotocol: pubsub",
        "sluicegate-topics: orders,public.*",
        "sluicegate-write: true",
        "upgrade: websocket",
        "user-agent: test",
        "x-sluicegate-route: /pubsub",
    ];
    assert_eq!(sorted(&passed(&route, request)), want);
    assert_eq!(worker.log(), []);
}

#[test]
fn read_only_route_sends_neither_write_nor_subprotocol() {
    let (_worker, route) = start();
    let forged = upgrade_with(":path", "/open?topic=t")
        .with("sec-websocket-protocol", "pubsub")
        .with("sluicegate-write", "true")
        .with("sluicegate-subprotocol", "pubsub");
    let headers = passed(&route, forged);
    assert_eq!((headers.get("sluicegate-write"), headers.get("sluicegate-subprotocol")), (None, None));
    // A query may hold what is none of the bridge's business.
    assert_eq!((headers.text("sluicegate-cluster"), headers.text(":path")), (Some("default"), Some("/")));
}

#[test]
fn bridges_answer_passes_unchanged() {
    let (worker, route) = start();
    let said =
        [("upgrade", "websocket"), ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), ("x", "y")];
    for status in [101, 401, 404, 503] {
        let mut stream = route.request(upgrade(), "");
        let want = Headers::default().and(":status", status.to_string());
        let want = said.iter().fold(want, |want, (name, value)| want.and(name, value));
        assert_eq!(stream.upstream_answers(status, said), Some(want));
    }
    assert_eq!((worker.log(), worker.open_streams()), (Vec::new(), 0));
}

#[test]
fn failed_handshake_is_answered_with_its_reason() {
    let (_worker, route) = start();
    for name in ["upgrade", "connection"] {
        refused(&route, upgrade().without(name), 426, "a WebSocket upgrade is expected here");
    }
    let old = upgrade_with("sec-websocket-version", "8");
    let response = refused(&route, old, 400, "Sec-WebSocket-Version 13 is expected");
    assert_eq!(response.headers.text("sec-websocket-version"), Some("13"));
    refused(
        &route,
        upgrade_with("sec-websocket-key", "short"),
        400,
        "Sec-WebSocket-Key is not 16 bytes in base64",
    );
    refused(&route, upgrade_with("origin", b"\xff\xfe"), 400, "Origin is not UTF-8");
    let path = upgrade_with(":path", b"/pubsub?\xff\xfe");
    told(&route, path, 400, "the path has a character that is not allowed in URLs");
}

#[test]
fn page_of_an_allowed_origin_can_ask_with_a_plain_request() {
    let (_worker, route) = start();
    let plain = |origin| upgrade_with("origin", origin).without("upgrade").without("connection");
    let (listed, detail) = ("https://app.example", "a WebSocket upgrade is expected here");
    let response = refused(&route, plain(listed), 426, detail);
    let names = ["access-control-allow-origin", "access-control-allow-credentials", "vary"];
    let told = names.map(|name| response.headers.text(name));
    assert_eq!(told, [Some(listed), Some("true"), Some("Origin")]);
    let response =
        refused(&route, plain("https://evil.example"), 403, "this Origin may not open a session here");
    assert_eq!(names.map(|name| response.headers.text(name)), [None, None, Some("Origin")]);
}

#[test]
fn origin_is_judged_by_its_route() {
    let (_worker, route) = start();
    let evil = upgrade_with("origin", "https://evil.example");
    refused(&route, evil.clone(), 403, "this Origin may not open a session here");
    passed(&route, upgrade_with("origin", "https://app.example"));
    passed(&route, evil.without(":path").with(":path", "/open"));
}

#[test]
fn subprotocol_of_the_route_is_told_to_the_bridge() {
    let (_worker, route) = start();
    for (offered, want) in [("mqtt", None), ("mqtt, pubsub, pubsub.v2", Some("pubsub"))] {
        let headers = passed(&route, upgrade().with("sec-websocket-protocol", offered));
        assert_eq!(headers.text("sluicegate-subprotocol"), want, "{offered:?}");
    }
}

/// Headers after the 100th are not shown to the filter, but would reach the bridge.
#[test]
fn request_with_more_headers_than_the_host_shows_is_refused() {
    let (_worker, route) = start();
    let padded = |request: Headers, lines: usize| {
        // The pseudo-headers of a request are its four.
        let more = lines - (request.len() - 3);
        (0..more).fold(request, |request, n| request.and(format!("x-{n}"), ""))
    };
    for path in ["/pubsub", "/orders", "/elsewhere"] {
        let request = upgrade_with(":path", path);
        let request = if path == "/orders" { request.without("upgrade") } else { request };
        for (lines, taken) in [(99, true), (100, false), (101, false), (500, false)] {
            let forged = padded(request.clone(), lines).and("sluicegate-gateway-secret", "guess");
            let forged = if taken { padded(request.clone(), lines) } else { forged };
            if !taken {
                told(&route, forged, 431, TOO_MANY);
            } else if path == "/pubsub" {
                passed(&route, forged);
            }
        }
    }
}

#[test]
fn request_without_host_is_refused() {
    let (_worker, route) = start();
    for path in ["/pubsub", "/orders", "/elsewhere"] {
        told(
            &route,
            upgrade_with(":path", path).without(":authority"),
            400,
            "this request needs a Host header",
        );
    }
}

#[test]
fn bridges_own_paths_are_not_found() {
    let (_worker, route) = start();
    for path in ["/sluicegate.v1.Bridge/Session", "/sluicegate.v1.Bridge/Call?x", "/sluicegate.v1."] {
        told(&route, upgrade_with(":path", path), 404, "there is nothing here");
    }
}

/// APISIX finds routes by the path that nginx makes of a client's, and the upstream may be the bridge, which has paths
/// and a default cluster of its own.
#[test]
fn path_is_matched_as_written() {
    let (_worker, route) = start();
    for path in [
        "/%70ubsub",
        "//pubsub",
        "/x/../pubsub",
        "/./pubsub",
        "/pubsub/",
        "/PUBSUB",
        "/x?/pubsub",
        "/%73luicegate.v1.Bridge/Call",
        "//sluicegate.v1.Bridge/Call",
        "/x/../sluicegate.v1.Bridge/Call?apikey=k",
        "/sluicegate.v2.Bridge/Session",
        "/",
        "",
    ] {
        let request = upgrade_with(":path", path).with("sluicegate-cluster", "a");
        told(&route, request.clone(), 404, NO_ROUTE);
        let call =
            request.without("upgrade").without("connection").with("content-type", "application/grpc-web");
        told(&route, call.without(":method").with(":method", "POST"), 404, NO_ROUTE);
    }
}

/// Every way in which an upgrade that was passed on can be answered.
#[test]
fn loggers_of_an_upgrade_see_no_gateway_headers() {
    let worker = apisix();
    let defined = r#"{"gateway_secret": "s3cret-of-the-gateway", "write": true, "topics": ["*"], "origins": [], "subprotocols": ["pubsub"],
        "kafka": {"nodes": {"kafka-1:9092": 1}, "sasl": {"username": "u", "password": "hidden"}}}"#;
    for conf in [configuration(APISIX), defined.to_owned()] {
        let route = worker.route(conf);
        for status in [101, 401, 502] {
            let request = upgrade().with("sec-websocket-protocol", "pubsub").with("x", "y");
            let mut stream = route.request(request.clone(), "");
            stream.upstream_answers(status, Headers::default());
            let Outcome::Forwarded(told) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
            let told = told.iter().filter(|(name, _)| name.starts_with(b"sluicegate-")).count();
            let kept = request.iter().filter(|(name, _)| !name.starts_with(b":"));
            let kept = kept.fold(Headers::default(), |kept, (name, value)| kept.and(name, value));
            let kept = kept.and("host", "gateway.example");
            assert_eq!((told, sorted(&stream.logged())), (6, sorted(&kept)), "{status}");
        }
    }
    assert_eq!(worker.log(), []);
}

/// As APISIX' own users write a route.
#[test]
fn route_with_its_own_cluster_sends_the_definition() {
    let worker = apisix();
    let conf = r#"{"gateway_secret": "s3cret-of-the-gateway", "write": true, "topics": ["a", "b"], "origins": {},
        "kafka": {"nodes": {"kafka-1:9092": 1}, "sasl": {"username": "u", "password": "hidden"}}}"#;
    let route = worker.route(conf);
    for path in ["/anything", "/at/all?x"] {
        let headers = passed(&route, upgrade_with(":path", path).with("sluicegate-cluster", "other"));
        let names: Vec<_> =
            sorted(&headers).into_iter().filter(|line| line.starts_with("sluicegate-")).collect();
        let [client, definition, others @ ..] = names.as_slice() else { panic!("{names:?}") };
        assert_eq!(client, "sluicegate-client: 10.0.0.9");
        assert!(definition.starts_with("sluicegate-cluster-definition: "), "{definition}");
        let secret = "sluicegate-gateway-secret: s3cret-of-the-gateway";
        assert_eq!(others, [secret, "sluicegate-topics: a,b", "sluicegate-write: true"]);
    }
    assert_eq!(worker.log(), []);
}
