//! Plain HTTP in Envoy: its gRPC calls, and how they end in its own words.

use std::time::Duration;

use sluicegate_harness::{HostCall, Outcome, Status, Vm, When};

use crate::plain::{UNCONNECTED, answer, answer_of, call, post, posted, request, told, works};
use crate::socket::{PROFILES, Profile, Socket, answered};

#[test]
fn a_body_is_taken_as_it_comes_and_the_call_is_grpcs() {
    for profile in PROFILES {
        let vm = profile.start();
        let stream = posted(&vm, "/orders", "body");
        assert_eq!(stream.outcome(), Outcome::Waiting);
        let (call, _) = call(&vm);
        // Field 1 in field 1: `GrpcService.envoy_grpc.cluster_name`.
        assert_eq!(call.service, b"\x0a\x13\x0a\x11sluicegate_bridge");
        assert_eq!((call.service_name.as_str(), call.method.as_str()), ("sluicegate.v1.Bridge", "Call"));
        answer(&vm, 200, &[], "ok");
        assert_eq!(answered(&stream).headers.text("content-length"), Some("2"));
        assert_eq!((stream.upstream_request(), stream.held_bytes()), (None, (0, 0)), "{profile:?}");
    }
}

#[test]
fn what_is_no_routes_passes_with_its_body() {
    let vm = Profile::Tunnel.start();
    let mut stream = vm.request(post("/orders/x"));
    stream.client_sends("body");
    assert_eq!(stream.to_upstream(), b"body");
}

/// An upgrade has no end, and what comes behind its headers is not the request's.
#[test]
fn what_follows_an_upgrade_that_is_a_plain_request_is_dropped() {
    let vm = Profile::Tunnel.start();
    let upgrade = request("GET", "/kafka/topics").with("upgrade", "websocket").with("connection", "upgrade");
    let mut stream = vm.request(upgrade);
    stream.client_sends("frames");
    assert_eq!(&call(&vm).1.body[..], b"");
    answer(&vm, 200, &[], "[]");
    assert_eq!((answered(&stream).text().as_str(), stream.upstream_request()), ("[]", None));
}

#[test]
fn a_status_of_0_without_a_message_is_no_answer() {
    for (method, outcome) in [("GET", ""), ("POST", "; it is not known whether anything was written")] {
        let vm = Profile::Tunnel.start();
        let stream = vm.request(request(method, "/orders"));
        vm.fail_grpc_call(call(&vm).0.token, 0, "");
        told(&stream, 502, &format!("the bridge ended with the gRPC status 0{outcome}"));
    }
}

#[test]
fn an_answer_to_head_has_the_length_of_what_is_left_out() {
    let vm = Profile::Tunnel.start();
    let stream = vm.request(request("HEAD", "/orders"));
    answer(&vm, 405, &[], "no\n");
    let response = answered(&stream);
    assert_eq!((response.text().as_str(), response.headers.text("content-length")), ("", Some("3")));
}

#[test]
fn a_body_that_ends_with_trailers_is_complete() {
    let vm = Profile::Tunnel.start();
    let mut stream = vm.http2_request(request("POST", "/orders"), false);
    stream.client_sends("body");
    stream.client_trailers([("x", "y")]);
    assert_eq!(&call(&vm).1.body[..], b"body");
    answer(&vm, 200, &[], "ok");
    assert_eq!((answered(&stream).status(), stream.upstream_request()), (200, None));
}

#[test]
fn a_bridge_that_was_never_connected_is_told_from_one_that_was_lost() {
    let fails = |message| move |vm: &Vm| vm.fail_grpc_call(call(vm).0.token, 14, message);
    for method in ["GET", "POST"] {
        let vm = Profile::Tunnel.start();
        let stream = vm.request(request(method, "/orders"));
        fails(UNCONNECTED)(&vm);
        told(&stream, 503, "the bridge cannot be reached, try again");
        let response = answered(&stream);
        assert_eq!(response.headers.text("retry-after"), Some("1"));
        assert!(!response.text().contains("unknown_outcome"), "{method}");
    }
    let lost =
        "upstream connect error or disconnect/reset before headers. reset reason: connection termination";
    for (method, status, retry_after, detail) in [
        ("GET", 503, Some("1"), "the connection to the bridge was lost, try again"),
        (
            "POST",
            504,
            None,
            "the connection to the bridge was lost; it is not known whether anything was written",
        ),
    ] {
        let vm = Profile::Tunnel.start();
        let stream = vm.request(request(method, "/orders"));
        fails(lost)(&vm);
        told(&stream, status, detail);
        assert_eq!(answered(&stream).headers.text("retry-after"), retry_after);
    }
    // What is not said is not known.
    let vm = Profile::Tunnel.start();
    vm.refuse(HostCall::GetStatus, When::Always, Status::INTERNAL_FAILURE);
    let stream = vm.request(request("POST", "/orders"));
    fails(UNCONNECTED)(&vm);
    assert!(answered(&stream).text().contains(r#""status":504"#));
}

#[test]
fn a_bridge_that_was_not_there_until_the_time_was_over_did_not_answer_in_time() {
    for (method, outcome) in [("GET", ""), ("POST", "; it is not known whether anything was written")] {
        let vm = Profile::Tunnel.start();
        let stream = vm.request(request(method, "/orders"));
        vm.advance(Duration::from_secs(40));
        vm.fail_grpc_call(call(&vm).0.token, 14, "upstream request timeout");
        told(&stream, 504, &format!("the bridge did not answer in time{outcome}"));
        works(&vm);
    }
}

#[test]
fn a_client_that_does_not_wait_harms_nobody() {
    for profile in PROFILES {
        let vm = profile.start();
        let mut witness = Socket::open(&vm, profile);
        let mut writing = posted(&vm, "/orders", "body");
        let (asked, _) = call(&vm);
        writing.client_resets();
        assert_eq!(vm.grpc_calls().len(), 1, "a write under way is not called back");
        vm.answer_grpc_call(asked.token, answer_of(200, &[], "late"));
        vm.fail_grpc_call(asked.token, 14, "later");

        let reading = vm.request(request("GET", "/kafka/topics"));
        let (asked, _) = call(&vm);
        drop(reading);
        assert_eq!(vm.grpc_calls().len(), 0, "a read that nobody waits for is called back");
        vm.answer_grpc_call(asked.token, answer_of(200, &[], "late"));
        vm.fail_grpc_call(asked.token, 14, "later");
        assert_eq!(vm.log(), [], "{profile:?}");
        witness.works();
        works(&vm);
    }
}

#[test]
fn answers_to_calls_that_nobody_made_are_ignored() {
    let vm = Profile::Tunnel.start();
    let stream = posted(&vm, "/orders", "body");
    for token in [0, 99, u32::MAX] {
        vm.answer_grpc_call(token, answer_of(200, &[], "forged"));
        vm.fail_grpc_call(token, 14, "forged");
    }
    assert_eq!(stream.outcome(), Outcome::Waiting);
    answer(&vm, 200, &[], "ok");
    assert_eq!(answered(&stream).text(), "ok");
}
