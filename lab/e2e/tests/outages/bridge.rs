//! The bridge dies or hangs, and returns.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_stack::raw::{Raw, Upgrade};
use sluicegate_stack::socket::Socket;
use sluicegate_stack::way::Way;
use sluicegate_tests::in_ways;
use tokio::time::{Instant, timeout};

use crate::outages::assert_unharmed;
use crate::pool::Config;

in_ways! {
    [tunnel relay]
    killed_bridge_ends_its_connections_at_once
    hanging_bridge_is_given_up
}

in_ways! {
    [direct nginx]
    killed_bridge_ends_its_connections_at_once
}

/// Nobody listens on the discard port.
const NO_KAFKA: &str = "127.0.0.1:9";

async fn killed_bridge_ends_its_connections_at_once(way: Way) {
    let mut stack = Config::on(way, NO_KAFKA).unready().await;
    let mut idle = join_all((0..32).map(|_| Raw::open(stack.gateway()))).await;
    let mut asking = Socket::open(&stack).await;
    asking.ping().await;
    stack.bridge.process.kill();
    let killed = Instant::now();
    let ends = idle.iter_mut().map(async |client| {
        // A reset is an end as well; a close frame cannot be written any more.
        client.is_at_the_end("the bridge was killed").await;
        killed.elapsed()
    });
    let slowest = join_all(ends).await.into_iter().max().unwrap();
    assert!(slowest < Duration::from_secs(1), "the last connection ended after {slowest:?}");
    let end = timeout(Duration::from_secs(1), asking.listen()).await.expect("the end within 1 s");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    if way.is_envoy() {
        let ready = stack.ready().await.unwrap_err();
        assert!(ready.starts_with("503 "), "{ready}");
    }
    stack.bridge.up().await.unwrap();
    // It stays: nothing of the old sessions reaches it.
    let mut new = Socket::open(&stack).await;
    new.ping().await;
    new.ping().await;
    assert_unharmed(&stack).await;
}

/// With a keep-alive of a second's interval and a second's patience, where the committed one has 30 s and 10 s. A
/// relayed session has no keep-alive but its own pings, whose absence ends it: after 2 s instead of 90 s.
async fn hanging_bridge_is_given_up(way: Way) {
    let keepalive = |interval, timeout| {
        format!(
            "a bridge that vanished.\n            connection_keepalive: {{interval: {interval}s, timeout: {timeout}s}}"
        )
    };
    let edit = match way {
        Way::Tunnel => (keepalive(30, 10), keepalive(1, 1)),
        _ => ("stream_idle_timeout: 90s".to_owned(), "stream_idle_timeout: 2s".to_owned()),
    };
    let mut stack = Config::on(way, NO_KAFKA).edit(edit).unready().await;
    let mut open = Socket::open(&stack).await;
    open.ping().await;
    stack.bridge.process.freeze();
    // Up to an interval, the patience, and what Envoy's delayed close and a busy machine take.
    let within = Duration::from_secs(5);
    let end = timeout(within, open.listen()).await.expect("the end of the session within 5 s");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
    let ask = async || Raw::connect(stack.gateway()).await.ask(&Upgrade::default().bytes()).await;
    let refused = timeout(within, ask()).await.expect("a refusal within 5 s");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    stack.bridge.process.thaw();
    Socket::open(&stack).await.ping().await;
    assert_unharmed(&stack).await;
}
