//! Plain HTTP without an answer from the bridge: the client learns whether to retry, in Envoy from a problem document,
//! in APISIX from the status.

use sluicegate_harness::{Headers, HostCall, Response, Status, When};

use crate::gateway::{Failure, Gateway, PAGE, Sent, post, request, says};
use crate::socket::start;

const UNKNOWN: &str = "the bridge did not answer; it is not known whether anything was written";
const UNSENT: &str = "the bridge cannot be reached, try again";

/// The client's answer to a request that the bridge did not answer.
#[track_caller]
fn check(gateway: &Gateway, response: &Response, status: u16, detail: &str) {
    let unknown = detail == UNKNOWN;
    assert_eq!(response.status(), status, "{gateway:?}");
    assert_eq!(response.headers.text("cache-control"), Some("no-store"), "{gateway:?}");
    assert_eq!(response.headers.text("retry-after"), (status == 503).then_some("1"), "{gateway:?}");
    if let Gateway::Envoy(..) = gateway {
        says(response, status, detail);
        assert_eq!(response.text().contains(r#","unknown_outcome":true"#), unknown, "{gateway:?}");
    } else {
        assert!(response.text().starts_with("<html>nginx's own page for 50"), "{response:?}");
        assert_eq!(response.headers.text("sluicegate-outcome"), unknown.then_some("unknown"));
    }
}

/// The same of requests that write and of one that reads.
#[track_caller]
fn each(failure: Failure, write: (u16, &str), read: (u16, &str)) {
    for gateway in Gateway::all() {
        for (method, (status, detail)) in [("POST", write), ("GET", read)] {
            let response = gateway.request(request(method, "/orders")).fails(failure);
            check(&gateway, &response, status, detail);
            assert!(!response.text().contains("error_code"), "{response:?}");
        }
        for (name, count) in [("http.requests", 2), ("http.answers_lost", 2), ("http.refused", 0)] {
            gateway.counts(name, count);
        }
        gateway.works();
    }
}

#[test]
fn client_learns_whether_a_retry_can_help() {
    each(Failure::Unsent, (503, UNSENT), (503, UNSENT));
    each(Failure::Cut, (504, UNKNOWN), (503, "the connection to the bridge was lost, try again"));
    each(Failure::Late, (504, UNKNOWN), (504, "the bridge did not answer in time"));
}

/// They come from a proxy in between, or from a bridge that does not know the request.
#[test]
fn errors_without_the_bridges_mark_are_replaced() {
    for gateway in Gateway::all() {
        for status in [500, 502, 503, 504, 599] {
            let answer = |method| {
                let mut sent = gateway.request(request(method, "/orders"));
                let headers = sent.answer(status, &[("retry-after", "99"), ("x", "y")]);
                [":status", "retry-after", "sluicegate-outcome"]
                    .map(|name| headers.text(name).map(str::to_owned))
            };
            let outcome = matches!(gateway, Gateway::Apisix(..)).then(|| "unknown".to_owned());
            assert_eq!(answer("POST"), [Some("504".into()), None, outcome], "{gateway:?}, {status}");
            let want = if status == 504 { ["504", ""] } else { ["503", "1"] };
            let want = want.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty()));
            let [status, retry_after, outcome] = answer("GET");
            assert_eq!(([status, retry_after], outcome), (want, None), "{gateway:?}");
        }
        gateway.counts("http.answers_lost", 10);
    }
}

#[test]
fn rest_errors_have_the_rest_proxies_members() {
    for gateway in Gateway::all() {
        let response = gateway.request(request("GET", "/kafka/topics")).fails(Failure::Unsent);
        check(&gateway, &response, 503, UNSENT);
        if let Gateway::Envoy(..) = gateway {
            let members = format!(r#","error_code":50003,"message":"{UNSENT}"}}"#);
            assert!(response.text().ends_with(&members), "{response:?}");
        }
    }
}

#[test]
fn web_pages_can_read_what_they_are_told() {
    for gateway in Gateway::all() {
        let said = |path, origin: &[u8]| {
            let response = gateway.request(post(path).with("origin", origin)).fails(Failure::Cut);
            let names = ["access-control-allow-origin", "access-control-allow-credentials", "vary"];
            names.map(|name| response.headers.text(name).map(str::to_owned))
        };
        let listed = |origin: &str| [Some(origin.to_owned()), Some("true".into()), Some("origin".into())];
        assert_eq!(said("/orders", PAGE.as_bytes()), listed(PAGE), "{gateway:?}");
        assert_eq!(said("/orders", b"HTTPS://APP.example"), listed("HTTPS://APP.example"), "{gateway:?}");
        for origin in [&b"https://evil.example"[..], b"null", b"*", b"\xff", b""] {
            assert_eq!(said("/orders", origin), [None, None, None], "{gateway:?}");
        }
        assert_eq!(said("/public/topics", b"null")[..2], [Some("*".into()), None], "{gateway:?}");
        assert_eq!(said("/kafka/topics", PAGE.as_bytes()), [None, None, None], "{gateway:?}");
        let none = gateway.request(post("/orders")).fails(Failure::Cut).headers;
        assert_eq!(none.text("access-control-allow-origin"), None, "{gateway:?}");
    }
}

#[test]
fn envoys_details_tell_unsent_requests() {
    let reset = |reason| format!("upstream_reset_before_response_started{{{reason}}}");
    let vm = start();
    let status = |details: &str| {
        let [status, late] = [503, 504].map(|own| {
            let mut stream = vm.request(post("/orders"));
            stream.upstream_fails(own, details);
            stream.response().map(|response| response.status())
        });
        assert_eq!(status, late, "{details}");
        status
    };
    for reason in [
        "local_connection_failure",
        "remote_connection_failure",
        "remote_connection_failure|delayed_connect_error:_111",
        "connection_timeout",
        "overflow",
        "remote_refused_stream_reset",
    ] {
        assert_eq!(status(&reset(reason)), Some(503), "{reason}");
    }
    assert_eq!((status("no_healthy_upstream"), status("cluster_not_found")), (Some(503), Some(503)));
    for reason in ["connection_termination", "remote_reset", "local_reset", "protocol_error", ""] {
        assert_eq!(status(&reset(reason)), Some(504), "{reason}");
    }
    for details in ["", "upstream_response_timeout", "via_upstream", "overload", "x_no_healthy_upstream"] {
        assert_eq!(status(details), Some(504), "{details}");
    }
}

#[test]
fn nginxs_byte_counts_tell_unsent_requests() {
    let gateway = Gateway::apisix();
    for (bytes, want) in [
        ("0", 503),
        ("0, 0", 503),
        ("0, 0 : 0", 503),
        ("-", 503),
        ("217", 504),
        ("0, 217", 504),
        ("10", 504),
        ("", 504),
        ("x", 504),
    ] {
        for own in [502, 504] {
            let Sent::Apisix(mut stream) = gateway.request(post("/orders")) else { panic!("APISIX") };
            assert_eq!(stream.upstream_fails(own, bytes).map(|page| page.status()), Some(want), "{bytes}");
        }
    }
}

/// A request that another plugin answered has no upstream in nginx.
#[test]
fn unknown_bytes_sent_prove_nothing() {
    for gateway in Gateway::all() {
        for status in [1, 2, 10, 12, 77] {
            let mut sent = gateway.request(post("/orders"));
            gateway.refuse(HostCall::GetProperty, When::Always, Status(status));
            let is_without_upstream =
                matches!(gateway, Gateway::Apisix(..)) && Status(status) == Status::NOT_FOUND;
            let want = if is_without_upstream { 503 } else { 504 };
            assert_eq!(sent.fails(Failure::Unsent).status(), want, "{gateway:?}, {status}");
            gateway.allow(HostCall::GetProperty);
        }
    }
}

#[test]
fn unknown_client_address_is_not_sent() {
    for gateway in Gateway::all() {
        gateway.refuse(HostCall::GetProperty, When::Always, Status::NOT_FOUND);
        let forged = post("/orders").with("sluicegate-client", "10.6.6.6");
        let headers: Headers = gateway.request(forged).forwarded();
        assert_eq!(headers.get("sluicegate-client"), None, "{gateway:?}");
    }
}
