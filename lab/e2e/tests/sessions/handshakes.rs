//! Upgrades that open a session, and the answers to all others.

use serde_json::Value;
use sluicegate_stack::envoy::{Profile, plugin, routes};
use sluicegate_stack::http::client::{Request, ask};
use sluicegate_stack::raw::{BINARY, Raw, Upgrade, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_way;
use sluicegate_tests::through_nginx;

use crate::sessions::peer::{ping, pong};
use crate::sessions::stacks::{committed, start};

async fn bad_handshakes_are_refused_with_a_reason(way: Way) {
    let stack = committed(way).await;
    let expected = "a WebSocket upgrade is expected here";
    let upgrade = Upgrade::default;
    for (request, status, want, version) in [
        (upgrade().without("upgrade"), 426, expected, None),
        (
            upgrade().with("sec-websocket-key", "c2hvcnQ="),
            400,
            "Sec-WebSocket-Key is not 16 bytes in base64",
            None,
        ),
        (
            upgrade().with("sec-websocket-version", "12"),
            400,
            "Sec-WebSocket-Version 13 is expected",
            Some("13"),
        ),
    ] {
        let response = Raw::connect(stack.gateway()).await.ask(&request.bytes()).await;
        let document: Value = serde_json::from_str(response.text()).unwrap();
        assert_eq!((response.status, &document["detail"]), (status, &want.into()), "{response:?}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(response.header("sec-websocket-version"), version, "{response:?}");
    }
}

/// As `fetch` sends it: browsers do not tell a page why an upgrade was refused.
async fn page_can_ask_with_a_plain_request(way: Way) {
    let stack = committed(way).await;
    let origin = "http://localhost:3000";
    for method in ["GET", "HEAD", "POST"] {
        let request = Request::new(method, "/pubsub?topic=t").with("origin", origin);
        let answer = ask(stack.gateway(), request).await;
        assert_eq!(answer.status, 426, "{method} {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{method} {answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{method}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{method}");
        if method != "HEAD" {
            assert_eq!(answer.json()["title"], "Upgrade Required", "{method}");
        }
    }
    let preflight = Request::new("OPTIONS", "/pubsub");
    let preflight = preflight.with("origin", origin).with("access-control-request-method", "GET");
    let answer = ask(stack.gateway(), preflight).await;
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("GET")));
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
}

async fn accepted_upgrade_has_the_headers_of_the_rfc_alone(way: Way) {
    let stack = committed(way).await;
    for upgrade in [
        Upgrade::to("/pubsub?access_token=abc"),
        Upgrade::default()
            .with("upgrade", "WebSocket")
            .with("connection", "keep-alive, Upgrade")
            .with("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
            .with("sec-websocket-protocol", "pubsub.v1, graphql-ws")
            .with("content-type", "text/html")
            .with("te", "trailers"),
    ] {
        let mut raw = Raw::connect(stack.gateway()).await;
        let response = raw.ask(&upgrade.bytes()).await;
        assert_eq!(response.status, 101, "{upgrade:?} {response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade")] {
            assert_eq!(response.header(name).map(str::to_ascii_lowercase).as_deref(), Some(value));
        }
        let known = ["sec-websocket-accept", "upgrade", "connection", "date", "server"];
        let strange: Vec<_> =
            response.headers.keys().filter(|name| !known.contains(&name.as_str())).collect();
        assert!(strange.is_empty(), "{upgrade:?} {strange:?}");
        raw.write(masked(BINARY, &ping(1, b"x"))).await;
        assert_eq!(raw.answer().await, pong(1, b"x"), "{upgrade:?}");
    }
}

#[tokio::test]
async fn routes_choose_origins_and_subprotocols() {
    let origin = "https://app.example";
    let guarded = format!(r#"{{"path": "/guarded", "origins": ["{origin}"]}}"#);
    let spoken = r#"{"path": "/spoken", "subprotocols": ["pubsub.v2", "pubsub.v1"]}"#;
    let edits = vec![plugin("", &[&guarded, spoken]), routes(&["/guarded", "/spoken"])];
    let stack = start(Profile::Tunnel, "", edits).await;
    let guarded = || Upgrade::to("/guarded");
    let speaks = |offers| Upgrade::to("/spoken").with("sec-websocket-protocol", offers);
    for (request, status, agreed) in [
        (guarded(), 101, None),
        (guarded().with("origin", origin), 101, None),
        (guarded().with("origin", "https://app.example.evil"), 403, None),
        (guarded().with("origin", origin).and("origin", "https://evil.example"), 403, None),
        (Upgrade::default().with("origin", "https://evil.example"), 101, None),
        (speaks("graphql-ws, pubsub.v1,pubsub.v2"), 101, Some("pubsub.v1")),
        (speaks("graphql-ws"), 101, None),
        (speaks("graphql-ws, sluicegate.v1.json, pubsub.v1"), 101, Some("sluicegate.v1.json")),
        (speaks("pubsub.v1, sluicegate.v1.json"), 101, Some("pubsub.v1")),
    ] {
        let response = Raw::connect(stack.gateway()).await.ask(&request.bytes()).await;
        assert_eq!(response.status, status, "{request:?} {response:?}");
        assert_eq!(response.header("sec-websocket-protocol"), agreed, "{request:?}");
    }
}

/// In the profile `relay`, one route of Envoy serves all routes of the filter.
#[tokio::test]
async fn route_that_envoy_does_not_have_is_told() {
    let stack = start(Profile::Tunnel, "", vec![plugin("", &[r#"{"path": "/unrouted"}"#])]).await;
    let response = Raw::connect(stack.gateway()).await.ask(&Upgrade::to("/unrouted").bytes()).await;
    let expected = "the filter has this route, but the gateway has none to the bridge for it";
    assert_eq!((response.status, response.text().trim()), (404, expected));
}

in_every_way! {
    bad_handshakes_are_refused_with_a_reason
    page_can_ask_with_a_plain_request
    accepted_upgrade_has_the_headers_of_the_rfc_alone
}

through_nginx! {
    bad_handshakes_are_refused_with_a_reason
    page_can_ask_with_a_plain_request
    accepted_upgrade_has_the_headers_of_the_rfc_alone
}
