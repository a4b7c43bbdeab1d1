//! The broker dies under a client that keeps writing: what was acknowledged is there, once, and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_tests::envoy::Profile;
use sluicegate_tests::in_both_profiles;
use sluicegate_tests::kafka::Kafka;
use sluicegate_tests::socket::{Socket, produce, results};

use crate::log::numbers;
use crate::stacks::{grows, record, with};

in_both_profiles! {
    every_record_that_was_acknowledged_is_there_though_the_broker_was_killed
}

/// What clients were told of their records, by number.
#[derive(Default)]
struct Told {
    acknowledged: BTreeMap<u64, i64>,
    refused: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

async fn every_record_that_was_acknowledged_is_there_though_the_broker_was_killed(profile: Profile) {
    const KILLS: usize = 2;
    let mut kafka = Kafka::start().await.unwrap();
    let topic = &kafka.topic("killed", 1, &[]).await.unwrap();
    let stack =
        with(profile, &kafka, "", "message.timeout.ms = 20000\nreconnect.backoff.max.ms = 500\n").await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn(write(stack.url(), topic.clone(), Arc::clone(&stop)));
    for _ in 0..KILLS {
        grows(&stack, "written_records_total", 2_000.0).await;
        kafka.kill();
        kafka.up().await.unwrap();
    }
    grows(&stack, "written_records_total", 2_000.0).await;
    stop.store(true, Ordering::Relaxed);
    let told = tokio::time::timeout(Duration::from_secs(120), writing).await.expect("an end").unwrap();
    let written = numbers(&kafka, topic, 0);
    report(profile, &told, &written);
    for (number, offset) in &told.acknowledged {
        if let Ok(offset) = usize::try_from(*offset) {
            assert_eq!(written.get(offset), Some(number), "{number} was acknowledged at {offset}");
        }
        assert!(written.contains(number), "{number} was acknowledged and is not there");
    }
    for number in &told.refused {
        assert!(!written.contains(number), "{number} was refused and is there");
    }
    assert!(written.is_sorted_by(|a, b| a < b), "no record is there twice, or behind a later one");
}

#[expect(clippy::print_stderr, reason = "counts for whoever asks for the test's output")]
fn report(profile: Profile, told: &Told, written: &[u64]) {
    let distinct = written.iter().collect::<BTreeSet<_>>().len();
    let (acknowledged, refused, unknown) = (told.acknowledged.len(), told.refused.len(), told.unknown.len());
    let (written, name) = (written.len(), profile.name());
    let duplicates = written - distinct;
    eprintln!(
        "{name}: acknowledged {acknowledged}, refused {refused}, unknown {unknown}; in Kafka {written}, of them {duplicates} twice"
    );
}

/// Writes numbers until it is to stop, several commands in flight, none sent again.
async fn write(url: String, topic: String, stop: Arc<AtomicBool>) -> Told {
    const RECORDS: u64 = 20;
    const IN_FLIGHT: usize = 8;
    let mut socket = Socket::open_at(&url).await;
    let (mut told, mut open, mut next) = (Told::default(), BTreeMap::new(), 0);
    loop {
        while open.len() < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
            let numbers = next..next + RECORDS;
            next += RECORDS;
            let records =
                numbers.clone().map(|n| record(&topic, format!("{n} {}", "x".repeat(100)))).collect();
            open.insert(socket.send(produce(records)).await, numbers);
        }
        if open.is_empty() {
            return told;
        }
        let (sequence, resp) = socket.receive().await;
        let numbers = open.remove(&sequence).expect("an open sequence");
        for (number, produced) in numbers.zip(results(resp).unwrap()) {
            match produced.error {
                None => _ = told.acknowledged.insert(number, produced.offset),
                Some(error) if error.unknown_outcome => _ = told.unknown.insert(number),
                Some(_) => _ = told.refused.insert(number),
            }
        }
    }
}
