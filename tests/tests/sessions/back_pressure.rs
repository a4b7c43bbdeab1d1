//! Clients that send more than is taken: they are held back, and nobody else notices.

use futures_util::future::join_all;
use prost::Message as _;
use sluicegate_protocol::{ProduceRecord, PubSubReq};
use sluicegate_tests::envoy::{Profile, writing};
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::socket::{Socket, produce, results};
use sluicegate_tests::stack::{BridgeConfig, Setup, Stack};

use crate::peer::{Peer, ping, pong};
use crate::raw::{BINARY, Frame, PING, PONG, Raw, masked};

/// HTTP/2's library ends a connection for DATA frames that are short and not read: here for 33,000 of them, which ten clients
/// of one worker reach.
async fn tiny_messages_that_wait_end_no_other_session(profile: Profile) {
    let kafka = Kafka::shared().await.unwrap();
    let limits = "[limits]\nmax_streams = 250\nconnection_window_bytes = 16384000\n";
    let bridge = BridgeConfig::Cluster { bootstrap: kafka.bootstrap(), settings: limits.to_owned() };
    let setup = Setup { bridge, concurrency: 1, ..Setup::new(profile, kafka.bootstrap()) };
    let stack = Stack::start(setup).await.unwrap();
    let mut bystander = Peer::open(&stack).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(Raw::open_narrow(&stack).await);
    }
    // None reads its pongs, so that pings wait. Each ping is a segment of its own.
    let tiny = masked(PING, b"");
    for round in 0..35_000 {
        join_all(clients.iter_mut().map(|client| client.write(&tiny))).await;
        if round % 10 == 0 {
            bystander.expect(ping(1, b"y"), pong(1, b"y"), format!("round {round}")).await;
        }
    }
    bystander.expect(ping(2, b"y"), pong(2, b"y"), "afterwards").await;
    // They were held back, not closed: one that reads gets all of its pongs.
    let late = &mut clients[0];
    for _ in 0..35_000 {
        assert_eq!(late.frame().await, Frame { first: PONG, payload: Vec::new() });
    }
    late.write(&masked(BINARY, &ping(3, b"late"))).await;
    assert_eq!(late.answer().await, pong(3, b"late"));
}

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
    for number in 0..COMMANDS {
        let (sequence, resp) = socket.receive().await;
        assert_eq!(sequence, number + 1);
        let produced = results(resp).unwrap();
        let offsets = produced.iter().map(|produced| {
            assert_eq!(produced.error, None);
            produced.offset
        });
        assert!(offsets.eq(number * 1000..(number + 1) * 1000), "command {number}");
    }
}

in_both_profiles! {
    tiny_messages_that_wait_end_no_other_session
    records_beyond_every_window_are_written_in_order
}
