//! What the bridge's own endpoint decides where Envoy's filter does otherwise.

use sluicegate_protocol::metadata::CLUSTER;
use sluicegate_tests::on_the_endpoint;
use sluicegate_tests::relay::Route;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::peer::Peer;
use crate::raw::{Raw, Response, Upgrade};
use crate::stacks::{SUBPROTOCOLS, committed, configured, relay};

#[tokio::test]
async fn a_cluster_that_the_bridge_does_not_know_is_not_found() {
    let stack = relay("", vec![Route::new("/pubsub").with(CLUSTER, "unknown")]).await;
    let response = ask(&stack, &Upgrade::default()).await;
    assert_eq!(response.status, 404, "{response:?}");
    assert!(response.body.contains("cluster"), "{response:?}");
}

#[tokio::test]
async fn the_subprotocol_that_the_gateway_names_is_echoed_where_it_was_offered() {
    let stack = configured(Way::Relay).await;
    let [named, other] = SUBPROTOCOLS;
    let both = format!("{other}, {named}");
    for (path, offered, agreed) in [
        ("/spoken", Some(named), Some(named)),
        ("/spoken", Some(&*both), Some(named)),
        ("/spoken", Some(other), None),
        ("/spoken", None, None),
        // The gateway names none, whatever its client says.
        ("/pubsub", Some(named), None),
    ] {
        let mut upgrade = Upgrade::to(path).with("sluicegate-subprotocol", other);
        if let Some(offered) = offered {
            upgrade = upgrade.with("sec-websocket-protocol", offered);
        }
        let response = ask(&stack, &upgrade).await;
        assert_eq!(response.status, 101, "{path} {offered:?}: {response:?}");
        assert_eq!(response.header("sec-websocket-protocol"), agreed, "{path} {offered:?}");
    }
}

/// Each header of the handshake, with bytes that are no text. A session that is open meanwhile stays open.
async fn a_header_that_is_not_utf8_is_refused(way: Way) {
    let stack = committed(way).await;
    let mut bystander = Peer::open(&stack).await;
    bystander.is_idle().await;
    for value in [&b"\xFF\xFE"[..], b"13, \xC3\x28", b"\xED\xA0\x80"] {
        for name in ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
            let response = ask(&stack, &Upgrade::default().with(name, value)).await;
            assert_eq!(response.status, 400, "{name} {value:?}: {response:?}");
        }
        // What nobody reads, nobody minds.
        let response = ask(&stack, &Upgrade::default().with("cookie", value)).await;
        assert_eq!(response.status, 101, "{response:?}");
    }
    // A gateway keeps a query to itself.
    let want = if way == Way::Direct { 400 } else { 101 };
    let response = ask(&stack, &Upgrade::to(b"/pubsub?\xFF\xFE")).await;
    assert_eq!(response.status, want, "{response:?}");
    bystander.is_idle().await;
}

/// What a developer's bridge does not let happen: that a page of the internet opens a session through their browser.
#[tokio::test]
async fn only_pages_of_this_machine_may_open_a_session_without_a_gateway() {
    let stack = committed(Way::Direct).await;
    let origin = |origin: &str| Upgrade::default().with("origin", origin);
    let mut twice = origin("http://localhost:3000");
    twice.headers.push(("origin", b"https://evil.example".to_vec()));
    for (what, request, want) in [
        ("no page", Upgrade::default(), 101),
        ("a name", origin("http://localhost:3000"), 101),
        ("capitals", origin("HTTP://LocalHost:3000"), 101),
        ("no port", origin("https://localhost"), 101),
        ("IPv4", origin("http://127.0.0.1:8080"), 101),
        ("IPv6", origin("http://[::1]:8080"), 101),
        ("another page", origin("https://evil.example"), 403),
        ("a page behind a privacy wall", origin("null"), 403),
        ("an empty origin", origin(""), 403),
        ("a name that begins alike", origin("http://localhost.evil.example"), 403),
        ("an address that begins alike", origin("http://127.0.0.1.evil.example"), 403),
        ("a name that ends alike", origin("http://evil-localhost:3000"), 403),
        ("a user's name", origin("http://localhost@evil.example"), 403),
        ("two at once", origin("http://localhost:3000, https://evil.example"), 403),
        ("two headers", twice, 403),
    ] {
        let response = ask(&stack, &request).await;
        assert_eq!(response.status, want, "{what}: {response:?}");
    }
}

/// They are HTTP/2's: a gateway's filter or a gRPC client is there.
#[tokio::test]
async fn no_upgrade_and_no_request_reaches_the_bridges_own_paths_over_http1() {
    let stack = committed(Way::Direct).await;
    let mut bystander = Peer::open(&stack).await;
    for path in [
        "/sluicegate.v1.Bridge/Session",
        "/sluicegate.v1.Bridge/Session?x=y",
        "/sluicegate.v1.Other/Session",
        "/grpc.health.v1.Health/Check",
    ] {
        let upgrade = || Upgrade::to(path).with("sluicegate-cluster", "default");
        let grpc =
            upgrade().without("upgrade").without("connection").with("content-type", "application/grpc");
        for (what, request) in [("upgrade", upgrade()), ("request", grpc)] {
            let response = ask(&stack, &request).await;
            assert!([400, 404, 405, 415].contains(&response.status), "{path} as {what}: {response:?}");
        }
        bystander.is_idle().await;
    }
}

async fn ask(stack: &Stack, upgrade: &Upgrade) -> Response {
    Raw::connect(stack.gateway()).await.ask(&upgrade.bytes()).await
}

on_the_endpoint! {
    a_header_that_is_not_utf8_is_refused
}
