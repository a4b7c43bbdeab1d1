//! Plain HTTP: the headers that logs show, and requests of removed routes.

use sluicegate_harness::Headers;
use sluicegate_harness::apisix::{Outcome, Stream};

use crate::gateway::{APISIX, Gateway, apisix};
use crate::plain::{ANSWERED, post};
use crate::socket::{configuration, sorted, upgrade};

/// However a request that was passed on is answered.
#[test]
fn loggers_see_no_gateway_headers() {
    let ends: [fn(&mut Stream); 6] = [
        |stream| assert!(stream.upstream_answers(200, [ANSWERED]).is_some()),
        |stream| assert!(stream.upstream_answers(101, Headers::default()).is_some()),
        |stream| assert!(stream.upstream_answers(401, Headers::default()).is_some()),
        |stream| assert!(stream.upstream_answers(502, Headers::default()).is_some()),
        |stream| assert!(stream.upstream_fails(502, 0).is_some()),
        |stream| assert!(stream.upstream_fails(504, 217).is_some()),
    ];
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
        let kept = request.iter().filter(|(name, _)| !name.starts_with(b":"));
        let kept = kept.fold(Headers::default(), |kept, (name, value)| kept.and(name, value));
        let kept = sorted(&kept.and("host", "gateway.example"));
        for end in ends {
            let mut stream = route.request(&request, "");
            let Outcome::Forwarded(told) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
            assert_eq!(told.iter().filter(|(name, _)| name.starts_with(b"sluicegate-")).count(), count);
            end(&mut stream);
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
