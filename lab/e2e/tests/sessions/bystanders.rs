//! Bytes that a client sends before its upgrade is accepted do not affect other sessions. In the profile `relay`, each
//! client has a connection to the bridge of its own.

use std::collections::HashSet;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::way::Way;

use crate::pool::routed;
use crate::sessions::is_alive;

/// All clients share one connection to the bridge, so what breaks that breaks them all.
#[tokio::test]
async fn bad_upgrades_end_no_other_session() {
    let stack = routed(Way::Tunnel).await.one_worker().alone().await;
    let mut bystander = Socket::open(&stack).await;
    many_bad_clients(&stack, &mut bystander).await;
    every_header(&stack, &mut bystander).await;
}

/// HTTP/2 libraries end a connection for what they take for an attack, by counts over its whole life: here, more of each
/// than any default.
async fn many_bad_clients(stack: &Stack, bystander: &mut Socket) {
    let ask = async |upgrade: &[u8]| Raw::connect(stack.gateway()).await.ask(upgrade).await.status;
    for len in [20_000, 57_000] {
        let query = format!("/pubsub?{}", "~".repeat(len));
        assert_eq!(ask(&Upgrade::to(query).bytes()).await, 101);
        bystander.ping().await;
    }
    let odd = Upgrade::to(r#"/pubsub?<>"{}|^"#).bytes();
    let told: HashSet<u16> = stream::iter(0..2500).map(|_| ask(&odd)).buffer_unordered(50).collect().await;
    assert_eq!(told, [101].into());
    bystander.ping().await;

    let upgrade = Upgrade::default().bytes();
    for _ in 0..6 {
        let strangers = stream::iter(0..300).then(|_| Raw::connect(stack.gateway()));
        let strangers: Vec<Raw> = strangers.collect().await;
        join_all(strangers.into_iter().map(|stranger| stranger.ask_and_reset(&upgrade))).await;
        bystander.ping().await;
    }
}

/// Every header of [`NAMES`] with every value of [`VALUES`], and long ones, whatever its own client is told.
async fn every_header(stack: &Stack, bystander: &mut Socket) {
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
                is_alive(&mut raw, &what).await;
            } else {
                // Envoy's 503 would say that the bridge's connection broke.
                let told = [400, 403, 404, 426, 501, 502];
                assert!(told.contains(&response.status), "{what}: {response:?}");
            }
        }
        bystander.ping().await;
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
