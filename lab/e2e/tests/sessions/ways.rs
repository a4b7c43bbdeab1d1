//! Each way in carries a session: it opens, carries messages however they are cut, and closes.

use std::net::Ipv4Addr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::{Method, Request};
use sluicegate_stack::raw::{BINARY, CLOSE, FIN, Frame, PING, PONG, Raw, Upgrade, close, masked};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpStream;

use crate::pool::standard;
use crate::sessions::{ping, pong};

in_ways! {
    [tunnel relay]
    accepted_upgrade_has_the_headers_of_the_rfc_alone
    session_of_single_bytes_is_the_same_session
    answers_that_fill_every_buffer_come_before_the_echo
    sessions_share_an_http2_connection
}

in_ways! {
    [direct nginx]
    accepted_upgrade_has_the_headers_of_the_rfc_alone
    session_of_single_bytes_is_the_same_session
}

async fn accepted_upgrade_has_the_headers_of_the_rfc_alone(way: Way) {
    let (_, stack) = standard(way).await;
    let upgrade = Upgrade::to("/pubsub?access_token=abc")
        .with("upgrade", "WebSocket")
        .with("connection", "keep-alive, Upgrade")
        .with("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
        .with("sec-websocket-protocol", "sluicegate.token.abc")
        .with("content-type", "text/html")
        .with("te", "trailers");
    let response = Raw::connect(stack.gateway()).await.ask(&upgrade.bytes()).await;
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for (name, value) in [("upgrade", "websocket"), ("connection", "upgrade")] {
        assert_eq!(response.header(name).map(str::to_ascii_lowercase).as_deref(), Some(value));
    }
    let known = ["sec-websocket-accept", "upgrade", "connection", "date", "server"];
    let strange: Vec<_> = response.headers.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

/// RFC 6455, sections 5.4 and 5.5. The first frames come with the upgrade.
async fn session_of_single_bytes_is_the_same_session(way: Way) {
    let (_, stack) = standard(way).await;
    let mut raw = Raw::connect(stack.gateway()).await;
    raw.write([Upgrade::default().bytes(), ping(1, b"too early"), masked(PING, b"p")].concat()).await;
    let response = raw.response().await;
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(raw.answer().await, pong(1, b"too early"));
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"p".to_vec() });

    let state = [b's'; 150];
    // `cmd_ping` as APISIX's own definition of the contract makes it.
    let message = b"\x08\x08\x82\x02\x0E\x0A\x0Cin fragments";
    let (start, end) = message.split_at(4);
    let session = [
        ping(7, &state),
        masked(BINARY & !FIN, start),
        masked(PING, b"between"),
        masked(0, b""),
        masked(FIN, end),
        masked(CLOSE, b"\x03\xE8bye"),
    ];
    for byte in session.concat() {
        raw.write([byte]).await;
        // Lets the byte go before the next is written.
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.answer().await, pong(7, &state));
    assert_eq!(raw.frame().await, Frame { first: PONG, payload: b"between".to_vec() });
    assert_eq!(raw.answer().await, pong(8, b"in fragments"));
    raw.is_closed(&close(1000, "bye"), "after the last byte").await;
}

/// Envoy drops what it still holds for a client where a response ends before its request.
async fn answers_that_fill_every_buffer_come_before_the_echo(way: Way) {
    let (_, stack) = standard(way).await;
    let state = vec![b's'; 200_000];
    let mut bytes: Vec<u8> = (0..5).flat_map(|n| ping(n, &state)).collect();
    bytes.extend(masked(CLOSE, b"\x03\xE8"));
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut raw = Raw::open_narrow(stack.gateway(), Ipv4Addr::LOCALHOST, 4096).await;
        raw.write(&bytes).await;
        clients.push(raw);
    }
    for raw in &mut clients {
        for n in 0..5 {
            assert!(raw.answer().await == pong(n, &state), "answer {n}");
        }
        raw.is_closed(&close(1000, ""), "the echo").await;
    }
}

/// RFC 8441: an extended CONNECT without a key, as browsers send it on a connection that they have. 200 opens a session.
async fn sessions_share_an_http2_connection(way: Way) {
    let (_, stack) = standard(way).await;
    let io = TcpStream::connect(stack.gateway()).await.unwrap();
    let (http, connection) = h2::client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let mut http = http.ready().await.unwrap();
    let page = Request::get(format!("http://{}/pubsub", stack.gateway())).body(()).unwrap();
    let plain = http.send_request(page, true).unwrap().0.await.unwrap();
    assert_eq!(
        (plain.status(), http.is_extended_connect_protocol_enabled()),
        (426.try_into().unwrap(), true)
    );

    let mut first = over_http2(&mut http, &stack.url()).await;
    let mut second = over_http2(&mut http, &stack.url()).await;
    first.write([masked(PING, b"p"), ping(7, b"state"), masked(CLOSE, b"\x03\xE8bye")].concat()).await;
    assert_eq!(first.frame().await, Frame { first: PONG, payload: b"p".to_vec() });
    assert_eq!(first.answer().await, pong(7, b"state"));
    first.is_closed(&close(1000, "bye"), "the close frame").await;
    second.write(ping(8, b"other")).await;
    assert_eq!(second.answer().await, pong(8, b"other"));
}

/// A session on a stream of its own.
async fn over_http2(http: &mut SendRequest<Bytes>, url: &str) -> Raw<DuplexStream> {
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri(url.replace("ws://", "http://"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "sluicegate.v1")
        .extension(Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    let (response, mut to) = http.send_request(connect, false).unwrap();
    let response = response.await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let told = ["sec-websocket-protocol", "sec-websocket-accept", "upgrade", "connection"].map(header);
    assert_eq!(
        (response.status().as_u16(), told),
        (200, [Some("sluicegate.v1".to_owned()), None, None, None])
    );
    let (client, gateway) = duplex(1 << 16);
    let (mut sent, mut received) = split(gateway);
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = sent.read(&mut bytes).await {
            to.send_data(Bytes::copy_from_slice(&bytes[..len]), false).unwrap();
        }
    });
    let mut from = response.into_body();
    tokio::spawn(async move {
        // Envoy resets the stream behind the last frame where the bridge closes its connection.
        while let Some(Ok(chunk)) = from.data().await {
            received.write_all(&chunk).await.unwrap();
        }
        received.shutdown().await.unwrap();
    });
    Raw::over(client)
}
