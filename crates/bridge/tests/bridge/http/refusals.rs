//! Refused requests, and the answers to their gateways and clients.

use ::http::{Method, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use prost::Message;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{HttpRest, HttpRoute};
use sluicegate_stack::http::client::Response;
use sluicegate_stack::raw::Raw;

use super::{ROUTE, check, check_marks, http1, rest, send};
use crate::support::{Gateway, admin, start, start_before, start_with, with};

const SECRET: (&str, &str) = ("sluicegate-gateway-secret", "correct-horse-battery-staple");

#[track_caller]
fn check_mismatch(response: &Response, reason: &str) {
    check_marks(response);
    check(response, 502, "gateway and bridge are misconfigured, see their logs");
    assert_eq!(response.headers["sluicegate-answered"], reason);
    assert!(!response.text().contains(reason), "{}", response.text());
}

/// A request with this value in the header that names its route.
fn with_route(value: &str) -> Request<Bytes> {
    let mut request = rest("GET", "/topics");
    request.headers_mut().insert(ROUTE, value.parse().unwrap());
    request
}

#[tokio::test]
async fn only_the_gateway_learns_why_a_mismatch_is_one() {
    let bridge = start_with(&format!("gateway_secret = \"{}\"", SECRET.1), "").await;
    let gateway = Gateway::connect(&bridge).await;
    let get = || rest("GET", "/topics");
    let unreadable =
        "invalid header sluicegate-http: expected a base64-encoded sluicegate.v1.HttpRoute of this version";
    // A field that this version does not have, and a route with only such a field.
    let route = HttpRoute { resource: Some(Resource::Rest(HttpRest {})), ..HttpRoute::default() };
    let newer = STANDARD_NO_PAD.encode([&route.encode_to_vec()[..], &[0x78, 0x01]].concat());
    let newest = STANDARD_NO_PAD.encode([0x7A, 0x00]);
    let unknown = "unknown cluster nowhere (header sluicegate-cluster): expected one of [clusters]";
    let restriction =
        "unknown header sluicegate-only: upgrade the bridge to the version of the gateway's filter";
    for (request, reason) in [
        (get(), "header sluicegate-gateway-secret is missing: expected the bridge's gateway_secret"),
        (
            with(get(), &[("sluicegate-gateway-secret", "wrong")]),
            "header sluicegate-gateway-secret does not match the bridge's gateway_secret",
        ),
        (with(get(), &[SECRET, SECRET]), "repeated header sluicegate-gateway-secret: expected it once"),
        (with(get(), &[SECRET, ("sluicegate-cluster", "nowhere")]), unknown),
        (with(get(), &[SECRET, ("sluicegate-only", "x")]), restriction),
        (with(get(), &[SECRET, (ROUTE, "")]), "repeated header sluicegate-http: expected it once"),
        (
            with(get(), &[SECRET, ("sluicegate-read", "yes")]),
            "invalid header sluicegate-read: expected true or false",
        ),
        (with(with_route(""), &[SECRET]), unreadable),
        (with(with_route("not base64"), &[SECRET]), unreadable),
        (with(with_route("/w"), &[SECRET]), unreadable),
        (with(with_route(&newer), &[SECRET]), unreadable),
        (with(with_route(&newest), &[SECRET]), unreadable),
    ] {
        check_mismatch(&send(&gateway, request.clone()).await, reason);
        let mut client = Raw::connect(bridge.address()).await;
        client.write(http1(&request)).await;
        check_mismatch(&client.response().await, reason);
        let mut head = request;
        *head.method_mut() = Method::HEAD;
        let head = send(&gateway, head).await;
        assert_eq!((head.status, head.body.len()), (502, 0));
        assert_eq!(head.headers["sluicegate-answered"], reason);
    }
}

#[tokio::test]
async fn draining_bridge_tells_clients_to_come_back() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "").await;
    let gateway = Gateway::connect(&bridge).await;
    let running = tokio::spawn({
        let gateway = gateway.clone();
        async move { send(&gateway, rest("GET", "/topics")).await }
    });
    let connection = kafka.accept().await.unwrap();
    let drain = bridge.drain();
    let newcomer = async {
        let response = send(&gateway, rest("OPTIONS", "/topics")).await;
        check(&response, 503, "the bridge is shutting down, try again");
        assert_eq!(
            (&response.headers["retry-after"], &response.headers["sluicegate-answered"]),
            (&one(), &one())
        );
        drop((kafka, connection));
        assert_eq!(running.await.unwrap().status, 503);
    };
    tokio::join!(drain, newcomer);
}

fn one() -> ::http::HeaderValue {
    ::http::HeaderValue::from_static("1")
}

#[tokio::test]
async fn full_bridge_tells_clients_to_come_back() {
    // Accepts, and says nothing.
    let kafka = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bridge = start_before(kafka.local_addr().unwrap(), "", "[limits]\nmax_calls = 1").await;
    let gateway = Gateway::connect(&bridge).await;
    let get = || send(&gateway, rest("GET", "/topics"));
    let refused = tokio::select! { first = get() => first, second = get() => second };
    check(&refused, 503, "bridge at capacity for this client (limits.max_calls = 1), try again");
    assert_eq!((&refused.headers["retry-after"], &refused.headers["sluicegate-answered"]), (&one(), &one()));
}

#[tokio::test]
async fn without_a_secret_only_pages_of_this_machine_get_in_over_http_1() {
    let bridge = start("").await;
    let foreign_host = "Host not allowed: ";
    let foreign_origin = "Origin not allowed: ";
    for (headers, refused) in [
        (&[("host", "localhost:7400")][..], None),
        (&[("host", "127.0.0.1")], None),
        (&[("host", "[::1]:7400")], None),
        (&[("host", "LOCALHOST"), ("origin", "http://localhost:3000")], None),
        (&[("host", "app.example")], Some(foreign_host)),
        (&[("host", "localhost.app.example")], Some(foreign_host)),
        (&[("host", "app.example"), ("origin", "http://localhost")], Some(foreign_host)),
        (&[("origin", "https://app.example")], Some(foreign_origin)),
        (&[("origin", "null")], Some(foreign_origin)),
        (&[("origin", "http://localhost"), ("origin", "https://app.example")], Some(foreign_origin)),
    ] {
        let mut client = Raw::connect(bridge.address()).await;
        client.write(http1(&with(rest("OPTIONS", "/topics"), headers))).await;
        let response = client.response().await;
        check_marks(&response);
        match refused {
            None => assert_eq!(response.status, 204, "{headers:?}"),
            Some(says) => check(&response, 403, says),
        }
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(metrics.contains("sluicegate_requests_refused_total{reason=\"origin\"} 6\n"), "{metrics}");
}

#[tokio::test]
async fn gateway_with_a_secret_forwards_any_host_and_origin() {
    let bridge = start_with(&format!("gateway_secret = \"{}\"", SECRET.1), "").await;
    let headers = [SECRET, ("host", "app.example"), ("origin", "https://app.example")];
    let mut client = Raw::connect(bridge.address()).await;
    client.write(http1(&with(rest("OPTIONS", "/topics"), &headers))).await;
    assert_eq!(client.response().await.status, 204);
}
