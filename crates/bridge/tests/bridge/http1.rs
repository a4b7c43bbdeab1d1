//! HTTP/1.1 connections: what they carry, how long they are kept, and what they must not reach.

use std::time::Duration;

use prost::Message;
use sluicegate_protocol::{CALL_PATH, PubSubReq, SESSION_PATH};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};

use crate::raw::{Raw, upgrade};
use crate::support::{admin, framed, ping, sessions, start, start_with};

/// A call as gRPC-Web.
fn call(sequence: i64) -> Vec<u8> {
    call_with("", sequence, "")
}

fn call_with(headers: &str, sequence: i64, state: &str) -> Vec<u8> {
    let message = framed(&PubSubReq { sequence, req: Some(ping(state)) }.encode_to_vec());
    let head = format!(
        "POST {CALL_PATH} HTTP/1.1\r\nHost: bridge\r\nContent-Type: application/grpc-web+proto\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        message.len()
    );
    [head.as_bytes(), &message].concat()
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_and_takes_several_ahead() {
    let bridge = start("").await;
    let mut client = Raw::connect(&bridge).await;
    for _ in 0..3 {
        client.send(call(1)).await;
        assert_eq!(client.response().await.status, 200);
    }
    client.send([call(1), call(2), call(3)].concat()).await;
    for sequence in 1..=3 {
        let body = client.response().await.body;
        // The answer's first field is its sequence.
        assert_eq!(body[5..7], [0x08, sequence]);
    }
    client.send(upgrade("/", "")).await;
    assert_eq!(client.response().await.status, 101);
}

#[tokio::test]
async fn junk_ends_its_connection() {
    let bridge = start("").await;
    for junk in
        ["\0\0\0", "NOT HTTP\r\n\r\n", "GET / HTTP/1.1\r\nHost bridge\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nxx"]
    {
        for before in [0, 1] {
            let mut client = Raw::connect(&bridge).await;
            client.send([call(1).repeat(before), junk.as_bytes().to_vec()].concat()).await;
            for _ in 0..before {
                assert_eq!(client.response().await.status, 200);
            }
            if let Some(refused) = client.try_response().await {
                assert_eq!(refused.status, 400, "{junk:?}");
                assert!(client.try_response().await.is_none(), "{junk:?}");
            }
        }
    }
}

#[tokio::test]
async fn headers_have_a_bound() {
    let bridge = start("[limits]\nmax_header_bytes = 16384").await;
    let mut client = Raw::connect(&bridge).await;
    client.send(upgrade("/", &format!("X: {}\r\n", "x".repeat(8 * 1024)))).await;
    assert_eq!(client.response().await.status, 101);
    let mut client = Raw::connect(&bridge).await;
    client.send(upgrade("/", &format!("X: {}\r\n", "x".repeat(16 * 1024)))).await;
    assert_eq!(client.response().await.status, 431);
    assert!(client.try_response().await.is_none());
}

#[tokio::test]
async fn more_headers_than_gateways_let_pass_are_taken() {
    let bridge = start("").await;
    let headers = |count| (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>();
    for count in [100, 900] {
        let mut client = Raw::connect(&bridge).await;
        client.send(call_with(&headers(count), 1, "")).await;
        assert_eq!(client.response().await.status, 200, "{count}");
        client.send(upgrade("/", &headers(count))).await;
        assert_eq!(client.response().await.status, 101, "{count}");
    }
    let mut client = Raw::connect(&bridge).await;
    client.send(upgrade("/", &headers(1000))).await;
    assert_eq!(client.response().await.status, 431);
}

#[tokio::test]
async fn who_is_not_let_in_does_not_keep_a_connection() {
    let secret = "correct-horse-battery-staple";
    let bridge = start_with(&format!("gateway_secret = \"{secret}\""), "").await;
    let right = format!("sluicegate-gateway-secret: {secret}\r\n");
    for headers in ["", "sluicegate-gateway-secret: wrong\r\n", &right.repeat(2)] {
        let mut client = Raw::connect(&bridge).await;
        client.send(call_with(headers, 1, "").repeat(2)).await;
        let response = client.response().await;
        assert_eq!((response.status, &response.headers["connection"]), (200, &"close".parse().unwrap()));
        assert!(client.try_response().await.is_none());
    }
    // A gateway's own goes on, whatever a request of it is refused for.
    let mut client = Raw::connect(&bridge).await;
    for more in ["sluicegate-cluster: nowhere\r\n", ""] {
        client.send(call_with(&format!("{right}{more}"), 1, "")).await;
        assert!(!client.response().await.headers.contains_key("connection"));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_does_not_read_keeps_no_place_among_connections() {
    let bridge = start("[limits]\nmax_connections = 1\n[session]\nping_interval_ms = 200").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut greedy = Raw::over(socket.connect(bridge.address()).await.unwrap());
    let calls = call_with("", 1, &"x".repeat(100_000));
    while let Ok(Ok(())) = timeout(Duration::from_millis(100), greedy.io.write_all(&calls)).await {}
    let mut next = Raw::connect(&bridge).await;
    next.send(call(1)).await;
    // Within the patience for what comes at once.
    assert_eq!(next.response().await.status, 200);
}

#[tokio::test]
async fn grpc_and_connect_stay_http_2s() {
    let bridge = start("").await;
    let grpc = "Content-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n";
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let version = "expected HTTP/2 for application/grpc, HTTP/1.1 for a WebSocket upgrade\n";
    let kind = "expected POST with content-type application/grpc, or application/grpc-web for a call\n";
    let path = format!("nothing is served at this path, sessions are at {SESSION_PATH}\n");
    for (method, target, headers, status, text) in [
        ("POST", SESSION_PATH, grpc, 505, version),
        ("POST", CALL_PATH, grpc, 505, version),
        ("POST", "/grpc.health.v1.Health/Check", grpc, 505, version),
        ("GET", SESSION_PATH, websocket, 415, kind),
        ("POST", SESSION_PATH, "Content-Type: application/grpc-web\r\nContent-Length: 0\r\n", 415, kind),
        ("POST", CALL_PATH, "Content-Type: application/grpc-web-text\r\nContent-Length: 0\r\n", 415, kind),
        ("GET", CALL_PATH, "Content-Type: application/grpc-web\r\n", 415, kind),
        ("GET", "/sluicegate.v1.Other/Path", websocket, 404, &path),
        ("CONNECT", "bridge:7400", websocket, 404, &path),
        ("CONNECT", "bridge:7400", ":protocol: websocket\r\n", 400, ""),
    ] {
        let mut client = Raw::connect(&bridge).await;
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: bridge\r\n{headers}\r\n")).await;
        let refused = client.response().await;
        assert_eq!((refused.status, refused.text()), (status, text), "{method} {target} {headers}");
        assert!(client.try_response().await.is_none(), "{method} {target}");
    }
    assert_eq!(sessions(&bridge).await, 0);
}

#[tokio::test]
async fn nothing_is_answered_behind_an_upgrade_that_was_refused() {
    let bridge = start("").await;
    for refused in [upgrade("/", "").replace("Version: 13", "Version: 777"), upgrade("/", "Origin: null\r\n")]
    {
        let mut client = Raw::connect(&bridge).await;
        // What a client says through an intermediary that takes the upgrade for granted.
        client.send([refused.into_bytes(), call(1)].concat()).await;
        let response = client.response().await;
        assert!(matches!(response.status, 400 | 403));
        assert_eq!(response.headers["connection"], "close");
        assert!(client.try_response().await.is_none());
    }
    let (_, metrics) = admin(&bridge, "/metrics").await;
    assert!(metrics.contains("kind=\"ping\",outcome=\"answered\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn who_says_nothing_or_dawdles_is_cut_off() {
    for (first, bound) in [("", 10), ("PRI * HT", 10), ("GET / HTTP/1.1\r\nHost:", 75)] {
        let bridge = start("").await;
        let mut client = Raw::connect(&bridge).await;
        client.send(first).await;
        // Lets the bridge get to where it waits.
        assert_eq!(admin(&bridge, "/livez").await.0, 200);
        // From here on time passes whenever everybody waits.
        tokio::time::pause();
        let began = Instant::now();
        assert!(client.ends(Duration::from_secs(1000)).await, "{first:?}");
        let took = began.elapsed();
        assert!((bound - 1..=bound + 1).contains(&took.as_secs()), "{first:?}: {took:?}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed_by_a_drain_at_once() {
    let bridge = start("").await;
    let mut client = Raw::connect(&bridge).await;
    client.send(call(1)).await;
    assert_eq!(client.response().await.status, 200);
    let began = Instant::now();
    bridge.drain().await;
    assert!(client.try_response().await.is_none());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
