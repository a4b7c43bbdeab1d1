//! The rules of APISIX that a filter must not break.

use crate::Headers;
use crate::apisix::{Outcome, Plugin, Route, Worker};

use super::{get, log, module, parse, respond};

const UNAVAILABLE: Outcome = Outcome::Unavailable("failed to run wasm plugin");

fn start(callbacks: &[(&str, &str)]) -> (Worker, Route) {
    let worker = Plugin::compile(&module(callbacks)).expect("a plugin").start().expect("a worker");
    let route = worker.route("conf");
    (worker, route)
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
        (&format!("{} (i32.const 0)", respond(101, "", ("x", "y"))), "a local response below 200"),
        (
            "(call $get (i32.const 0) ':authority' (i32.const 1032) (i32.const 1036))",
            "the request has no Host",
        ),
        ("(call $pairs (i32.const 0) (i32.const 1032) (i32.const 1036))", "the request has no Host"),
    ] {
        let (worker, route) = start(&[("request_headers", body)]);
        lost(&worker, route.request(get().without(":authority"), "").outcome(), why);
        assert_eq!(route.request(get(), "").outcome(), Outcome::Lost);
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
        "(drop (call $replace (i32.const 0) ':authority' 'bridge'))".to_owned(),
        "(drop (call $replace (i32.const 0) ':path' '/q?x'))".to_owned(),
        "(drop (call $replace (i32.const 0) 'x' 'a\\0d\\0ab: c'))".to_owned(),
    ] {
        let (worker, route) = start(&[("request_headers", &format!("{write} (i32.const 0)"))]);
        assert_eq!(route.request(get(), "").outcome(), UNAVAILABLE);
        assert!(worker.trap().is_some(), "{write}");
    }
}

#[test]
fn response_with_more_than_20_headers_crashes() {
    let pairs = "(drop (call $pairs (i32.const 2) (i32.const 1032) (i32.const 1036))) (i32.const 0)";
    let (worker, route) = start(&[("response_headers", pairs)]);
    let headers: Headers = (0..20).map(|n| (format!("x-{n}"), "")).collect();
    assert!(route.request(get(), "").upstream_answers(200, &headers).is_some());
    let mut stream = route.request(get(), "");
    stream.upstream_answers(200, headers.with("one", "more"));
    lost(&worker, stream.outcome(), "more than 20 headers");
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
