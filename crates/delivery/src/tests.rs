//! Subscriptions to scripted logs.

mod changes;
mod groups;
mod rows;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use sluicegate_backend::command::{RecordFilter, Source, Start, SubscribeCommand};
use sluicegate_backend::{CommandError, Fault, LOG_END, Log, System};
use sluicegate_fair_share::ClientKey;
use sluicegate_telemetry::metrics::RouteMetrics;
use tokio::time::{Instant, advance, timeout};

use super::item::{Item, SkipCause};
use super::subscribe::{NOT_BEGUN, Subscribe};
use super::subscription::Subscription;
use crate::cluster::{Cluster, Reads};
use crate::grant::Standing;
use crate::testing::logs::{self, Logs};
use crate::testing::records::{decode, keys, offsets, topic};

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
    let mut subscription = subscribe_in(cluster, metrics, System::Kafka, command).await.unwrap();
    assert!(matches!(next(&mut subscription, usize::MAX).await, Item::Subscribed(_)));
    subscription
}

/// Subscribes to a source of this topic.
async fn subscribe(
    cluster: &Arc<Cluster>,
    system: System,
    source: Source,
) -> Result<Subscription, CommandError> {
    let source = Source { topic: TOPIC.to_owned(), ..source };
    let command = SubscribeCommand { sources: vec![source], ..Default::default() };
    subscribe_in(cluster, &Arc::default(), system, command).await
}

async fn subscribe_in(
    cluster: &Arc<Cluster>,
    metrics: &Arc<RouteMetrics>,
    system: System,
    command: SubscribeCommand,
) -> Result<Subscription, CommandError> {
    let subscribe = Subscribe::of(system, command, BOUNDS).unwrap();
    Subscription::open(cluster, metrics, &Standing::all(), subscribe).await
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

/// The offsets of the next item, a delivery.
async fn delivered(subscription: &mut Subscription) -> Vec<i64> {
    match soon(subscription).await {
        Some(Item::Delivery { messages, .. }) => offsets(&messages),
        other => panic!("no delivery: {other:?}"),
    }
}

/// The place of the next item, the end of a log, and of the transaction that blocks it.
async fn caught_up(subscription: &mut Subscription) -> (i64, Option<i64>) {
    match soon(subscription).await {
        Some(Item::CaughtUp { place, blocked_until }) => (place.offset, blocked_until),
        other => panic!("not caught up: {other:?}"),
    }
}

/// The error of the next item, an outage.
async fn retrying(subscription: &mut Subscription) -> CommandError {
    match soon(subscription).await {
        Some(Item::Retrying { error, .. }) => error,
        other => panic!("no outage: {other:?}"),
    }
}

/// The error of the next item, the last one.
async fn ended(subscription: &mut Subscription) -> CommandError {
    match soon(subscription).await {
        Some(Item::Ended { error, .. }) => error,
        other => panic!("not ended: {other:?}"),
    }
}

/// Of the first partition alone.
fn one(command: &mut SubscribeCommand) {
    command.sources[0].partitions = vec![0];
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
    logs.change(|state| state.silent = Some(0));
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
    for _ in 0..2 {
        logs.mend();
        for _ in 0..logs::PARTITIONS {
            assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
        }
        assert_eq!(soon(&mut subscription).await, None);
        for partition in 0..logs::PARTITIONS {
            logs.break_with(partition, unreachable());
        }
        assert_eq!(retrying(&mut subscription).await, unreachable());
        assert_eq!(soon(&mut subscription).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn offset_after_the_end_is_refused_at_once_unless_a_client_resumes() {
    for system in [System::Kafka, System::Nats] {
        let logs = Logs::default();
        logs.append(0, 10);
        let open = async |source: Source| {
            subscribe(&logs.cluster_of(system), system, Source { partitions: vec![0], ..source }).await
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
            assert!(matches!(soon(&mut subscription).await, Some(Item::Subscribed(_))));
            retrying(&mut subscription).await;
            let error = ended(&mut subscription).await;
            assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((0, 10))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn subscription_begins_where_it_should() {
    let of = |from, next: &[(i32, i64)], partitions: &[i32]| Source {
        from,
        next: next.to_vec(),
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    for (source, want) in [
        (of(Start::BeforeEnd(1), &[], &[0, 1]), &[(0, 9), (1, 1)][..]),
        (of(Start::BeforeEnd(5), &[], &[0, 1]), &[(0, 8), (1, 0)]),
        (of(Start::BeforeEnd(0), &[], &[0, 1]), &[(0, 10), (1, 2)]),
        (of(Start::Offset(9), &[], &[0]), &[(0, 9)]),
        (of(Start::default(), &[], &[0, 1]), &[(0, 10), (1, 2)]),
        // A partition that an earlier subscription did not know is new.
        (of(Start::default(), &[(0, 9)], &[]), &[(0, 9), (1, 0), (2, 0), (3, 0)]),
        (of(Start::default(), &[(0, 9)], &[0, 1]), &[(0, 9), (1, 2)]),
    ] {
        let logs = Logs::default();
        logs.append(0, 10);
        logs.delete_before(0, 8);
        logs.append(1, 2);
        let mut subscription = subscribe(&logs.cluster(), System::Kafka, source.clone()).await.unwrap();
        match soon(&mut subscription).await {
            Some(Item::Subscribed(topics)) => assert_eq!(topics[0].partitions, want, "{source:?}"),
            other => panic!("not subscribed: {other:?}"),
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

/// Whatever is written once it has a leader belongs to the subscription.
#[tokio::test(start_paused = true)]
async fn partition_without_a_leader_begins_when_it_has_one() {
    let logs = Logs::default();
    (0..logs::PARTITIONS).for_each(|partition| logs.append(partition, 5));
    logs.change(|state| state.unled = Some(1));
    let source = Source { from: Start::BeforeEnd(2), ..Default::default() };
    let began = Instant::now();
    let mut subscription = subscribe(&logs.cluster(), System::Kafka, source.clone()).await.unwrap();
    let Some(Item::Subscribed(topics)) = soon(&mut subscription).await else { panic!("not subscribed") };
    let begins = topics[0].partitions.clone();
    assert_eq!(begins, [(0, 3), (1, NOT_BEGUN), (2, 3), (3, 3)]);
    let Some(Item::Retrying { place, .. }) = soon(&mut subscription).await else { panic!("no outage") };
    assert_eq!(place.partition, 1);
    for _ in 1..logs::PARTITIONS {
        assert_eq!(delivered(&mut subscription).await, [3, 4]);
    }
    assert!(began.elapsed().is_zero(), "{:?}", began.elapsed());
    while soon(&mut subscription).await.is_some() {}
    // A client that comes back begins there when the partition does.
    let source = Source { next: begins, ..source };
    let mut again = subscribe(&logs.cluster(), System::Kafka, source.clone()).await.unwrap();
    while soon(&mut again).await.is_some() {}
    logs.change(|state| state.unled = None);
    logs.elect(Some(5));
    logs.append(1, 3);
    // Nor does it lose what was written while it was away.
    let late = subscribe(&logs.cluster(), System::Kafka, source).await.unwrap();
    for mut subscription in [subscription, again, late] {
        loop {
            match soon(&mut subscription).await {
                Some(Item::Subscribed(topics)) if topics[0].partitions.contains(&(1, 3)) => break,
                item => assert!(item.is_some()),
            }
        }
        while !matches!(soon(&mut subscription).await, Some(Item::Delivery { messages, .. }) if offsets(&messages) == [3, 4, 5, 6, 7])
        {
        }
    }
}

/// An end that is told after a write is not where the subscription began. All topics are waited for at the same time.
#[tokio::test(start_paused = true)]
async fn slow_leader_loses_no_record() {
    for (time, begin, waited) in [(1_700, 3, 1_700), (60_000, NOT_BEGUN, 5_000)] {
        let logs = Logs::default();
        logs.append(0, 3);
        logs.change(|state| state.lists_in = Duration::from_millis(time));
        let source = |topic: &str| Source { topic: topic.into(), partitions: vec![0], ..Default::default() };
        let command = SubscribeCommand { sources: ["a", "b"].map(source).into(), ..Default::default() };
        let began = Instant::now();
        let opened = subscribe_in(&logs.cluster(), &Arc::default(), System::Kafka, command).await;
        assert_eq!(began.elapsed().as_millis(), waited);
        let mut subscription = opened.unwrap();
        let Some(Item::Subscribed(topics)) = soon(&mut subscription).await else { panic!("not subscribed") };
        assert_eq!(topics.iter().map(|topic| &topic.partitions[..]).collect::<Vec<_>>(), [[(0, begin)]; 2]);
        logs.append(0, 2);
        logs.change(|state| (state.lists_in, state.of_time) = (Duration::ZERO, Some(3)));
        while !matches!(soon(&mut subscription).await, Some(Item::Delivery { messages, .. }) if offsets(&messages) == [3, 4])
        {
        }
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_wait_shortly_for_a_leader() {
    let logs = Logs::default();
    logs.change(|state| state.unled = Some(1));
    for partitions in [&[0, 1][..], &[1]] {
        let log = |partition: &i32| (Log { topic: TOPIC, partition: *partition }, LOG_END);
        let asked: Vec<_> = partitions.iter().map(log).collect();
        let began = Instant::now();
        let listed = logs.cluster().list_offsets(ClientKey::default(), &asked, false).await;
        assert!(listed.iter().zip(partitions).all(|(listed, of)| listed.is_ok() == (*of == 0)), "{listed:?}");
        assert_eq!(began.elapsed().as_millis(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn log_that_has_lost_delivered_records_ends_a_subscription() {
    for (kept, is_lost) in [(10, false), (9, true), (5, true)] {
        let logs = Logs::default();
        logs.append(0, 10);
        let mut subscription = open(&logs, one).await;
        delivered(&mut subscription).await;
        caught_up(&mut subscription).await;
        // The log is as long again: only its leader knows.
        logs.elect(Some(kept));
        logs.append(0, 5);
        if !is_lost {
            assert_eq!(delivered(&mut subscription).await, [10, 11, 12, 13, 14]);
            continue;
        }
        let error = ended(&mut subscription).await;
        assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((0, 15))));
        let lost = format!("from offset {kept} on were lost");
        assert!(error.message.contains(&lost), "{}", error.message);
    }
}

#[tokio::test(start_paused = true)]
async fn lingering_record_comes_with_others() {
    let logs = Logs::default();
    let change = |command: &mut SubscribeCommand| {
        one(command);
        command.linger = Duration::from_millis(500);
    };
    let mut subscription = open(&logs, change).await;
    caught_up(&mut subscription).await;
    logs.append(0, 1);
    let _ = timeout(Duration::from_millis(300), subscription.ready(1000)).await;
    logs.append(0, 1);
    assert_eq!(delivered(&mut subscription).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn position_after_records_that_filters_leave_out_is_told_within_a_second() {
    let logs = Logs::default();
    let change = |command: &mut SubscribeCommand| {
        one(command);
        command.filters = vec![RecordFilter::default()];
    };
    let mut subscription = open(&logs, change).await;
    caught_up(&mut subscription).await;
    logs.append(0, 3);
    let began = Instant::now();
    assert!(matches!(soon(&mut subscription).await, Some(Item::Delivery { next, .. }) if next.offset == 3));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn lag_is_that_of_open_subscriptions_whether_they_read_or_not() {
    let logs = Logs::default();
    let cluster = logs.cluster();
    let lags = || cluster.subscriptions.sample(logs.backend());
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
        let [records, bytes, _] = metrics.counts();
        assert_eq!((records, bytes > 0), (want, want > 0));
    }
}
