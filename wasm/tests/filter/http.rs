//! Plain HTTP in every gateway: forwarded and refused requests.

use sluicegate_harness::Headers;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{HttpCors, HttpProduce, HttpRest, HttpRoute};

use crate::gateway::Gateway;
use crate::plain::{ANSWERED, PAGE, post, request, settings};
use crate::socket::{sorted, start};

/// The headers by which a gateway speaks to the bridge, but for the route's settings.
fn told(headers: &Headers) -> Vec<String> {
    let ours = |line: &String| line.starts_with("sluicegate-") && !line.starts_with("sluicegate-http: ");
    sorted(headers).into_iter().filter(ours).collect()
}

const CLIENT: &str = "sluicegate-client: 10.0.0.9";
const SECRET: &str = "sluicegate-gateway-secret: s3cret-of-the-gateway";

const ORDERS: [&str; 6] = [
    CLIENT,
    "sluicegate-cluster: payments",
    SECRET,
    "sluicegate-read: false",
    "sluicegate-topics: orders",
    "sluicegate-write: true",
];

#[test]
fn each_kind_of_route_tells_the_bridge_its_cluster_and_its_grant() {
    for gateway in Gateway::all() {
        let told = |path| told(&gateway.request(request("GET", path)).forwarded());
        assert_eq!(told("/orders"), ORDERS, "{gateway:?}");
        let topics = "sluicegate-topics: *";
        let rest = [CLIENT, "sluicegate-cluster: payments", SECRET, topics, "sluicegate-write: true"];
        assert_eq!(told("/kafka/topics"), rest, "{gateway:?}");
        let public = [CLIENT, "sluicegate-cluster: default", SECRET, "sluicegate-topics: public.*"];
        assert_eq!(told("/public/topics"), public, "{gateway:?}");
        assert_eq!(gateway.texts(), [""; 0]);
    }
}

#[test]
fn bridges_refusal_is_logged_and_not_shown() {
    let reasons = ["header sluicegate-gateway-secret is missing", "no cluster payments is configured"];
    for gateway in Gateway::all() {
        let refuse = |reason| {
            let answer = gateway.request(post("/orders")).answer(502, &[("sluicegate-answered", reason)]);
            assert_eq!(answer, Headers::from([(":status", "502")]), "{gateway:?}");
        };
        for _ in 0..9 {
            refuse(reasons[0]);
        }
        refuse(reasons[1]);
        let logged = [(1, reasons[0]), (2, reasons[0]), (4, reasons[0]), (8, reasons[0]), (1, reasons[1])];
        let logged = logged.map(|(count, reason)| {
            format!("sluicegate: the bridge refused a request ({count} so far): {reason}")
        });
        assert_eq!(gateway.texts(), logged, "{gateway:?}");
    }
}

#[test]
fn produce_routes_settings_reach_the_bridge() {
    let want = HttpRoute {
        resource: Some(Resource::Produce(HttpProduce {
            topic: "orders".into(),
            header_prefix: "x-".into(),
            key_override: true,
            record_header_prefix: "r-".into(),
            ..HttpProduce::default()
        })),
        cors: Some(HttpCors { origins: vec![PAGE.into()], credentials: true }),
        path: "?x=%ff".into(),
    };
    for gateway in Gateway::all() {
        assert_eq!(settings(&gateway.request(post("/orders?x=%ff#x")).forwarded()), want, "{gateway:?}");
    }
}

#[test]
fn rest_paths_reach_the_bridge_as_they_were_judged() {
    for gateway in Gateway::all() {
        for (path, want) in [
            ("/kafka/topics/a%2Fb?x=y", "/topics/a%2Fb?x=y"),
            ("/kafka", ""),
            ("/kafka/", "/"),
            ("/kafka?x", "?x"),
            ("/kafka#/topics", ""),
            ("/kafka/topics?x#y?z", "/topics?x"),
            ("/kafka/%2e%2E/%00?~", "/%2e%2E/%00?~"),
        ] {
            let forwarded = gateway.request(request("GET", path)).forwarded();
            let want = HttpRoute {
                resource: Some(Resource::Rest(HttpRest {})),
                path: want.into(),
                cors: Some(HttpCors::default()),
            };
            assert_eq!(settings(&forwarded), want, "{gateway:?}, {path}");
            // APISIX can pass on no path with a query untouched.
            let want = if matches!(gateway, Gateway::Apisix(..)) { "/" } else { path };
            assert_eq!(forwarded.text(":path"), Some(want), "{gateway:?}");
        }
    }
}

#[test]
fn clients_headers_are_forwarded_except_te() {
    for gateway in Gateway::all() {
        let own = Headers::default()
            .and("content-type", "application/json")
            .and("x-key", b"\xfe")
            .and("r-a", "1")
            .and("r-a", "2")
            .and("authorization", "Bearer x");
        let request = own.iter().fold(post("/orders"), |request, (name, value)| request.and(name, value));
        let forwarded = gateway.request(request.with("te", "gzip")).forwarded();
        let hosts = [":", "sluicegate-", "x-sluicegate-", "host", "transfer-encoding", "x-envoy-"];
        let others = |line: &String| !hosts.iter().any(|host| line.starts_with(host));
        let others: Vec<_> = sorted(&forwarded).into_iter().filter(others).collect();
        assert_eq!(others, sorted(&own), "{gateway:?}");
        let host = forwarded.text(":authority").or(forwarded.text("host"));
        assert_eq!((host, forwarded.text(":method")), (Some("gateway.example"), Some("POST")));
    }
}

#[test]
fn clients_cannot_speak_as_the_gateway() {
    for gateway in Gateway::all() {
        let forged = post("/orders")
            .and("sluicegate-cluster", "other")
            .and("sluicegate-cluster", "another")
            .and("Sluicegate-Cluster-Definition", "CgdldmlsOjEK")
            .and("SLUICEGATE-GATEWAY-SECRET", "guess")
            .and("sluicegate-read", "true")
            .and("Sluicegate-Topics", "*")
            .and("sluicegate-client", "10.6.6.6")
            .and("sluicegate-http", "CgA")
            .and("sluicegate-Subprotocol", "x")
            .and("sluicegate-answered", "1")
            .and("sluicegate-", "x");
        let forwarded = gateway.request(forged).forwarded();
        assert_eq!(told(&forwarded), ORDERS, "{gateway:?}");
        assert!(matches!(settings(&forwarded).resource, Some(Resource::Produce(_))));
    }
}

/// In Envoy they are somebody else's; APISIX has no plugin for them but the filter.
#[test]
fn unrouted_requests_pass_only_in_envoy() {
    for gateway in Gateway::all() {
        for path in ["/orders/", "/orders/x", "/%6frders", "//orders", "/kafkas", "/", "/readyz"] {
            let mut sent = gateway.request(post(path));
            if let Gateway::Apisix(..) = gateway {
                sent.told(404, "the gateway's filter has no route for this path");
            } else {
                assert_eq!(sent.forwarded(), post(path), "{gateway:?}");
                assert_eq!(sent.answer(503, &[ANSWERED]), [(":status", "503"), ANSWERED].into());
            }
        }
    }
}

#[test]
fn invalid_paths_are_refused() {
    for path in [&b"/orders?\xff"[..], b"/kafka/topics/a|b"] {
        for gateway in Gateway::all() {
            let sent = gateway.request(request("GET", "/").without(":path").with(":path", path));
            sent.told(400, "the path has a character that is not allowed in URLs");
            for (name, count) in [("http.requests", 1), ("http.refused", 1), ("handshakes_refused", 0)] {
                gateway.counts(name, count);
            }
        }
    }
}

/// Gateways switch protocols for them.
#[test]
fn websocket_upgrades_of_plain_http_routes_are_refused() {
    for gateway in Gateway::all() {
        for path in ["/orders", "/kafka/topics"] {
            for method in ["GET", "POST"] {
                for upgrade in ["websocket", "WebSocket"] {
                    let request =
                        request(method, path).with("connection", "upgrade").with("upgrade", upgrade);
                    let sent = gateway.request(request);
                    sent.told(400, "this path takes plain HTTP requests, without Upgrade");
                }
            }
        }
        gateway.counts("http.refused", 8);
        gateway.request(request("GET", "/orders").with("upgrade", "h2c")).forwarded();
    }
}

/// Envoy would tell them 200 in place of an error of its own.
#[test]
fn grpc_requests_of_plain_http_routes_are_refused() {
    for gateway in Gateway::all() {
        for kind in ["application/grpc", "application/grpc+proto"] {
            let sent = gateway.request(post("/orders").with("content-type", kind));
            if let Gateway::Apisix(..) = gateway {
                sent.told(400, "this path takes plain HTTP requests, not gRPC");
            } else {
                let headers = sent.answered().headers;
                let told = [":status", "grpc-status"].map(|name| headers.text(name));
                assert_eq!(told, [Some("200"), Some("13")], "{gateway:?}");
            }
        }
        gateway.counts("http.refused", 2);
        gateway.request(post("/orders").with("content-type", "application/grpc-web")).forwarded();
    }
}

#[test]
fn answers_of_the_bridge_pass_without_their_mark() {
    for gateway in Gateway::all() {
        for status in [200, 204, 304, 400, 404, 413, 429, 500, 502, 503, 504] {
            let mut sent = gateway.request(post("/orders").with("origin", PAGE));
            let headers = [("content-type", "text/x"), ("x-a", "1"), ("x-a", "2"), ("retry-after", "7")];
            let marked = [&headers[..2], &[ANSWERED], &headers[2..]].concat();
            let want = Headers::from([(":status", status.to_string())]);
            let want = headers.iter().fold(want, |want, (name, value)| want.and(name, value));
            assert_eq!(sent.answer(status, &marked), want, "{gateway:?}");
        }
        gateway.counts("http.answers_lost", 0);
    }
}

#[test]
fn unmarked_answers_pass_unless_they_are_server_errors() {
    for gateway in Gateway::all() {
        for status in [200, 301, 400, 408, 413, 499] {
            let answer = gateway.request(post("/orders")).answer(status, &[("x", "y")]);
            let want = Headers::from([(":status", status.to_string())]).and("x", "y");
            assert_eq!(answer, want, "{gateway:?}");
        }
    }
}

#[test]
fn envoy_never_sends_a_write_twice() {
    let vm = start();
    let retries = |method| {
        let stream = vm.request(request(method, "/orders").with("x-envoy-max-retries", "5"));
        stream.upstream_request().expect("forwarded").text("x-envoy-max-retries").map(str::to_owned)
    };
    for (method, want) in [("POST", "0"), ("DELETE", "0"), ("get", "0"), ("GET", "5"), ("HEAD", "5")] {
        assert_eq!(retries(method).as_deref(), Some(want), "{method}");
    }
}

#[test]
fn bodies_stream_through_envoy_in_both_directions() {
    let vm = start();
    let mut stream = vm.request(post("/orders"));
    let before = vm.memory_bytes();
    for _ in 0..100 {
        stream.client_sends([7; 64 << 10]);
        assert_eq!(stream.take_to_upstream().len(), 64 << 10);
    }
    stream.client_trailers([("x", "y")]);
    assert!(stream.upstream_has_all());
    stream.upstream_headers([(":status", "200"), ANSWERED], false);
    for _ in 0..100 {
        stream.upstream_sends([7; 64 << 10], false);
        assert_eq!(stream.take_to_client().len(), 64 << 10);
    }
    stream.upstream_trailers([("x", "y")]);
    assert!(stream.response().is_some_and(|response| response.complete && response.trailers.is_some()));
    assert_eq!((stream.pauses().len(), vm.memory_bytes()), (0, before));
}
