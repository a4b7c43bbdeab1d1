//! The request's body: read when it is asked for, whole, and gone after its callback.

use sluicegate_harness::apisix::{Outcome, Settings};

use super::support::{answered, call, forwarded, get, log, plugin, start};

const ASK: &str = "(call $code (call $set_property 'wasm_process_req_body' '1'))";
const LOOK: &str = "(call $code (local.get $size)) (call $code (local.get $last)) (call $body (i32.const 0))";

#[test]
fn a_body_comes_once_and_whole_and_only_where_it_was_asked_for() {
    let asked = format!("{ASK} (call $body (i32.const 0)) (i32.const 0)");
    let body = format!("{LOOK} (call $body (i32.const 1)) (i32.const 0)");
    let (worker, route) = start(&[("request_headers", &asked), ("request_body", &body)]);
    forwarded(&route.request(get(), "whole"));
    assert_eq!(log(&worker), ["00", "01", "05", "01", "00", "whole", "00", "whole"]);

    let (worker, route) = start(&[("request_headers", "(i32.const 0)"), ("request_body", &body)]);
    forwarded(&route.request(get(), "whole"));
    assert_eq!(log(&worker).len(), 0);
}

#[test]
fn no_body_is_a_callback_of_size_0_without_a_buffer() {
    let (worker, route) = start(&[
        ("request_headers", &format!("{ASK} (i32.const 0)")),
        ("request_body", &format!("{LOOK} (i32.const 0)")),
    ]);
    forwarded(&route.request(get(), "one"));
    forwarded(&route.request(get(), ""));
    // The first request's bytes are not shown again.
    assert_eq!(log(&worker)[5..], ["00", "00", "01", "01"]);
}

#[test]
fn a_body_is_gone_in_the_answer_to_its_call() {
    let (worker, route) = start(&[
        ("request_headers", &format!("{ASK} (i32.const 0)")),
        ("request_body", &format!("{} (i32.const 0)", call(&[]))),
        ("http_call_response", "(call $body (i32.const 0))"),
    ]);
    let mut stream = route.request(get(), "body");
    stream.bridge_fails();
    forwarded(&stream);
    assert_eq!(log(&worker), ["00", "00", "01"]);
}

#[test]
fn a_body_can_be_asked_for_in_the_answer_to_a_call_and_comes_after_it() {
    let (worker, route) = start(&[
        ("request_headers", &format!("{} (i32.const 0)", call(&[]))),
        ("http_call_response", ASK),
        ("request_body", &format!("{LOOK} (call $respond (i32.const 200) '' 'ok' '' (i32.const -1))")),
    ]);
    let mut stream = route.request(get(), "body");
    stream.bridge_fails();
    assert_eq!(answered(&stream).text(), "ok");
    assert_eq!(log(&worker), ["00", "00", "04", "01", "00", "body"]);
}

#[test]
fn an_answer_to_the_headers_is_before_any_body() {
    let respond = format!("{ASK} (call $respond (i32.const 200) '' 'ok' '' (i32.const -1))");
    let (worker, route) =
        start(&[("request_headers", &respond), ("request_body", &format!("{LOOK} (i32.const 0)"))]);
    assert_eq!(answered(&route.request(get(), "body")).text(), "ok");
    assert_eq!(log(&worker), ["00"]);
}

#[test]
fn a_body_over_nginxs_limit_is_413_and_no_callback() {
    let callbacks = [
        ("configure", "(i32.const 1)"),
        ("request_headers", "(call $set_property 'wasm_process_req_body' '1')"),
        ("request_body", "(call $code (local.get $size)) (i32.const 0)"),
    ];
    let settings = Settings { client_max_body_size: 4, ..Settings::default() };
    let worker = plugin(&callbacks).start_with(settings).expect("a worker");
    let route = worker.route("conf");
    assert!(matches!(route.request(get(), "four").outcome(), Outcome::Forwarded(_)));
    assert_eq!(answered(&route.request(get(), "fives")).status(), 413);
    assert_eq!(log(&worker), ["04"]);
}

#[test]
fn variables_are_nginxs_own_and_no_paths() {
    let get_property = "(call $answer (call $property 'upstream_uri' (i32.const 1032) (i32.const 1036)))";
    let (worker, route) = start(&[
        ("configure", "(call $code (call $set_property 'upstream_uri' '/a'))
            (call $answer (call $property 'plugin_root_id' (i32.const 1032) (i32.const 1036))) (i32.const 1)"),
        (
            "request_headers",
            &format!(
                "(call $code (call $set_property 'no_such' '1'))
                 (call $code (call $set_property 'request\\00path' '1'))
                 (i32.store (i32.const 1032) (i32.const 7)) (i32.store (i32.const 1036) (i32.const 7))
                 (call $code (call $property 'upstream_uri' (i32.const 1032) (i32.const 1036)))
                 (call $code (i32.load (i32.const 1032))) (call $code (i32.load (i32.const 1036)))
                 (call $code (call $set_property 'Upstream_URI' '/a')) {get_property}
                 (call $code (call $property 'request\\00path' (i32.const 1032) (i32.const 1036))) (i32.const 0)"
            ),
        ),
    ]);
    assert_eq!(forwarded(&route.request(get(), "")).text(":path"), Some("/a"));
    let configured = ["02", "00", "sluicegate"];
    // The address of nothing is not written.
    assert_eq!(
        log(&worker),
        [&configured[..], &["01", "01", "00", "07", "00", "00", "00", "/a", "01"]].concat()
    );
}
