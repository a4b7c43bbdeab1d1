//! An upgrade that the bridge refuses, or Envoy in its place.

use sluicegate_harness::Headers;
use sluicegate_harness::envoy::{Outcome, Stream};

use crate::gateway::{PAGE, post, request};
use crate::socket::{PROFILES, Profile, Socket, accepted, sorted, start, upgrade};
use crate::wire;

#[test]
fn gateways_own_error_is_replaced() {
    for profile in PROFILES {
        let vm = profile.start();
        for (status, body) in [("503", "overflow"), ("504", "timeout!"), ("408", "timeout?")] {
            let mut stream = vm.request(upgrade());
            stream.upstream_headers([(":status", status), ("content-length", "8")], false);
            stream.upstream_sends(body, true);
            unreachable(&stream);
        }
        let mut stream = vm.request(upgrade());
        stream.upstream_resets();
        unreachable(&stream);
        let counts = ["bridge_refused", "handshakes_refused"];
        assert_eq!(counts.map(|name| vm.metric(&format!("sluicegate.{name}"))), [Some(4), Some(0)]);
        Socket::open_in(&vm, profile);
    }
}

/// The filter has a route that Envoy does not have.
#[test]
fn request_without_a_route_of_the_gateway_is_answered_with_a_sentence() {
    let vm = start();
    let words = "the filter has this route, but the gateway has none to the bridge for it\n";
    let get = request("GET", "/kafka/topics");
    for (headers, page) in
        [(upgrade(), None), (post("/orders").with("origin", PAGE), Some(PAGE)), (get, None)]
    {
        let mut stream = vm.request(headers.clone());
        stream.upstream_fails(404, "route_not_found");
        let response = stream.response().expect("an answer");
        assert_eq!((response.status(), response.text().as_str()), (404, words), "{headers:?}");
        assert_eq!(response.headers.text("access-control-allow-origin"), page, "{headers:?}");
        let mut stream = vm.request(headers);
        stream.upstream_fails(404, "via_upstream");
        assert_ne!(stream.response().expect("an answer").text(), words);
    }
}

#[track_caller]
fn unreachable(stream: &Stream) {
    let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
    assert_eq!(response.status(), 503);
    assert_eq!(response.text(), "the pub/sub bridge cannot be reached, try again\n");
    assert_eq!(response.headers.text("retry-after"), Some("1"));
    assert_eq!(response.headers.text("content-length"), Some("48"));
    assert!(response.complete);
}

#[test]
fn bridges_refusal_passes_unchanged() {
    let refusals = [
        (Headers::from([(":status", "503"), ("retry-after", "30")]), "draining\n"),
        ([(":status", "401")].into(), "a gateway secret is expected\n"),
        ([(":status", "404"), ("x-reason", "cluster")].into(), "no such cluster\n"),
        ([(":status", "429"), ("retry-after", "\u{fe}")].into(), ""),
        // The yes to a call, but not to an upgrade.
        ([(":status", "200"), ("content-type", "application/grpc")].into(), "\0\0\0\0\u{1}x"),
    ];
    let vms = PROFILES.map(Profile::start);
    for (vm, (headers, body)) in vms.iter().flat_map(|vm| refusals.iter().map(move |refusal| (vm, refusal))) {
        let mut stream = vm.request(upgrade());
        stream.upstream_headers(headers, false);
        stream.upstream_sends(body, true);
        let response = stream.response().expect("an answer");
        assert_eq!(sorted(&response.headers), sorted(headers));
        assert_eq!((response.text().as_str(), response.complete), (*body, true));
    }
}

#[test]
fn grpc_error_is_answered_503() {
    let vm = start();
    for grpc_status in ["16", "0", ""] {
        let mut stream = vm.request(upgrade());
        let answer = accepted().with("grpc-status", grpc_status).with("grpc-message", "no");
        stream.upstream_headers(answer, true);
        unreachable(&stream);
    }
}

#[test]
fn bytes_of_a_refused_client_do_not_reach_the_bridge() {
    let vm = start();
    let mut stream = vm.request(upgrade());
    stream.upstream_headers([(":status", "401")], false);
    stream.client_sends(wire::from_client(wire::BINARY, b"raw"));
    assert_eq!(stream.to_upstream(), b"");
    stream.upstream_sends("who are you?\n", true);
    assert_eq!(stream.response().expect("an answer").text(), "who are you?\n");
}

#[test]
fn status_that_is_not_text_opens_no_session() {
    let vm = start();
    let mut stream = vm.request(upgrade());
    stream.upstream_headers(Headers::default().with(":status", b"\xff\xfe"), true);
    assert_eq!(vm.metric("sluicegate.sessions_total"), Some(0));
    Socket::open(&vm).works();
}
