//! Subscribers of all kinds, while everything is killed and restarted, or records are discarded under them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluicegate_soak::live::rolling::{Load, roll};
use sluicegate_soak::live::{Setup, Summary, System, TableSummary, check};
use sluicegate_stack::tools::scale;
use sluicegate_stack::way::Way;

use crate::breakable;

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_every_record_once_whatever_is_killed() {
    killed(System::Kafka(&mut *breakable::cluster().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_gets_every_message_of_streams_once_whatever_is_killed() {
    killed(System::Nats).await;
}

/// The simulation discards records of Kafka, and the next test real messages.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "most of a minute: ./dev checkers"]
async fn every_subscriber_is_told_of_every_record_that_it_does_not_get() {
    discarded(System::Kafka(&mut *breakable::cluster().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subscriber_is_told_of_every_message_of_streams_that_it_does_not_get() {
    discarded(System::Nats).await;
}

async fn killed(system: System<'_>) {
    let summary = checked(system, scale(60, 300), Duration::from_secs(scale(12, 60)), false).await;
    assert!(summary.delivered > 10 * summary.records && summary.kills.len() > 2, "{summary:?}");
}

async fn discarded(system: System<'_>) {
    let summary = checked(system, scale(60, 120), Duration::from_secs(scale(14, 30)), true).await;
    let Summary { delivered, missed, ref kills, .. } = summary;
    assert!(delivered > 1_000 && missed > 100 && kills.contains_key("node frozen"), "{summary:?}");
}

#[expect(clippy::print_stdout, reason = "what a failed test says")]
async fn checked(system: System<'_>, subscribers: usize, duration: Duration, discards: bool) -> Summary {
    // Each run takes another course.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    println!("seed {seed}");
    let is_kafka = matches!(system, System::Kafka(_));
    let summary = check(Setup { system, way: Way::Tunnel, subscribers, duration, discards, seed }).await;
    println!("{summary:?}");
    let TableSummary { subscribers, keys, snapshots, resumed, partitions, compacted, deleted, aborted } =
        summary.tables;
    assert!(subscribers >= 20 && keys > 500 && snapshots >= subscribers && resumed > 0, "{summary:?}");
    assert!(compacted > 20 && deleted > 0, "{summary:?}");
    if is_kafka {
        assert!(partitions > 4 && aborted > 0 && summary.duplicates > 0, "{summary:?}");
    }
    summary
}

/// Two bridges behind one Envoy.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "a measurement, for `--nocapture`")]
async fn rolling_restart_loses_and_repeats_no_record() {
    let rolled = roll(Load { subscribers: scale(60, 300), producers: scale(4, 20) }).await;
    println!("{rolled:?}");
    assert!(rolled.acknowledged > 200 && rolled.delivered > rolled.acknowledged, "{rolled:?}");
    // A bridge tells a thousand clients a second to go, in random order. About half of those that stay are on the first.
    for (count, last) in rolled.ends {
        assert!(count > 2 && last < Duration::from_secs(5), "{rolled:?}");
    }
    assert!(rolled.away < Duration::from_secs(15), "{rolled:?}");
}
