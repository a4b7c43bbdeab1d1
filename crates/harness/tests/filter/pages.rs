//! Plain HTTP from web pages: which may, and what they are told.

use sluicegate_harness::Response;

use crate::gateway::Gateway;
use crate::plain::{PAGE, post, request};

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
    for gateway in Gateway::all() {
        let from_page = |method, path| request(method, path).with("origin", PAGE);
        let mut bridges = gateway.request(from_page("POST", "/orders"));
        bridges.answer(200, &[("vary", "accept")], "ok");
        let want = [&LISTED[..3], &[("vary", "accept"), ("vary", "origin")]].concat();
        assert_eq!(said(&bridges.answered()), pairs(&want), "{gateway:?}");

        let mut failed = gateway.request(from_page("POST", "/orders"));
        failed.fail(14);
        assert_eq!(said(&failed.answered()), pairs(&LISTED), "{gateway:?}");

        let large = gateway.request(from_page("POST", "/orders").with("content-length", "99999999"));
        assert_eq!((large.answered().status(), said(&large.answered())), (413, pairs(&LISTED)));
    }
}

#[test]
fn a_page_that_is_not_listed_reaches_nothing() {
    for gateway in Gateway::all() {
        let refused = |request| {
            let sent = gateway.request(request);
            sent.told(403, "this Origin may not use this path");
            assert_eq!(said(&sent.answered()), pairs(&[("vary", "origin")]), "{gateway:?}");
            assert!(!sent.is_asking(), "{gateway:?}");
        };
        for origin in ["https://evil.example", "null", "https://app.example.evil.example"] {
            for method in ["POST", "GET", "OPTIONS"] {
                let request = request(method, "/orders").with("origin", origin);
                refused(request.with("access-control-request-method", "POST"));
            }
        }
        refused(post("/orders").with("origin", b"\xff\xfe"));
        gateway.counts("http.refused", 10);
    }
}

#[test]
fn who_is_no_page_is_let_through() {
    for gateway in Gateway::all() {
        let mut sent = gateway.request(request("POST", "/orders"));
        sent.answer(200, &[], "ok");
        assert_eq!(said(&sent.answered()), pairs(&[("vary", "origin")]), "{gateway:?}");
    }
}

#[test]
fn a_preflight_is_answered_without_the_bridge() {
    for gateway in Gateway::all() {
        let preflight = request("OPTIONS", "/orders")
            .with("origin", PAGE)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "content-type,x-key");
        let sent = gateway.request(preflight);
        let response = sent.answered();
        assert_eq!((response.status(), response.text().as_str(), response.complete), (204, "", true));
        let mut want = pairs(&LISTED);
        want.extend(pairs(&[
            ("access-control-allow-headers", "content-type,x-key"),
            ("access-control-allow-methods", "POST"),
            ("access-control-max-age", "600"),
        ]));
        want.sort();
        assert_eq!(said(&response), want, "{gateway:?}");
        assert!(!sent.is_asking(), "{gateway:?}");
        gateway.counts("http.refused", 0);
    }
}

#[test]
fn a_preflight_with_names_that_are_none_is_told_so() {
    for gateway in Gateway::all() {
        for names in [&b""[..], b"a b", b"\xff", &[b'a'; 1025]] {
            let preflight = request("OPTIONS", "/orders").with("origin", PAGE);
            let preflight = preflight.with("access-control-request-method", "POST");
            let sent = gateway.request(preflight.with("access-control-request-headers", names));
            let expected =
                "Access-Control-Request-Headers is expected to list names of headers in at most 1024 bytes";
            sent.told(400, expected);
            assert_eq!(said(&sent.answered()), pairs(&LISTED), "{gateway:?}");
        }
    }
}

#[test]
fn a_route_for_all_pages_says_so_and_what_it_takes() {
    for gateway in Gateway::all() {
        let from_page = |method| request(method, "/public/topics").with("origin", "null");
        let all = [("access-control-allow-origin", "*"), ("access-control-expose-headers", EXPOSED)];
        // A cache may give a page what it got for somebody else.
        for asking in [from_page("GET"), request("GET", "/public/topics")] {
            let mut sent = gateway.request(asking);
            sent.answer(200, &[], "[]");
            assert_eq!(said(&sent.answered()), pairs(&all), "{gateway:?}");
        }
        let preflight = from_page("OPTIONS").with("access-control-request-method", "GET");
        let response = gateway.request(preflight).answered();
        assert_eq!(response.headers.text("access-control-allow-methods"), Some("GET, HEAD"));
    }
}

#[test]
fn without_a_word_on_pages_the_bridge_answers_them_all() {
    for gateway in Gateway::all() {
        let preflight = request("OPTIONS", "/kafka/topics").with("origin", "https://evil.example");
        let mut sent = gateway.request(preflight.with("access-control-request-method", "POST"));
        assert_eq!(sent.asked().command.method, "OPTIONS");
        sent.answer(204, &[("allow", "GET, HEAD, OPTIONS")], "");
        let response = sent.answered();
        assert_eq!((response.status(), said(&response)), (204, Vec::new()), "{gateway:?}");
        assert_eq!(response.headers.text("allow"), Some("GET, HEAD, OPTIONS"));
    }
}
