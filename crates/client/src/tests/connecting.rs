//! Opening a session, and the errors of that.

use super::server::{accept_with, head};
use super::*;

#[tokio::test]
async fn headers_are_sent_with_the_upgrade() {
    let (listener, url) = listener().await;
    let client = Client::builder(url)
        .header("Authorization", "Bearer t")
        .header("X-Trace", "1")
        .header("X-Trace", "2")
        .header("Host", "pubsub.example");
    let connecting = tokio::spawn(client.connect());
    let (_peer, seen) = accept_with(&listener, &["authorization", "x-trace", "host"]).await;
    connecting.await.unwrap().unwrap();
    assert_eq!(seen, ["authorization: Bearer t", "x-trace: 1", "x-trace: 2", "host: pubsub.example"]);
}

#[tokio::test]
async fn refusal_has_status_and_body() {
    for (answer, code, text) in [
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 11\r\n\r\nbridge down", 503, "bridge down"),
        // Apache APISIX's own refusals have this form.
        (
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: Chunked\r\n\r\n\
             24\r\n{\"error_msg\":\"404 Route Not Found\"}\n\r\n0\r\n\r\n",
            404,
            "{\"error_msg\":\"404 Route Not Found\"}\n",
        ),
    ] {
        match connect_to(answer).await {
            ConnectError::Refused { status, body, .. } => assert_eq!((status, &*body), (code, text)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn invalid_handshake_is_an_error() {
    let wrong_key = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                     sec-websocket-accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 200", wrong_key] {
        let why = connect_to(answer).await;
        assert!(matches!(why, ConnectError::Handshake { .. }), "{answer:?}: {why:?}");
    }
}

#[tokio::test]
async fn answer_without_http_suspects_a_port_for_tls() {
    let alert = "\x15\x03\x01\x00\x02\x02\x32";
    for (answer, suspected) in [(alert, true), ("", true), ("HTTP/1.1 404 x\r\n\r\n", false)] {
        let why = connect_to(answer).await;
        assert_eq!(why.suspects_scheme(), suspected, "{answer:?}: {why:?}");
    }
}

#[tokio::test]
async fn closed_port_is_a_network_error() {
    let (listener, url) = listener().await;
    drop(listener);
    let why = Client::connect(format!("{url}?token=secret")).await.unwrap_err();
    assert!(matches!(why, ConnectError::Network { .. }));
    assert_eq!(why.to_string(), format!("connect to {url}?…: Connection refused (os error 111)"));
    assert!(std::error::Error::source(&why).is_none(), "the text has the cause");
}

#[tokio::test]
async fn silent_server_times_out() {
    let (_listener, url) = listener().await;
    let limit = Duration::from_millis(50);
    match Client::builder(url).connect_timeout(limit).connect().await {
        Err(ConnectError::Timeout { after, .. }) => assert_eq!(after, limit),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn invalid_url_is_rejected_before_connecting() {
    for url in [
        "",
        "pubsub",
        "127.0.0.1:8080",
        "http://127.0.0.1/",
        "ws://",
        "ws:///pubsub",
        "ws://user:pass@127.0.0.1/",
        "ws://a b/",
    ] {
        match Client::connect(url).await {
            Err(ConnectError::Url { url: named, .. }) => assert_eq!(named, url.replace("user:pass", "…")),
            other => panic!("{url:?}: {other:?}"),
        }
    }
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn tls_needs_the_feature() {
    let (_listener, url) = listener().await;
    let url = url.replace("ws:", "wss:");
    let why = Client::connect(url.clone()).await.unwrap_err().to_string();
    assert_eq!(why, format!("use the URL {url:?}: sluicegate-client was built without its feature `tls`"));
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn server_without_tls_is_an_error() {
    let (listener, url) = listener().await;
    let connecting = tokio::spawn(Client::connect(url.replace("ws:", "wss:")));
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let why = connecting.await.unwrap().unwrap_err();
    assert!(matches!(why, ConnectError::Network { .. }) && why.suspects_scheme(), "{why:?}");
}

#[tokio::test]
async fn invalid_header_is_rejected_before_connecting() {
    for (name, value) in
        [("", "v"), ("a b", "v"), ("a", "v\r\nb: c"), ("Upgrade", "h2c"), ("sec-websocket-key", "k")]
    {
        match Client::builder("ws://127.0.0.1:1/").header(name, value).connect().await {
            Err(ConnectError::Header { name: named, .. }) => assert_eq!(named, name),
            other => panic!("{name:?}: {other:?}"),
        }
    }
}

/// The error of a client whose server answers the upgrade with these bytes and ends the connection.
async fn connect_to(answer: &'static str) -> ConnectError {
    let (listener, url) = listener().await;
    let connecting = tokio::spawn(Client::connect(url));
    let (mut stream, _) = listener.accept().await.unwrap();
    head(&mut stream).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    connecting.await.unwrap().unwrap_err()
}
