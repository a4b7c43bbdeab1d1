//! The bridge's `Call` in gRPC-Web: how it is asked, and every way in which it does not answer.

use sluicegate_harness::Headers;
use sluicegate_harness::apisix::{Outcome, Stream};

use crate::gateway::{APISIX, Gateway, apisix, calling, frame, grpc_web, whole};
use crate::plain::{answer_of, post, request, says};
use crate::socket::{configuration, sorted, upgrade};

#[track_caller]
fn told(stream: &Stream, status: u16, retry_after: Option<&str>, detail: &str) {
    let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
    says(&response, status, detail);
    assert_eq!(response.headers.text("retry-after"), retry_after);
}

#[test]
fn the_bridge_is_asked_in_http_1_1() {
    for (bridge, url) in [
        ("bridge.example:7400", "http://bridge.example:7400/sluicegate.v1.Bridge/Call"),
        ("https://bridge.example:7443", "https://bridge.example:7443/sluicegate.v1.Bridge/Call"),
    ] {
        let worker = apisix();
        let route = worker.route(configuration(&format!(r#""bridge": "{bridge}""#)));
        let stream = route.request(post("/orders"), "body");
        let call = calling(&stream);
        assert_eq!((call.url.as_str(), call.method.as_str()), (url, "POST"));
        let want = [
            format!("content-length: {}", call.body.len()),
            "content-type: application/grpc-web+proto".to_owned(),
            format!("host: {}", bridge.trim_start_matches("https://")),
            "sluicegate-cluster: payments".to_owned(),
            "sluicegate-gateway-secret: s3cret-of-the-gateway".to_owned(),
            "user-agent: lua-resty-http".to_owned(),
            "x-grpc-web: 1".to_owned(),
        ];
        assert_eq!(sorted(&call.headers), want);
    }
}

/// A call that ends in this way, of a request that only looks and of one that may write.
#[track_caller]
fn each(act: impl Fn(&mut Stream), want: impl Fn(&Stream, bool)) {
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    for (method, safe) in [("GET", true), ("POST", false)] {
        let mut stream = route.request(request(method, "/orders"), "");
        calling(&stream);
        act(&mut stream);
        want(&stream, safe);
    }
    assert_eq!(worker.log(), []);
    Gateway::Apisix(worker, route).works();
}

const UNKNOWN: &str = "; it is not known whether anything was written";

/// Refused, out of time or cut: the host does not tell.
#[test]
fn a_bridge_that_did_not_answer_may_have_written() {
    each(Stream::bridge_fails, |stream, safe| match safe {
        true => told(stream, 503, Some("1"), "the bridge did not answer, try again"),
        false => told(stream, 504, None, &format!("the bridge did not answer{UNKNOWN}")),
    });
}

#[test]
fn an_answer_cut_at_any_byte_is_none() {
    let body = whole(&answer_of(200, &[("x", "y")], "ok"));
    let worker = apisix();
    let route = worker.route(configuration(APISIX));
    for cut in 0..body.len() {
        let mut stream = route.request(post("/orders"), "body");
        stream.bridge_answers(200, grpc_web(), &body[..cut]);
        told(&stream, 502, None, &format!("the bridge's answer cannot be read{UNKNOWN}"));
    }
    let mut stream = route.request(post("/orders"), "body");
    stream.bridge_answers(200, grpc_web(), &body);
    assert_eq!(stream.outcome().response().map(|response| response.text()), Some("ok".to_owned()));
}

#[test]
fn a_status_is_told_by_headers_as_by_trailers() {
    let by_headers =
        |stream: &mut Stream| stream.bridge_answers(200, grpc_web().with("grpc-status", "8"), "");
    let behind = |stream: &mut Stream| {
        let body = [whole(b"")[..5].to_vec(), frame(0x80, b"grpc-status: 8")].concat();
        stream.bridge_answers(200, grpc_web(), body);
    };
    for act in [by_headers as fn(&mut Stream), behind] {
        each(act, |stream, _| {
            told(stream, 503, Some("1"), "the bridge has as much to do as it may, try again")
        });
    }
}

/// What stands between, or the bridge where it does not take the call for one.
#[test]
fn an_answer_that_is_not_grpcs_is_told_by_its_status() {
    let answers =
        |status| move |stream: &mut Stream| stream.bridge_answers(status, Headers::default(), "<html>");
    for status in [401, 403, 404] {
        each(answers(status), |stream, _| {
            told(stream, 502, None, "the gateway and the bridge are not set up for each other");
        });
    }
    for status in [502, 503, 504] {
        each(answers(status), |stream, safe| match safe {
            true => told(stream, 503, Some("1"), "the connection to the bridge was lost, try again"),
            false => told(stream, 504, None, &format!("the connection to the bridge was lost{UNKNOWN}")),
        });
    }
    for status in [204, 500] {
        each(answers(status), |stream, safe| {
            let unknown = if safe { "" } else { UNKNOWN };
            told(stream, 502, None, &format!("the bridge ended with the gRPC status 2{unknown}"));
        });
    }
    each(answers(200), |stream, safe| {
        told(
            stream,
            502,
            None,
            &format!("the bridge's answer cannot be read{}", if safe { "" } else { UNKNOWN }),
        );
    });
}

/// nginx would put a page of its own in the place of an error without a body.
#[test]
fn an_error_of_the_bridges_without_a_body_is_no_page_of_nginxs() {
    let gateway = Gateway::apisix();
    for status in [200, 204, 301, 304, 404, 503] {
        let mut sent = gateway.request(request("GET", "/orders"));
        sent.answer(status, &[("x", "y")], "");
        let response = sent.answered();
        assert_eq!((u32::from(response.status()), response.headers.text("x")), (status, Some("y")));
        let empty = if matches!(status, 200 | 204 | 304) { "" } else { "\n" };
        assert_eq!(response.text(), empty, "{status}");
    }
}

#[test]
fn a_call_waits_for_one_request_alone_and_a_second_route_has_its_own() {
    let worker = apisix();
    let (first, second) = (worker.route(configuration(APISIX)), worker.route(configuration(APISIX)));
    let mut one = first.request(post("/orders"), "one");
    let mut two = second.request(post("/orders"), "two");
    assert_ne!(calling(&one).token, calling(&two).token);
    two.bridge_answers(200, grpc_web(), whole(&answer_of(200, &[], "two")));
    one.bridge_answers(200, grpc_web(), whole(&answer_of(200, &[], "one")));
    let text = |stream: &Stream| stream.outcome().response().map(|response| response.text());
    assert_eq!((text(&one), text(&two)), (Some("one".to_owned()), Some("two".to_owned())));
}

#[test]
fn a_removed_routes_context_is_gone_and_what_it_served_before_ends_as_it_began() {
    let worker = apisix();
    let (route, other) = (worker.route(configuration(APISIX)), worker.route(configuration(APISIX)));
    let (mut call, mut session) = (route.request(post("/orders"), "body"), route.request(upgrade(), ""));
    let forwarded = session.outcome();
    assert!(matches!(forwarded, Outcome::Forwarded(_)), "{forwarded:?}");
    let witness = other.request(post("/orders"), "witness");
    assert_eq!(worker.routes_in_use(), 2);
    drop(route);
    call.bridge_answers(200, grpc_web(), whole(&answer_of(200, &[], "ok")));
    assert_eq!(call.outcome().response().map(|response| response.status()), Some(200));
    drop(call);
    assert_eq!(session.outcome(), forwarded);
    assert!(session.upstream_answers(101, [("upgrade", "websocket")]).is_some());
    assert_eq!(worker.routes_in_use(), 2);
    drop(session);
    assert_eq!((worker.routes_in_use(), worker.open_streams()), (1, 1));
    calling(&witness);
    assert_eq!(worker.log(), []);
    Gateway::Apisix(worker, other).works();
}
