//! A committed read that waits for a transaction.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaFetch, Isolation};
use sluicegate_stack::kafka::{Outcome, Record, Write};
use sluicegate_stack::socket::{self, Socket};
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::pool::Config;
use crate::reading::{FOREVER, START, assert_same, messages, shared};

/// More than all answers of a test take.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn committed_read_waits_until_a_transaction_commits() {
    let (kafka, _) = shared(Way::Tunnel).await;
    let stack = Config::new(Way::Tunnel).await.alone().await;
    let topic = kafka.topic("stable", 1, &[FOREVER]).await.unwrap();
    let record = |value| [Record { timestamp: Some(START), ..Record::of(value) }];
    let (mut committed, mut all) = (Socket::open(&stack).await, Socket::open(&stack).await);
    let (isolation, max_wait_ms) = (Isolation::ReadCommitted.into(), Some(25_000));
    let fetch = CmdKafkaFetch { topic: topic.clone(), isolation, max_wait_ms, ..Default::default() };
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
    let requests = async || stack.bridge.count("sluicegate_tail_requests_total ", "").await.unwrap();
    let before = requests().await;
    let asked_again = async || match requests().await {
        requests if requests > before => Ok(()),
        requests => Err(format!("{requests} requests")),
    };
    until("Kafka is asked again", SOON * 2, asked_again).await;
    // A session answers its commands in the order in which they are ready.
    committed.list_offset(&topic, 0, -1).await.unwrap();

    open.end(Outcome::Commit).await.unwrap();
    let ended = Instant::now();
    let (sequence, answer) = committed.receive().await;
    assert_eq!(sequence, asked);
    assert_same(&socket::messages(answer).unwrap(), &want, "committed");
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
}
