//! Bytes that a client sends before its upgrade is accepted do not affect other sessions.

use std::collections::HashSet;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{BINARY, Raw, Upgrade, masked};
use sluicegate_stack::stack::{Setup, Stack};
use sluicegate_stack::way::Way;
use sluicegate_tests::in_every_profile;

use crate::sessions::peer::{Peer, ping, pong};
use crate::sessions::stacks::committed;

/// HTTP/2 libraries end a connection for what they take for an attack, by counts over its whole life. Here it is many
/// clients' connection, so no count of one client's doings may end it: one worker, and more of each than any default.
async fn many_bad_clients_end_no_other_session(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let setup = Setup { concurrency: 1, ..Setup::new(profile, kafka.bootstrap()) };
    let stack = Stack::start(setup).await.unwrap();
    let mut bystander = Peer::open(&stack).await;

    let queries = [20_000, 57_000].map(|len| format!("/pubsub?{}", "~".repeat(len)));
    for query in queries {
        let status = Raw::connect(stack.gateway()).await.ask(&Upgrade::to(query).bytes()).await.status;
        assert_eq!(status, 101);
        bystander.expect(ping(1, b"y"), pong(1, b"y"), "a long query").await;
    }
    let odd = Upgrade::to(r#"/pubsub?<>"{}|^"#).bytes();
    let ask = async |_| Raw::connect(stack.gateway()).await.ask(&odd).await.status;
    let told: HashSet<u16> = stream::iter(0..2500).map(ask).buffer_unordered(50).collect().await;
    assert_eq!(told, [400].into());
    bystander.expect(ping(2, b"y"), pong(2, b"y"), "odd queries").await;

    let upgrade = Upgrade::default().bytes();
    for round in 0..6 {
        let strangers = stream::iter(0..300).then(|_| Raw::connect(stack.gateway()));
        let strangers: Vec<Raw> = strangers.collect().await;
        let leave = strangers.into_iter().map(|stranger| stranger.ask_and_reset(&upgrade));
        join_all(leave).await;
        bystander.expect(ping(3, b"y"), pong(3, b"y"), &format!("resets, round {round}")).await;
    }
}

/// Every header of [`NAMES`] with every value of [`VALUES`], and long ones, whatever its own client is told: many
/// sessions share a connection to the bridge, so what breaks that breaks them all.
async fn no_header_of_an_upgrade_harms_another_session(way: Way) {
    let stack = committed(way).await;
    // Enough to be on the same connections as the strangers, whichever worker accepts those.
    let mut bystanders = Vec::new();
    for _ in 0..8 {
        bystanders.push(Peer::open(&stack).await);
    }
    // Up to what Envoy takes, in bytes that HPACK makes shorter and in others that it makes longer.
    let long = ["x".repeat(20_000), "~".repeat(36_000), "~".repeat(58_000), "a=b; ".repeat(7000)];
    let long = long.iter().map(|value| ("cookie", value.as_bytes()));
    let short = NAMES.split_whitespace().flat_map(|name| VALUES.map(|value| (name, value)));
    for (name, value) in short.chain(long) {
        let what = format!("{name}: {:.30}", String::from_utf8_lossy(value));
        let mut raw = Raw::connect(stack.gateway()).await;
        let upgrade = Upgrade::default().with(name, value).bytes();
        if name == LIFETIME {
            // Envoy may end it at any moment.
            raw.write(&upgrade).await;
            raw.leave().await;
        } else {
            let mut response = raw.ask(&upgrade).await;
            if response.status == 100 {
                response = raw.response().await;
            }
            if response.status == 101 {
                raw.write(masked(BINARY, &ping(1, b"x"))).await;
                assert_eq!(raw.answer().await, pong(1, b"x"), "{what}");
            } else {
                // Envoy's 503 would say that the bridge's connection broke.
                let told: &[u16] = if way.is_envoy() { &[400, 403, 404, 426, 501, 502] } else { &[400, 431] };
                assert!(told.contains(&response.status), "{what}: {response:?}");
            }
        }
        for bystander in &mut bystanders {
            bystander.expect(ping(2, b"y"), pong(2, b"y"), &what).await;
        }
    }
}

/// The lifetime of the client's own stream in milliseconds, if Envoy treats the client as internal.
const LIFETIME: &str = "x-envoy-upstream-stream-duration-ms";

/// Names to which proxies, HTTP/2, gRPC or WebSocket give a meaning.
const NAMES: &str = r"
    accept-encoding alt-svc authority authorization capsule-protocol connection content-length content-type
    cookie date early-data expect forwarded grpc-encoding grpc-message-type grpc-status grpc-timeout host
    http2-settings keep-alive max-forwards method path protocol proxy-authorization proxy-connection range
    scheme sec-websocket-accept sec-websocket-extensions sluicegate- status te traceparent trailer
    transfer-encoding upgrade via x-!#$%&'*+.^_`|~ x-envoy-attempt-count x-envoy-decorator-operation
    x-envoy-hedge-on-per-try-timeout x-envoy-internal x-envoy-original-method x-envoy-original-path
    x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-rq-timeout-ms x-envoy-upstream-stream-duration-ms
    x-forwarded-for x-forwarded-proto x-http-method-override x-request-id
";

const VALUES: [&[u8]; 17] = [
    b"",
    b"-1",
    b"0",
    b"1",
    b"1n",
    b"99999999999999999999999",
    b"\x80",
    b"\xFF\xFE",
    b"a\tb",
    b"a,b,,c",
    b"chunked",
    b"/sluicegate.v1.Bridge/Session",
    b"PUT",
    b"close",
    b"gzip",
    b"trailers",
    b"websocket",
];

in_every_profile! {
    many_bad_clients_end_no_other_session
    no_header_of_an_upgrade_harms_another_session
}
