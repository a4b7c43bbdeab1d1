//! Plain HTTP, the same in every gateway: what the bridge is asked, and what the client is told.

use std::time::Duration;

use prost::Message;
use sluicegate_harness::{Status, When};
use sluicegate_protocol::cmd_http::Resource;
use sluicegate_protocol::{ErrorResp, HttpProduce, HttpRest, PubSubResp, pub_sub_resp::Resp};

use crate::gateway::{Gateway, Sent};
use crate::plain::{PAGE, answer_of, headers, post, request};

#[test]
fn a_body_becomes_a_call_and_its_answer_the_response() {
    for gateway in Gateway::all() {
        let mut sent = gateway.posts(post("/orders?x=y"), b"\0\xff");
        let asked = sent.asked();
        assert_eq!(asked.timeout, Duration::from_secs(40), "{gateway:?}");
        let want =
            [("sluicegate-cluster", "payments"), ("sluicegate-gateway-secret", "s3cret-of-the-gateway")];
        assert_eq!(asked.metadata, want.into(), "{gateway:?}");
        assert_eq!((asked.command.method.as_str(), &asked.command.body[..]), ("POST", &b"\0\xff"[..]));
        let Some(Resource::Produce(produce)) = asked.command.resource else { panic!("{gateway:?}") };
        let want = HttpProduce {
            topic: "orders".into(),
            header_prefix: "x-".into(),
            key_override: true,
            record_header_prefix: "r-".into(),
            ..HttpProduce::default()
        };
        assert_eq!(produce, want);

        let headers = [("content-type", "text/x"), ("x-a", "1"), ("x-a", "2"), ("connection", "close")];
        sent.answer(202, &headers, "ok");
        let response = sent.answered();
        assert_eq!((response.status(), response.text().as_str(), response.complete), (202, "ok", true));
        assert_eq!(response.headers.text("content-type"), Some("text/x"));
        let repeated = response.headers.iter().filter(|(name, _)| *name == b"x-a").count();
        assert_eq!((repeated, response.headers.get("connection")), (2, None), "{gateway:?}");
        assert_eq!(gateway.log(), [""; 0]);
    }
}

#[test]
fn a_rest_resource_is_asked_for_with_its_query_and_the_routes_permission() {
    for gateway in Gateway::all() {
        for (path, want, want_write) in [
            ("/kafka/topics/a%2Fb?x=y", "/topics/a%2Fb?x=y", true),
            ("/kafka", "", true),
            ("/kafka/", "/", true),
            ("/kafka?x", "?x", true),
            ("/public/topics", "/topics", false),
        ] {
            let sent = gateway.request(request("GET", path));
            let Some(Resource::Rest(HttpRest { path: got, write })) = sent.asked().command.resource else {
                panic!("{gateway:?}, {path}")
            };
            assert_eq!((got.as_str(), write), (want, want_write), "{gateway:?}, {path}");
        }
    }
}

/// In Envoy they are somebody else's; APISIX has no plugin for them but the filter.
#[test]
fn requests_that_are_no_routes_pass_in_envoy_alone() {
    for gateway in Gateway::all() {
        for path in ["/orders/", "/orders/x", "/%6frders", "//orders", "/kafkas", "/", "/readyz"] {
            let sent = gateway.posts(post(path), "body");
            let in_envoy = matches!(gateway, Gateway::Envoy(..));
            assert_eq!(
                (sent.forwarded().is_some(), sent.is_asking()),
                (in_envoy, false),
                "{gateway:?}, {path}"
            );
            if !in_envoy {
                assert_eq!(sent.answered().status(), 404, "{path}");
            }
        }
    }
}

#[test]
fn only_headers_with_a_meaning_travel_in_lower_case_and_a_clients_word_on_the_cluster_does_not() {
    for gateway in Gateway::all() {
        let request = request("POST", "/orders")
            .with("content-type", "application/json")
            .with("X-Key", b"\xfe")
            .with("r-a", "1")
            .with("R-a", "2")
            .with("authorization", "Bearer x")
            .with("sluicegate-cluster", "other")
            .with("sluicegate-gateway-secret", "guess");
        let asked = gateway.request(request).asked();
        let want = [("content-type", "application/json"), ("x-key", "\\xfe"), ("r-a", "1"), ("r-a", "2")];
        assert_eq!(
            headers(&asked.command),
            want.map(|(name, value)| (name, value.to_owned())),
            "{gateway:?}"
        );
        assert_eq!((asked.metadata.text("sluicegate-cluster"), asked.metadata.len()), (Some("payments"), 2));
    }
}

#[test]
fn every_method_is_the_bridges_to_judge() {
    for gateway in Gateway::all() {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
            let mut sent = gateway.request(request(method, "/orders"));
            assert_eq!(sent.asked().command.method, method, "{gateway:?}");
            sent.answer(405, &[("allow", "POST, OPTIONS")], "no\n");
            let response = sent.answered();
            assert_eq!((response.status(), response.headers.text("allow")), (405, Some("POST, OPTIONS")));
            assert_eq!(response.text(), if method == "HEAD" { "" } else { "no\n" }, "{gateway:?}, {method}");
        }
    }
}

#[test]
fn a_body_may_be_empty() {
    for gateway in Gateway::all() {
        let check = |mut sent: Sent<'_>| {
            assert_eq!(&sent.asked().command.body[..], b"", "{gateway:?}");
            sent.answer(200, &[], "ok");
            assert_eq!(sent.answered().status(), 200);
        };
        // A body that is not there is not what came before.
        gateway.works();
        check(gateway.posts(post("/orders"), ""));
        check(gateway.request(request("POST", "/orders").with("content-length", "0")));
        check(gateway.request(request("POST", "/orders")));
    }
}

#[test]
fn a_path_that_is_not_utf8_is_no_plain_requests() {
    for path in [&b"/orders?\xff"[..], b"/kafka/topics/\xff"] {
        for gateway in Gateway::all() {
            let request = request("GET", "/").without(":path").with(":path", path).with("origin", PAGE);
            let sent = gateway.request(request);
            sent.told(400, "the path is not UTF-8");
            assert!(!sent.is_asking());
            for (name, count) in [("http.requests", 1), ("http.refused", 1), ("handshakes_refused", 0)] {
                gateway.counts(name, count);
            }
        }
    }
}

/// An upgrade has no end: nothing may wait for one.
#[test]
fn an_upgrade_is_taken_for_a_plain_request_where_that_can_be() {
    for gateway in Gateway::all() {
        let upgrade = |method, path| {
            let upgrade = request(method, path).with("upgrade", "websocket").with("connection", "upgrade");
            gateway.request(upgrade)
        };
        let mut sent = upgrade("GET", "/kafka/topics");
        assert_eq!(&sent.asked().command.body[..], b"");
        sent.answer(200, &[], "[]");
        assert_eq!(sent.answered().text(), "[]", "{gateway:?}");
        let refused = upgrade("POST", "/orders");
        refused.told(400, "no upgrade is expected here");
        assert!(!refused.is_asking(), "{gateway:?}");
    }
}

/// Where it is not known whether a request was carried out, unless it only looked.
#[track_caller]
fn failing(act: impl Fn(&mut Sent<'_>), status: u16, retry_after: Option<&str>, detail: &str) {
    failed(act, true, status, retry_after, detail);
}

/// Where it surely was not.
#[track_caller]
fn refused(act: impl Fn(&mut Sent<'_>), status: u16, retry_after: Option<&str>, detail: &str) {
    failed(act, false, status, retry_after, detail);
}

#[track_caller]
fn failed(act: impl Fn(&mut Sent<'_>), begun: bool, status: u16, retry_after: Option<&str>, detail: &str) {
    for (method, safe) in [("GET", true), ("POST", false), ("DELETE", false)] {
        for gateway in Gateway::all() {
            let mut sent = gateway.request(request(method, "/orders").with("origin", PAGE));
            act(&mut sent);
            let unknown = begun && !safe;
            let outcome = if unknown { "; it is not known whether anything was written" } else { "" };
            sent.told(status, &format!("{detail}{outcome}"));
            let response = sent.answered();
            assert_eq!(response.text().contains(r#","unknown_outcome":true"#), unknown, "{gateway:?}");
            assert_eq!(response.headers.text("retry-after"), retry_after);
            assert_eq!(response.headers.text("access-control-allow-origin"), Some(PAGE));
            gateway.counts("http.calls_failed", 1);
            gateway.works();
        }
    }
}

#[test]
fn a_call_that_fails_is_told_by_its_status() {
    let fails = |code| move |sent: &mut Sent<'_>| sent.fail(code);
    failing(fails(4), 504, None, "the bridge did not answer in time");
    for code in [1, 2, 13, 77] {
        failing(fails(code), 502, None, &format!("the bridge ended with the gRPC status {code}"));
    }
}

/// With these, the bridge says no before it begins.
#[test]
fn what_the_bridge_refused_was_surely_not_written() {
    let fails = |code| move |sent: &mut Sent<'_>| sent.fail(code);
    refused(fails(8), 503, Some("1"), "the bridge has as much to do as it may, try again");
    refused(fails(10), 503, Some("1"), "the bridge is shutting down, try again");
    refused(fails(11), 413, None, "a smaller body is expected: the bridge takes none as large as this");
    for code in [3, 5, 7, 9, 12, 16] {
        refused(fails(code), 502, None, "the gateway and the bridge are not set up for each other");
    }
}

#[test]
fn an_answer_that_is_none_is_a_bad_gateway() {
    let answers = |message: Vec<u8>| move |sent: &mut Sent<'_>| sent.answer_with(&message);
    let error = ErrorResp { message: "unknown command".into(), ..ErrorResp::default() };
    let old = PubSubResp { sequence: 0, resp: Some(Resp::ErrorResp(error)) };
    let unreadable = "the bridge's answer cannot be read";
    failing(answers(old.encode_to_vec()), 502, None, unreadable);
    failing(answers(vec![0xFF; 20]), 502, None, unreadable);
    failing(answers(Vec::new()), 502, None, unreadable);
    failing(answers(answer_of(101, &[], "")), 502, None, unreadable);
}

#[test]
fn a_call_that_cannot_even_be_made_was_not_written() {
    for status in [1, 2, 4, 6, 10, 12, 77] {
        for gateway in Gateway::all() {
            gateway.refuse(gateway.call(), When::Nth(1), Status(status));
            let sent = gateway.posts(post("/orders"), "body");
            // Envoy tells of its end afterwards, where the bridge's cluster has nobody.
            if let Gateway::Envoy(_, vm) = &gateway {
                vm.fail_grpc_call(1, 14, "no healthy upstream");
            }
            sent.told(503, "the bridge cannot be called");
            let response = sent.answered();
            assert_eq!(response.headers.text("retry-after"), Some("1"), "{gateway:?}, {status}");
            assert!(!response.text().contains("unknown_outcome"));
            gateway.works();
        }
    }
}

#[test]
fn a_rest_resources_errors_are_errors_of_the_rest_proxies_too() {
    for gateway in Gateway::all() {
        let fails = |accept: &str| {
            let mut sent = gateway.request(request("GET", "/kafka/topics").with("accept", accept));
            sent.fail(14);
            sent.answered()
        };
        let response = fails("application/json");
        let members = r#""error_code":50003,"message":"the connection to the bridge was lost, try again"}"#;
        assert!(response.text().ends_with(members), "{gateway:?}: {response:?}");
        assert_eq!(response.headers.text("content-type"), Some("application/problem+json"));
        let response = fails("application/vnd.kafka.binary.v2+json");
        assert!(response.text().ends_with(members), "{gateway:?}: {response:?}");
        assert_eq!(response.headers.text("content-type"), Some("application/vnd.kafka.v2+json"));
    }
}

#[test]
fn many_requests_at_once_get_each_its_own_answer() {
    for gateway in Gateway::all() {
        let mut all: Vec<_> = (0..500).map(|n| gateway.posts(post("/orders"), format!("{n}"))).collect();
        // The last first.
        for sent in all.iter_mut().rev() {
            let body = String::from_utf8(sent.asked().command.body.to_vec()).unwrap();
            sent.answer(200, &[], &body);
        }
        for (n, sent) in all.iter().enumerate() {
            assert_eq!(sent.answered().text(), n.to_string(), "{gateway:?}");
        }
        gateway.counts("http.requests", 500);
    }
}

#[test]
fn a_large_answer_reaches_the_client_whole() {
    for gateway in Gateway::all() {
        let mut sent = gateway.request(request("GET", "/kafka/topics"));
        let body = "x".repeat(5 << 20);
        sent.answer(200, &[], &body);
        assert!(sent.answered().text() == body, "{gateway:?}");
    }
}
