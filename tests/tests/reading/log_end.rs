//! Fetches at the log end, which wait for messages.

use std::time::{Duration, Instant};

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Record, Write};
use sluicegate_tests::socket::{self, Socket};

use crate::gateway::{shared, with};
use crate::reference::{FOREVER, START, assert_same, messages};

/// More than the connections that a bridge keeps for waiting.
const WAITERS: usize = 40;
/// No test waits so long for what is answered in time.
const PATIENCE: &str = "[read]\nwait_ms = 25000";
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn written_record_ends_every_wait() {
    let (kafka, _) = shared(Profile::Tunnel).await;
    let stack = with(Profile::Tunnel, kafka, PATIENCE, "").await;
    let topic = kafka.topic("waits", 1, &[FOREVER]).await.unwrap();
    let record = Record { timestamp: Some(START), ..Record::of("at last") };
    let mut sockets = Vec::new();
    for _ in 0..WAITERS {
        let mut socket = Socket::open(&stack).await;
        socket.send(socket::fetch(&topic, 0, 0)).await;
        sockets.push(socket);
    }
    // The fetches are at the bridge: each session answers its commands in the order in which they are ready.
    for socket in &mut sockets {
        let asked = socket.send(socket::list_offset(&topic, 0, -1)).await;
        let (sequence, answer) = socket.receive().await;
        assert_eq!(sequence, asked, "{answer:?} came before there was a message");
    }
    let offsets = kafka.produce(&topic, 0, std::slice::from_ref(&record), Write::default()).await.unwrap();
    let written = Instant::now();
    for socket in &mut sockets {
        let (sequence, answer) = socket.receive().await;
        assert_eq!(sequence, 1);
        let read = socket::messages(answer).unwrap();
        assert_same(&read, &messages(&offsets, std::slice::from_ref(&record)), "what was waited for");
    }
    assert!(written.elapsed() < SOON, "{:?}", written.elapsed());
}
