//! `proxy_http_call`: how it is registered, sent and answered.

use std::time::Duration;

use sluicegate_harness::Headers;
use sluicegate_harness::apisix::{Call, Outcome, Stream};

use super::support::{answered, call, called, forwarded, get, log, lost, start};
use crate::support::list;

#[track_caller]
fn calling(stream: &Stream) -> Call {
    match stream.outcome() {
        Outcome::Calling(call) => call,
        other => panic!("{other:?}"),
    }
}

/// What a callback for an answer can see: its arguments, its status header and its body.
const LOOK: &str = "(call $code (local.get $id)) (call $code (local.get $token)) (call $code (local.get $headers))
    (call $code (local.get $body)) (call $show (i32.const 6) ':status') (call $show (i32.const 6) 'X')
    (call $answer (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 1032) (i32.const 1036)))";

#[test]
fn a_call_is_sent_as_lua_resty_http_sends_it() {
    let (_worker, route) =
        start(&[("request_headers", &format!("{} (i32.const 1)", call(&[("x", "1"), ("x", "2")])))]);
    let call = calling(&route.request(get(), ""));
    let headers = [
        ("host", "bridge"),
        ("x", "1"),
        ("x", "2"),
        ("content-length", "3"),
        ("user-agent", "lua-resty-http"),
    ];
    let want = Call {
        token: 0,
        url: "http://bridge:7400/p".to_owned(),
        method: "POST".to_owned(),
        headers: headers.into(),
        body: b"ask".to_vec(),
        timeout: Duration::from_secs(5),
    };
    assert_eq!(call, want);
}

#[test]
fn an_answer_is_told_to_the_plugins_context_and_then_the_request_goes_on_by_itself() {
    let (worker, route) =
        start(&[("request_headers", &format!("{} (i32.const 1)", call(&[]))), ("http_call_response", LOOK)]);
    let mut stream = route.request(get(), "");
    stream.bridge_answers(200, [("x", "1"), ("y", "2")], "answer");
    forwarded(&stream);
    assert_eq!(log(&worker), ["00", "01", "00", "03", "06", "00", "200", "00", "1", "00", "answer"]);
}

#[test]
fn whatever_fails_is_no_headers_and_no_body() {
    let (worker, route) =
        start(&[("request_headers", &format!("{} (i32.const 0)", call(&[]))), ("http_call_response", LOOK)]);
    let mut stream = route.request(get(), "");
    stream.bridge_fails();
    forwarded(&stream);
    assert_eq!(log(&worker), ["00", "01", "00", "00", "00", "01", "01", "01"]);
    // There is nothing more to answer.
    stream.bridge_fails();
    assert_eq!(log(&worker).len(), 8);
}

#[test]
fn an_answer_without_a_body_has_no_buffer() {
    let (worker, route) =
        start(&[("request_headers", &format!("{} (i32.const 0)", call(&[]))), ("http_call_response", LOOK)]);
    let mut stream = route.request(get(), "");
    stream.bridge_answers(200, Headers::default(), "");
    assert_eq!(log(&worker)[3..], ["01", "00", "00", "200", "01", "01"]);
    let mut stream = route.request(get(), "");
    stream.bridge_answers(204, Headers::default(), "not read");
    assert_eq!(log(&worker)[12..], ["01", "00", "00", "204", "01", "01"]);
}

#[test]
fn a_callback_that_traps_is_503_and_one_that_answers_is_an_answer() {
    let (worker, route) = start(&[
        ("request_headers", &format!("{} (i32.const 0)", call(&[]))),
        ("http_call_response", "unreachable"),
    ]);
    let mut stream = route.request(get(), "");
    stream.bridge_fails();
    assert_eq!(stream.outcome(), super::support::UNAVAILABLE);
    assert_eq!(worker.trap().expect("a trap").callback, "proxy_on_http_call_response");

    let respond = "(drop (call $respond (i32.const 200) '' 'yes' '' (i32.const -1)))";
    let (_worker, route) = start(&[
        ("request_headers", &format!("{} (i32.const 0)", call(&[]))),
        ("http_call_response", respond),
    ]);
    let mut stream = route.request(get(), "");
    stream.bridge_fails();
    assert_eq!(answered(&stream).text(), "yes");
}

#[test]
fn a_trap_is_masked_by_a_call() {
    let (worker, route) = start(&[("request_headers", &format!("{} unreachable", call(&[])))]);
    let mut stream = route.request(get(), "");
    assert!(worker.trap().is_some());
    calling(&stream);
    stream.bridge_fails();
    forwarded(&stream);
}

#[test]
fn there_is_one_call_at_a_time_and_the_next_from_its_callback_with_tokens_from_0() {
    let (worker, route) = start(&[
        ("request_headers", &format!("{} {} (i32.const 0)", call(&[]), call(&[]))),
        ("http_call_response", &format!("(if (i32.eqz (local.get $token)) (then {}))", call(&[]))),
    ]);
    let mut stream = route.request(get(), "");
    assert_eq!((log(&worker), calling(&stream).token), (vec!["00".to_owned(), "10".to_owned()], 0));
    stream.bridge_fails();
    assert_eq!(calling(&stream).token, 1);
    stream.bridge_fails();
    forwarded(&stream);
    assert_eq!(calling(&route.request(get(), "")).token, 2);
}

#[test]
fn two_requests_wait_at_the_same_time_and_each_gets_its_own_answer() {
    let respond = "(drop (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 1032) (i32.const 1036)))
        (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.load (i32.const 1032)) (i32.load (i32.const 1036))
          '' (i32.const -1)))";
    let (_worker, route) = start(&[
        ("request_headers", &format!("{} (i32.const 0)", call(&[]))),
        ("http_call_response", respond),
    ]);
    let (mut first, mut second) = (route.request(get(), ""), route.request(get(), ""));
    assert_eq!((calling(&first).token, calling(&second).token), (0, 1));
    second.bridge_answers(200, Headers::default(), "second");
    first.bridge_answers(200, Headers::default(), "first");
    assert_eq!((answered(&first).text().as_str(), answered(&second).text().as_str()), ("first", "second"));
}

#[test]
fn a_call_that_cannot_be_registered_says_why_it_cannot() {
    let headers = list(&[(":path", "/"), (":method", "GET"), (":scheme", "http")]);
    let call = |upstream: &str, timeout: &str| {
        format!(
            "(call $code (call $http '{upstream}' '{headers}' '' '' (i32.const {timeout}) (i32.const 2048)))"
        )
    };
    let all =
        ["https://bridge:7400", "bridge:7400/x", "", "bridge:0"].map(|upstream| call(upstream, "1")).concat();
    let last = call("bridge:7400", "-1");
    let late = call("bridge:7400", "1");
    let (worker, route) = start(&[
        ("configure", &format!("{late} (i32.const 1)")),
        ("request_headers", &format!("{all} {last} (i32.const 0)")),
        ("response_headers", &format!("{late} (i32.const 0)")),
        ("delete", &late),
    ]);
    let mut stream = route.request(get(), "");
    forwarded(&stream);
    stream.upstream_answers(200, Headers::default());
    drop(stream);
    assert_eq!(log(&worker), ["02", "02", "02", "02", "02", "10", "02", "02"]);
}

#[test]
fn a_call_that_http_does_not_allow_fails_at_once() {
    let odd = [(":method", "GET"), (":path", "/a b"), (":scheme", "http")];
    for calls in [call(&[("x", "a\rb")]), call(&[("a b", "x")]), call(&[(":odd", "x")]), called(&odd)] {
        let (worker, route) =
            start(&[("request_headers", &format!("{calls} (i32.const 0)")), ("http_call_response", LOOK)]);
        forwarded(&route.request(get(), ""));
        assert_eq!(log(&worker)[1..5], ["01", "00", "00", "00"]);
    }
}

#[test]
fn what_reads_memory_that_is_not_its_own_is_the_end_of_the_worker() {
    let all = [(":method", "GET"), (":path", "/"), (":scheme", "http")];
    let but = |name: &str| called(&all.into_iter().filter(|(known, _)| *known != name).collect::<Vec<_>>());
    let without = "(drop (call $http 'bridge:7400' '' '' '' (i32.const 1) (i32.const 2048)))".to_owned();
    let cut = "(drop (call $http 'bridge:7400' '\\01\\00\\00\\00' '' '' (i32.const 1) (i32.const 2048)))"
        .to_owned();
    for (calls, why) in [
        (without, "a call without a header list"),
        (cut, "its lengths do not fit"),
        (but(":method"), "stale memory"),
        (but(":path"), "stale memory"),
        (but(":scheme"), "stale memory"),
    ] {
        let (worker, route) = start(&[("request_headers", &format!("{calls} (i32.const 0)"))]);
        let stream = route.request(get(), "");
        lost(&worker, &stream, why);
    }
}

#[test]
fn an_answer_is_gone_after_its_callback() {
    let body = "(drop (call $get_buffer (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 1032) (i32.const 1036)))";
    let map = "(drop (call $get (i32.const 6) ':status' (i32.const 1032) (i32.const 1036)))";
    let pairs = "(drop (call $pairs (i32.const 6) (i32.const 1032) (i32.const 1036)))";
    for look in [body, map, pairs] {
        let (worker, route) = start(&[
            ("request_headers", &format!("{look} {} (i32.const 0)", call(&[]))),
            ("response_headers", &format!("{look} (i32.const 0)")),
        ]);
        let mut stream = route.request(get(), "");
        stream.bridge_answers(200, Headers::default(), "x");
        forwarded(&stream);
        stream.upstream_answers(200, Headers::default());
        lost(&worker, &stream, "after its callback");
    }
}

#[test]
fn a_request_that_ends_has_its_callback_first() {
    let (worker, route) = start(&[
        ("request_headers", &format!("{} (i32.const 0)", call(&[]))),
        ("http_call_response", LOOK),
        ("delete", "(call $say 'deleted')"),
    ]);
    drop(route.request(get(), ""));
    assert_eq!(log(&worker), ["00", "01", "00", "00", "00", "01", "01", "01", "deleted"]);
    assert_eq!(worker.open_streams(), 0);
}
