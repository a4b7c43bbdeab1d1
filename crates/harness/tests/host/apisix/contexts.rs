//! Plugin and request contexts: ids, order and deletion.

use sluicegate_harness::apisix::Outcome;

use super::support::{forwarded, get, log, plugin, start};

/// Each callback says what it is and for whom.
const TELL: [(&str, &str); 4] = [
    ("context_create", "(call $say 'create') (call $code (local.get $id)) (call $code (local.get $root))"),
    ("request_headers", "(call $say 'headers') (call $code (local.get $id)) (i32.const 0)"),
    ("done", "(call $say 'done') (call $code (local.get $id)) (i32.const 0)"),
    ("delete", "(call $say 'delete') (call $code (local.get $id))"),
];

const UNCONFIGURED: Outcome = Outcome::Unavailable("failed to fetch wasm plugin ctx");

#[test]
fn route_is_configured_by_its_first_request_and_deleted_after_its_last() {
    let configure = "(call $body (i32.const 7)) (call $code (local.get $size)) (i32.const 1)";
    let (worker, route) = start(&[&TELL[..], &[("configure", configure)]].concat());
    assert_eq!(log(&worker).len(), 0);
    let stream = route.request(get(), "");
    let configured = ["create", "01", "00", "00", "conf", "04"];
    let requested = ["create", "02", "01", "headers", "02"];
    assert_eq!(log(&worker), [&configured[..], &requested].concat());
    drop(route);
    assert_eq!(log(&worker).len(), 11, "a request is under way");
    drop(stream);
    assert_eq!(log(&worker)[11..], ["done", "02", "delete", "02", "done", "01", "delete", "01"]);
}

#[test]
fn context_ids_are_reused_oldest_first() {
    let (worker, route) = start(&TELL);
    let streams = [(); 3].map(|()| route.request(get(), ""));
    let [first, second, third] = streams;
    drop(second);
    drop(third);
    drop(first);
    let before = log(&worker).len();
    let _again = [(); 4].map(|()| route.request(get(), ""));
    let created: Vec<_> = log(&worker).split_off(before).chunks(5).map(|lines| lines[1].clone()).collect();
    assert_eq!(created, ["03", "04", "02", "05"]);

    // A plugin's number, too; those of its requests are lost.
    let other = worker.route("other");
    forwarded(&other.request(get(), ""));
    drop(other);
    let third = worker.route("third");
    let before = log(&worker).len();
    forwarded(&third.request(get(), ""));
    assert_eq!(log(&worker).split_off(before)[..5], ["create", "06", "00", "create", "08"]);
}

#[test]
fn failed_configuration_is_answered_503_and_retried() {
    for configure in ["(call $say 'no') (i32.const 0)", "(call $say 'no') (i32.const -1)"] {
        let (worker, route) = start(&[&TELL[..], &[("configure", configure)]].concat());
        assert_eq!(route.request(get(), "").outcome(), UNCONFIGURED);
        // For the request, and once more for the headers of its answer.
        let once = ["create", "01", "00", "no", "done", "01", "delete", "01"];
        assert_eq!(log(&worker), [once, once].concat());
    }
}

#[test]
fn missing_configuration_is_answered_503() {
    let worker = plugin(&[("request_headers", "(i32.const 0)")]).start().expect("a worker");
    assert_eq!(worker.route("conf").request(get(), "").outcome(), UNCONFIGURED);
    let (worker, _) = start(&[]);
    assert_eq!(worker.route("").request(get(), "").outcome(), UNCONFIGURED);
}

#[test]
fn trap_in_context_creation_is_answered_503_and_frees_its_id() {
    let trap = "(if (i32.eq (local.get $id) (i32.const 2)) (then (unreachable)))";
    let (worker, route) = start(&[("context_create", trap), ("delete", "(call $code (local.get $id))")]);
    for _ in 0..2 {
        assert_eq!(route.request(get(), "").outcome(), super::support::UNAVAILABLE);
        assert_eq!(worker.trap().expect("a trap").callback, "proxy_on_context_create");
    }
    assert_eq!(log(&worker).len(), 0);
}

#[test]
fn routes_have_contexts_of_their_own() {
    let (worker, first) = start(&[
        ("configure", "(call $body (i32.const 7)) (i32.const 1)"),
        ("request_headers", "(call $code (local.get $id)) (i32.const 0)"),
    ]);
    let second = worker.route("second");
    forwarded(&first.request(get(), ""));
    forwarded(&second.request(get(), ""));
    forwarded(&first.request(get(), ""));
    assert_eq!(log(&worker), ["00", "conf", "02", "00", "second", "04", "02"]);
}

#[test]
fn ending_context_has_no_request() {
    let look = "(call $show (i32.const 0) ':path') (call $code (call $respond (i32.const 200) '' 'x' '' (i32.const -1)))
        (call $body (i32.const 7))";
    let (worker, route) = start(&[("done", &format!("{look} (i32.const 1)")), ("delete", look)]);
    drop(route.request(get(), ""));
    assert_eq!(log(&worker), ["02", "02", "01", "02", "02", "01"]);
}

#[test]
fn vm_start_log_and_tick_are_never_called() {
    let (worker, route) = start(&[
        ("vm_start", "(call $say 'started') (i32.const 1)"),
        ("log", "(call $say 'logged')"),
        ("tick", "(call $say 'ticked')"),
    ]);
    drop(route.request(get(), ""));
    assert_eq!(log(&worker).len(), 0);
}
