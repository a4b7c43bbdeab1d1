//! Which upgrades open a session, and what the others are told.

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::http;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::on_the_endpoint;
use sluicegate_tests::stack::Stack;
use sluicegate_tests::way::Way;

use crate::peer::{Peer, ping, pong};
use crate::raw::{BINARY, Raw, Response, Upgrade, masked};
use crate::stacks::{ORIGIN, SUBPROTOCOLS, committed, configured};

async fn what_is_no_upgrade_is_told_that_a_websocket_is_expected(way: Way) {
    let stack = committed(way).await;
    let gateway = stack.gateway();
    let answer = http::get(gateway, "/pubsub").await.unwrap();
    assert_eq!((answer.status, answer.body.trim()), (400, "a WebSocket upgrade is expected here"));
    let answer = http::post(gateway, "/pubsub?topic=t").await.unwrap();
    assert_eq!((answer.status, answer.body.trim()), (400, "a WebSocket upgrade is expected here"));
    for incomplete in ["upgrade", "connection"] {
        let response = response_to(&stack, Upgrade::default().without(incomplete)).await;
        assert_eq!(response.status, 400, "without {incomplete}: {response:?}");
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

async fn an_accepted_upgrade_says_what_the_rfc_asks_for_and_nothing_of_the_inside(way: Way) {
    let stack = committed(way).await;
    // A bridge without a gateway takes no page of elsewhere.
    let elsewhere = if way == Way::Direct { "http://localhost:3000" } else { "https://anywhere.example" };
    for upgrade in [
        Upgrade::default(),
        Upgrade::to("/pubsub?access_token=abc"),
        Upgrade::default().with("upgrade", "WebSocket").with("connection", "keep-alive, Upgrade"),
        Upgrade::default().with("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        Upgrade::default().with("sec-websocket-protocol", "pubsub.v1, graphql-ws"),
        Upgrade::default().with("origin", elsewhere),
        Upgrade::default().with("content-type", "text/html").with("te", "trailers"),
    ] {
        let mut raw = Raw::connect(stack.gateway()).await;
        let response = raw.ask(&upgrade.bytes()).await;
        let what = String::from_utf8(upgrade.bytes()).unwrap();
        assert_eq!(response.status, 101, "{what}{response:?}");
        // RFC 6455, section 1.3, has this key and its answer.
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{what}");
        let upgraded = response.header("upgrade").map(str::to_ascii_lowercase);
        assert_eq!(upgraded.as_deref(), Some("websocket"), "{what}");
        let connection = response.header("connection").map(str::to_ascii_lowercase);
        assert_eq!(connection.as_deref(), Some("upgrade"), "{what}");
        let known = ["sec-websocket-accept", "upgrade", "connection", "date", "server"];
        let strange: Vec<_> = response.headers.iter().filter(|(name, _)| !known.contains(&&**name)).collect();
        assert!(strange.is_empty(), "{what}{strange:?}");
        raw.write(&masked(BINARY, &ping(1, b"x"))).await;
        assert_eq!(raw.answer().await, pong(1, b"x"), "{what}");
    }
}

async fn a_handshake_that_breaks_the_rules_is_told_which(way: Way) {
    let stack = committed(way).await;
    let key = "Sec-WebSocket-Key is not 16 bytes in base64";
    let version = "Sec-WebSocket-Version 13 is expected";
    let upgrade = Upgrade::default;
    for (request, want) in [
        (upgrade().without("sec-websocket-key"), key),
        (upgrade().with("sec-websocket-key", ""), key),
        (upgrade().with("sec-websocket-key", "c2hvcnQ="), key),
        (upgrade().with("sec-websocket-key", "A".repeat(3000)), key),
        (upgrade().without("sec-websocket-version"), version),
        (upgrade().with("sec-websocket-version", "12"), version),
        (upgrade().with("sec-websocket-version", "13, 8"), version),
    ] {
        let mut raw = Raw::connect(stack.gateway()).await;
        let response = raw.ask(&request.bytes()).await;
        assert_eq!((response.status, response.body.trim()), (400, want), "{response:?}");
        let spoken = (want == version).then_some("13");
        assert_eq!(response.header("sec-websocket-version"), spoken, "{response:?}");
    }
}

/// Each header that the filter reads, with bytes that are no text. A session that is open meanwhile stays open.
async fn a_header_that_is_not_utf8_is_refused(profile: Profile) {
    let stack = committed(profile).await;
    let mut bystander = Peer::open(&stack).await;
    bystander.is_idle().await;
    let values = [&b"\xFF\xFE"[..], b"13, \xC3\x28", b"\xED\xA0\x80"];
    let key = "sec-websocket-key";
    for name in ["connection", key, "sec-websocket-version", "sec-websocket-protocol", "origin"] {
        for value in values {
            let response = response_to(&stack, Upgrade::default().with(name, value)).await;
            assert_eq!(response.status, 400, "{name} {value:?}: {response:?}");
        }
    }
    for value in values {
        // Envoy's own answer: it knows no such upgrade.
        let response = response_to(&stack, Upgrade::default().with("upgrade", value)).await;
        assert_eq!(response.status, 403, "upgrade {value:?}: {response:?}");
        for path in ["/pubsub", "/pubsub?", "/"] {
            let response = response_to(&stack, Upgrade::to([path.as_bytes(), value].concat())).await;
            assert_eq!(response.status, 400, "{path} {value:?}: {response:?}");
        }
        // What the filter does not read, it does not mind.
        let response = response_to(&stack, Upgrade::default().with("cookie", value)).await;
        assert_eq!(response.status, 101, "{response:?}");
    }
    bystander.is_idle().await;
}

async fn only_the_pages_of_a_routes_origins_may_open_a_session(profile: Profile) {
    let stack = configured(profile).await;
    let upgrade = || Upgrade::to("/guarded");
    let origin = |origin: &str| upgrade().with("origin", origin);
    let mut twice = origin(ORIGIN);
    twice.headers.push(("origin", b"https://evil.example".to_vec()));
    for (what, request, want) in [
        ("no page", upgrade(), 101),
        ("the page", origin(ORIGIN), 101),
        ("the page in capitals", origin(&ORIGIN.to_uppercase()), 101),
        ("a page behind a privacy wall", origin("null"), 403),
        ("an empty origin", origin(""), 403),
        ("another page", origin("https://evil.example"), 403),
        ("a page that begins alike", origin("https://app.example.evil"), 403),
        ("a page that ends alike", origin("https://evil-app.example"), 403),
        ("without encryption", origin("http://app.example"), 403),
        ("another port", origin("https://app.example:444"), 403),
        ("with a path", origin("https://app.example/"), 403),
        ("two at once", origin("https://app.example, https://evil.example"), 403),
        ("two headers", twice, 403),
        ("a route without origins", Upgrade::default().with("origin", "https://evil.example"), 101),
    ] {
        let response = response_to(&stack, request).await;
        assert_eq!(response.status, want, "{what}: {response:?}");
        if want == 403 {
            assert_eq!(response.body.trim(), "this Origin may not open a session here", "{what}");
        }
    }
}

async fn the_first_subprotocol_that_the_route_knows_is_agreed_on(profile: Profile) {
    let stack = configured(profile).await;
    let [first, second] = SUBPROTOCOLS;
    for (offered, agreed) in [
        (first.to_owned(), Some(first)),
        (second.to_owned(), Some(second)),
        (format!("{second}, {first}"), Some(second)),
        (format!("graphql-ws,{first},{second}"), Some(first)),
        (format!("  {first}  "), Some(first)),
        ("graphql-ws".to_owned(), None),
        (first.to_uppercase(), None),
        (String::new(), None),
    ] {
        let request = Upgrade::to("/spoken").with("sec-websocket-protocol", offered.as_str());
        let response = response_to(&stack, request).await;
        assert_eq!(response.status, 101, "{offered}: {response:?}");
        assert_eq!(response.header("sec-websocket-protocol"), agreed, "{offered}");
    }
    let mut peer = Peer::open_at(stack.gateway(), "/spoken").await;
    peer.is_idle().await;
}

/// The response to a handshake on a connection of its own.
async fn response_to(stack: &Stack, upgrade: Upgrade) -> Response {
    Raw::connect(stack.gateway()).await.ask(&upgrade.bytes()).await
}

in_both_profiles! {
    what_is_no_upgrade_is_told_that_a_websocket_is_expected
    an_accepted_upgrade_says_what_the_rfc_asks_for_and_nothing_of_the_inside
    a_handshake_that_breaks_the_rules_is_told_which
    a_header_that_is_not_utf8_is_refused
    only_the_pages_of_a_routes_origins_may_open_a_session
    the_first_subprotocol_that_the_route_knows_is_agreed_on
}

on_the_endpoint! {
    what_is_no_upgrade_is_told_that_a_websocket_is_expected
    an_accepted_upgrade_says_what_the_rfc_asks_for_and_nothing_of_the_inside
    a_handshake_that_breaks_the_rules_is_told_which
}
