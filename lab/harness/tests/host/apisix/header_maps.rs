//! Reading and writing headers, by the rules of nginx and the module.

use sluicegate_harness::Headers;

use super::support::{forwarded, get, log, lost, start};

const PAIRS: &str = "(call $code (call $pairs (i32.const 0) (i32.const 1032) (i32.const 1036)))";

#[test]
fn header_list_ends_with_the_pseudo_headers() {
    let say = "(call $say (i32.load (i32.const 1032)) (i32.load (i32.const 1036)))";
    let (worker, route) = start(&[("request_headers", &format!("{PAIRS} {say} (i32.const 0)"))]);
    let request = Headers::from([(":method", "GET"), (":path", "/p?q"), (":authority", "a")]);
    forwarded(&route.request(request.and("X", "1").and("origin", "a").and("origin", "b"), ""));
    let list = log(&worker)[1].clone();
    assert!(
        list.ends_with(
            "host\0a\0x\x001\0origin\0a\0origin\0b\0:scheme\0http\0:path\0/p?q\0:method\0GET\0:authority\0a\0"
        ),
        "{list:?}"
    );
    assert!(list.starts_with("\u{8}\0\0\0"), "{list:?}");
}

#[test]
fn at_most_100_header_lines_are_listed() {
    // More than two digits are not shown: what is beyond 50 is.
    let count = "(call $code (i32.sub (i32.load (i32.load (i32.const 1032))) (i32.const 50)))";
    let count = format!("{PAIRS} {count} (i32.const 0)");
    let (worker, route) = start(&[("request_headers", &count)]);
    for lines in [80, 98, 99, 100, 200] {
        let request = (0..lines).fold(get(), |request, n| request.and(format!("x-{n}"), ""));
        forwarded(&route.request(request, ""));
    }
    assert_eq!(log(&worker), ["00", "35", "00", "53", "00", "54", "00", "54", "00", "54"]);
}

#[test]
fn request_without_host_crashes_a_worker_that_lists_its_headers() {
    let authority = "(call $show (i32.const 0) ':authority')";
    for ask in [PAIRS, authority] {
        let (worker, route) =
            start(&[("request_headers", &format!("(call $show (i32.const 0) 'Host') {ask} (i32.const 0)"))]);
        forwarded(&route.request(get(), ""));
        let stream = route.request(get().without(":authority"), "");
        lost(&worker, &stream, "the request has no Host");
        assert_eq!(log(&worker).last().map(String::as_str), Some("01"));
    }
}

#[test]
fn header_value_is_the_first_lines() {
    let (worker, route) = start(&[(
        "request_headers",
        "(call $show (i32.const 0) 'X') (call $show (i32.const 0) 'y') (call $show (i32.const 0) ':method')
         (i32.store (i32.const 1032) (i32.const 7)) (i32.store (i32.const 1036) (i32.const 7))
         (call $code (call $get (i32.const 0) 'empty' (i32.const 1032) (i32.const 1036)))
         (call $code (i32.load (i32.const 1032))) (call $code (i32.load (i32.const 1036)))
         (call $code (call $get (i32.const 1) 'x' (i32.const 1032) (i32.const 1036)))
         (call $code (call $get (i32.const 6) 'x' (i32.const 1032) (i32.const 1036)))
         (i32.const 0)",
    )]);
    forwarded(&route.request(get().and("x", "1").and("x", "2").and("empty", ""), ""));
    assert_eq!(log(&worker), ["00", "1", "01", "00", "GET", "00", "07", "00", "12", "01"]);
}

#[test]
fn upstream_gets_the_changed_lines() {
    let (worker, route) = start(&[(
        "request_headers",
        "(call $code (call $add (i32.const 0) 'X' '9')) (call $code (call $replace (i32.const 0) 'y' '9'))
         (call $code (call $remove (i32.const 0) 'Z')) (call $code (call $remove (i32.const 0) 'absent'))
         (call $code (call $remove (i32.const 0) ':path')) (call $code (call $add (i32.const 1) 'x' 'y'))
         (i32.const 0)",
    )]);
    let request = get().and("x", "1").and("y", "2").and("y", "3").and("z", "4");
    let want = Headers::default().and(":method", "GET").and(":path", "/p").and(":scheme", "http");
    let want = want.and("host", "a").and("x", "1").and("y", "9").and("x", "9");
    assert_eq!(forwarded(&route.request(request, "")), want);
    assert_eq!(log(&worker), ["00", "00", "00", "00", "02", "12"]);
}

#[test]
fn written_pseudo_header_traps() {
    for write in [
        "(call $replace (i32.const 0) ':authority' 'bridge')",
        "(call $replace (i32.const 0) ':path' '/q?x')",
        "(call $add (i32.const 0) ':scheme' 'https')",
        "(call $add (i32.const 0) 'x' 'a\\0d\\0ab: c')",
    ] {
        let (worker, route) = start(&[("request_headers", &format!("(drop {write}) (i32.const 0)"))]);
        let _stream = route.request(get(), "");
        assert!(worker.trap().is_some(), "{write}");
    }
}

#[test]
fn answered_request_can_be_changed_for_loggers() {
    let (_worker, route) =
        start(&[("response_headers", "(drop (call $remove (i32.const 0) 'x')) (i32.const 0)")]);
    let mut stream = route.request(get().and("x", "1").and("y", "2"), "");
    let gone = forwarded(&stream);
    assert_eq!((gone.get("x"), stream.logged().get("x")), (Some(&b"1"[..]), Some(&b"1"[..])));
    stream.upstream_answers(200, Headers::default());
    assert_eq!(forwarded(&stream), gone);
    assert_eq!(stream.logged(), Headers::default().and("host", "a").and("y", "2"));
}

#[test]
fn more_than_20_response_headers_cannot_be_listed() {
    let pairs = "(call $code (call $pairs (i32.const 2) (i32.const 1032) (i32.const 1036)))
        (call $code (i32.load8_u (i32.load (i32.const 1032)))) (i32.const 0)";
    let (worker, route) = start(&[("response_headers", pairs)]);
    let mut stream = route.request(get(), "");
    let headers: Headers = (0..20).map(|n| (format!("x-{n}"), "")).collect();
    stream.upstream_answers(200, &headers);
    assert_eq!(log(&worker), ["00", "22"]);
    let mut stream = route.request(get(), "");
    stream.upstream_answers(200, headers.with("one", "more"));
    lost(&worker, &stream, "more than 20 headers");
}

#[test]
fn failed_allocation_is_an_error_and_a_trap_in_it_a_crash() {
    let parse = |allocate: &str| {
        let text = format!(
            "(import \"env\" \"proxy_log\" (func $log (param i32 i32 i32) (result i32)))
             (import \"env\" \"proxy_get_header_map_value\" (func $get (param i32 i32 i32 i32 i32) (result i32)))
             (memory (export \"memory\") 1)
             (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) {allocate})
             (func (export \"malloc\") (param i32) (result i32) (i32.const 0))
             (func (export \"proxy_on_configure\") (param i32 i32) (result i32) (i32.const 1))
             (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
               (if (i32.eq (call $get (i32.const 0) ':path' (i32.const 0) (i32.const 4)) (i32.const 10))
                 (then (drop (call $log (i32.const 2) 'none')))) (i32.const 0))"
        );
        let plugin =
            sluicegate_harness::apisix::Plugin::compile(&crate::support::parse(&text)).expect("a plugin");
        plugin.start().expect("a worker")
    };
    let worker = parse("(i32.const 0)");
    forwarded(&worker.route("conf").request(get(), ""));
    assert_eq!(log(&worker), ["none"]);
    let worker = parse("unreachable");
    let route = worker.route("conf");
    lost(&worker, &route.request(get(), ""), "an allocation trapped");
}
