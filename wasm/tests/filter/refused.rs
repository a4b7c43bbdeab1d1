//! An upgrade that the bridge refuses, or Envoy in its place.

use sluicegate_harness::Headers;
use sluicegate_harness::envoy::{Stream, Vm};

use crate::socket::{PROFILES, Profile, Socket, answered, sorted, upgrade};
use crate::wire;

#[test]
fn unreachable_bridge_is_answered_503_with_retry_after() {
    for profile in PROFILES {
        let vm = profile.start();
        let mut stream = vm.request(upgrade());
        stream.upstream_resets();
        unreachable(&stream);
        assert_eq!(vm.metric("sluicegate.bridge_refused"), Some(1));
        Socket::open(&vm, profile).works();
    }
}

#[test]
fn proxys_own_error_is_replaced() {
    for profile in PROFILES {
        let vm = profile.start();
        for (status, body) in [("503", "overflow"), ("504", "timeout!"), ("408", "timeout?")] {
            let mut stream = vm.request(upgrade());
            stream.upstream_headers([(":status", status), ("content-length", "8")], false);
            stream.upstream_sends(body, true);
            unreachable(&stream);
        }
    }
}

/// The filter has a route that Envoy does not have.
#[test]
fn upgrade_without_a_route_of_the_gateway_is_answered_with_a_sentence() {
    for profile in PROFILES {
        let vm = profile.start();
        let mut stream = vm.request(upgrade());
        stream.upstream_fails(404, "route_not_found");
        let response = answered(&stream);
        let words = "the filter has this route, but the gateway has none to the bridge for it\n";
        assert_eq!((response.status(), response.text().as_str()), (404, words), "{profile:?}");
        let mut stream = vm.request(upgrade());
        stream.upstream_fails(404, "via_upstream");
        assert_ne!(stream.response().expect("an answer").text(), words, "{profile:?}");
    }
}

#[track_caller]
pub(crate) fn unreachable(stream: &Stream) {
    let response = answered(stream);
    assert_eq!(response.status(), 503);
    assert_eq!(response.text(), "the pub/sub bridge cannot be reached, try again\n");
    assert_eq!(response.headers.text("retry-after"), Some("1"));
    assert_eq!(response.headers.text("content-length"), Some("48"));
    assert!(response.complete);
}

#[test]
fn bridges_refusal_passes_unchanged() {
    for profile in PROFILES {
        let vm = profile.start();
        let full = Headers::from([(":status", "503"), ("retry-after", "30")]);
        passes(&vm, profile, full, "draining\n");
        passes(&vm, profile, [(":status", "401")].into(), "a gateway secret is expected\n");
        passes(&vm, profile, [(":status", "404"), ("x-reason", "cluster")].into(), "no such cluster\n");
        passes(&vm, profile, [(":status", "429"), ("retry-after", "\u{fe}")].into(), "");
        // The yes to a call, but not to an upgrade.
        let call = Headers::from([(":status", "200"), ("content-type", "application/grpc")]);
        passes(&vm, profile, call, "\0\0\0\0\u{1}x");
    }

    #[track_caller]
    fn passes(vm: &Vm, profile: Profile, headers: Headers, body: &str) {
        let mut stream = vm.request(upgrade());
        stream.upstream_headers(&headers, false);
        stream.upstream_sends(body, true);
        let response = stream.response().expect("an answer");
        assert_eq!(sorted(&response.headers), sorted(&headers), "{profile:?}");
        assert_eq!((response.text().as_str(), response.complete), (body, true), "{profile:?}");
    }
}

#[test]
fn grpc_error_is_answered_503() {
    let vm = Profile::Tunnel.start();
    for grpc_status in ["16", "0", ""] {
        let mut stream = vm.request(upgrade());
        let answer = Profile::Tunnel.accepted().with("grpc-status", grpc_status).with("grpc-message", "no");
        stream.upstream_headers(answer, true);
        unreachable(&stream);
    }
}

#[test]
fn bytes_of_a_refused_client_do_not_reach_the_bridge() {
    for profile in PROFILES {
        let vm = profile.start();
        let mut stream = vm.request(upgrade());
        stream.upstream_headers([(":status", "401")], false);
        stream.client_sends(wire::from_client(wire::BINARY, b"raw"));
        assert_eq!(stream.to_upstream(), b"", "{profile:?}");
        stream.upstream_sends("who are you?\n", true);
        assert_eq!(stream.response().expect("an answer").text(), "who are you?\n");
    }
}

#[test]
fn status_that_is_not_text_opens_no_session() {
    for profile in PROFILES {
        let vm = profile.start();
        let mut stream = vm.request(upgrade());
        stream.upstream_headers(Headers::default().with(":status", b"\xff\xfe"), true);
        assert_eq!(vm.metric("sluicegate.sessions_total"), Some(0), "{profile:?}");
        Socket::open(&vm, profile).works();
    }
}
