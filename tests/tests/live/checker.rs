//! Subscribers of all kinds, while everything is killed and restarted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluicegate_tests::live::{Setup, System, check};
use sluicegate_tests::way::Way;

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_every_record_once_whatever_is_killed() {
    checked(System::Kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_every_message_of_streams_once_whatever_is_killed() {
    checked(System::Nats).await;
}

#[expect(clippy::print_stdout, reason = "what a failed test says")]
async fn checked(system: System) {
    // Each run takes another course.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    println!("seed {seed}");
    let setup = Setup { system, way: Way::Tunnel, subscribers: 300, duration: Duration::from_secs(60), seed };
    let summary = check(setup).await;
    println!("{summary}");
    assert!(summary.delivered > 100 * summary.records && summary.kills.len() > 2, "{summary}");
}
