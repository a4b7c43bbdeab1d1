//! nginx's own variables of a request and its upstream, and nginx's own responses.

use sluicegate_harness::Headers;
use sluicegate_harness::apisix::{Outcome, Settings};

use super::support::{answered, forwarded, get, log, plugin, start};

fn look(variable: &str) -> String {
    format!("(call $answer (call $property '{variable}' (i32.const 1032) (i32.const 1036)))")
}

#[test]
fn properties_are_nginxs_variables() {
    let (worker, route) = start(&[
        (
            "configure",
            &format!(
                "(call $code (call $set_property 'upstream_uri' '/a')) {} (i32.const 1)",
                look("plugin_root_id")
            ),
        ),
        (
            "request_headers",
            &format!(
                "(call $code (call $set_property 'no_such' '1'))
                 (call $code (call $set_property 'request\\00path' '1'))
                 (call $code (call $set_property 'remote_addr' '1'))
                 (i32.store (i32.const 1032) (i32.const 7)) (i32.store (i32.const 1036) (i32.const 7))
                 (call $code (call $property 'upstream_uri' (i32.const 1032) (i32.const 1036)))
                 (call $code (i32.load (i32.const 1032))) (call $code (i32.load (i32.const 1036)))
                 (call $code (call $set_property 'Upstream_URI' '/a')) {} {} {} (i32.const 0)",
                look("upstream_uri"),
                look("request\\00path"),
                look("Remote_Addr"),
            ),
        ),
    ]);
    assert_eq!(forwarded(&route.request_from("::1", get(), "")).text(":path"), Some("/a"));
    // The address of nothing is not written.
    let requested = ["01", "01", "10", "00", "07", "00", "00", "00", "/a", "01", "00", "::1"];
    assert_eq!(log(&worker), [&["02", "00", "sluicegate"][..], &requested].concat());
}

#[test]
fn upstream_bytes_are_known_once_there_is_an_upstream() {
    let callback =
        format!("{} {} (i32.const 0)", look("upstream_bytes_sent"), look("upstream_bytes_received"));
    let callbacks = [("request_headers", callback.as_str()), ("response_headers", callback.as_str())];
    let (worker, route) = start(&callbacks);
    assert!(route.request(get(), "").upstream_fails(502, 0).is_some());
    assert!(route.request(get(), "").upstream_fails(504, 17).is_some());
    route.request(get(), "").upstream_answers(200, Headers::default());
    let requested = ["01", "01"];
    let ends = [["00", "0", "00", "0"], ["00", "17", "00", "0"], ["00", "0", "00", "1"]];
    assert_eq!(log(&worker), ends.map(|end| [&requested[..], &end].concat()).concat());
}

#[test]
fn failed_upstream_is_nginxs_page_with_writable_headers() {
    let write = "(call $show (i32.const 2) ':status') (call $code (call $replace (i32.const 2) ':status' '504'))
        (call $show (i32.const 2) ':Status') (call $code (call $replace (i32.const 2) ':status' '5x4'))
        (call $code (call $remove (i32.const 2) ':status')) (call $code (call $replace (i32.const 2) 'x' 'y')) \
                 (i32.const 0)";
    let (worker, route) = start(&[("response_headers", write)]);
    let mut stream = route.request(get(), "");
    let page = stream.upstream_fails(502, 9).expect("a page");
    assert_eq!((page.status(), page.headers.text("x")), (504, Some("y")));
    assert_eq!(page.text(), "<html>nginx's own page for 502</html>");
    assert_eq!((stream.outcome(), stream.upstream_fails(502, 9)), (Outcome::Answered(page), None));
    assert_eq!(log(&worker), ["00", "502", "00", "00", "504", "02", "02", "00"]);
}

#[test]
fn invalid_http_status_traps() {
    for status in ["0", "101", "600"] {
        let write = format!("(drop (call $replace (i32.const 2) ':status' '{status}')) (i32.const 0)");
        let (worker, route) = start(&[("response_headers", &write)]);
        route.request(get(), "").upstream_fails(502, 0);
        assert!(worker.trap().is_some(), "{status}");
    }
}

#[test]
fn body_over_nginxs_limit_is_answered_413() {
    let settings = Settings { client_max_body_size: 4, ..Settings::default() };
    let worker = plugin(&[("configure", "(i32.const 1)")]).start_with(settings).expect("a worker");
    let route = worker.route("conf");
    forwarded(&route.request(get(), "four"));
    assert_eq!(answered(&route.request(get(), "fives")).status(), 413);
}
