//! WebSocket clients at the bridge itself: the upgrades that it accepts, and their sessions. `sluicegate-ws-session`
//! tests frames and handshakes in detail.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_protocol::{PongResp, PubSubResp};
use sluicegate_stack::raw::{BINARY, CLOSE, FIN, Frame, PING, PONG, Raw, Upgrade, close, masked, request};

use crate::http::{http1, rest};
use crate::support::{admin, all_left, metric, open, ping, refused, start, upgrade};

fn pong(payload: &[u8]) -> Frame {
    Frame { first: PONG, payload: payload.to_vec() }
}

#[tokio::test]
async fn session_answers_commands_and_pings_and_echoes_the_close() {
    let bridge = start("").await;
    let mut client = Raw::connect(bridge.address()).await;
    let subprotocols = Upgrade::to("/any/path?and=query").and("sluicegate-subprotocol", "b");
    let upgrade = subprotocols.and("sec-websocket-protocol", "a").and("sec-websocket-protocol", "b");
    // A frame can come with the upgrade.
    client.write([upgrade.bytes(), masked(PING, b"early")].concat()).await;
    let response = client.response().await;
    let headers = ["upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol"];
    let want = ["websocket", "upgrade", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "b"];
    assert_eq!((response.status, headers.map(|name| response.header(name))), (101, want.map(Some)));
    assert_eq!(client.frame().await, pong(b"early"));
    client.write(request(7, ping("state"))).await;
    let resp = Some(Resp::PongResp(PongResp { state: "state".into() }));
    assert_eq!(client.answer().await, PubSubResp { sequence: 7, resp });
    client.write(masked(PING, b"are you there")).await;
    assert_eq!(client.frame().await, pong(b"are you there"));
    client.write(masked(CLOSE, b"\x0f\xa1done")).await;
    assert_eq!(client.closed().await, (4001, "done".into()));
    // The client need not close the connection.
    all_left(&bridge).await;
}

#[tokio::test]
async fn sessions_end_at_their_age() {
    let bridge = start("[limits]\nmax_session_age_ms = 200\n").await;
    assert_eq!(open(&bridge, &[]).await.closed().await, (1001, "maximum session age".into()));
}

#[tokio::test]
async fn bad_upgrades_are_refused_and_counted() {
    let bridge = start("").await;
    let expected = "a WebSocket upgrade is expected here";
    let key = "Sec-WebSocket-Key is not 16 bytes in base64";
    let host = "expected exactly one Host header\n";
    let body = "a WebSocket upgrade must not have a body";
    let version = "expected HTTP/2 for application/grpc, or HTTP/1.1 for a WebSocket upgrade\n";
    let older = String::from_utf8(upgrade(&[]).bytes()).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    for (bytes, status, text) in [
        (upgrade(&[]).without("upgrade").bytes(), 426, expected),
        (upgrade(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]).bytes(), 400, key),
        (upgrade(&[]).without("host").bytes(), 400, host),
        (upgrade(&[("host", "other")]).bytes(), 400, host),
        ([upgrade(&[("content-length", "3")]).bytes(), b"abc".to_vec()].concat(), 400, body),
        (upgrade(&[("transfer-encoding", "chunked")]).bytes(), 400, body),
        (older.into_bytes(), 505, version),
        (upgrade(&[("origin", "null")]).bytes(), 403, "Origin not allowed: "),
    ] {
        let mut client = Raw::connect(bridge.address()).await;
        // The first bytes of a client, sent by an intermediary that takes the upgrade for granted, are not answered.
        let response = client.ask(&[&bytes[..], &http1(&rest("OPTIONS", "/topics"))].concat()).await;
        let found = response.text();
        assert!(response.status == status && found.contains(text), "{}: {found}", bytes.escape_ascii());
        client.is_at_the_end("behind a refusal").await;
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(!metrics.contains("sluicegate_http_responses_total{"), "{metrics}");
    let older = upgrade(&[]).with("sec-websocket-version", "8").bytes();
    let response = Raw::connect(bridge.address()).await.ask(&older).await;
    let told = ["sec-websocket-version", "connection"].map(|name| response.header(name));
    assert_eq!((response.status, told), (400, ["13", "close"].map(Some)));
    let two = upgrade(&[("connection", "x, upgrade")]).with("upgrade", "WebSocket");
    for accepted in [two, upgrade(&[("content-length", "0"), ("sluicegate-cluster", "default")])] {
        drop(Raw::connect(bridge.address()).await.upgraded(&accepted).await);
    }
    for (reason, count) in [("handshake", 7), ("version", 1)] {
        assert_eq!(refused(&bridge, reason).await, count, "{reason}");
    }
}

#[tokio::test]
async fn faults_of_clients_close_with_their_code_and_are_counted() {
    let bridge = start("[limits]\nmax_request_bytes = 1024\nmax_assembly_bytes = 1024").await;
    for (bytes, code, reason) in [
        (vec![0x82, 0x05, 0], 1002, "frame without a mask"),
        (masked(BINARY, &[0; 1025]), 1009, "message over the limit of 1024 bytes"),
    ] {
        let mut client = open(&bridge, &[]).await;
        client.write(bytes).await;
        assert_eq!(client.closed().await, (code, reason.to_owned()));
    }
    let begin = async || {
        let mut client = open(&bridge, &[]).await;
        client.write([masked(BINARY & !FIN, &[0; 800]), masked(PING, b"there")].concat()).await;
        assert_eq!(client.frame().await, pong(b"there"));
        client
    };
    let (mut first, second) = (begin().await, begin().await);
    first.write(masked(PING, b"there")).await;
    let evicted = "unfinished message dropped: too many from this address, try again later";
    assert_eq!(first.closed().await, (1013, evicted.to_owned()));
    drop((first, second));
    all_left(&bridge).await;
    begin().await;
    for reason in ["protocol", "message_too_big", "evicted"] {
        let name = format!("sluicegate_client_faults_total{{cluster=\"default\",reason=\"{reason}\"}}");
        assert_eq!(metric(&bridge, &name).await, 1, "{reason}");
    }
}

#[tokio::test]
async fn session_counts_among_sessions_and_not_among_connections() {
    let bridge = start("[limits]\nmax_connections = 1\nmax_sessions = 2").await;
    let mut first = open(&bridge, &[]).await;
    let _second = open(&bridge, &[]).await;
    let refused = Raw::connect(bridge.address()).await.ask(&upgrade(&[]).bytes()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    first.write(request(1, ping(""))).await;
    assert_eq!(first.answer().await.sequence, 1);
}

/// Its client need not close the connection.
#[tokio::test]
async fn drained_session_ends_with_the_closing_handshake() {
    let bridge = start("").await;
    let mut client = open(&bridge, &[]).await;
    let began = Instant::now();
    let answer = async {
        client.is_closed(&close(1001, "going away"), "a drained session").await;
        client.write(masked(CLOSE, b"\x03\xe9")).await;
    };
    tokio::join!(bridge.drain(), answer);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
