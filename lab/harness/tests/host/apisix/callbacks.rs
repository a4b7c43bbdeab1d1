//! The host's step after a callback, by its result and its host calls.

use sluicegate_harness::apisix::Outcome;

use super::support::{UNAVAILABLE, answered, forwarded, get, log, lost, start};

const RESPOND: &str = "(call $code (call $respond (i32.const 418) '' 'short' '' (i32.const -1)))";

#[test]
fn request_callback_gets_no_count_and_always_an_end() {
    let look = "(call $code (local.get $size)) (call $code (local.get $last)) (i32.const 0)";
    let (worker, route) = start(&[("request_headers", look), ("response_headers", look)]);
    let mut stream = route.request(get().with("content-length", "4"), "body");
    assert_eq!(forwarded(&stream).text(":path"), Some("/p"));
    let headers = stream.upstream_answers(101, [("upgrade", "websocket")]);
    assert_eq!(headers, Some([(":status", "101"), ("upgrade", "websocket")].into()));
    assert_eq!(log(&worker), ["00", "01", "00", "01"]);
}

#[test]
fn pause_without_a_local_response_crashes_the_worker() {
    let (worker, route) = start(&[("request_headers", "(i32.const 1)")]);
    let stream = route.request(get(), "");
    lost(&worker, &stream, "1 was returned without a call-out");
    assert_eq!(route.request(get(), "").outcome(), Outcome::Lost);
}

#[test]
fn invalid_action_hangs_the_worker_or_sends_stale_memory() {
    for (number, why) in [(2, "loops for ever"), (99, "loops for ever"), (100, "stale memory")] {
        let (worker, route) = start(&[("request_headers", &format!("(i32.const {number})"))]);
        let stream = route.request(get(), "");
        lost(&worker, &stream, why);
    }
}

#[test]
fn pause_with_a_local_response_is_sent_and_a_negative_action_is_503() {
    for (result, want) in [(0, Some(418)), (1, Some(418)), (2, Some(418)), (-1, None)] {
        let (_worker, route) = start(&[("request_headers", &format!("{RESPOND} (i32.const {result})"))]);
        let stream = route.request(get(), "");
        match want {
            Some(status) => {
                assert_eq!((answered(&stream).status(), answered(&stream).text().as_str()), (status, "short"))
            }
            None => assert_eq!(stream.outcome(), UNAVAILABLE),
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
    forwarded(&route.request(get(), ""));
    assert_eq!((log(&worker), worker.trap()), (vec!["alive".to_owned()], None));
}

#[test]
#[should_panic(expected = "the module or its worker failed: proxy_on_request_headers trapped: ")]
fn unread_failure_fails_the_test() {
    let (_worker, route) = start(&[("request_headers", "unreachable")]);
    let _stream = route.request(get(), "");
}

#[test]
fn endless_loop_ends_the_worker() {
    let (worker, route) = start(&[("request_headers", "(loop (br 0)) (i32.const 0)")]);
    let stream = route.request(get(), "");
    lost(&worker, &stream, "endless loop");
}

#[test]
fn error_without_a_body_is_nginxs_page() {
    let respond = |status: u32| {
        format!("(drop (call $respond (i32.const {status}) '' '' '' (i32.const -1))) (i32.const 0)")
    };
    for (status, text, kind) in
        [(204, "", None), (304, "", None), (404, "<html>nginx's own page for 404</html>", Some("text/html"))]
    {
        let (_worker, route) = start(&[("request_headers", &respond(status))]);
        let response = answered(&route.request(get(), ""));
        assert_eq!((response.text().as_str(), response.headers.text("content-type")), (text, kind));
    }
}

#[test]
fn local_response_below_200_hangs_and_below_100_is_ignored() {
    let respond = "(drop (call $respond (i32.const 101) '' 'a' '' (i32.const -1))) (i32.const 0)";
    let (worker, route) = start(&[("request_headers", respond)]);
    lost(&worker, &route.request(get(), ""), "a local response below 200");
    let (_worker, route) = start(&[(
        "request_headers",
        "(drop (call $respond (i32.const 99) '' 'a' '' (i32.const -1))) (i32.const 0)",
    )]);
    forwarded(&route.request(get(), ""));
}

#[test]
fn local_response_has_a_type_and_no_body_for_head() {
    let (_worker, route) = start(&[("request_headers", &format!("{RESPOND} (i32.const 0)"))]);
    let response = answered(&route.request(get().without(":method").with(":method", "HEAD"), ""));
    assert_eq!((response.text().as_str(), response.headers.text("content-type")), ("", Some("text/plain")));
}

#[test]
fn headers_that_nginx_sets_trap() {
    for (name, value) in [("content-length", "5"), (":status", "200"), ("x", "a\r\nb: c")] {
        let forged = list(&[(name, value)]);
        let respond =
            format!("(drop (call $respond (i32.const 400) '' 'a' '{forged}' (i32.const -1))) (i32.const 0)");
        let (worker, route) = start(&[("request_headers", &respond)]);
        assert_eq!(route.request(get(), "").outcome(), UNAVAILABLE);
        assert!(worker.trap().is_some(), "{name}");
    }
}

#[test]
fn every_response_passes_the_response_callback() {
    let edit = "(call $code (call $replace (i32.const 2) 'x' '1')) (call $show (i32.const 2) ':status')
        (call $code (call $respond (i32.const 500) '' 'no' 'LIST' (i32.const -1))) (i32.const 1)";
    let edit = &edit.replace("LIST", &list(&[("y", "2")]));
    let (worker, route) =
        start(&[("request_headers", &format!("{RESPOND} (i32.const 0)")), ("response_headers", edit)]);
    let response = answered(&route.request(get(), ""));
    assert_eq!((response.status(), response.text().as_str()), (418, "short"));
    // The headers of a response that is not sent are.
    assert_eq!((response.headers.text("x"), response.headers.text("y")), (Some("1"), Some("2")));
    assert_eq!(log(&worker), ["00", "00", "00", "418", "00"]);

    let (worker, route) = start(&[("request_headers", "(i32.const -1)"), ("response_headers", edit)]);
    assert_eq!(route.request(get(), "").outcome(), UNAVAILABLE);
    assert_eq!(log(&worker), ["00", "00", "503", "00"]);
}

#[test]
fn ignored_calls_do_nothing_and_missing_ones_return_12() {
    let (worker, route) = start(&[
        ("configure", "(call $code (call $tick (i32.const 500))) (i32.const 1)"),
        (
            "request_headers",
            "(i32.store (i32.const 2048) (i32.const 77))
             (call $code (call $define (i32.const 0) 'a' (i32.const 2048))) (call $code (i32.load (i32.const 2048)))
             (call $code (call $increment (i32.const 77) (i64.const 1))) (call $code (call $effective (i32.const 99)))
             (call $code (call $close (i32.const 0))) (call $code (call $continue (i32.const 0)))
             (call $code (call $now (i32.const 2048)))
             (call $code (call $set_buffer (i32.const 0) (i32.const 0) (i32.const 0) 'x'))
             (call $code (call $set_pairs (i32.const 0) ''))
             (i32.const 0)",
        ),
    ]);
    forwarded(&route.request(get(), ""));
    let ignored = ["00", "77", "00", "00", "00", "00"];
    assert_eq!(log(&worker), [&["12"][..], &ignored, &["12", "12", "12"]].concat());
}

fn list(pairs: &[(&str, &str)]) -> String {
    crate::support::list(pairs)
}
