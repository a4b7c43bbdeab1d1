//! Records that the bridge keeps for many readers: what a client is told while the log grows, shrinks or is replaced.

use std::time::{Duration, Instant};

use sluicegate_protocol::pub_sub_req::Req;
use sluicegate_protocol::{CmdKafkaFetch, Isolation};
use sluicegate_stack::kafka::{Kafka, Outcome, Record, Write};
use sluicegate_stack::socket::{self, Socket};
use sluicegate_stack::waiting::until;
use sluicegate_stack::way::Way;

use crate::pool::routed;
use crate::reading::{FOREVER, START, assert_same, messages, with};

/// Age drops no record during a test: only what Kafka answers does.
const KEEPS: &str = "[read]\nwait_ms = 0\ncache_ms = 900000";

/// More than all answers of a test take.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn acknowledged_record_is_read_while_others_read_the_log_end() {
    let (kafka, stack) = (Kafka::shared().await.unwrap(), with(KEEPS).await);
    let topic = kafka.topic("acknowledged", 1, &[FOREVER]).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..8 {
        let (mut socket, topic) = (Socket::open(&stack).await, topic.clone());
        crowd.push(tokio::spawn(async move {
            let mut next = 0;
            loop {
                for message in socket.fetch(&topic, 0, next).await.unwrap() {
                    assert_eq!(message.offset, next);
                    next += 1;
                }
            }
        }));
    }
    let mut socket = Socket::open(&stack).await;
    for round in 0..50 {
        let record = Record::of(format!("record {round}"));
        let offsets = kafka.produce(&topic, 0, &[record], Write::default()).await.unwrap();
        // Without a wait: an answer from before the acknowledgement would be empty.
        let read = socket.fetch(&topic, 0, offsets[0]).await.unwrap();
        assert_eq!(read.first().map(|message| message.offset), Some(offsets[0]));
        assert_eq!(socket.list_offset(&topic, 0, -1).await, Ok(offsets[0] + 1));
    }
    for reader in crowd {
        reader.abort();
        assert!(reader.await.unwrap_err().is_cancelled(), "a reader of the crowd failed");
    }
}

#[tokio::test]
async fn committed_read_waits_until_a_transaction_commits() {
    let kafka = Kafka::shared().await.unwrap();
    let stack = routed(Way::Tunnel).await.alone().await;
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
