//! A part dies under clients that keep writing: acknowledged records are in the log. If the broker died, they are there
//! once and in order, as the bridge's producer retries; if a client resent them, at most twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluicegate_client::{Client, ProduceRecord};
use sluicegate_stack::envoy::Profile;
use sluicegate_stack::kafka::Kafka;
use sluicegate_tests::in_every_profile;

use crate::writing::stacks::{grows, record, with};
use crate::writing::told::{Told, Writing, numbers};

in_every_profile! {
    kills_of_bridge_and_envoy_lose_no_acknowledged_record
}

#[tokio::test]
async fn kills_of_the_broker_lose_and_repeat_no_record() {
    const KILLS: usize = 2;
    let mut kafka = Kafka::start().await.unwrap();
    let topic = &kafka.topic("killed", 1, &[]).await.unwrap();
    let stack =
        with(Profile::Tunnel, &kafka, "", "message.timeout.ms = 3000\nreconnect.backoff.max.ms = 500\n")
            .await;
    let writing = Writing::start(stack.url(), topic);
    grows(&stack, "written_records_total", 2_000.0).await;
    kafka.freeze();
    writing.comes_about("an unknown outcome", |told| !told.unknown.is_empty()).await;
    kafka.kill();
    writing.comes_about("a refused record", |told| !told.refused.is_empty()).await;
    kafka.up().await.unwrap();
    for _ in 0..KILLS {
        grows(&stack, "written_records_total", 2_000.0).await;
        kafka.kill();
        kafka.up().await.unwrap();
    }
    grows(&stack, "written_records_total", 2_000.0).await;
    writing.end("broker", Duration::from_secs(120), &kafka).await;
}

async fn kills_of_bridge_and_envoy_lose_no_acknowledged_record(profile: Profile) {
    const CLIENTS: i32 = 3;
    let kafka = Kafka::shared().await.unwrap();
    let topic = &kafka.topic("killed", CLIENTS, &[]).await.unwrap();
    let mut stack = with(profile, kafka, "", "").await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(insist(stack.url(), topic.clone(), client, Arc::clone(&stop))))
        .collect();
    for _ in 0..2 {
        grows(&stack, "written_records_total", 500.0).await;
        stack.bridge.process.kill();
        stack.bridge.up().await.unwrap();
        grows(&stack, "written_records_total", 500.0).await;
        stack.envoy_mut().process.kill();
        stack.envoy_mut().up().await.unwrap();
    }
    grows(&stack, "written_records_total", 500.0).await;
    stop.store(true, Ordering::Relaxed);
    for (partition, client) in (0..).zip(clients) {
        let (told, again) =
            tokio::time::timeout(Duration::from_secs(60), client).await.expect("an end").unwrap();
        let written = numbers(kafka, topic, partition);
        told.report(profile.name(), &written);
        let mut count: BTreeMap<u64, usize> = BTreeMap::new();
        written.iter().for_each(|number| *count.entry(*number).or_default() += 1);
        for number in told.acknowledged.keys() {
            assert!(count.contains_key(number), "{number} was acknowledged and is not there");
        }
        for (number, count) in count {
            assert!(
                count == 1 || again.contains(&number),
                "{number} is there {count} times and was sent once"
            );
        }
    }
}

/// Writes numbers to a partition until it is to stop; what is not answered is sent again. Also gives what that was.
async fn insist(url: String, topic: String, partition: i32, stop: Arc<AtomicBool>) -> (Told, BTreeSet<u64>) {
    const RECORDS: u64 = 20;
    let (mut told, mut again, mut next) = (Told::default(), BTreeSet::new(), 0);
    let mut client = connect(&url).await;
    while !stop.load(Ordering::Relaxed) {
        let numbers = next..next + RECORDS;
        next += RECORDS;
        loop {
            let one = |n: u64| ProduceRecord { partition: Some(partition), ..record(&topic, n.to_string()) };
            match client.produce(numbers.clone().map(one).collect()).await {
                Ok(outcomes) => {
                    for (number, outcome) in numbers.clone().zip(outcomes) {
                        _ = told.acknowledged.insert(number, outcome.unwrap().offset.unwrap_or(-1));
                    }
                    break;
                }
                Err(_) => {
                    again.extend(numbers.clone());
                    client = connect(&url).await;
                }
            }
        }
    }
    (told, again)
}

/// A session, as soon as there is somebody to have it with.
async fn connect(url: &str) -> Client {
    loop {
        match Client::connect(url).await {
            Ok(client) => return client,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
