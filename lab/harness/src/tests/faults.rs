//! Traps, endless loops and forged headers in Envoy's host.

use crate::Headers;
use crate::envoy::{Filter, Outcome, Vm};

use super::{get, log, module, respond};

fn start(callbacks: &[(&str, &str)]) -> Vm {
    let filter = Filter::compile(&module(callbacks)).expect("a filter that this host can run");
    filter.start("").expect("a filter that starts")
}

/// A request whose body follows.
fn post() -> Headers {
    get().without(":method").with(":method", "POST").with("transfer-encoding", "chunked")
}

#[test]
fn trap_answers_503_resets_open_streams_and_stops_callbacks() {
    let vm = start(&[
        ("request_headers", "(call $say 'headers') (i32.const 0)"),
        ("request_body", "(if (local.get $size) (then unreachable)) (i32.const 0)"),
    ]);
    let mut answered = vm.request(post());
    answered.upstream_headers([(":status", "200")], false);
    let mut waiting = vm.request(post());
    waiting.client_sends("boom");
    assert!(matches!(waiting.outcome(), Outcome::Answered(response) if response.status() == 503));
    let trap = vm.trap().unwrap();
    assert_eq!(trap.callback, "proxy_on_request_body");
    assert!(trap.reason.contains("unreachable"), "{}", trap.reason);
    assert!(!answered.is_reset());
    answered.client_sends("a");
    assert!(answered.is_reset());
    assert!(matches!(vm.request(get()).outcome(), Outcome::Answered(response) if response.status() == 503));
    assert_eq!(log(&vm), ["headers", "headers"]);
}

#[test]
fn endless_loop_traps() {
    for body in ["(loop (br 0))", "(loop (call $say 'on') (br 0))"] {
        let vm = start(&[("request_headers", &format!("{body} (i32.const 0)"))]);
        let _stream = vm.request(get());
        assert_eq!(vm.trap().unwrap().reason, "it ran for more than 1000000000 instructions");
    }
}

#[test]
#[should_panic(expected = "the module or its worker failed: proxy_on_request_headers trapped")]
fn unread_trap_fails_the_test() {
    let vm = start(&[("request_headers", "unreachable")]);
    drop(vm.request(get()));
}

#[test]
fn line_break_in_a_header_traps() {
    for call in [
        "(drop (call $replace (i32.const 0) 'a' 'b\\0d\\0ac: d'))".to_owned(),
        "(drop (call $replace (i32.const 0) 'a\\00' 'b'))".to_owned(),
        respond(400, "", ("a", "b\r\nc: d")),
    ] {
        let vm = start(&[("request_headers", &format!("{call} (i32.const 0)"))]);
        let _stream = vm.request(get());
        assert!(vm.trap().unwrap().reason.contains("contains NUL, CR or LF"), "{call}");
    }
}
