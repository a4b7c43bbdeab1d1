//! Clients that send faster than the bridge reads are slowed down; others are not affected.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use sluicegate_protocol::{ProduceRecord, PubSubReq};
use sluicegate_tests::envoy::{Profile, writing};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::raw::{BINARY, PING, PONG, Raw, masked};
use sluicegate_tests::socket::{Socket, fetch, produce, results};
use sluicegate_tests::stack::{BridgeConfig, Setup, Stack};

use crate::peer::{Peer, ping, pong, request};

/// HTTP/2's library ends a connection for DATA frames that are short and not read: here for 33,000 of them, which ten clients
/// of one worker reach.
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

/// 6 MB of records, sent before the first answer is read: many times what each window on the way holds.
async fn records_beyond_every_window_are_written_in_order(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let bootstrap = kafka.bootstrap();
    let text =
        format!("[write]\nclusters = [\"default\"]\n[clusters.default]\nbootstrap.servers = {bootstrap:?}\n");
    let bridge = BridgeConfig::Text(text);
    let stack =
        Stack::start(Setup { bridge, envoy_edits: vec![writing()], ..Setup::new(profile, bootstrap) });
    let stack = stack.await.unwrap();
    let topic = kafka.topic("pipelined", 1, &[]).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    let record = ProduceRecord {
        topic,
        partition: Some(0),
        value: Some(vec![b'r'; 100].into()),
        ..ProduceRecord::default()
    };
    let command = produce(vec![record; 1000]);
    let len = PubSubReq { sequence: 0, req: Some(command.clone()) }.encoded_len();
    assert!(len > 100_000, "{len} bytes");
    const COMMANDS: i64 = 60;
    for _ in 0..COMMANDS {
        socket.send(command.clone()).await;
    }
    let mut answers = BTreeMap::new();
    for _ in 0..COMMANDS {
        let (sequence, resp) = socket.receive().await;
        answers.insert(sequence, results(resp).unwrap());
    }
    assert!(answers.keys().copied().eq(1..=COMMANDS));
    let offsets = answers.into_values().flatten().map(|produced| {
        assert_eq!(produced.error, None);
        produced.offset
    });
    assert!(offsets.eq(0..COMMANDS * 1000));
}

in_both_profiles! {
    tiny_messages_that_wait_end_no_other_session
    records_beyond_every_window_are_written_in_order
}
