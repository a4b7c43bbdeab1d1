//! Refused requests: each way in says so in its own terms.

use ::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use prost::Message;
use sluicegate_bridge::Bridge;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::metadata::{ACCESS, CLUSTER, CLUSTER_DEFINITION, READ, SUBPROTOCOL, WRITE};
use sluicegate_protocol::{HttpRest, HttpRoute};
use sluicegate_stack::raw::Raw;

use crate::http::{ROUTE, check_marks, check_problem, http1, rest, send};
use crate::support::{
    ENDPOINTS, Endpoint, Gateway, SECRET, open, refused, start, start_hanging, start_secret, upgrade, with,
};

/// Expects each way in to refuse requests with these headers: 6 in all. Over plain HTTP, only the gateway learns why.
pub(crate) async fn check(bridge: &Bridge, headers: &[(&str, &str)], status: u16, text: &str) {
    check_told(bridge, headers, status, text, text).await;
}

/// The same, where gateways of plain HTTP learn more than clients of sessions.
pub(crate) async fn check_told(
    bridge: &Bridge,
    headers: &[(&str, &str)],
    status: u16,
    text: &str,
    reason: &str,
) {
    let gateway = Gateway::connect(bridge).await;
    let mut sessions = vec![Raw::connect(bridge.address()).await.ask(&upgrade(headers).bytes()).await];
    for endpoint in ENDPOINTS {
        sessions.push(gateway.open(endpoint, headers).await.err().expect(text));
    }
    for response in sessions {
        assert_eq!((response.status, response.text()), (status, &*format!("{text}\n")));
        assert_eq!(response.headers.contains_key("retry-after"), status == 503);
    }
    let status = if status == 503 { 503 } else { 502 };
    check_plain(bridge, &with(rest("GET", "/topics"), headers), status, reason).await;
}

async fn check_plain(bridge: &Bridge, request: &Request<Bytes>, status: u16, reason: &str) {
    let gateway = Gateway::connect(bridge).await;
    let http2 = send(&gateway, request.clone()).await;
    let http1 = Raw::connect(bridge.address()).await.ask(&http1(request)).await;
    for response in [http2, http1] {
        check_marks(&response);
        assert_eq!(response.headers["sluicegate-answered"], reason);
        if status == 503 {
            check_problem(&response, 503, reason);
        } else {
            check_problem(&response, 502, "gateway and bridge are misconfigured, see their logs");
            assert!(!response.text().contains(reason), "{}", response.text());
        }
    }
    let mut head = request.clone();
    *head.method_mut() = Method::HEAD;
    let head = send(&gateway, head).await;
    assert_eq!((head.status, head.body.len()), (status, 0));
    assert_eq!(head.headers["sluicegate-answered"], reason);
}

#[tokio::test]
async fn gateway_without_the_secret_and_unknown_headers_are_refused() {
    let bridge = start_secret("").await;
    let missing = "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret";
    let mismatch = "header sluicegate-gateway-secret does not match the bridge's gateway_secret";
    let nowhere = "unknown cluster nowhere (header sluicegate-cluster): expected one of [clusters]";
    let (wrong, unknown) = ((SECRET.0, "wrong"), ("sluicegate-read-only", "true"));
    for (headers, status, text) in [
        (&[][..], 401, missing),
        (&[wrong], 401, mismatch),
        // Nobody learns without the secret what the bridge knows.
        (&[unknown], 401, missing),
        (&[SECRET, (CLUSTER, "nowhere")], 404, nowhere),
        (&[SECRET, (READ, "yes")], 400, "invalid header sluicegate-read: expected true or false"),
    ] {
        check(&bridge, headers, status, text).await;
    }
    let once = |name: &str| format!("repeated header {name}: expected it once");
    for name in [CLUSTER, WRITE, SUBPROTOCOL, CLUSTER_DEFINITION] {
        check(&bridge, &[SECRET, (name, "true"), (name, "true")], 400, &once(name)).await;
    }
    for first in [SECRET, wrong] {
        check(&bridge, &[first, SECRET], 400, &once(SECRET.0)).await;
    }
    let long = format!("sluicegate-{}", "x".repeat(200));
    for (header, shown) in [(unknown, unknown.0), ((&*long, ""), &long[..100])] {
        let text =
            format!("unknown header {shown}: upgrade the bridge to the version of the gateway's filter");
        check(&bridge, &[SECRET, header], 400, &text).await;
    }
    for (reason, requests) in [("secret", 3), ("cluster", 1), ("metadata", 9)] {
        assert_eq!(refused(&bridge, reason).await, 6 * requests, "{reason}");
    }
}

#[tokio::test]
async fn route_of_another_version_is_refused() {
    let bridge = start_secret("").await;
    let twice = with(rest("GET", "/topics"), &[SECRET, (ROUTE, "")]);
    check_plain(&bridge, &twice, 502, "repeated header sluicegate-http: expected it once").await;
    // A field that this version does not have, and a route with only such a field.
    let route = HttpRoute { resource: Some(Resource::Rest(HttpRest::default())), ..HttpRoute::default() };
    let newer = STANDARD_NO_PAD.encode([&route.encode_to_vec()[..], &[0x78, 0x01]].concat());
    let newest = STANDARD_NO_PAD.encode([0x7A, 0x00]);
    for route in ["", "not base64", "/w", &newer, &newest] {
        let mut request = with(rest("GET", "/topics"), &[SECRET]);
        request.headers_mut().insert(ROUTE, route.parse().unwrap());
        let expected = "expected a base64-encoded sluicegate.v1.HttpRoute of this version";
        check_plain(&bridge, &request, 502, &format!("invalid header sluicegate-http: {expected}")).await;
    }
}

#[tokio::test]
async fn full_bridge_tells_clients_to_come_back() {
    let (bridge, _kafka) = start_hanging("[limits]\nmax_calls = 1\nmax_sessions = 1").await;
    let gateway = Gateway::connect(&bridge).await;
    let get = || send(&gateway, rest("GET", "/topics"));
    let full = tokio::select! { first = get() => first, second = get() => second };
    check_problem(&full, 503, "bridge at capacity for this client (limits.max_calls = 1), try again");
    assert_eq!((&full.headers["retry-after"], &full.headers["sluicegate-answered"]), (&one(), &one()));

    let _session = gateway.open(Endpoint::Connect, &[]).await.unwrap();
    let mut sessions = vec![Raw::connect(bridge.address()).await.ask(&upgrade(&[]).bytes()).await];
    for endpoint in ENDPOINTS {
        sessions.push(gateway.open(endpoint, &[]).await.err().unwrap());
    }
    for full in sessions {
        let text = "bridge at capacity for this client (limits.max_sessions = 1)\n";
        assert_eq!((full.status, full.text(), &full.headers["retry-after"]), (503, text, &one()));
    }
}

pub(crate) fn one() -> ::http::HeaderValue {
    ::http::HeaderValue::from_static("1")
}

#[tokio::test]
async fn without_a_secret_only_pages_of_this_machine_get_in_over_http_1() {
    let bridge = start("").await;
    let foreign_host = Some("Host not allowed: ");
    let foreign_origin = Some("Origin not allowed: ");
    for (headers, refused) in [
        (&[("host", "127.0.0.1")][..], None),
        (&[("host", "LOCALHOST:7400"), ("origin", "http://localhost:3000")], None),
        (&[("host", "localhost.app.example")], foreign_host),
        (&[("host", "app.example"), ("origin", "http://localhost")], foreign_host),
        (&[("origin", "null")], foreign_origin),
        (&[("origin", "http://localhost"), ("origin", "https://app.example")], foreign_origin),
    ] {
        let request = with(rest("OPTIONS", "/topics"), headers);
        let response = Raw::connect(bridge.address()).await.ask(&http1(&request)).await;
        check_marks(&response);
        match refused {
            None => assert_eq!(response.status, 204, "{headers:?}"),
            Some(says) => check_problem(&response, 403, says),
        }
    }
    open(&bridge, &[("origin", "http://[::1]")]).await;
    for origins in [&[("origin", "null")][..], &[("origin", "http://localhost"), ("origin", "null")]] {
        let response = Raw::connect(bridge.address()).await.ask(&upgrade(origins).bytes()).await;
        check_problem(&response, 403, "Origin not allowed: ");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    // A page of this machine can read why no session opens.
    let plain = upgrade(&[("origin", "http://localhost:3000")]).without("upgrade");
    let asks = |whom| plain.clone().with(ACCESS, format!(r#"{{"identity":{{"from_gateway":true{whom}}}}}"#));
    let told = ["content-type", "access-control-allow-origin", "access-control-allow-credentials", "vary"];
    let expected = ["application/problem+json", "http://localhost:3000", "true", "Origin"].map(Some);
    for (request, status, challenge) in [
        (plain.clone(), 426, None),
        (asks(""), 401, Some("Bearer")),
        (asks(r#","anonymous":true"#), 426, None),
    ] {
        let response = Raw::connect(bridge.address()).await.ask(&request.bytes()).await;
        assert_eq!((response.status, told.map(|name| response.header(name))), (status, expected));
        assert_eq!(response.header("www-authenticate"), challenge);
    }
    assert_eq!(refused(&bridge, "origin").await, 6);
}

#[tokio::test]
async fn gateway_with_the_secret_judges_hosts_and_origins_itself() {
    let bridge = start_secret("").await;
    let headers = [SECRET, ("host", "app.example"), ("origin", "https://app.example")];
    let options = http1(&with(rest("OPTIONS", "/topics"), &headers));
    assert_eq!(Raw::connect(bridge.address()).await.ask(&options).await.status, 204);
    open(&bridge, &[SECRET, ("origin", "https://app.example")]).await;
}
