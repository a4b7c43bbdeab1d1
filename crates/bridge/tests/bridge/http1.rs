//! HTTP/1.1 connections: the requests that they can carry, and how long they stay open.

use std::time::Duration;

use sluicegate_protocol::SESSION_PATH;
use sluicegate_stack::raw::Raw;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};

use crate::http::{http1, rest};
use crate::support::{SECRET, admin, sessions, start, start_secret, upgrade, with};

/// A plain HTTP request that is answered with 204.
fn options(headers: &[(&str, &str)]) -> Vec<u8> {
    http1(&with(rest("OPTIONS", "/topics"), headers))
}

/// One more request is answered on this connection.
async fn answers(client: &mut Raw) {
    client.write(options(&[])).await;
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test]
async fn connection_is_kept_and_pipelines() {
    let bridge = start("").await;
    let mut client = Raw::connect(bridge.address()).await;
    for _ in 0..3 {
        answers(&mut client).await;
    }
    let numbered = |number: i32| http1(&rest("GET", &format!("/topics?x{number}=")));
    client.write([numbered(1), numbered(2), numbered(3)].concat()).await;
    for number in 1..=3 {
        let response = client.response().await;
        assert!(response.text().contains(&format!("unknown query parameter x{number}")));
    }
    client.write(upgrade(&[]).bytes()).await;
    assert_eq!(client.response().await.status, 101);
}

#[tokio::test]
async fn junk_ends_its_connection() {
    let bridge = start("").await;
    let no_header = "GET / HTTP/1.1\r\nHost bridge\r\n\r\n";
    for junk in ["\0\0\0", "NOT HTTP\r\n\r\n", no_header, "PRI * HTTP/2.0\r\n\r\nxx"] {
        for before in [0, 1] {
            let mut client = Raw::connect(bridge.address()).await;
            client.write([options(&[]).repeat(before), junk.as_bytes().to_vec()].concat()).await;
            for _ in 0..before {
                assert_eq!(client.response().await.status, 204);
            }
            if let Some(refused) = client.try_response().await {
                assert_eq!(refused.status, 400, "{junk:?}");
                assert!(client.try_response().await.is_none(), "{junk:?}");
            }
        }
    }
}

#[tokio::test]
async fn headers_have_bounds() {
    let bridge = start("[limits]\nmax_header_bytes = 16384").await;
    let large = |len| upgrade(&[("x", &"x".repeat(len))]);
    let many = |count| (0..count).fold(upgrade(&[]), |u, n| u.and(&format!("x-{n}"), ""));
    for (accepted, refused) in [(large(8 * 1024), large(16 * 1024)), (many(900), many(1000))] {
        assert_eq!(Raw::connect(bridge.address()).await.ask(&accepted.bytes()).await.status, 101);
        let mut client = Raw::connect(bridge.address()).await;
        assert_eq!(client.ask(&refused.bytes()).await.status, 431);
        assert!(client.try_response().await.is_none());
    }
    let lines: String = (0..900).map(|n| format!("X-{n}: {n}\r\n")).collect();
    let many = String::from_utf8(options(&[])).unwrap().replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    assert_eq!(Raw::connect(bridge.address()).await.ask(many.as_bytes()).await.status, 204);
}

#[tokio::test]
async fn refused_gateway_keeps_no_connection() {
    let bridge = start_secret("").await;
    for headers in [&[][..], &[(SECRET.0, "wrong")], &[SECRET, SECRET]] {
        let mut client = Raw::connect(bridge.address()).await;
        client.write(options(headers).repeat(2)).await;
        let response = client.response().await;
        assert_eq!((response.status, &response.headers["connection"]), (502, &"close".parse().unwrap()));
        assert!(client.try_response().await.is_none());
    }
    // A gateway's own goes on, whatever a request of it is refused for.
    let mut client = Raw::connect(bridge.address()).await;
    for (headers, status) in [(&[SECRET, ("sluicegate-cluster", "nowhere")][..], 502), (&[SECRET], 204)] {
        client.write(options(headers)).await;
        let response = client.response().await;
        assert_eq!((response.status, response.headers.get("connection")), (status, None));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn client_that_does_not_read_keeps_no_connection() {
    let bridge = start("[limits]\nmax_connections = 1\n[session]\nping_interval_ms = 200").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut greedy = Raw::over(socket.connect(bridge.address()).await.unwrap());
    let requests = http1(&rest("GET", "/nothing")).repeat(100);
    while let Ok(Ok(())) = timeout(Duration::from_millis(100), greedy.io.write_all(&requests)).await {}
    // Within the patience for what comes at once.
    answers(&mut Raw::connect(bridge.address()).await).await;
}

#[tokio::test]
async fn new_connection_replaces_the_longest_idle_one() {
    let bridge = start("[limits]\nmax_connections = 3").await;
    let mut busy = Raw::connect(bridge.address()).await;
    let body = with(rest("POST", "/nothing"), &[("content-length", "3")]);
    busy.write(http1(&body)).await;
    busy.write("x").await;
    let mut older = Raw::connect(bridge.address()).await;
    let mut newer = Raw::connect(bridge.address()).await;
    answers(&mut newer).await;
    answers(&mut older).await;
    answers(&mut newer).await;
    let mut newcomer = Raw::connect(bridge.address()).await;
    answers(&mut newcomer).await;
    assert!(older.try_response().await.is_none(), "closed");
    answers(&mut newer).await;
    answers(&mut newcomer).await;
    busy.write("xx").await;
    assert_eq!(busy.response().await.status, 404, "once its body is whole: there is no such resource");
}

#[tokio::test]
async fn grpc_and_connect_stay_http_2s() {
    let bridge = start("").await;
    let grpc = "Content-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 0\r\n";
    let websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let version = "expected HTTP/2 for application/grpc, or HTTP/1.1 for a WebSocket upgrade\n";
    let kind = "expected POST with content-type application/grpc\n";
    let path = format!("unknown path, sessions are at {SESSION_PATH}\n");
    for (method, target, headers, status, text) in [
        ("POST", SESSION_PATH, grpc, 505, version),
        ("POST", "/grpc.health.v1.Health/Check", grpc, 505, version),
        ("GET", SESSION_PATH, websocket, 415, kind),
        ("POST", SESSION_PATH, "Content-Type: application/grpc-web\r\nContent-Length: 0\r\n", 415, kind),
        ("GET", "/sluicegate.v1.Other/Path", websocket, 404, &path),
        ("CONNECT", "bridge:7400", websocket, 404, &path),
        ("CONNECT", "bridge:7400", ":protocol: websocket\r\n", 400, ""),
    ] {
        let mut client = Raw::connect(bridge.address()).await;
        client.write(format!("{method} {target} HTTP/1.1\r\nHost: bridge\r\n{headers}\r\n")).await;
        let refused = client.response().await;
        assert_eq!((refused.status, refused.text()), (status, text), "{method} {target} {headers}");
        assert!(client.try_response().await.is_none(), "{method} {target}");
    }
    assert_eq!(sessions(&bridge).await, 0);
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed() {
    for (first, bound) in [("", 10), ("PRI * HT", 10), ("GET / HTTP/1.1\r\nHost:", 75)] {
        let bridge = start("").await;
        let mut client = Raw::connect(bridge.address()).await;
        client.write(first).await;
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
async fn drain_closes_unused_connections_at_once() {
    let bridge = start("").await;
    let mut silent = Raw::connect(bridge.address()).await;
    let mut client = Raw::connect(bridge.address()).await;
    answers(&mut client).await;
    let began = Instant::now();
    bridge.drain().await;
    assert!(client.try_response().await.is_none());
    assert!(silent.try_response().await.is_none());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}
