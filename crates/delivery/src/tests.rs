//! Subscriptions to scripted logs.

mod changes;
mod rows;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use proptest::prelude::*;
use prost::Message;
use sluicegate_backend::command::{RecordFilter, Source, Start, SubscribeCommand};
use sluicegate_backend::{CommandError, Fault, System};
use sluicegate_fair_share as fair_share;
use sluicegate_protocol::KafkaFetchResp;
use sluicegate_telemetry::metrics::RouteMetrics;
use tokio::time::{Instant, advance, timeout, timeout_at};

use super::item::{Item, SkipCause};
use super::subscribe::Subscribe;
use super::subscription::Subscription;
use crate::cluster::{Cluster, Reads};
use crate::grant::Standing;
use crate::testing::logs::{self, Logs};

const TOPIC: &str = "t";
const BOUNDS: Reads =
    Reads { max_bytes: 1 << 20, wait: Duration::ZERO, table_away: Duration::from_secs(3600) };

/// Subscribes to all partitions from their beginning, and takes [`Item::Subscribed`].
async fn open(logs: &Logs, change: impl FnOnce(&mut SubscribeCommand)) -> Subscription {
    open_in(&logs.cluster(), &Arc::default(), change).await
}

async fn open_in(
    cluster: &Arc<Cluster>,
    metrics: &Arc<RouteMetrics>,
    change: impl FnOnce(&mut SubscribeCommand),
) -> Subscription {
    let from = Start::Offset(0);
    let source = Source { topic: TOPIC.to_owned(), from, ..Default::default() };
    let mut command = SubscribeCommand { sources: vec![source], ..Default::default() };
    change(&mut command);
    let subscribe = Subscribe::of(System::Kafka, command, BOUNDS).unwrap();
    let mut subscription = Subscription::open(cluster, metrics, &Standing::all(), subscribe).await.unwrap();
    assert!(matches!(next(&mut subscription, usize::MAX).await, Item::Subscribed(_)));
    subscription
}

async fn next(subscription: &mut Subscription, max_bytes: usize) -> Item {
    loop {
        subscription.ready(max_bytes).await;
        if let Some(item) = subscription.take() {
            return item;
        }
    }
}

/// The next item, if there is one within a minute.
async fn soon(subscription: &mut Subscription) -> Option<Item> {
    timeout(Duration::from_secs(60), next(subscription, usize::MAX)).await.ok()
}

/// The offsets in encoded messages.
fn offsets(messages: &Bytes) -> Vec<i64> {
    let messages = KafkaFetchResp::decode(messages.clone()).unwrap().messages;
    messages.iter().map(|message| message.offset).collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// Records for a partition.
    Append(i32, usize),
    /// Reads of this size.
    Read(usize),
    /// The client has no room for what was read.
    PutBack,
    /// The partition cannot be read.
    Break(i32),
    /// All can be read again.
    Mend,
    /// Records that were read are no longer kept, or are again.
    Keep(bool),
    /// Another leader, which has all records.
    Elect,
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..logs::PARTITIONS;
    prop_oneof![
        (partition.clone(), 1_usize..20).prop_map(|(partition, count)| Step::Append(partition, count)),
        (1_usize..400).prop_map(Step::Read),
        Just(Step::PutBack),
        partition.prop_map(Step::Break),
        Just(Step::Mend),
        any::<bool>().prop_map(Step::Keep),
        Just(Step::Elect),
    ]
}

proptest! {
    #[test]
    fn each_record_is_delivered_once_and_in_order(steps in prop::collection::vec(step(), 0..60)) {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
            let logs = Logs::default();
            let mut subscription = open(&logs, |_| {}).await;
            let mut delivered: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
            let mut take = |item| if let Item::Delivery { next, messages, .. } = item {
                let of_partition = delivered.entry(next.partition).or_default();
                of_partition.extend(offsets(&messages));
                assert_eq!(of_partition.len() as i64, next.offset);
            };
            for step in steps {
                match step {
                    Step::Append(partition, count) => logs.append(partition, count),
                    Step::Read(max_bytes) => {
                        let read = next(&mut subscription, max_bytes);
                        if let Ok(item) = timeout(Duration::from_millis(10), read).await {
                            take(item);
                        }
                    }
                    Step::PutBack => {
                        let _ = timeout(Duration::from_millis(10), subscription.ready(100)).await;
                        subscription.put_back();
                    }
                    Step::Break(partition) => logs.break_with(partition, unreachable()),
                    Step::Mend => logs.mend(),
                    Step::Keep(keeps) => logs.keep(keeps),
                    Step::Elect => logs.elect(None),
                }
            }
            logs.mend();
            while let Some(item) = soon(&mut subscription).await {
                take(item);
            }
            for partition in 0..logs::PARTITIONS {
                let want: Vec<i64> = (0..logs.end(partition)).collect();
                assert_eq!(delivered.remove(&partition).unwrap_or_default(), want, "partition {partition}");
            }
        });
    }
}

fn unreachable() -> CommandError {
    CommandError::new(Fault::Unreachable { retriable: true }, 8, "no broker")
}

#[tokio::test(start_paused = true)]
async fn partitions_of_a_silent_broker_do_not_hold_up_others() {
    let logs = Logs::default();
    for partition in 0..logs::PARTITIONS {
        logs.append(partition, 10);
    }
    logs.silence(0);
    let mut subscription = open(&logs, |_| {}).await;
    for _ in 1..logs::PARTITIONS {
        let Some(Item::Delivery { next, .. }) = soon(&mut subscription).await else { panic!("no delivery") };
        assert_ne!(next.partition, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_that_wait_to_ask_are_read_even_if_no_answer_follows() {
    const ADDED: i32 = 96;
    let logs = Logs::default();
    logs.add_partitions(ADDED);
    let mut subscription = open(&logs, |_| {}).await;
    for _ in 0..logs::PARTITIONS + ADDED {
        assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
    }
    for partition in 0..logs::PARTITIONS + ADDED {
        logs.append(partition, 1);
    }
    // All have to ask. Before the first answers come, another client has read what is there.
    assert!(subscription.ready(usize::MAX).now_or_never().is_none());
    logs.keep(true);
    for _ in 0..logs::PARTITIONS + ADDED {
        assert!(matches!(soon(&mut subscription).await, Some(Item::Delivery { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn outage_is_told_once_and_so_is_its_end() {
    let logs = Logs::default();
    let mut subscription = open(&logs, |_| {}).await;
    for _ in 0..logs::PARTITIONS {
        assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
    }
    for partition in 0..logs::PARTITIONS {
        logs.break_with(partition, unreachable());
    }
    let told = soon(&mut subscription).await;
    assert!(matches!(&told, Some(Item::Retrying { error, .. }) if *error == unreachable()), "{told:?}");
    assert_eq!(soon(&mut subscription).await, None);
    logs.mend();
    for _ in 0..logs::PARTITIONS {
        assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
    }
    assert_eq!(soon(&mut subscription).await, None);
}

#[tokio::test(start_paused = true)]
async fn topic_must_be_missing_for_a_while() {
    for error in [
        CommandError::new(Fault::NotFound, 3, "no such topic"),
        CommandError {
            ends: Some((0, 0)),
            ..CommandError::new(Fault::OffsetOutOfRange, 1, "beyond the end")
        },
    ] {
        let logs = Logs::default();
        let mut subscription = open(&logs, |_| {}).await;
        logs.break_with(1, error.clone());
        let began = Instant::now();
        let mut retried = false;
        loop {
            match soon(&mut subscription).await {
                Some(Item::CaughtUp { .. }) => {}
                Some(Item::Retrying { .. }) if !retried => retried = true,
                Some(Item::Ended { place, error: told }) => {
                    assert_eq!((place.partition, told), (1, error));
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!((10..16).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

        // A broker that was wrong for a moment harms nobody.
        let logs = Logs::default();
        let mut subscription = open(&logs, |_| {}).await;
        logs.break_with(1, CommandError::new(Fault::NotFound, 3, "no such topic"));
        while !matches!(soon(&mut subscription).await, Some(Item::Retrying { .. })) {}
        advance(Duration::from_secs(1)).await;
        logs.mend();
        while let Some(item) = soon(&mut subscription).await {
            assert!(!matches!(item, Item::Ended { .. }), "{item:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offset_after_the_end_is_refused_at_once_unless_a_client_resumes() {
    for system in [System::Kafka, System::Nats] {
        let logs = Logs::default();
        logs.append(0, 10);
        let open = async |source: Source| {
            let source = Source { topic: TOPIC.to_owned(), partitions: vec![0], ..source };
            let command = SubscribeCommand { sources: vec![source], ..Default::default() };
            let subscribe = Subscribe::of(system, command, BOUNDS).unwrap();
            Subscription::open(&logs.cluster_of(system), &Arc::default(), &Standing::all(), subscribe).await
        };
        let from = |offset| Source { from: Start::Offset(offset), ..Default::default() };
        let began = Instant::now();
        let refused = open(from(11)).await.err().unwrap();
        assert_eq!((refused.fault, refused.ends), (Fault::OffsetOutOfRange, Some((0, 10))));
        assert!(refused.message.ends_with(": expected 0 to 10"), "{}", refused.message);
        assert!(began.elapsed().is_zero() && open(from(10)).await.is_ok());
        let next = vec![(0, 11)];
        for source in [
            Source { next, ..Default::default() },
            Source { topic_id: Some(u128::from_be_bytes([1; 16])), ..from(11) },
        ] {
            let mut subscription = open(source).await.unwrap();
            let mut items = Vec::new();
            while !matches!(items.last(), Some(Item::Ended { .. })) {
                items.push(soon(&mut subscription).await.unwrap());
            }
            assert!(
                matches!(
                    &items[..],
                    [Item::Subscribed(_), Item::Retrying { .. }, Item::Ended { error, .. }]
                        if (error.fault, error.ends) == (Fault::OffsetOutOfRange, Some((0, 10)))
                ),
                "{items:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offset_is_not_checked_if_the_end_is_not_known_soon() {
    let logs = Logs::default();
    logs.silence_ends();
    let began = Instant::now();
    open(&logs, |command| command.sources[0].from = Start::Offset(11)).await;
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn refusal_ends_a_subscription() {
    let logs = Logs::default();
    let error = CommandError::new(Fault::NotAuthorized, 29, "not authorized");
    logs.break_with(2, error.clone());
    let mut subscription = open(&logs, |_| {}).await;
    loop {
        match soon(&mut subscription).await {
            Some(Item::CaughtUp { .. }) => {}
            Some(Item::Ended { error: told, .. }) => return assert_eq!(told, error),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_records_are_skipped() {
    let logs = Logs::default();
    logs.append(0, 10);
    logs.delete_before(0, 7);
    let mut subscription = open(&logs, |command| command.sources[0].partitions = vec![0]).await;
    let Some(Item::Skipped { from, to, cause }) = soon(&mut subscription).await else {
        panic!("nothing skipped")
    };
    assert_eq!((from, to.offset, cause), (0, 7, SkipCause::Deleted));
    let Some(Item::Delivery { messages, .. }) = soon(&mut subscription).await else { panic!("no delivery") };
    assert_eq!(offsets(&messages), [7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn log_that_has_lost_delivered_records_ends_a_subscription() {
    for (kept, is_lost) in [(10, false), (9, true), (5, true)] {
        let logs = Logs::default();
        logs.append(0, 10);
        let mut subscription = open(&logs, |command| command.sources[0].partitions = vec![0]).await;
        assert!(matches!(soon(&mut subscription).await, Some(Item::Delivery { .. })));
        let told = soon(&mut subscription).await;
        assert!(matches!(told, Some(Item::CaughtUp { .. })), "{told:?}");
        // The log is as long again: only its leader knows.
        logs.elect(Some(kept));
        logs.append(0, 5);
        match soon(&mut subscription).await {
            Some(Item::Delivery { messages, .. }) if !is_lost => {
                assert_eq!(offsets(&messages), [10, 11, 12, 13, 14])
            }
            Some(Item::Ended { error, .. }) if is_lost => {
                assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((0, 15))));
                assert!(
                    error.message.contains(&format!("from offset {kept} on were lost")),
                    "{}",
                    error.message
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn leader_is_not_forgotten_while_the_version_is_unknown() {
    for is_unclean in [false, true] {
        let logs = Logs::default();
        logs.append(0, 10);
        let mut subscription = open(&logs, |command| command.sources[0].partitions = vec![0]).await;
        assert!(matches!(soon(&mut subscription).await, Some(Item::Delivery { .. })));
        assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
        logs.append(0, 5);
        subscription.ready(usize::MAX).await;
        // The records that were read wait for the client meanwhile.
        logs.forget_version();
        assert_eq!(subscription.take(), None);
        if is_unclean {
            logs.elect(Some(5));
        }
        match soon(&mut subscription).await {
            Some(Item::Delivery { messages, .. }) if !is_unclean => {
                assert_eq!(offsets(&messages), [10, 11, 12, 13, 14]);
            }
            Some(Item::Ended { error, .. }) if is_unclean => {
                assert!(error.message.contains("from offset 5 on were lost"), "{}", error.message);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lingering_record_comes_with_others() {
    let logs = Logs::default();
    let change = |command: &mut SubscribeCommand| {
        command.sources[0].partitions = vec![0];
        command.linger = Duration::from_millis(500);
    };
    let mut subscription = open(&logs, change).await;
    assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
    logs.append(0, 1);
    let _ = timeout(Duration::from_millis(300), subscription.ready(1000)).await;
    logs.append(0, 1);
    let Some(Item::Delivery { messages, .. }) = soon(&mut subscription).await else { panic!("no delivery") };
    assert_eq!(offsets(&messages), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn lag_is_that_of_open_subscriptions_whether_they_read_or_not() {
    let logs = Logs::default();
    let cluster = logs.cluster();
    let lags = || cluster.subscriptions.sample(&logs);
    assert_eq!(lags(), [0; 0]);
    logs.append(0, 5);
    logs.append(1, 3);
    let mut subscription = open_in(&cluster, &Arc::default(), |_| {}).await;
    assert_eq!(lags(), [8]);
    while soon(&mut subscription).await.is_some() {}
    assert_eq!(lags(), [0]);
    logs.append(1, 4);
    assert_eq!(lags(), [4], "its client does not read");
    drop(subscription);
    assert_eq!(lags(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_counted_without_records_that_filters_leave_out() {
    let logs = Logs::default();
    logs.append(0, 7);
    for (filters, want) in [(Vec::new(), 7), (vec![RecordFilter::default()], 0)] {
        let metrics = Arc::default();
        let mut subscription = open_in(&logs.cluster(), &metrics, |command| command.filters = filters).await;
        while soon(&mut subscription).await.is_some() {}
        let (records, bytes) = metrics.counts();
        assert_eq!((records, bytes > 0), (want, want > 0));
    }
}

#[tokio::test(start_paused = true)]
async fn scans_of_one_client_leave_some_of_each_second_to_others() {
    let logs = Logs::default();
    logs.append(0, 1_000_000);
    logs.append(1, 100);
    let a_second = 4_000;
    let cluster = logs.cluster_with(System::Kafka, a_second);
    let open = async |address: &str, partition| {
        let from = Start::Offset(0);
        let source =
            Source { topic: TOPIC.to_owned(), partitions: vec![partition], from, ..Default::default() };
        let filters = vec![RecordFilter { equals: vec!["nothing".into()], ..Default::default() }];
        let command = SubscribeCommand { sources: vec![source], filters, ..Default::default() };
        let subscribe = Subscribe::of(System::Kafka, command, BOUNDS).unwrap();
        let client = fair_share::ClientKey::parse(address.as_bytes());
        let subscribe = Subscribe { client, ..subscribe };
        Subscription::open(&cluster, &Arc::default(), &Standing::all(), subscribe).await.unwrap()
    };
    // The offset that a client reaches whose filters match nothing.
    let scan = async |mut subscription: Subscription, until: Instant| {
        let mut offset = 0;
        while timeout_at(until, subscription.ready(200)).await.is_ok() {
            match subscription.take() {
                Some(Item::Delivery { next, .. } | Item::CaughtUp { place: next, .. }) => {
                    offset = next.offset
                }
                Some(Item::Subscribed(_)) | None => {}
                other => panic!("{other:?}"),
            }
        }
        offset
    };
    let greedy = [open("192.0.2.1", 0).await, open("192.0.2.1", 0).await, open("192.0.2.1", 0).await];
    let other = open("192.0.2.2", 1).await;
    let seconds = 6;
    let until = Instant::now() + Duration::from_secs(seconds);
    let greedy = join_all(greedy.map(|subscription| scan(subscription, until)));
    let (greedy, other) = tokio::join!(greedy, scan(other, until));
    assert_eq!(other, 100, "beside {greedy:?}");
    // A record is some 16 bytes, and the client can have three quarters of each second.
    let (records, all) =
        (greedy.into_iter().sum::<i64>(), i64::try_from(seconds * a_second as u64 / 16).unwrap());
    assert!((all / 2..all * 7 / 6).contains(&records), "{records} of {all} records");
}
