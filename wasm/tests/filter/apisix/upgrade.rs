//! WebSocket upgrades: checked by the filter and forwarded to the bridge's own endpoint with its headers.

use sluicegate_harness::Headers;

use crate::gateway::{APISIX, Gateway, apisix};
use crate::socket::{configuration, upgrade, upgrade_with};

const NO_ROUTE: &str = "the gateway's filter has no route for this path";
const TOO_MANY: &str = "too many headers: fewer than 100 are allowed, including those that the gateway adds";

#[test]
fn bridges_answer_passes_unchanged() {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
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

/// Headers after the 100th are not shown to the filter, but would reach the bridge.
#[test]
fn request_with_more_headers_than_the_host_shows_is_refused() {
    let gateway = Gateway::apisix();
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
                gateway.request(forged).told(431, TOO_MANY);
            } else if path == "/pubsub" {
                gateway.request(forged).forwarded();
            }
        }
    }
}

#[test]
fn request_without_host_is_refused() {
    let gateway = Gateway::apisix();
    for path in ["/pubsub", "/orders", "/elsewhere"] {
        let request = upgrade_with(":path", path).without(":authority");
        gateway.request(request).told(400, "this request needs a Host header");
    }
}

/// APISIX finds routes by the path that nginx makes of a client's, and the upstream may be the bridge, which has paths
/// and a default cluster of its own.
#[test]
fn path_is_matched_as_written() {
    let gateway = Gateway::apisix();
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
        gateway.request(request.clone()).told(404, NO_ROUTE);
        let call =
            request.without("upgrade").without("connection").with("content-type", "application/grpc-web");
        let call = call.without(":method").with(":method", "POST");
        gateway.request(call).told(404, NO_ROUTE);
    }
}
