//! A client that may read only so many bytes a second.

use std::time::Duration;

use sluicegate_tests::kafka::{Record, Write};
use sluicegate_tests::random::Random;
use sluicegate_tests::socket::Socket;
use sluicegate_tests::waiting::becomes;
use tokio::time::Instant;

use crate::cluster::{cluster, gateway, open};
use crate::requests::fetches;

/// Bytes a second, from each node.
const RATE: u32 = 1_000_000;
/// Values of 10 KB.
const RECORDS: usize = 400;
const VALUE: usize = 10_000;
const HOLDS_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take that nothing delays.
const UNDELAYED_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_client_gets_every_record_in_its_time_and_others_at_once() {
    let kafka = cluster().await;
    let topic = &kafka.topic("quotas", 1, &[]).await.unwrap();
    let mut random = Random::new(1);
    let records: Vec<Record> = (0..RECORDS).map(|_| Record::of(random.bytes(VALUE))).collect();
    // A broker gives no less than a batch, and an answer ends within one: what is read twice counts twice.
    let how = Write { batch: Some(5), ..Write::default() };
    kafka.produce(topic, 0, &records, how).await.unwrap();
    let others = [("throttled", "client.id = \"throttled\"")];
    let stack = gateway(&kafka.bootstrap(), "client.id = \"free\"", &others).await;
    kafka.limit_reads("throttled", RATE).await.unwrap();

    let throttling = |client: &str| fetches(&kafka, client).iter().map(|at| at.throttled_ms).sum::<u64>();
    let (mut throttled, mut free) = (open(&stack, "throttled").await, Socket::open(&stack).await);
    // Every node learns of the quota in its own time.
    becomes("the quota", true, HOLDS_WITHIN, async || {
        throttled.walk(topic, 0, 0).await;
        throttling("throttled") > 0
    })
    .await;
    let start = Instant::now();
    let walk = async {
        let read = throttled.walk(topic, 0, 0).await;
        (read, start.elapsed())
    };
    tokio::pin!(walk);
    let mut slowest = Duration::ZERO;
    let (read, took) = loop {
        let asked = Instant::now();
        let answer = async {
            assert!(!free.fetch(topic, 0, 0).await.unwrap().is_empty());
            asked.elapsed()
        };
        tokio::select! {
            walked = &mut walk => break walked,
            took = answer => slowest = slowest.max(took),
        }
    };
    assert!(slowest < UNDELAYED_WITHIN, "a client without a quota waited for {slowest:?}");
    let values = read.iter().map(|message| &message.value[..]);
    assert!(values.eq(records.iter().filter_map(|record| record.value.as_deref())), "{} records", read.len());
    let allowed = Duration::from_secs_f64((RECORDS * VALUE) as f64 / f64::from(RATE));
    assert!((allowed / 2..allowed * 4).contains(&took), "{took:?} where {allowed:?} are allowed");
    assert_eq!(throttling("free"), 0);
}
