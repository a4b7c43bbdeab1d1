//! Plain HTTP: what the bridge is asked, and what the client is told.

use std::time::Duration;

use prost::Message;
use sluicegate_harness::{HostCall, Outcome, Status, Stream, Vm, When};
use sluicegate_protocol::cmd_http::Resource;
use sluicegate_protocol::{ErrorResp, HttpProduce, HttpRest, PubSubResp, pub_sub_resp::Resp};

use crate::plain::{
    PAGE, UNCONNECTED, answer, answer_of, call, command, headers, post, posted, request, told, works,
};
use crate::socket::{PROFILES, Profile, Socket, answered};

#[test]
fn a_body_becomes_a_call_and_its_answer_the_response() {
    for profile in PROFILES {
        let vm = profile.start();
        let stream = posted(&vm, "/orders?x=y", b"\0\xff");
        assert_eq!(stream.outcome(), Outcome::Waiting);
        let (call, command) = call(&vm);
        // Field 1 in field 1: `GrpcService.envoy_grpc.cluster_name`.
        assert_eq!(call.service, b"\x0a\x13\x0a\x11sluicegate_bridge");
        assert_eq!((call.service_name.as_str(), call.method.as_str()), ("sluicegate.v1.Bridge", "Call"));
        assert_eq!(call.timeout, Duration::from_secs(40));
        let want =
            [("sluicegate-cluster", "payments"), ("sluicegate-gateway-secret", "s3cret-of-the-gateway")];
        assert_eq!(call.metadata, want.into());
        assert_eq!((command.method.as_str(), &command.body[..]), ("POST", &b"\0\xff"[..]));
        let Some(Resource::Produce(produce)) = command.resource else { panic!("{command:?}") };
        let want = HttpProduce {
            topic: "orders".into(),
            header_prefix: "x-".into(),
            key_override: true,
            record_header_prefix: "r-".into(),
            ..HttpProduce::default()
        };
        assert_eq!(produce, want);

        answer(
            &vm,
            202,
            &[("content-type", "text/x"), ("x-a", "1"), ("x-a", "2"), ("connection", "close")],
            "ok",
        );
        let response = answered(&stream);
        assert_eq!((response.status(), response.text().as_str(), response.complete), (202, "ok", true));
        assert_eq!(response.headers.text("content-type"), Some("text/x"));
        let repeated = response.headers.iter().filter(|(name, _)| *name == b"x-a").count();
        assert_eq!((repeated, response.headers.get("connection")), (2, None));
        assert_eq!((stream.upstream_request(), stream.held_bytes()), (None, (0, 0)), "{profile:?}");
    }
}

#[test]
fn a_rest_resource_is_asked_for_with_its_query_and_the_routes_permission() {
    let check = |path: &str, want: &str, want_write: bool| {
        let vm = Profile::Tunnel.start();
        let _stream = vm.request(request("GET", path));
        let Some(Resource::Rest(HttpRest { path: got, write })) = call(&vm).1.resource else {
            panic!("{path}")
        };
        assert_eq!((got.as_str(), write), (want, want_write));
    };
    check("/kafka/topics/a%2Fb?x=y", "/topics/a%2Fb?x=y", true);
    check("/kafka", "", true);
    check("/kafka/", "/", true);
    check("/kafka?x", "?x", true);
    check("/public/topics", "/topics", false);
}

#[test]
fn requests_that_are_no_routes_pass() {
    for path in ["/orders/", "/orders/x", "/kafkas", "/", "/readyz"] {
        let vm = Profile::Tunnel.start();
        let mut stream = vm.request(post(path));
        stream.client_sends("body");
        assert!(matches!(stream.outcome(), Outcome::Forwarded(_)), "{path}: {:?}", stream.outcome());
        assert_eq!((stream.to_upstream(), vm.grpc_calls().len()), (b"body".to_vec(), 0));
    }
}

#[test]
fn only_headers_with_a_meaning_travel_in_lower_case_and_a_clients_word_on_the_cluster_does_not() {
    let vm = Profile::Tunnel.start();
    let request = request("POST", "/orders")
        .with("content-type", "application/json")
        .with("X-Key", b"\xfe")
        .with("r-a", "1")
        .with("R-a", "2")
        .with("authorization", "Bearer x")
        .with("sluicegate-cluster", "other")
        .with("sluicegate-gateway-secret", "guess");
    let _stream = vm.request(request);
    let (call, command) = call(&vm);
    let want = [("content-type", "application/json"), ("x-key", "\\xfe"), ("r-a", "1"), ("r-a", "2")];
    assert_eq!(headers(&command), want.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(call.metadata.text("sluicegate-cluster"), Some("payments"));
    assert_eq!(call.metadata.len(), 2);
}

#[test]
fn every_method_is_the_bridges_to_judge_and_asked_for_at_once() {
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let vm = Profile::Tunnel.start();
        let stream = vm.request(request(method, "/orders"));
        assert_eq!(call(&vm).1.method, method);
        answer(&vm, 405, &[("allow", "POST, OPTIONS")], "no\n");
        let response = answered(&stream);
        assert_eq!((response.status(), response.headers.text("allow")), (405, Some("POST, OPTIONS")));
        assert_eq!(response.text(), if method == "HEAD" { "" } else { "no\n" });
        assert_eq!(response.headers.text("content-length"), Some("3"));
    }
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
fn a_body_may_be_empty() {
    let vm = Profile::Tunnel.start();
    let check = |stream: Stream| {
        assert_eq!(&call(&vm).1.body[..], b"");
        answer(&vm, 200, &[], "ok");
        assert_eq!(answered(&stream).status(), 200);
    };
    check(posted(&vm, "/orders", ""));
    check(vm.request(request("POST", "/orders").with("content-length", "0")));
    check(vm.request(request("POST", "/orders")));
}

#[test]
fn a_path_that_is_not_utf8_is_no_plain_requests() {
    for path in [&b"/orders?\xff"[..], b"/kafka/topics/\xff"] {
        let vm = Profile::Tunnel.start();
        let stream =
            vm.request(request("GET", "/").without(":path").with(":path", path).with("origin", PAGE));
        told(&stream, 400, "the path is not UTF-8");
        let counts = ["http.requests", "http.refused", "handshakes_refused"];
        let counts = counts.map(|name| vm.metric(&format!("sluicegate.{name}")));
        assert_eq!((counts, vm.grpc_calls().len()), ([Some(1), Some(1), Some(0)], 0));
    }
}

/// An upgrade has no end: nothing may wait for one.
#[test]
fn an_upgrade_is_taken_for_a_plain_request_where_that_can_be() {
    for profile in PROFILES {
        let vm = profile.start();
        let upgrade = |method, path| {
            vm.request(request(method, path).with("upgrade", "websocket").with("connection", "upgrade"))
        };
        let mut stream = upgrade("GET", "/kafka/topics");
        stream.client_sends("frames");
        assert_eq!(&call(&vm).1.body[..], b"");
        answer(&vm, 200, &[], "[]");
        assert_eq!(answered(&stream).text(), "[]", "{profile:?}");
        told(&upgrade("POST", "/orders"), 400, "no upgrade is expected here");
        assert_eq!(vm.grpc_calls().len(), 0);
    }
}

/// Where it is not known whether a request was carried out, unless it only looked.
#[track_caller]
fn failing(act: impl Fn(&Vm), status: u16, retry_after: Option<&str>, detail: &str) {
    failed(act, true, status, retry_after, detail);
}

/// Where it surely was not.
#[track_caller]
fn refused(act: impl Fn(&Vm), status: u16, retry_after: Option<&str>, detail: &str) {
    failed(act, false, status, retry_after, detail);
}

#[track_caller]
fn failed(act: impl Fn(&Vm), begun: bool, status: u16, retry_after: Option<&str>, detail: &str) {
    for (method, safe) in [("GET", true), ("POST", false), ("DELETE", false)] {
        let vm = Profile::Tunnel.start();
        let stream = vm.request(request(method, "/orders").with("origin", PAGE));
        act(&vm);
        let unknown = begun && !safe;
        let outcome = if unknown { "; it is not known whether anything was written" } else { "" };
        told(&stream, status, &format!("{detail}{outcome}"));
        let response = answered(&stream);
        assert_eq!(response.text().contains(r#","unknown_outcome":true"#), unknown);
        assert_eq!(response.headers.text("retry-after"), retry_after);
        assert_eq!(response.headers.text("access-control-allow-origin"), Some(PAGE));
        assert_eq!(vm.metric("sluicegate.http.calls_failed"), Some(1));
        works(&vm);
    }
}

#[test]
fn a_call_that_fails_is_told_by_its_status() {
    let fails = |code| move |vm: &Vm| vm.fail_grpc_call(call(vm).0.token, code, "whatever");
    failing(fails(4), 504, None, "the bridge did not answer in time");
    for code in [0, 1, 2, 13, 77] {
        failing(fails(code), 502, None, &format!("the bridge ended with the gRPC status {code}"));
    }
}

#[test]
fn a_bridge_that_was_never_connected_is_told_from_one_that_was_lost() {
    let fails = |message| move |vm: &Vm| vm.fail_grpc_call(call(vm).0.token, 14, message);
    refused(fails(UNCONNECTED), 503, Some("1"), "the bridge cannot be reached, try again");
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

/// With these, the bridge says no before it begins.
#[test]
fn what_the_bridge_refused_was_surely_not_written() {
    let fails = |code| move |vm: &Vm| vm.fail_grpc_call(call(vm).0.token, code, "cluster x");
    refused(fails(8), 503, Some("1"), "the bridge has as much to do as it may, try again");
    refused(fails(10), 503, Some("1"), "the bridge is shutting down, try again");
    refused(fails(11), 413, None, "a smaller body is expected: the bridge takes none as large as this");
    for code in [3, 5, 7, 9, 12, 16] {
        refused(fails(code), 502, None, "the gateway and the bridge are not set up for each other");
    }
}

#[test]
fn a_bridge_that_was_not_there_until_the_time_was_over_did_not_answer_in_time() {
    let late = |vm: &Vm| {
        vm.advance(Duration::from_secs(40));
        vm.fail_grpc_call(call(vm).0.token, 14, "upstream request timeout");
    };
    failing(late, 504, None, "the bridge did not answer in time");
}

#[test]
fn an_answer_that_is_none_is_a_bad_gateway() {
    let answers = |message: Vec<u8>| move |vm: &Vm| vm.answer_grpc_call(call(vm).0.token, &message);
    let error = ErrorResp { message: "unknown command".into(), ..ErrorResp::default() };
    let old = PubSubResp { sequence: 0, resp: Some(Resp::ErrorResp(error)) };
    let unreadable = "the bridge's answer cannot be read";
    failing(answers(old.encode_to_vec()), 502, None, unreadable);
    failing(answers(vec![0xFF; 20]), 502, None, unreadable);
    failing(answers(Vec::new()), 502, None, unreadable);
    failing(answers(answer_of(101, &[], "")), 502, None, unreadable);
}

/// As Envoy does it where the bridge's cluster has nobody: the call is refused, and its end is told afterwards.
#[test]
fn a_call_that_cannot_even_be_made_was_not_written() {
    for status in [1, 2, 4, 6, 10, 12, 77] {
        let vm = Profile::Tunnel.start();
        vm.refuse(HostCall::GrpcCall, When::Nth(1), Status(status));
        let stream = posted(&vm, "/orders", "body");
        vm.fail_grpc_call(1, 14, "no healthy upstream");
        told(&stream, 503, "the bridge cannot be called");
        let response = answered(&stream);
        assert_eq!(response.headers.text("retry-after"), Some("1"));
        assert!(!response.text().contains("unknown_outcome"));
        works(&vm);
    }
}

#[test]
fn a_rest_resources_errors_are_errors_of_the_rest_proxies_too() {
    let vm = Profile::Tunnel.start();
    let fails = |accept: &str| {
        let stream = vm.request(request("GET", "/kafka/topics").with("accept", accept));
        vm.fail_grpc_call(call(&vm).0.token, 14, "");
        answered(&stream)
    };
    let response = fails("application/json");
    let members = r#""error_code":50003,"message":"the connection to the bridge was lost, try again"}"#;
    assert!(response.text().ends_with(members), "{response:?}");
    assert_eq!(response.headers.text("content-type"), Some("application/problem+json"));
    let response = fails("application/vnd.kafka.binary.v2+json");
    assert!(response.text().ends_with(members), "{response:?}");
    assert_eq!(response.headers.text("content-type"), Some("application/vnd.kafka.v2+json"));
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

#[test]
fn many_requests_at_once_get_each_its_own_answer() {
    let vm = Profile::Tunnel.start();
    let streams: Vec<_> = (0..500).map(|n| posted(&vm, "/orders", format!("{n}"))).collect();
    // The last first.
    for call in vm.grpc_calls().into_iter().rev() {
        let body = String::from_utf8(command(&call).body.to_vec()).unwrap();
        vm.answer_grpc_call(call.token, answer_of(200, &[], &body));
    }
    for (n, stream) in streams.iter().enumerate() {
        assert_eq!(answered(stream).text(), n.to_string());
    }
    assert_eq!(vm.metric("sluicegate.http.requests"), Some(500));
}

#[test]
fn a_large_answer_reaches_the_client_whole() {
    let vm = Profile::Tunnel.start();
    let stream = vm.request(request("GET", "/kafka/topics"));
    let body = "x".repeat(5 << 20);
    answer(&vm, 200, &[], &body);
    assert!(answered(&stream).text() == body);
}
