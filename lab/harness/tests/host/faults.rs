//! Refused calls, traps, endless loops and memory that does not grow.

use sluicegate_harness::envoy::{Filter, Outcome, Settings};
use sluicegate_harness::{HostCall, Status, When};

use crate::support::{filter, get, list, log, module, ok, post, start, upgrade};

#[test]
fn refused_call_does_nothing_and_returns_its_status() {
    let vm = start(&[(
        "request_body",
        "(call $code (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) 'X')) (i32.const 0)",
    )]);
    vm.refuse(HostCall::SetBufferBytes, When::Nth(2), Status(77));
    let mut stream = vm.request(post());
    for _ in 0..3 {
        stream.client_sends("a");
    }
    assert_eq!(log(&vm), ["00", "77", "00"]);
    assert_eq!(stream.to_upstream(), b"XaaXa");

    vm.refuse(HostCall::SetBufferBytes, When::Always, Status::BAD_EXPRESSION);
    stream.client_sends("b");
    vm.allow(HostCall::SetBufferBytes);
    stream.client_sends("b");
    assert_eq!(log(&vm).split_off(3), ["05", "00"]);
}

#[test]
fn trap_answers_503_resets_open_streams_and_stops_callbacks() {
    let vm = start(&[
        ("request_headers", "(call $say 'headers') (i32.const 0)"),
        ("request_body", "(if (local.get $size) (then unreachable)) (i32.const 0)"),
        ("log", "(call $say 'log')"),
    ]);
    let mut answered = vm.request(upgrade());
    answered.upstream_headers([(":status", "101")], false);
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
    let settings = Settings { instructions_per_callback: 100_000, ..Settings::default() };
    for body in ["(loop (br 0))", "(loop (call $say 'again') (br 0))"] {
        let vm =
            filter(&[("request_headers", &format!("{body} (i32.const 0)"))]).start(settings.clone()).unwrap();
        let _stream = vm.request(get());
        assert_eq!(vm.trap().unwrap().reason, "it ran for more than 100000 instructions");
        assert!(log(&vm).len() <= 100, "host calls are charged");
    }
}

#[test]
fn each_callback_has_the_full_budget() {
    let count = "(local $n i32) (loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 10000)))) (i32.const 0)";
    let settings = Settings { instructions_per_callback: 150_000, ..Settings::default() };
    let vm = filter(&[("request_body", count)]).start(settings).unwrap();
    let mut stream = vm.request(post());
    for _ in 0..10 {
        stream.client_sends("a");
    }
    assert_eq!(vm.trap(), None);
}

#[test]
fn proc_exit_traps() {
    let vm = start(&[("request_headers", "(call $exit (i32.const 3)) (i32.const 0)")]);
    let _stream = vm.request(get());
    assert!(vm.trap().unwrap().reason.contains("proc_exit with 3"));
}

#[test]
#[should_panic(expected = "the module trapped: proxy_on_request_headers trapped")]
fn unread_trap_fails_the_test() {
    let vm = start(&[("request_headers", "unreachable")]);
    drop(vm.request(get()));
}

#[test]
fn memory_limit_applies_to_module_and_host() {
    let vm = start(&[
        ("request_headers", "(call $code (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (i32.const 0)"),
        (
            "request_body",
            "(call $code (call $get_buffer (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 1032) \
             (i32.const 1036))) (i32.const 0)",
        ),
    ]);
    let before = vm.memory_bytes();
    vm.limit_memory(before);
    let mut stream = vm.request(post());
    stream.client_sends(vec![0; 64 * 1024]);
    assert_eq!(log(&vm), ["01", "06"]);
    assert_eq!(vm.memory_bytes(), before);

    vm.limit_memory(usize::MAX);
    stream.client_sends(vec![0; 64 * 1024]);
    assert_eq!(log(&vm).split_off(2), ["00"]);
    assert!(vm.memory_bytes() > before);
}

#[test]
fn instances_share_nothing() {
    let wasm = module(&[("request_headers", "(call $say 'one') (i32.const 0)")]);
    let (first, second) = (Filter::compile(&wasm).unwrap(), Filter::compile(&wasm).unwrap());
    let (first, second) = (first.start("").unwrap(), second.start("").unwrap());
    let mut stream = first.request(get());
    stream.upstream_headers(ok(), true);
    assert_eq!((log(&first).len(), log(&second).len()), (1, 0));
}

#[test]
fn line_break_in_a_header_traps() {
    let forged = list(&[("a", "b\r\nc: d")]);
    for call in [
        "(call $add (i32.const 0) 'a' 'b\\0d\\0ac: d')".to_owned(),
        "(call $replace (i32.const 0) 'a\\00' 'b')".to_owned(),
        format!("(call $set_pairs (i32.const 0) '{forged}')"),
        format!("(call $respond (i32.const 400) '' '' '{forged}' (i32.const -1))"),
    ] {
        let vm = start(&[("request_headers", &format!("(drop {call}) (i32.const 0)"))]);
        let _stream = vm.request(get());
        assert!(vm.trap().unwrap().reason.contains("contains NUL, CR or LF"), "{call}");
    }
}
