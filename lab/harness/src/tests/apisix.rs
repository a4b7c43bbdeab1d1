//! The rules of APISIX that a filter must not break.

use crate::Headers;
use crate::apisix::{Outcome, Plugin, Route, Worker};

use super::{get, log, module, parse, respond};

const UNAVAILABLE: Outcome = Outcome::Unavailable("failed to run wasm plugin");

fn start(callbacks: &[(&str, &str)]) -> (Worker, Route) {
    start_module(&module(callbacks))
}

fn start_module(module: &[u8]) -> (Worker, Route) {
    let worker = Plugin::compile(module).expect("a plugin").start().expect("a worker");
    let route = worker.route("conf");
    (worker, route)
}

fn short(status: u32) -> String {
    respond(status, "short", ("x", "y"))
}

/// The worker was lost, for this reason.
#[track_caller]
fn lost(worker: &Worker, outcome: Outcome, why: &str) {
    let trap = worker.trap().expect("a loss");
    assert!(trap.reason.contains(why), "{trap}");
    assert_eq!(outcome, Outcome::Lost);
}

#[test]
fn callbacks_that_no_worker_survives() {
    for (body, why) in [
        ("(i32.const 1)", "1 was returned without a call-out"),
        ("(i32.const 2)", "loops for ever"),
        ("(i32.const 99)", "loops for ever"),
        ("(i32.const 100)", "stale memory"),
        ("(loop (br 0)) (i32.const 0)", "endless loop"),
        (&format!("{} (i32.const 0)", short(101)), "a local response below 200"),
        ("(call $show (i32.const 0) ':authority') (i32.const 0)", "the request has no Host"),
        ("(call $pairs (i32.const 0) (i32.const 1032) (i32.const 1036))", "the request has no Host"),
    ] {
        let (worker, route) = start(&[("request_headers", body)]);
        lost(&worker, route.request(get().without(":authority"), "").outcome(), why);
        assert_eq!(route.request(get(), "").outcome(), Outcome::Lost);
    }
}

#[test]
fn local_response_is_sent_unless_the_action_is_negative() {
    for (status, result, want) in
        [(418, 0, Some(418)), (418, 1, Some(418)), (418, 2, Some(418)), (418, -1, None), (99, 0, None)]
    {
        let (_worker, route) =
            start(&[("request_headers", &format!("{} (i32.const {result})", short(status)))]);
        let outcome = route.request(get(), "").outcome();
        match outcome.response() {
            Some(response) => {
                assert_eq!((Some(response.status()), &response.body[..]), (want, &b"short"[..]))
            }
            None if result < 0 => assert_eq!(outcome, UNAVAILABLE),
            None => assert!(want.is_none() && matches!(outcome, Outcome::Forwarded(_)), "{outcome:?}"),
        }
    }
}

#[test]
fn trap_is_503_and_the_instance_goes_on() {
    let (worker, route) = start(&[(
        "request_headers",
        "(global.set $free (i32.add (global.get $free) (i32.const 1)))
         (if (i32.eq (global.get $free) (i32.const 32769)) (then (unreachable))) (call $say 'alive') (i32.const 0)",
    )]);
    assert_eq!(route.request(get(), "").outcome(), UNAVAILABLE);
    assert_eq!(worker.trap().expect("a trap").callback, "proxy_on_request_headers");
    assert!(matches!(route.request(get(), "").outcome(), Outcome::Forwarded(_)));
    assert_eq!((log(&worker), worker.trap()), (vec!["alive".to_owned()], None));
}

#[test]
fn headers_that_nginx_sets_or_mishandles_trap() {
    for write in [
        respond(400, "a", ("content-length", "5")),
        respond(400, "a", (":status", "200")),
        respond(400, "a", ("x", "a\r\nb: c")),
        "(call $code (call $replace (i32.const 0) ':authority' 'bridge'))".to_owned(),
        "(call $code (call $replace (i32.const 0) ':path' '/q?x'))".to_owned(),
        "(call $code (call $replace (i32.const 0) 'x' 'a\\0d\\0ab: c'))".to_owned(),
    ] {
        let (worker, route) = start(&[("request_headers", &format!("{write} (i32.const 0)"))]);
        assert_eq!(route.request(get(), "").outcome(), UNAVAILABLE);
        assert!(worker.trap().is_some(), "{write}");
    }
}

#[test]
fn every_response_passes_the_response_callback() {
    let edit = format!(
        "(call $code (call $replace (i32.const 2) 'x' '1')) (call $show (i32.const 2) ':status') {} (i32.const 1)",
        respond(500, "no", ("z", "2"))
    );
    let callbacks =
        [("request_headers", &*format!("{} (i32.const 0)", short(418))), ("response_headers", &edit)];
    let (worker, route) = start(&callbacks);
    let outcome = route.request(get(), "").outcome();
    let response = outcome.response().expect("an answer");
    assert_eq!((response.status(), response.text().as_str()), (418, "short"));
    // The headers of a response that is not sent are.
    assert_eq!((response.headers.text("x"), response.headers.text("z")), (Some("1"), Some("2")));
    assert_eq!(log(&worker), ["00", "00", "00", "418", "00"]);

    let (worker, route) = start(&[("request_headers", "(i32.const -1)"), ("response_headers", &edit)]);
    assert_eq!(route.request(get(), "").outcome(), UNAVAILABLE);
    assert_eq!(log(&worker), ["00", "00", "503", "00"]);
}

#[test]
fn long_lists_of_headers_are_cut_or_crash() {
    let list = |map: u32, of: &str| {
        let pairs = format!("(drop (call $pairs (i32.const {map}) (i32.const 1032) (i32.const 1036)))");
        format!("{pairs} (call $code (i32.sub (i32.load (i32.load (i32.const 1032))) {of})) (i32.const 0)")
    };
    // More than two digits are not shown: what is beyond 50 is.
    let (request, response) = (list(0, "(i32.const 50)"), list(2, "(i32.const 0)"));
    let (worker, route) = start(&[("request_headers", &request)]);
    for lines in [80, 98, 99, 100, 200] {
        let request = (0..lines).fold(get(), |request, n| request.and(format!("x-{n}"), ""));
        route.request(request, "");
    }
    assert_eq!(log(&worker), ["35", "53", "54", "54", "54"]);

    let (worker, route) = start(&[("response_headers", &response)]);
    let headers: Headers = (0..20).map(|n| (format!("x-{n}"), "")).collect();
    route.request(get(), "").upstream_answers(200, &headers);
    assert_eq!(log(&worker), ["22"]);
    let mut stream = route.request(get(), "");
    stream.upstream_answers(200, headers.with("one", "more"));
    lost(&worker, stream.outcome(), "more than 20 headers");
}

#[test]
fn failed_allocation_is_an_error_and_a_trap_in_it_a_crash() {
    let start = |allocate: &str| {
        start_module(&parse(&format!(
            "(import \"env\" \"proxy_log\" (func $log (param i32 i32 i32) (result i32)))
             (import \"env\" \"proxy_get_header_map_value\" (func $get (param i32 i32 i32 i32 i32) (result i32)))
             (memory (export \"memory\") 1)
             (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) {allocate})
             (func (export \"malloc\") (param i32) (result i32) (i32.const 0))
             (func (export \"proxy_on_configure\") (param i32 i32) (result i32) (i32.const 1))
             (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
               (if (i32.eq (call $get (i32.const 0) ':path' (i32.const 0) (i32.const 4)) (i32.const 10))
                 (then (drop (call $log (i32.const 2) 'none')))) (i32.const 0))"
        )))
    };
    let (worker, route) = start("(i32.const 0)");
    assert!(matches!(route.request(get(), "").outcome(), Outcome::Forwarded(_)));
    assert_eq!(log(&worker), ["none"]);
    let (worker, route) = start("unreachable");
    lost(&worker, route.request(get(), "").outcome(), "an allocation trapped");
}

#[test]
fn webassembly_newer_than_wasmtime_0_38_is_rejected() {
    let with = |text: &str| parse(&format!("(memory (export \"memory\") 1) {text}"));
    for (feature, text) in [
        ("tail calls", "(func $f (return_call $f))"),
        ("extended constants", "(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
        ("a second memory", "(memory 1)"),
        ("a memory of 64 bits", "(memory i64 1)"),
        (
            "wide arithmetic",
            "(func (param i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 0)))",
        ),
        ("threads", "(memory $m 1 1 shared)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("typed function references", "(type $t (func)) (func (param (ref $t)))"),
        ("exceptions", "(tag (param i32))"),
    ] {
        let error = Plugin::compile(&with(text)).err().unwrap_or_else(|| panic!("{feature} were taken"));
        assert!(error.to_string().starts_with("compile the filter: "), "{feature}: {error}");
    }
    for text in [
        "(func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0)))",
        "(func (param i32) (result i32) (i32.extend8_s (local.get 0)))",
        "(func (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))",
        "(func (result i32 i32) (i32.const 1) (i32.const 2))",
        "(table 1 funcref) (func (param funcref) (table.set 0 (i32.const 0) (local.get 0)))",
        "(global (export \"g\") (mut i32) (i32.const 0))",
    ] {
        assert!(Plugin::compile(&with(text)).is_ok(), "{text}");
    }
}
