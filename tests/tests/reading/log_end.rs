//! Fetches at the log end, which wait for messages.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_resp::Resp;
use sluicegate_tests::envoy::Profile;
use sluicegate_tests::kafka::{Record, Write};
use sluicegate_tests::socket::{self, Socket};

use crate::gateway::{shared, with};
use crate::reference::{FOREVER, START, assert_same, messages, varied};

/// More than the connections that a bridge keeps for waiting.
const WAITERS: usize = 40;
/// No test waits so long for what is answered in time.
const PATIENCE: &str = "[read]\nwait_ms = 25000";
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn fetch_at_the_log_end_is_empty_after_the_wait() {
    let (kafka, stack) = shared(Profile::Tunnel).await;
    let topic = kafka.topic("end", 2, &[FOREVER]).await.unwrap();
    kafka.produce(&topic, 1, &varied(3), Write::default()).await.unwrap();
    let mut socket = Socket::open(stack).await;
    for (partition, offset) in [(0, 0), (1, 3), (1, 3)] {
        let asked = Instant::now();
        assert_eq!(socket.fetch(&topic, partition, offset).await, Ok(Vec::new()));
        let took = asked.elapsed();
        // 100 ms by default; far above it only because the machine does other things as well.
        assert!((Duration::from_millis(95)..Duration::from_secs(3)).contains(&took), "{took:?}");
    }
}

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

#[tokio::test]
async fn waiting_fetch_delays_no_other_command() {
    let (kafka, _) = shared(Profile::Tunnel).await;
    let stack = with(Profile::Tunnel, kafka, PATIENCE, "").await;
    let topic = kafka.topic("delays", 3, &[FOREVER]).await.unwrap();
    let records = varied(3);
    kafka.produce(&topic, 1, &records, Write::default()).await.unwrap();
    let mut socket = Socket::open(&stack).await;
    let start = Instant::now();
    let waiting = [0, 2].map(|partition| socket::fetch(&topic, partition, 0));
    for request in waiting {
        socket.send(request).await;
    }
    for _ in 0..50 {
        assert_eq!(socket.fetch(&topic, 1, 0).await.unwrap().len(), records.len());
        assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(0));
        socket.ping().await;
    }
    // An answered wait leaves the other one waiting.
    kafka.produce(&topic, 2, &records, Write::default()).await.unwrap();
    let (sequence, answer) = socket.receive().await;
    assert_eq!(sequence, 2);
    assert!(matches!(answer, Resp::KafkaFetchResp(fetched) if !fetched.messages.is_empty()));
    socket.ping().await;
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}
