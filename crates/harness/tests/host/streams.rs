//! The life of a stream: forwarded, held, answered and reset, with the filter's callbacks.

use std::time::Duration;

use sluicegate_harness::Headers;
use sluicegate_harness::envoy::Outcome;

use crate::support::{get, list, log, ok, post, start, upgrade};

const TOLD: [(&str, &str); 3] = [
    ("log", "(call $say 'log')"),
    ("done", "(call $say 'done') (i32.const 1)"),
    ("delete", "(call $say 'delete')"),
];

fn respond(status: u32) -> String {
    let headers = list(&[("retry-after", "1")]);
    format!("(call $code (call $respond (i32.const {status}) 'why' 'no' '{headers}' (i32.const -1)))")
}

#[test]
fn answered_request_ends_with_log_done_and_delete() {
    let vm = start(&TOLD);
    let mut stream = vm.request(get());
    assert!(stream.upstream_has_all());
    stream.upstream_headers(ok(), false);
    stream.upstream_sends("body", false);
    assert!(!stream.is_finished());
    stream.upstream_sends("", true);
    let response = stream.response().unwrap();
    assert_eq!((response.status(), response.text().as_str(), response.complete), (200, "body", true));
    assert_eq!(log(&vm), ["log", "done", "delete"]);
    assert!(stream.is_finished() && !stream.is_reset());
    assert_eq!(vm.open_streams(), 0);
}

#[test]
fn dropped_stream_is_a_disconnect() {
    let vm = start(&TOLD);
    drop(vm.request(post()));
    assert_eq!(log(&vm), ["log", "done", "delete"]);
}

#[test]
fn local_response_passes_the_filters_own_response_callbacks() {
    let vm = start(&[
        ("request_headers", &format!("{} (i32.const 0)", respond(400))),
        ("request_body", "(call $say 'never') (i32.const 0)"),
        ("response_headers", "(call $show (i32.const 2) ':status') (i32.const 0)"),
        ("response_body", "(call $body (i32.const 1)) (i32.const 0)"),
    ]);
    let mut stream = vm.request(post());
    stream.client_sends("ignored");
    let Outcome::Answered(response) = stream.outcome() else { panic!("{:?}", stream.outcome()) };
    let headers =
        [(":status", "400"), ("retry-after", "1"), ("content-length", "2"), ("content-type", "text/plain")];
    assert_eq!(response.headers, Headers::from(headers));
    assert_eq!((response.text().as_str(), response.complete), ("no", true));
    assert_eq!((stream.upstream_request(), stream.to_upstream()), (None, vec![]));
    assert_eq!(log(&vm), ["00", "00", "400", "00", "no"]);
    assert_eq!(stream.pauses(), [""; 0]);
}

#[test]
fn local_response_to_a_response_skips_the_filter() {
    let vm = start(&[
        ("response_headers", &format!("{} (i32.const 0)", respond(502))),
        ("response_body", "(call $say 'never') (i32.const 0)"),
    ]);
    let mut stream = vm.request(get());
    stream.upstream_headers(ok(), false);
    stream.upstream_sends("ignored", true);
    let response = stream.response().unwrap();
    assert_eq!((response.status(), response.text().as_str()), (502, "no"));
    assert_eq!(log(&vm), ["00"]);
}

#[test]
fn local_response_after_the_headers_is_a_reset() {
    let vm = start(&[("response_body", &format!("{} (i32.const 0)", respond(502)))]);
    let mut stream = vm.request(upgrade());
    stream.upstream_headers([(":status", "101")], false);
    stream.upstream_sends("lost", false);
    assert_eq!(stream.outcome(), Outcome::Reset);
    assert_eq!(stream.to_client(), b"");
}

#[test]
fn held_request_keeps_its_body_until_it_continues() {
    let vm = start(&[
        ("request_headers", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
        ("request_body", "(call $body (i32.const 0)) (i32.const 0)"),
        ("tick", "(drop (call $effective (i32.const 2))) (drop (call $continue (i32.const 0)))"),
    ]);
    let mut stream = vm.request(post());
    stream.client_sends("ab");
    stream.client_sends("cd");
    stream.client_ends();
    assert_eq!((stream.outcome(), log(&vm)), (Outcome::Waiting, vec![]));
    vm.advance(Duration::from_millis(10));
    assert!(matches!(stream.outcome(), Outcome::Forwarded(_)));
    assert_eq!((stream.to_upstream(), stream.upstream_has_all()), (b"abcd".to_vec(), true));
    assert_eq!(log(&vm), ["00", "abcd"]);
    assert_eq!(stream.pauses(), ["proxy_on_request_headers"]);
}

#[test]
fn held_request_without_a_body_ends_when_it_continues() {
    let vm = start(&[
        ("request_headers", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
        ("request_body", "(call $say 'never') (i32.const 0)"),
        ("tick", "(drop (call $effective (i32.const 2))) (drop (call $continue (i32.const 0)))"),
    ]);
    let stream = vm.request(get());
    vm.advance(Duration::from_millis(10));
    assert!(stream.upstream_has_all());
    assert_eq!(log(&vm), [""; 0]);
}

#[test]
fn held_trailers_reach_the_filter_when_it_continues() {
    let vm = start(&[
        ("request_headers", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
        ("request_body", "(call $body (i32.const 0)) (call $code (local.get $last)) (i32.const 0)"),
        ("request_trailers", "(call $show (i32.const 1) 'a') (i32.const 0)"),
        ("tick", "(drop (call $effective (i32.const 2))) (drop (call $continue (i32.const 0)))"),
    ]);
    let mut stream = vm.request(post());
    stream.client_sends("body");
    stream.client_trailers([("a", "b")]);
    assert_eq!(log(&vm), [""; 0]);
    vm.advance(Duration::from_millis(10));
    assert_eq!(log(&vm), ["00", "body", "00", "00", "b"]);
    assert_eq!(stream.trailers_to_upstream(), Some(Headers::from([("a", "b")])));
    assert!(stream.upstream_has_all());
}

#[test]
fn unsent_local_response_still_stops_the_stream() {
    let nowhere = format!("(drop (call $effective (i32.const 1))) {} (i32.const 0)", respond(400));
    for callback in ["response_headers", "response_body", "response_trailers"] {
        let vm = start(&[(callback, &nowhere)]);
        let mut stream = vm.request(get());
        stream.upstream_headers(ok(), false);
        stream.upstream_sends("body", false);
        assert_eq!(stream.to_client().is_empty(), callback != "response_trailers", "{callback}");
        stream.upstream_trailers([("a", "b")]);
        assert_eq!(stream.response().is_none(), callback == "response_headers", "{callback}");
        // A body that was dropped stops nothing behind it: the trailers release the rest.
        assert_eq!(stream.is_finished(), callback == "response_body", "{callback}");
    }
}

#[test]
fn pause_with_a_local_response_is_not_counted() {
    let vm = start(&[("request_headers", &format!("{} (i32.const 1)", respond(400)))]);
    assert_eq!(vm.request(get()).pauses(), [""; 0]);
    let nowhere = format!("(drop (call $effective (i32.const 1))) {} (i32.const 1)", respond(400));
    let vm = start(&[("request_headers", &nowhere)]);
    assert_eq!(vm.request(get()).pauses(), [""; 0]);
}

#[test]
fn action_2_continues_and_unknown_actions_stop() {
    let check = |answer: &str, want: bool| {
        let vm = start(&[("request_headers", answer)]);
        assert_eq!(vm.request(get()).upstream_request().is_some(), want, "{answer}");
    };
    check("(i32.const 2)", true);
    check("(i32.const 4)", false);
    check("(i32.const 77)", false);
}

#[test]
fn held_trailers_follow_the_body() {
    let vm = start(&[
        ("response_trailers", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
        ("tick", "(drop (call $effective (i32.const 2))) (drop (call $continue (i32.const 1)))"),
    ]);
    let mut stream = vm.request(get());
    stream.upstream_headers(ok(), false);
    stream.upstream_sends("body", false);
    stream.upstream_trailers([("grpc-status", "0")]);
    assert!(!stream.is_finished());
    vm.advance(Duration::from_millis(10));
    let response = stream.response().unwrap();
    assert_eq!(response.trailers.unwrap().text("grpc-status"), Some("0"));
    assert!(response.complete);
}

#[test]
fn upgrade_calls_the_body_once_with_nothing() {
    let vm = start(&[(
        "request_body",
        "(call $code (local.get $size)) (call $code (local.get $last)) (i32.const 0)",
    )]);
    let stream = vm.request(upgrade());
    assert_eq!(log(&vm), ["00", "00"]);
    assert!(!stream.upstream_has_all());
}

#[test]
fn held_upgrade_has_no_body_yet() {
    let vm =
        start(&[("request_headers", "(i32.const 1)"), ("request_body", "(call $say 'never') (i32.const 0)")]);
    let _stream = vm.request(upgrade());
    assert_eq!(log(&vm), [""; 0]);
}

#[test]
fn response_101_keeps_its_upgrade_if_the_request_has_one() {
    let answer = || Headers::from([(":status", "101"), ("upgrade", "websocket"), ("connection", "upgrade")]);
    let check = |callback: &str, want: Headers| {
        let vm = start(&[("request_headers", callback)]);
        let mut stream = vm.request(upgrade());
        stream.upstream_headers(answer().with("transfer-encoding", "chunked"), false);
        assert_eq!(stream.response().unwrap().headers, want);
    };
    check("(i32.const 0)", answer());
    check("(drop (call $remove (i32.const 0) 'upgrade')) (i32.const 0)", Headers::from([(":status", "101")]));
}

#[test]
fn unreachable_upstream_is_a_503_that_passes_the_filter() {
    let vm = start(&[("response_headers", "(call $show (i32.const 2) ':status') (i32.const 0)")]);
    let mut stream = vm.request(upgrade());
    stream.upstream_resets();
    let response = stream.response().unwrap();
    assert_eq!((response.status(), response.complete), (503, true));
    assert!(response.text().starts_with("upstream connect error"));
    assert_eq!(log(&vm), ["00", "503"]);
}

#[test]
fn upstream_lost_in_a_response_resets_the_client() {
    let callbacks = [&TOLD[..], &[("response_body", "(call $say 'body') (i32.const 0)")]].concat();
    let vm = start(&callbacks);
    let mut stream = vm.request(upgrade());
    stream.upstream_headers([(":status", "101")], false);
    stream.upstream_resets();
    assert!(stream.is_reset());
    assert_eq!(log(&vm), ["log", "done", "delete"]);
}

#[test]
fn closed_stream_is_reset_after_the_callback() {
    let vm = start(&[("request_body", "(drop (call $close (i32.const 0))) (i32.const 0)")]);
    let mut stream = vm.request(post());
    stream.client_sends("a");
    assert_eq!(stream.outcome(), Outcome::Reset);
    assert_eq!(stream.to_upstream(), b"");
}

#[test]
fn http_streams_are_not_tcp_streams() {
    let vm = start(&[(
        "request_headers",
        "(call $code (call $continue (i32.const 2))) (call $code (call $continue (i32.const 3)))
         (call $code (call $continue (i32.const 4))) (call $code (call $close (i32.const 2)))
         (call $code (call $close (i32.const 4))) (i32.const 0)",
    )]);
    let stream = vm.request(get());
    assert_eq!(log(&vm), ["00", "12", "02", "00", "02"]);
    assert!(!stream.is_reset());
}

#[test]
fn head_request_is_answered_without_a_body() {
    let vm = start(&[("request_headers", &format!("{} (i32.const 0)", respond(403)))]);
    let stream = vm.request([(":method", "HEAD"), (":path", "/")]);
    let response = stream.response().unwrap();
    assert_eq!((response.status(), response.body, response.complete), (403, vec![], true));
}

#[test]
fn grpc_client_gets_a_grpc_reply_whatever_its_request_became() {
    let check = |content_type: &str, want: Option<&str>| {
        let retype = "(drop (call $replace (i32.const 0) 'content-type' 'application/grpc')) (i32.const 0)";
        let vm = start(&[("request_headers", retype)]);
        let mut stream = vm.request(get().with("content-type", content_type));
        stream.upstream_resets();
        assert_eq!(stream.response().unwrap().headers.text("grpc-status"), want);
    };
    check("application/grpc", Some("14"));
    check("text/plain", None);
}

#[test]
fn local_response_carries_the_given_grpc_status() {
    let check = |given: i32, want: &str| {
        let vm = start(&[(
            "request_headers",
            &format!("(drop (call $respond (i32.const 503) '' 'no' '' (i32.const {given}))) (i32.const 1)"),
        )]);
        let stream = vm.request(get().with("content-type", "application/grpc"));
        assert_eq!(stream.response().unwrap().headers.text("grpc-status"), Some(want), "{given}");
    };
    check(-1, "14");
    check(8, "8");
    check(17, "14");
}

#[test]
fn response_without_a_status_is_a_502() {
    let vm = start(&[("response_headers", "(drop (call $remove (i32.const 2) ':status')) (i32.const 0)")]);
    let mut stream = vm.request(get());
    stream.upstream_headers(ok(), false);
    assert_eq!(stream.response().unwrap().status(), 502);
}

#[test]
fn request_is_dropped_after_the_responses_end() {
    let vm = start(&[
        ("request_body", "(call $body (i32.const 0)) (i32.const 0)"),
        ("response_headers", "(i32.const 1)"),
    ]);
    let mut stream = vm.request(post());
    stream.upstream_headers(ok(), true);
    stream.client_sends("late");
    assert_eq!((log(&vm), stream.to_upstream()), (vec![], vec![]));
    assert!(!stream.is_finished());
}

#[test]
fn upstream_lost_with_held_headers_is_a_503_unseen_by_the_filter() {
    let vm = start(&[("response_headers", "(call $say 'headers') (i32.const 1)")]);
    let mut stream = vm.request(get());
    stream.upstream_headers(ok(), false);
    stream.upstream_resets();
    assert_eq!(stream.response().unwrap().status(), 503);
    assert_eq!(log(&vm), ["headers"]);
}

#[test]
fn response_details_name_its_origin() {
    let look = "(call $answer (call $property 'response\\00code_details' (i32.const 1032) (i32.const 1036)))
        (call $answer (call $property 'source\\00address' (i32.const 1032) (i32.const 1036))) (i32.const 0)";
    let vm = start(&[("request_headers", look), ("response_headers", look)]);
    vm.request(get()).upstream_headers(ok(), true);
    let client = ["00", "10.0.0.9:50000"];
    let mut want = [&["01"][..], &client, &["00", "via_upstream"], &client].concat();
    assert_eq!(log(&vm), want);
    let mut stream = vm.request(get());
    stream.upstream_fails(504, "response_timeout");
    assert_eq!(stream.response().map(|response| response.status()), Some(504));
    want.extend([&["01"][..], &client, &["00", "response_timeout"], &client].concat());
    assert_eq!(log(&vm), want);
}
