//! nginx as a relay of upgrades: the requests that it sends to the bridge.

use sluicegate_protocol::metadata::{CLUSTER, CLUSTER_DEFINITION, GATEWAY_SECRET, SUBPROTOCOL, WRITE};
use sluicegate_stack::folder::Folder;
use sluicegate_stack::nginx::{Nginx, Route};
use sluicegate_stack::port::Port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn nginx_replaces_forged_headers_of_clients() {
    let folder = Folder::new("nginx-test").unwrap();
    let bridge = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let route = Route::new("/pubsub").with(CLUSTER, "orders").with(GATEWAY_SECRET, "0123456789abcdef");
    let address = bridge.local_addr().unwrap();
    let nginx = Nginx::start(Port::pick().unwrap(), address, &[route], folder.path()).await.unwrap();

    let mut client = TcpStream::connect(nginx.gateway()).await.unwrap();
    let forged = [CLUSTER, CLUSTER_DEFINITION, GATEWAY_SECRET, SUBPROTOCOL, WRITE];
    let forged = forged.map(|name| format!("{name}: forged\r\n{}: forged\r\n", name.to_uppercase())).concat();
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade";
    let offered = "Sec-WebSocket-Extensions: permessage-deflate";
    let request = format!(
        "GET /pubsub?a=b HTTP/1.1\r\nHost: gateway.example\r\n{upgrade}\r\n{offered}\r\n{forged}\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();

    let (mut connection, _) = bridge.accept().await.unwrap();
    let seen = head(&mut connection).await;
    let mut lines = seen.split("\r\n");
    assert_eq!(lines.next(), Some("GET / HTTP/1.1"));
    let mut headers: Vec<String> = lines.map(str::to_lowercase).filter(|line| !line.is_empty()).collect();
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            "connection: upgrade",
            "host: gateway.example",
            "sluicegate-cluster: orders",
            "sluicegate-gateway-secret: 0123456789abcdef",
            "upgrade: websocket",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            "x-real-ip: 127.0.0.1",
        ]
    );

    let accepted = format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n\r\nfirst");
    connection.write_all(accepted.as_bytes()).await.unwrap();
    assert!(head(&mut client).await.starts_with("HTTP/1.1 101 "));
    client.write_all(b"second").await.unwrap();
    for (end, said) in [(&mut client, b"first".as_slice()), (&mut connection, b"second")] {
        let mut heard = vec![0; said.len()];
        end.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, said);
    }
}

/// Everything up to the empty line.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}
