//! Plain HTTP in every gateway: forwarded and refused requests.

use sluicegate_harness::Headers;
use sluicegate_protocol::http_route::Resource;
use sluicegate_protocol::{ClusterDefinition, HttpCors, HttpProduce, HttpRest, HttpRoute};

use crate::gateway::{ANSWERED, Gateway, PAGE, apisix, decoded, post, request, settings};
use crate::socket::{Profile, accepted, sorted, start, start_configured, upgrade, upgrade_with};

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
fn rest_routes_tell_the_bridge_their_cluster_and_their_grant() {
    for gateway in Gateway::all() {
        let told = |path| told(&gateway.request(request("GET", path)).forwarded());
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
        // An upgrade is refused in the same way.
        let answer = gateway.request(upgrade()).answer(401, &[("sluicegate-answered", reasons[1])]);
        assert_eq!(answer, Headers::from([(":status", "401")]), "{gateway:?}");
        gateway.counts("sessions_total", 0);
        let [secret, cluster] = reasons;
        let logged = [(1, secret), (2, secret), (4, secret), (8, secret), (1, cluster), (2, cluster)];
        let logged = logged.map(|(count, reason)| {
            format!("sluicegate: the bridge refused a request ({count} so far): {reason}")
        });
        assert_eq!(gateway.texts(), logged, "{gateway:?}");
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
            // As browsers and curl send them.
            ("/kafka/topics/a|b?x=[é]", "/topics/a%7Cb?x=%5B%C3%A9%5D"),
        ] {
            let forwarded = gateway.request(request("GET", path)).forwarded();
            let want = HttpRoute {
                resource: Some(Resource::Rest(HttpRest::default())),
                path: want.into(),
                cors: Some(HttpCors::default()),
            };
            assert_eq!(settings(&forwarded), want, "{gateway:?}, {path}");
            // APISIX can pass on no path with a query untouched.
            let encoded = path.replace('|', "%7C").replace("[é]", "%5B%C3%A9%5D");
            let want = if matches!(gateway, Gateway::Apisix(..)) { "/" } else { &encoded };
            assert_eq!(forwarded.text(":path"), Some(want), "{gateway:?}");
        }
    }
}

#[test]
fn requests_for_consumers_name_their_group_for_the_gateways_hash() {
    for gateway in Gateway::all() {
        for (path, want) in [
            ("/kafka/consumers/a%2Fb", Some("a%2Fb")),
            ("/kafka/consumers/g/instances/i/records?timeout=1", Some("g")),
            ("/kafka/consumers/g?x#y", Some("g")),
            ("/kafka/consumers/", None),
            ("/kafka/topics/consumers/g", None),
            ("/orders?/consumers/g", None),
        ] {
            let request = request("POST", path).and("x-sluicegate-group", "of the client");
            let forwarded = gateway.request(request).forwarded();
            assert_eq!(forwarded.text("x-sluicegate-group"), want, "{gateway:?}, {path}");
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
fn route_with_its_own_cluster_sends_the_definition_and_no_other() {
    let kafka = r#"{"nodes": {"kafka-1:9094": 1, "kafka-2:9094": 1}}"#;
    let configuration = format!(
        r#"{{"gateway_secret": "s3cret-of-the-gateway", "routes": [
            {{"path": "/pubsub", "topics": ["*"], "kafka": {kafka}}}, {{"path": "/orders", "type": "produce",
            "topic": "orders", "origins": [], "kafka": {kafka}}}]}}"#
    );
    let worker = apisix();
    let route = worker.route(&configuration);
    let envoy = Gateway::Envoy(Profile::Tunnel, start_configured(&configuration));
    for gateway in [envoy, Gateway::Apisix(worker, route)] {
        for request in [upgrade(), post("/orders")] {
            let name = "sluicegate-cluster-definition";
            let forged =
                request.with(name, "CgdldmlsOjEK").with("Sluicegate-Cluster-Definition", "CgdldmlsOjEK");
            let headers = gateway.request(forged.with("sluicegate-cluster", "other")).forwarded();
            let named = told(&headers).into_iter().filter(|line| line.starts_with("sluicegate-cluster"));
            assert_eq!(named.count(), 1, "{headers:?}");
            let definition: ClusterDefinition = decoded(&headers, name);
            assert_eq!(definition.nodes, ["kafka-1:9094", "kafka-2:9094"]);
            assert_eq!(headers.text("sluicegate-gateway-secret"), Some("s3cret-of-the-gateway"));
        }
        assert_eq!(gateway.texts(), [""; 0], "{gateway:?}");
    }
}

#[test]
fn clients_cannot_speak_as_the_gateway() {
    for gateway in Gateway::all() {
        let forged = post("/orders?x=%ff#x")
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
        let HttpRoute { resource, path, cors } = settings(&forwarded);
        assert!(matches!(resource, Some(Resource::Produce(HttpProduce { topic, .. })) if topic == "orders"));
        let want = Some(HttpCors { origins: vec![PAGE.into()], credentials: true });
        assert_eq!((path.as_str(), cors), ("?x=%ff", want), "{gateway:?}");
    }
}

/// In Envoy they are somebody else's. APISIX finds routes by the path that nginx makes of a client's, and the upstream may
/// be the bridge, which has paths and a default cluster of its own.
#[test]
fn unrouted_requests_pass_only_in_envoy() {
    for gateway in Gateway::all() {
        for path in UNROUTED {
            let web = post(path).with("content-type", "application/grpc-web");
            for request in [upgrade_with(":path", path), post(path), web] {
                let own = request.and("accept", "a").and("accept", "\u{fe}");
                let forged = own.clone().with("sluicegate-cluster-definition", "CgdldmlsOjEK");
                let forged = forged.with("sluicegate-cluster", "a").with("Sluicegate-Cluster", b"\xff\xfe");
                let mut sent = gateway.request(forged);
                if let Gateway::Apisix(..) = gateway {
                    sent.told(404, "the gateway's filter has no route for this path");
                } else {
                    assert_eq!(sent.forwarded(), own, "{gateway:?}");
                    assert_eq!(sent.answer(503, &[ANSWERED]), [(":status", "503"), ANSWERED].into());
                }
            }
        }
    }
    let vm = start();
    let mut stream = vm.request(upgrade_with(":path", "/"));
    stream.client_sends(b"\x82\x85raw bytes");
    assert_eq!(stream.to_upstream(), b"\x82\x85raw bytes");
    stream.upstream_headers(accepted(), false);
    stream.upstream_sends(b"\x00\x00\x00\x00\x01raw", true);
    let response = stream.response().expect("an answer");
    assert_eq!(response.headers.get("sec-websocket-accept"), None);
    assert_eq!((response.body.as_slice(), response.complete), (&b"\x00\x00\x00\x00\x01raw"[..], true));
}

/// Of each kind: the configuration's tests have more paths.
const UNROUTED: [&str; 8] = [
    "",
    "/readyz",
    "/%6frders",
    "//pubsub",
    "/x?/pubsub",
    "/sluicegate.v2.Bridge/Session",
    "/%73luicegate.v1.Bridge/Call",
    "/x/../sluicegate.v1.Bridge/Call?apikey=k",
];

/// Gateways switch protocols for upgrades.
#[test]
fn upgrades_of_plain_http_routes_are_refused() {
    let upgrade = |method, path, upgrade: &str| {
        request(method, path).with("connection", "upgrade").with("upgrade", upgrade)
    };
    let no_upgrade = "this path takes plain HTTP requests, without Upgrade";
    for gateway in Gateway::all() {
        for path in ["/orders", "/kafka/topics"] {
            gateway.request(upgrade("GET", path, "websocket")).told(400, no_upgrade);
            gateway.request(upgrade("POST", path, "WebSocket")).told(400, no_upgrade);
        }
        for (name, count) in [("http.requests", 4), ("http.refused", 4), ("handshakes_refused", 0)] {
            gateway.counts(name, count);
        }
        gateway.request(upgrade("GET", "/orders", "h2c")).forwarded();
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
fn answers_pass_without_their_mark_and_without_one_unless_they_are_server_errors() {
    let marked = [200, 204, 304, 400, 404, 413, 429, 500, 502, 503, 504];
    let marked = marked.map(|status| (status, &[ANSWERED][..]));
    let unmarked = [200, 301, 400, 408, 413, 499].map(|status| (status, &[][..]));
    for gateway in Gateway::all() {
        for (status, mark) in marked.into_iter().chain(unmarked) {
            let mut sent = gateway.request(post("/orders").with("origin", PAGE));
            let headers = [("content-type", "text/x"), ("x-a", "1"), ("x-a", "2"), ("retry-after", "7")];
            let said = [&headers[..2], mark, &headers[2..]].concat();
            let want = Headers::from([(":status", status.to_string())]);
            let want = headers.iter().fold(want, |want, (name, value)| want.and(name, value));
            assert_eq!(sent.answer(status, &said), want, "{gateway:?}");
        }
        gateway.counts("http.answers_lost", 0);
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
