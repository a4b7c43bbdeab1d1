//! Clients that send faster than the bridge reads are slowed down; others are not affected.

use std::time::Duration;

use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_stack::raw::{BINARY, PING, PONG, Raw, masked};
use sluicegate_stack::socket::fetch;
use sluicegate_stack::stack::{BridgeConfig, Setup, Stack};
use sluicegate_tests::in_every_profile;

use crate::sessions::peer::{Peer, ping, pong, request};

/// HTTP/2's library ends a connection for DATA frames that are short and not read: here for 33,000 of them, which ten
/// clients of one worker reach.
async fn tiny_messages_that_wait_end_no_other_session(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let settings =
        "[limits]\nmax_streams = 250\nconnection_window_bytes = 16384000\n[read]\nwait_ms = 15000\n";
    let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings: settings.to_owned() };
    let setup = Setup { bridge, concurrency: 1, ..Setup::new(profile, kafka.bootstrap()) };
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    let topic = kafka.topic("waits", 1, &[]).await.unwrap();
    let fetch = masked(BINARY, &request(1, fetch(&topic, 0, 0)));
    let mut bystander = Peer::open(&stack).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Raw::open(stack.gateway()).await;
        // As many as run and as wait at the log end: until one is answered, nothing more is read.
        client.write(&fetch.repeat(40)).await;
        clients.push(client);
    }
    // Each is a segment of its own, and on its way before the next.
    let tiny = masked(PING, b"");
    for round in 0..ROUNDS {
        for client in &mut clients {
            client.write(&tiny).await;
        }
        bystander.expect(ping(1, b"y"), pong(1, b"y"), format!("round {round}")).await;
    }
    // They were held back, not closed.
    let mut pongs = 0;
    while pongs < ROUNDS {
        match clients[0].frame().await {
            frame if frame.first == PONG => pongs += 1,
            frame => assert_eq!(frame.first, BINARY, "{frame:?}"),
        }
    }
}

/// Enough to fill a stream's window.
const ROUNDS: usize = 7000;

in_every_profile! {
    tiny_messages_that_wait_end_no_other_session
}
