//! Sessions and plain HTTP in APISIX: the limits of its host, the headers that logs show, and removed routes.

use sluicegate_harness::Headers;
use sluicegate_harness::apisix::Outcome;

use crate::gateway::{APISIX, Gateway, apisix, post};
use crate::socket::{configuration, sorted, upgrade, upgrade_with};

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

/// However a request that was passed on is answered.
#[test]
fn loggers_see_no_gateway_headers() {
    let worker = apisix();
    let kafka = r#""gateway_secret": "s3cret-of-the-gateway", "origins": [],
        "kafka": {"nodes": {"kafka-1:9092": 1}, "sasl": {"username": "u", "password": "hidden"}}"#;
    let produce = format!(r#"{{"type": "produce", "topic": "orders", {kafka}}}"#);
    let pubsub = format!(r#"{{"write": true, "topics": ["*"], "subprotocols": ["pubsub"], {kafka}}}"#);
    let upgrade = upgrade().with("sec-websocket-protocol", "pubsub").with("x", "y");
    for (conf, request, count) in [
        (configuration(APISIX), post("/orders").with("x", "y"), 7),
        (produce, post("/orders").with("x", "y"), 7),
        (configuration(APISIX), upgrade.clone(), 6),
        (pubsub, upgrade, 6),
    ] {
        let route = worker.route(conf);
        let kept: Headers = request.iter().filter(|(name, _)| !name.starts_with(b":")).collect();
        let kept = sorted(&kept.and("host", "gateway.example"));
        // Statuses with a number of sent bytes are no answers.
        let ends = [(200, None), (101, None), (401, None), (502, None), (502, Some(0)), (504, Some(217))];
        for (status, sent) in ends {
            let mut stream = route.request(&request, "");
            let Outcome::Forwarded(told) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
            assert_eq!(told.iter().filter(|(name, _)| name.starts_with(b"sluicegate-")).count(), count);
            let is_answered = match sent {
                None => stream.upstream_answers(status, Headers::default()).is_some(),
                Some(bytes) => stream.upstream_fails(status, bytes).is_some(),
            };
            assert!(is_answered);
            assert_eq!(sorted(&stream.logged()), kept);
        }
    }
    assert_eq!(worker.log(), []);
}

#[test]
fn requests_of_a_removed_route_end_as_they_began() {
    let worker = apisix();
    let (route, other) = (worker.route(configuration(APISIX)), worker.route(configuration(APISIX)));
    let mut plain = route.request(post("/orders"), "body");
    let mut session = route.request(upgrade(), "");
    let witness = other.request(post("/orders"), "witness");
    assert_eq!(worker.routes_in_use(), 2);
    drop(route);
    let page = plain.upstream_fails(502, 217).expect("a page");
    assert_eq!((page.status(), page.headers.text("sluicegate-outcome")), (504, Some("unknown")));
    drop(plain);
    assert!(session.upstream_answers(101, [("upgrade", "websocket")]).is_some());
    assert_eq!(worker.routes_in_use(), 2);
    drop(session);
    assert_eq!((worker.routes_in_use(), worker.open_streams()), (1, 1));
    drop(witness);
    assert_eq!(worker.undone(), 0);
    assert_eq!(worker.log(), []);
    Gateway::Apisix(worker, other).works();
}
