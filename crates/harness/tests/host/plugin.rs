//! Log, clock, ticks, metrics, properties, contexts and the WASI calls.

use std::time::Duration;

use sluicegate_harness::Level;
use sluicegate_harness::envoy::Settings;

use crate::support::{get, log, post, start, start_with};

#[test]
fn ticks_come_on_time_and_can_be_stopped() {
    let vm = start(&[
        ("configure", "(drop (call $tick (i32.const 100))) (i32.const 1)"),
        (
            "tick",
            "(call $say 'tick') (global.set $free (i32.add (global.get $free) (i32.const 1)))
             (if (i32.eq (global.get $free) (i32.const 32771)) (then (drop (call $tick (i32.const 0)))))",
        ),
    ]);
    vm.advance(Duration::from_millis(99));
    assert_eq!((log(&vm).len(), vm.tick_period()), (0, Some(Duration::from_millis(100))));
    vm.advance(Duration::from_millis(1));
    assert_eq!(log(&vm).len(), 1);
    vm.advance(Duration::from_secs(10));
    assert_eq!((log(&vm).len(), vm.tick_period()), (3, None));
}

#[test]
fn ticks_can_be_stopped_and_restarted_from_any_callback() {
    let vm = start(&[
        ("configure", "(drop (call $tick (i32.const 100))) (i32.const 1)"),
        ("request_headers", "(drop (call $tick (i32.const 0))) (i32.const 0)"),
        ("request_body", "(drop (call $tick (i32.const 100))) (i32.const 0)"),
        ("tick", "(call $say 'tick')"),
    ]);
    let mut stream = vm.request(post());
    vm.advance(Duration::from_secs(1));
    assert_eq!(log(&vm).len(), 0);
    vm.advance(Duration::from_millis(50));
    stream.client_sends("a");
    vm.advance(Duration::from_millis(99));
    assert_eq!(log(&vm).len(), 0);
    vm.advance(Duration::from_millis(1));
    assert_eq!(log(&vm).len(), 1);
}

#[test]
fn clock_is_the_tests() {
    let vm = start_with(
        Settings { now: Duration::from_secs(5), ..Settings::default() },
        &[(
            "request_headers",
            "(call $code (call $now (i32.const 2048)))
             (call $code (i32.wrap_i64 (i64.div_u (i64.load (i32.const 2048)) (i64.const 1000000000))))
             (i32.const 0)",
        )],
    );
    vm.advance(Duration::from_secs(2));
    let _stream = vm.request(get());
    assert_eq!(log(&vm), ["00", "07"]);
    assert_eq!(vm.now(), Duration::from_secs(7));
}

#[test]
fn metrics_are_read_by_name() {
    let vm = start(&[
        (
            "configure",
            "(drop (call $define (i32.const 0) 'sessions' (i32.const 2048)))
             (drop (call $define (i32.const 1) 'open' (i32.const 2052)))
             (drop (call $define (i32.const 2) 'size' (i32.const 2056)))
             (call $code (call $define (i32.const 4) 'odd' (i32.const 2060)))
             (i32.const 1)",
        ),
        (
            "request_headers",
            "(call $code (call $increment (i32.load (i32.const 2048)) (i64.const 2)))
             (call $code (call $increment (i32.load (i32.const 2052)) (i64.const 1)))
             (call $code (call $record (i32.load (i32.const 2056)) (i64.const 9)))
             (call $code (call $increment (i32.const 4000) (i64.const 1)))
             (i32.const 0)",
        ),
        ("delete", "(drop (call $increment (i32.load (i32.const 2052)) (i64.const -1)))"),
    ]);
    assert_eq!((vm.metric("sessions"), vm.metric("open"), vm.metric("odd")), (Some(0), Some(0), None));
    let stream = vm.request(get());
    assert_eq!((vm.metric("sessions"), vm.metric("open")), (Some(2), Some(1)));
    assert_eq!(vm.samples("size"), [9]);
    drop(stream);
    assert_eq!(vm.metric("open"), Some(0));
    assert_eq!(log(&vm), ["02", "00", "00", "00", "01"]);
}

#[test]
fn property_is_the_streams_or_the_hosts() {
    let look =
        |name: &str| format!("(call $answer (call $property '{name}' (i32.const 1032) (i32.const 1036)))");
    let vm = start_with(
        Settings {
            properties: vec![(b"plugin_name".to_vec(), b"sluicegate".to_vec())],
            ..Settings::default()
        },
        &[
            ("configure", "(call $code (call $set_property 'a' 'b')) (i32.const 1)"),
            (
                "request_headers",
                &format!(
                    "{} (call $code (call $set_property 'a' 'b')) {} {} (i32.const 0)",
                    look("a"),
                    look("a"),
                    look("plugin_name")
                ),
            ),
        ],
    );
    let _stream = vm.request(get());
    assert_eq!(log(&vm), ["01", "01", "00", "00", "b", "00", "sluicegate"]);
}

#[test]
fn only_existing_contexts_can_be_entered() {
    let vm = start(&[
        (
            "request_body",
            "(call $code (call $add (i32.const 2) 'x' 'y'))
             (call $code (call $effective (i32.const 2))) (call $code (call $add (i32.const 2) 'x' 'y'))
             (call $code (call $effective (i32.const 1))) (call $code (call $add (i32.const 2) 'x' 'y'))
             (call $code (call $effective (i32.const 9)))
             (call $code (call $effective (i32.const 2))) (i32.const 0)",
        ),
        ("response_headers", "(i32.const 1)"),
    ]);
    let mut first = vm.request(get());
    first.upstream_headers([(":status", "200")], false);
    let mut second = vm.request(post());
    second.client_sends("a");
    assert_eq!(log(&vm), ["02", "00", "00", "00", "02", "02", "00"]);
    second.client_sends("a");
    assert_eq!(log(&vm).split_off(7).first().unwrap(), "02", "each callback begins in its own context");
    first.client_resets();
    second.client_sends("a");
    assert_eq!(log(&vm).split_off(14), ["02", "02", "02", "00", "02", "02", "02"]);
}

#[test]
fn standard_streams_are_logged() {
    let vm = start(&[(
        "request_headers",
        "(call $code (call $log (i32.const 5) 'critical'))
         (call $code (call $log (i32.const 6) 'no such level'))
         (i32.store (i32.const 2048) (i32.const 2064)) (i32.store (i32.const 2052) (i32.const 3))
         (i32.store (i32.const 2056) (i32.const 2067)) (i32.store (i32.const 2060) (i32.const 1))
         (i32.store (i32.const 2064) (i32.const 0x0a636261))
         (call $code (call $fd_write (i32.const 2) (i32.const 2048) (i32.const 2) (i32.const 2072)))
         (call $code (i32.load (i32.const 2072)))
         (call $code (call $fd_write (i32.const 3) (i32.const 2048) (i32.const 2) (i32.const 2072)))
         (call $code (call $fd_write (i32.const 1) (i32.const -8) (i32.const 2) (i32.const 2072)))
         (i32.const 0)",
    )]);
    let _stream = vm.request(get());
    assert_eq!(log(&vm), ["critical", "00", "02", "abc", "00", "04", "08", "21"]);
    let levels: Vec<_> = vm.log().into_iter().map(|line| line.level).collect();
    assert_eq!((levels[0], levels[1], levels[3]), (Level::Critical, Level::Info, Level::Error));
}

#[test]
fn environment_is_empty() {
    let vm = start(&[(
        "request_headers",
        "(i32.store (i32.const 2048) (i32.const 7))
         (call $code (call $environ (i32.const 2048) (i32.const 2052))) (call $code (i32.load (i32.const 2048))) \
         (i32.const 0)",
    )]);
    let _stream = vm.request(get());
    assert_eq!(log(&vm), ["00", "00"]);
}

#[test]
fn shutdown_waits_for_a_plugin_that_is_not_done() {
    let callbacks = |done: &'static str| {
        [
            ("configure", "(drop (call $tick (i32.const 10))) (i32.const 1)"),
            ("done", done),
            ("tick", "(call $code (call $done))"),
            ("delete", "(call $say 'deleted')"),
        ]
    };
    let at_once = start(&callbacks("(i32.const 1)"));
    at_once.shut_down();
    assert_eq!(log(&at_once), ["deleted"]);

    let later = start(&callbacks("(i32.const 0)"));
    later.shut_down();
    assert_eq!(log(&later).len(), 0);
    later.advance(Duration::from_millis(20));
    assert_eq!(log(&later), ["00", "deleted"]);
}
