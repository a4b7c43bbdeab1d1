//! Clients cannot reach the bridge's own services, however they write the path.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;
use sluicegate_stack::http as plain;
use sluicegate_stack::http::client::{Client, Request};
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;

use crate::pool::{routed, standard};

in_ways! {
    [tunnel relay]
    no_spelling_of_the_bridges_paths_reaches_it
    only_readiness_of_the_admin_port_is_exposed
}

async fn no_spelling_of_the_bridges_paths_reaches_it(way: Way) {
    let stack = routed(way).await.alone().await;
    let mut bystander = Socket::open(&stack).await;
    bystander.ping().await;
    let open = async || stack.bridge.count("sluicegate_sessions{", "").await.unwrap();
    becomes("the sessions of others have ended", 1.0, Duration::from_secs(10), open).await;
    let before = seen_by_the_bridge(&stack).await;
    let straight = [
        "/sluicegate.v1.Bridge/Session",
        "/sluicegate.v1.Bridge/Call",
        "/sluicegate.v1.",
        "/sluicegate.v1.x?y=z",
    ];
    for path in straight.into_iter().chain(DISGUISED.split_whitespace()) {
        let upgrade = || Upgrade::to(path).with("sluicegate-cluster", "default");
        let plain = upgrade().without("upgrade").without("connection");
        for (what, request) in [("upgrade", upgrade()), ("request", plain)] {
            let response = Raw::connect(stack.gateway()).await.ask(&request.bytes()).await;
            // Envoy itself refuses with 400 what it cannot read.
            let refused = response.status == 404 || response.status == 400 && !straight.contains(&path);
            assert!(refused, "{path} as {what}: {response:?}");
        }
        let status = over_http2(stack.gateway(), path).await;
        assert!(status == 404 || status == 400 && !straight.contains(&path), "{path} over HTTP/2: {status}");
    }
    // The route itself, as the bridge would be asked.
    assert_eq!(over_http2(stack.gateway(), "/pubsub").await, 426);
    assert_eq!(seen_by_the_bridge(&stack).await, before);
    bystander.ping().await;
}

async fn only_readiness_of_the_admin_port_is_exposed(way: Way) {
    let (_, stack) = standard(way).await;
    for path in
        ["/metrics", "/livez", "/readyz/", "/readyz/../metrics", "/readyz%2F..%2Fmetrics", "/", "/stats"]
    {
        let answer = plain::get(stack.gateway(), path).await.unwrap();
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    for path in ["/readyz", "/readyz?x=1", "/readyz?cluster=other"] {
        let answer = plain::get(stack.gateway(), path).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "ok\n"), "{path}");
    }
}

/// gRPC as a native client speaks it: the gateway's listener takes HTTP/2 as well. An HTTP status comes as the gRPC
/// status that stands for it.
async fn over_http2(gateway: SocketAddr, path: &str) -> u16 {
    if format!("http://{gateway}{path}").parse::<Uri>().is_err() {
        return 400; // not even this client can ask for it
    }
    let request = Request::post(path, b"\0\0\0\0\x03\x82\x02\x00".as_slice())
        .with("content-type", "application/grpc")
        .with("te", "trailers")
        .with("sluicegate-cluster", "default");
    let response = Client::connect_http2(gateway).await.unwrap().ask(request).await.unwrap();
    // gRPC over HTTP/2, "HTTP to gRPC status code mapping".
    match (response.status, response.header("grpc-status")) {
        (200, Some("12")) => 404,
        (200, Some("13")) => 400,
        // UNKNOWN is for statuses without a code of their own; the filter has no other one.
        (200, Some("2")) => 426,
        (status, _) => status,
    }
}

/// Requests that arrived at the bridge, by its own account and by Envoy's.
async fn seen_by_the_bridge(stack: &Stack) -> (Vec<(String, f64)>, u64) {
    let mut metrics = stack.bridge.metrics("sluicegate_sessions_ended").await.unwrap();
    metrics.extend(stack.bridge.metrics("sluicegate_requests_refused").await.unwrap());
    let sent = stack.envoy().stats("^cluster.sluicegate_bridge.upstream_rq_total$").await.unwrap();
    (metrics, sent.values().sum())
}

const DISGUISED: &str = r"
    //sluicegate.v1.Bridge/Session ///sluicegate.v1.Bridge//Session /sluicegate.v1.Bridge//Session
    /./sluicegate.v1.Bridge/Session /x/../sluicegate.v1.Bridge/Session /pubsub/../sluicegate.v1.Bridge/Session
    /readyz/../sluicegate.v1.Bridge/Session /%2e/sluicegate.v1.Bridge/Session
    /pubsub/%2e%2e/sluicegate.v1.Bridge/Session /pubsub/%2E%2E/sluicegate.v1.Bridge/Session
    /pubsub%2F..%2Fsluicegate.v1.Bridge/Session /sluicegate%2ev1%2EBridge/Session
    /s%6cuicegate.v1.Bridge/Session /%73luicegate.v1.Bridge/Session /%2573luicegate.v1.Bridge/Session
    /sluicegate.v1.Bridge%2FSession /sluicegate.v1.Bridge%2fSession /sluicegate.v1.Bridge%5CSession
    /%2Fsluicegate.v1.Bridge/Session /%5Csluicegate.v1.Bridge/Session /\sluicegate.v1.Bridge\Session
    /sluicegate.v1.Bridge/Session/ /sluicegate.v1.Bridge/Session%00 /sluicegate.v1.Bridge/Session;x=y
    /sluicegate.v1.Bridge/Session#x /SLUICEGATE.V1.BRIDGE/SESSION /Sluicegate.v1.Bridge/Session
    /pubsub/sluicegate.v1.Bridge/Session /grpc.health.v1.Health/Check
";
