//! Fetches at the log end, which wait for messages.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaFetch, Isolation};
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::{Outcome, Record, Write};
use sluicegate_stack::socket::{self, Socket};
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::{becomes, until};

use crate::reading::gateway::{shared, with};
use crate::reading::reference::{FOREVER, START, assert_same, messages};

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
    for socket in &mut sockets {
        still_waits(socket, &topic).await;
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
async fn many_partitions_are_waited_for_on_few_connections() {
    let (kafka, _) = shared(Profile::Tunnel).await;
    let stack = with(Profile::Tunnel, kafka, PATIENCE, "").await;
    let topic = kafka.topic("tails", PARTITIONS, &[FOREVER]).await.unwrap();
    let mut sockets = Vec::new();
    for partition in 0..PARTITIONS {
        let mut socket = Socket::open(&stack).await;
        socket.send(socket::fetch(&topic, partition, 0)).await;
        sockets.push(socket);
    }
    let tails = async || count(&stack, "sluicegate_tails").await;
    becomes("partitions with waiting reads", f64::from(PARTITIONS), SOON, tails).await;
    let started = Instant::now();
    for (partition, socket) in (0..).zip(&mut sockets) {
        let record = Record { timestamp: Some(START), ..Record::of(format!("to {partition}")) };
        let records = std::slice::from_ref(&record);
        let offsets = kafka.produce(&topic, partition, records, Write::default()).await.unwrap();
        let read = socket::messages(socket.receive().await.1).unwrap();
        assert_same(&read, &messages(&offsets, records), "what was waited for");
    }
    // Fetches at the log end come back every few seconds in any case: no record waits for that.
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let connections = stack.bridge.process.connections(kafka.nodes[0].address()).unwrap().len();
    assert!(connections <= CONNECTIONS, "{connections} connections to Kafka");
    becomes("partitions with waiting reads", 0.0, SOON, tails).await;
}

#[tokio::test]
async fn committed_read_waits_until_a_transaction_commits() {
    let (kafka, _) = shared(Profile::Tunnel).await;
    let stack = with(Profile::Tunnel, kafka, PATIENCE, "").await;
    let topic = kafka.topic("stable", 1, &[FOREVER]).await.unwrap();
    let record = |value| [Record { timestamp: Some(START), ..Record::of(value) }];
    let (mut committed, mut all) = (Socket::open(&stack).await, Socket::open(&stack).await);
    let isolation = Isolation::ReadCommitted.into();
    let fetch = CmdKafkaFetch { topic: topic.clone(), isolation, ..Default::default() };
    let asked = committed.send(Req::CmdKafkaFetch(fetch)).await;

    let aborted = kafka.begin(Write::default()).await.unwrap();
    let lost = aborted.write(&topic, 0, &record("aborted")).await.unwrap();
    assert_same(&all.fetch(&topic, 0, 0).await.unwrap(), &messages(&lost, &record("aborted")), "uncommitted");
    aborted.end(Outcome::Abort).await.unwrap();
    let open = kafka.begin(Write::default()).await.unwrap();
    let offsets = open.write(&topic, 0, &record("committed")).await.unwrap();
    let want = messages(&offsets, &record("committed"));
    assert_same(&all.fetch(&topic, 0, offsets[0]).await.unwrap(), &want, "uncommitted");
    // Kafka has answered the fetch that waits, and has another one.
    let before = count(&stack, REQUESTS).await;
    let asked_again = async || match count(&stack, REQUESTS).await {
        requests if requests > before => Ok(()),
        requests => Err(format!("{requests} requests")),
    };
    until("Kafka is asked again", SOON * 2, asked_again).await;
    still_waits(&mut committed, &topic).await;

    open.end(Outcome::Commit).await.unwrap();
    let ended = Instant::now();
    let (sequence, answer) = committed.receive().await;
    assert_eq!(sequence, asked);
    assert_same(&socket::messages(answer).unwrap(), &want, "committed");
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
}

/// Asserts that no earlier command of this socket is answered, and that all are at the bridge: a session answers its
/// commands in the order in which they are ready.
async fn still_waits(socket: &mut Socket, topic: &str) {
    let asked = socket.send(socket::list_offset(topic, 0, -1)).await;
    let (sequence, answer) = socket.receive().await;
    assert_eq!(sequence, asked, "{answer:?} came before there was a message");
}

async fn count(stack: &Stack, metric: &str) -> f64 {
    stack.bridge.count(&format!("{metric} "), "").await.unwrap()
}

const REQUESTS: &str = "sluicegate_tail_requests_total";
/// More than a bridge has fetches that wait.
const PARTITIONS: i32 = 40;
/// For metadata and other requests, and for fetches that wait.
const CONNECTIONS: usize = 8;
