//! Routes that are removed, added and changed while Envoy runs.

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::http::client::{self, Client, Request};
use sluicegate_stack::kafka::secured::{OUTSIDER, READER, Secured};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use sluicegate_tests::in_a_tunnel;

use crate::secured::carried::{SOON, allowing, keys, plain};
use crate::secured::gateway::{Route, changing, open};
use crate::secured::records::log;

/// Envoy runs on, and so do a session and two connections of HTTP/1.1 that were opened before.
async fn removed_route_refuses_new_sessions(profile: Profile) {
    let secured = Secured::shared().await.unwrap();
    let log = log(&secured.kafka).await;
    let routes = [
        Route::session("/stays", &plain(secured, OUTSIDER)),
        Route::session("/goes", &plain(secured, READER)),
    ];
    let (stack, discovery) = changing(profile, &routes, &allowing("localhost:*", ""), &keys()).await;
    let mut session = open(&stack, "goes").await;
    log.check_walk(&mut session, "before").await;
    let mut idle = [connected(&stack).await, connected(&stack).await];

    // Without the filter's, Envoy's own route leads to a bridge that nobody tells the secret.
    discovery.remove_from_filter(&routes[1]);
    becomes("a new session is refused", 401, SOON, async || upgrade(&stack, "/goes").await).await;
    assert_eq!(idle[0].ask(handshake("/goes")).await.unwrap().status, 401);
    discovery.remove_from_envoy(&routes[1]);
    becomes("there is no route", 404, SOON, async || upgrade(&stack, "/goes").await).await;
    assert_eq!(idle[1].ask(handshake("/goes")).await.unwrap().status, 404);

    session.ping().await;
    log.check_walk(&mut session, "after").await;
    open(&stack, "stays").await.ping().await;
    discovery.restore();
    becomes("there is a route again", 101, SOON, async || upgrade(&stack, "/goes").await).await;
    log.check_walk(&mut open(&stack, "goes").await, "again").await;
    discovery.remove_from_envoy(&routes[1]);
    becomes("Envoy has no route", 404, SOON, async || upgrade(&stack, "/goes").await).await;
    session.ping().await;
}

#[tokio::test]
async fn session_keeps_the_topics_it_was_opened_with() {
    let secured = Secured::shared().await.unwrap();
    let log = log(&secured.kafka).await;
    let route = |topic: &str| {
        let keys = format!(r#"{}, "topics": ["{topic}"]"#, plain(secured, READER));
        Route::session("/limited", &keys)
    };
    let (before, after) = (route(&log.topic), route("another"));
    let (stack, discovery) =
        changing(Profile::Tunnel, std::slice::from_ref(&before), &allowing("localhost:*", ""), &keys()).await;
    let mut session = open(&stack, "limited").await;
    log.check_walk(&mut session, "before").await;
    discovery.replace_in_filter(&before, &after);
    let denied = async || match open(&stack, "limited").await.fetch(&log.topic, 0, 0).await {
        Ok(_) => 0,
        Err(error) => error.code,
    };
    becomes("a new session is denied the topic", 29, SOON, denied).await;
    log.check_walk(&mut session, "after").await;
}

/// A connection on which a request was answered.
async fn connected(stack: &Stack) -> Client {
    let mut client = Client::connect(stack.gateway()).await.unwrap();
    client.ask(Request::get("/readyz")).await.unwrap();
    client
}

/// The handshake's status, on a connection of its own.
async fn upgrade(stack: &Stack, path: &str) -> u16 {
    client::ask(stack.gateway(), handshake(path)).await.status
}

fn handshake(path: &str) -> Request {
    Request::get(path)
        .with("connection", "upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

in_a_tunnel! {
    removed_route_refuses_new_sessions
}
