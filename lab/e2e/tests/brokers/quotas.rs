//! Quotas that limit a client's bytes per second.

use std::time::Duration;

use sluicegate_stack::kafka::{Kafka, Record, Write};
use sluicegate_stack::random::Random;
use sluicegate_stack::stack::Stack;
use sluicegate_stack::waiting::becomes;
use tokio::time::Instant;

use crate::brokers::cluster::{cluster, open, setup};
use crate::brokers::requests::fetches;

/// Bytes a second, from each node.
const RATE: u32 = 1_000_000;
/// Values of 10 KB.
const RECORDS: usize = 400;
const VALUE: usize = 10_000;
/// Small batches: a broker returns whole batches, an answer ends within one, and re-read bytes count against the quota.
const BATCH: usize = 5;
const HOLDS_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttled_client_gets_every_record() {
    let kafka = cluster().await;
    let (topic, records) = &written(&kafka).await;
    let mut setup = setup(&kafka.bootstrap(), "", &[("throttled", "client.id = \"throttled\"")]);
    // Reads from memory count against no quota.
    setup.bridge_environment = vec![("SLUICEGATE_READ__CACHE_BYTES".to_owned(), "0".to_owned())];
    let mut stack = Stack::start(setup).await.unwrap();
    stack.ready_within(Duration::from_secs(30)).await.unwrap();
    kafka.limit_reads("throttled", RATE).await.unwrap();
    let mut throttled = open(&stack, "throttled").await;
    // Every node learns of the quota in its own time.
    becomes("the quota", true, HOLDS_WITHIN, async || {
        throttled.walk(topic, 0, 0).await;
        throttled_ms(&kafka, "throttled") > 0
    })
    .await;
    let start = Instant::now();
    let read = throttled.walk(topic, 0, 0).await;
    let took = start.elapsed();
    let values = read.iter().map(|message| message.value.as_deref());
    assert!(values.eq(records.iter().map(|record| record.value.as_deref())), "{} records", read.len());
    let allowed = Duration::from_secs_f64((RECORDS * VALUE) as f64 / f64::from(RATE));
    assert!((allowed / 2..allowed * 4).contains(&took), "{took:?} where {allowed:?} are allowed");
}

/// A topic, and the records in its one partition.
async fn written(kafka: &Kafka) -> (String, Vec<Record>) {
    let topic = kafka.topic("quotas", 1, &[]).await.unwrap();
    let mut random = Random::new(1);
    let records: Vec<Record> = (0..RECORDS).map(|_| Record::of(random.bytes(VALUE))).collect();
    let how = Write { batch: Some(BATCH), ..Write::default() };
    kafka.produce(&topic, 0, &records, how).await.unwrap();
    (topic, records)
}

/// For how long all nodes together told a client to ask nothing.
fn throttled_ms(kafka: &Kafka, client_id: &str) -> u64 {
    fetches(kafka, client_id).iter().map(|at| at.throttled_ms).sum()
}
