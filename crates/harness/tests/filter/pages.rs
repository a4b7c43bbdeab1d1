//! Plain HTTP from web pages: which may, and what they are told.

use sluicegate_harness::Response;

use crate::plain::{PAGE, answer, call, post, request, told};
use crate::socket::{PROFILES, Profile, answered};

const EXPOSED: &str = "retry-after, allow, preference-applied";

/// What a response says to web pages: `vary`, and its `access-control-*`, in order.
fn said(response: &Response) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = response.headers.iter().map(|(name, value)| (text(name), text(value)));
    let mut said: Vec<_> =
        headers.filter(|(name, _)| name == "vary" || name.starts_with("access-control-")).collect();
    said.sort();
    said
}

fn pairs(want: &[(&str, &str)]) -> Vec<(String, String)> {
    want.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What the produce route says to the page that it lists.
const LISTED: [(&str, &str); 4] = [
    ("access-control-allow-credentials", "true"),
    ("access-control-allow-origin", PAGE),
    ("access-control-expose-headers", EXPOSED),
    ("vary", "origin"),
];

#[test]
fn every_answer_to_a_listed_page_names_it() {
    for profile in PROFILES {
        let vm = profile.start();
        let from_page = |method, path| request(method, path).with("origin", PAGE);
        let bridges = vm.request(from_page("POST", "/orders"));
        answer(&vm, 200, &[("vary", "accept")], "ok");
        let want = [&LISTED[..3], &[("vary", "accept"), ("vary", "origin")]].concat();
        assert_eq!(said(&answered(&bridges)), pairs(&want), "{profile:?}");

        let failed = vm.request(from_page("POST", "/orders"));
        vm.fail_grpc_call(call(&vm).0.token, 14, "");
        assert_eq!(said(&answered(&failed)), pairs(&LISTED));

        let large = vm.request(from_page("POST", "/orders").with("content-length", "99999999"));
        assert_eq!((answered(&large).status(), said(&answered(&large))), (413, pairs(&LISTED)));
    }
}

#[test]
fn a_page_that_is_not_listed_reaches_nothing() {
    let vm = Profile::Tunnel.start();
    for origin in ["https://evil.example", "null", "https://app.example.evil.example"] {
        for method in ["POST", "GET", "OPTIONS"] {
            let request = request(method, "/orders").with("origin", origin);
            let stream = vm.request(request.with("access-control-request-method", "POST"));
            told(&stream, 403, "this Origin may not use this path");
            assert_eq!(said(&answered(&stream)), pairs(&[("vary", "origin")]));
        }
    }
    let stream = vm.request(post("/orders").with("origin", b"\xff\xfe"));
    told(&stream, 403, "this Origin may not use this path");
    assert_eq!((vm.grpc_calls().len(), vm.metric("sluicegate.http.refused")), (0, Some(10)));
}

#[test]
fn who_is_no_page_is_let_through() {
    let vm = Profile::Tunnel.start();
    let stream = vm.request(request("POST", "/orders"));
    answer(&vm, 200, &[], "ok");
    assert_eq!(said(&answered(&stream)), pairs(&[("vary", "origin")]));
}

#[test]
fn a_preflight_is_answered_without_the_bridge() {
    let vm = Profile::Tunnel.start();
    let preflight = request("OPTIONS", "/orders")
        .with("origin", PAGE)
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "content-type,x-key");
    let response = answered(&vm.request(preflight));
    assert_eq!((response.status(), response.text().as_str(), response.complete), (204, "", true));
    let mut want = pairs(&LISTED);
    want.extend(pairs(&[
        ("access-control-allow-headers", "content-type,x-key"),
        ("access-control-allow-methods", "POST"),
        ("access-control-max-age", "600"),
    ]));
    want.sort();
    assert_eq!(said(&response), want);
    assert_eq!((vm.grpc_calls().len(), vm.metric("sluicegate.http.refused")), (0, Some(0)));
}

#[test]
fn a_preflight_with_names_that_are_none_is_told_so() {
    let vm = Profile::Tunnel.start();
    for names in [&b""[..], b"a b", b"\xff", &[b'a'; 1025]] {
        let preflight = request("OPTIONS", "/orders").with("origin", PAGE);
        let preflight = preflight.with("access-control-request-method", "POST");
        let stream = vm.request(preflight.with("access-control-request-headers", names));
        let expected =
            "Access-Control-Request-Headers is expected to list names of headers in at most 1024 bytes";
        told(&stream, 400, expected);
        assert_eq!(said(&answered(&stream)), pairs(&LISTED));
    }
}

#[test]
fn a_route_for_all_pages_says_so_and_what_it_takes() {
    let vm = Profile::Tunnel.start();
    let from_page = |method| request(method, "/public/topics").with("origin", "null");
    let stream = vm.request(from_page("GET"));
    answer(&vm, 200, &[], "[]");
    let all = [("access-control-allow-origin", "*"), ("access-control-expose-headers", EXPOSED)];
    assert_eq!(said(&answered(&stream)), pairs(&all));
    // A cache may give a page what it got for somebody else.
    let stream = vm.request(request("GET", "/public/topics"));
    answer(&vm, 200, &[], "[]");
    assert_eq!(said(&answered(&stream)), pairs(&all));
    let response = answered(&vm.request(from_page("OPTIONS").with("access-control-request-method", "GET")));
    assert_eq!(response.headers.text("access-control-allow-methods"), Some("GET, HEAD"));
}

#[test]
fn without_a_word_on_pages_the_bridge_answers_them_all() {
    let vm = Profile::Tunnel.start();
    let preflight = request("OPTIONS", "/kafka/topics").with("origin", "https://evil.example");
    let stream = vm.request(preflight.with("access-control-request-method", "POST"));
    assert_eq!(call(&vm).1.method, "OPTIONS");
    answer(&vm, 204, &[("allow", "GET, HEAD, OPTIONS")], "");
    let response = answered(&stream);
    assert_eq!((response.status(), said(&response)), (204, Vec::new()));
    assert_eq!(response.headers.text("allow"), Some("GET, HEAD, OPTIONS"));
}
