//! People whom an external authorizer of Envoy knows, and tells in the metadata of its answer.

use std::net::SocketAddr;

use serde_json::json;
use sluicegate_client::Client;
use sluicegate_stack::http::client::ask;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::way::Way;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::identity::stacks::{BELIEVED, config, offsets, status, topics_of_people};

/// Lets every client pass, and says of those with the login `alice` who they are.
async fn authorize(stream: TcpStream) {
    let (mut stream, mut head) = (BufReader::new(stream), String::new());
    // Requests have no body.
    while stream.read_line(&mut head).await.is_ok_and(|read| read > 0) {
        if head.ends_with("\r\n\r\n") {
            let user = if head.contains("\r\nauthorization: alice\r\n") { "sub: alice\r\n" } else { "" };
            let answer = format!("HTTP/1.1 200 OK\r\n{user}content-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            head.clear();
        }
    }
}

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(authorize(stream));
        }
    });
    address
}

/// Envoy's filter that asks the authorizer, in front of ours, and its cluster. Envoy asks only about requests that have a
/// route by then, and our filter gives them theirs later: another one takes all of them.
fn asking(authorizer: SocketAddr) -> [(String, String); 2] {
    let ours = "          http_filters:\n          - name: envoy.filters.http.wasm\n";
    let wasm = ours.strip_prefix("          http_filters:\n").unwrap();
    let filter = format!(
        "              - match: {{prefix: /}}
                direct_response: {{status: 404}}
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              '@type': type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              http_service:
                server_uri: {{uri: {authorizer}, cluster: authorizer, timeout: 5s}}
                authorization_response:
                  dynamic_metadata_from_headers: {{patterns: [{{exact: sub}}]}}
{wasm}"
    );
    let (host, port) = (authorizer.ip(), authorizer.port());
    let cluster = format!(
        "  clusters:
  - name: authorizer
    type: STATIC
    load_assignment:
      cluster_name: authorizer
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}\n"
    );
    [(ours.to_owned(), filter), ("  clusters:\n".to_owned(), cluster)]
}

#[tokio::test]
async fn authorizer_says_who_a_client_is() {
    let kafka = Kafka::shared().await.unwrap();
    let shared = topics_of_people(kafka, "authorized").await;
    let of = |person: &str| format!("{shared}.{person}");
    let keys = json!({"identity": {"from": "ext_authz"}, "topics": [of("${sub}")]});
    let [filter, cluster] = asking(serve().await);
    let stack = config(Way::Tunnel, &keys, BELIEVED).await.edit(filter).edit(cluster).own().await;
    let open =
        async |login: &str| Client::builder(stack.url()).header("authorization", login).connect().await;
    let alice = open("alice").await.unwrap();
    assert!(alice.fetch(&of("alice"), 0, 0).await.is_ok());
    assert!(alice.fetch(&of("bob"), 0, 0).await.is_err());
    assert_eq!(status(open("mallory").await), 401);
    for (login, person, want) in [("alice", "alice", 200), ("alice", "bob", 403), ("mallory", "alice", 401)] {
        let request = offsets(&of(person)).with("authorization", login);
        assert_eq!(ask(stack.gateway(), request).await.status, want, "{login} {person}");
    }
}
