//! CORS on a route with `origins`.

use ::http::Request;
use bytes::Bytes;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{HttpCors, HttpRest, HttpRoute};

use super::{check, routed, send};
use crate::support::{Gateway, start, with};

const APP: (&str, &str) = ("origin", "https://app.example");

fn request(method: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let cors = HttpCors { origins: vec!["https://app.example".into()], credentials: true };
    let resource = Some(Resource::Rest(HttpRest {}));
    let route = HttpRoute { resource, cors: Some(cors), path: "/nothing".into() };
    with(routed(method, &route), headers)
}

#[tokio::test]
async fn pages_of_a_route_read_its_answers_and_problems() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let preflight =
        [APP, ("access-control-request-method", "GET"), ("access-control-request-headers", "accept")];
    let response = send(&gateway, request("OPTIONS", &preflight)).await;
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(response.headers["access-control-allow-methods"], "GET,HEAD");
    assert_eq!(response.headers["access-control-allow-headers"], "accept");

    let response = send(&gateway, request("GET", &[APP])).await;
    check(&response, 404, "unknown path");
    assert_eq!(response.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(response.headers["vary"], "origin");

    // A page can read that, and when, it has to come back, and that the route is not set up.
    let response = send(&gateway, request("GET", &[APP, ("sluicegate-cluster", "nowhere")])).await;
    check(&response, 502, "gateway and bridge are misconfigured");
    assert_eq!(response.headers["access-control-allow-origin"], "https://app.example");
}

#[tokio::test]
async fn other_pages_are_refused() {
    let bridge = start("").await;
    let gateway = Gateway::connect(&bridge).await;
    let other = ("origin", "https://evil.example");
    for headers in [&[other][..], &[APP, APP], &[other, ("sluicegate-cluster", "nowhere")]] {
        for method in ["GET", "OPTIONS"] {
            let response = send(&gateway, request(method, headers)).await;
            check(&response, 403, "this Origin is not allowed on this route");
            assert_eq!(response.headers["vary"], "origin");
            assert!(!response.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        }
    }
    // tower-http panics at this combination.
    let headers = [APP, ("access-control-request-method", "GET"), ("access-control-request-headers", "*")];
    check(&send(&gateway, request("OPTIONS", &headers)).await, 400, "Access-Control-Request-Headers");
}
