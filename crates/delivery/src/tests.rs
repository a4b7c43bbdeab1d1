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
use tokio::time::{Instant, advance, timeout};

use super::item::{Item, SkipCause};
use super::subscribe::{NOT_BEGUN, Subscribe, SubscribedTopic};
use super::subscription::Subscription;
use crate::cluster::{Cluster, Reads};
use crate::grant::{Grant, Holding, Person, Standing};
use crate::testing::logs::{self, Logs};
use crate::testing::records::{decode, keys, offsets, reads};

const TOPIC: &str = "t";
const BOUNDS: Reads =
    Reads { max_bytes: 1 << 20, wait: Duration::ZERO, table_away: Duration::from_secs(3600) };

/// Takes [`Item::Subscribed`], too.
async fn open(cluster: &Arc<Cluster>, command: SubscribeCommand) -> Subscription {
    let mut subscription = subscribe_in(cluster, command).await.unwrap();
    subscribed(&mut subscription).await;
    subscription
}

/// All records of the topic.
fn all() -> SubscribeCommand {
    let source = Source { topic: TOPIC.to_owned(), from: Start::Offset(0), ..Default::default() };
    SubscribeCommand { sources: vec![source], ..Default::default() }
}

/// A subscription to its first partition.
fn one() -> SubscribeCommand {
    let mut command = all();
    command.sources[0].partitions = vec![0];
    command
}

/// Subscribes to a source of this topic.
async fn subscribe(cluster: &Arc<Cluster>, source: Source) -> Result<Subscription, CommandError> {
    let source = Source { topic: TOPIC.to_owned(), ..source };
    subscribe_in(cluster, SubscribeCommand { sources: vec![source], ..Default::default() }).await
}

async fn subscribe_in(
    cluster: &Arc<Cluster>,
    command: SubscribeCommand,
) -> Result<Subscription, CommandError> {
    let subscribe = Subscribe::of(cluster.system, command, BOUNDS).unwrap();
    Subscription::open(cluster, &Arc::default(), &Standing::all(), subscribe).await
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

async fn until_delivered(subscription: &mut Subscription, want: &[i64]) {
    let is_it = |item| matches!(item, Some(Item::Delivery { messages, .. }) if offsets(&messages) == want);
    while !is_it(soon(subscription).await) {}
}

/// The topics of the next item, the first one.
async fn subscribed(subscription: &mut Subscription) -> Vec<SubscribedTopic> {
    match soon(subscription).await {
        Some(Item::Subscribed(topics)) => topics,
        other => panic!("not subscribed: {other:?}"),
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

/// The identity of somebody, which does not expire.
fn somebody() -> Holding {
    Holding { person: Arc::new(Person::new(None, None, None, None)), expires: None }
}

fn unreachable() -> CommandError {
    CommandError::new(Fault::Unreachable { retriable: true }, 8, "no broker")
}

#[tokio::test(start_paused = true)]
async fn partitions_of_a_silent_broker_do_not_hold_up_others() {
    let logs = Logs::default();
    (0..logs::PARTITIONS).for_each(|partition| logs.append(partition, 10));
    logs.change(|state| state.silent = Some(0));
    let mut subscription = open(&logs.cluster(), all()).await;
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
    let mut subscription = open(&logs.cluster(), all()).await;
    for _ in 0..logs::PARTITIONS + ADDED {
        assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
    }
    (0..logs::PARTITIONS + ADDED).for_each(|partition| logs.append(partition, 1));
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
    let mut subscription = open(&logs.cluster(), all()).await;
    for _ in 0..2 {
        logs.mend();
        for _ in 0..logs::PARTITIONS {
            assert!(matches!(soon(&mut subscription).await, Some(Item::CaughtUp { .. })));
        }
        assert_eq!(soon(&mut subscription).await, None);
        (0..logs::PARTITIONS).for_each(|partition| logs.break_with(partition, unreachable()));
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
            subscribe(&logs.cluster_of(system), Source { partitions: vec![0], ..source }).await
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
            subscribed(&mut subscription).await;
            retrying(&mut subscription).await;
            let error = ended(&mut subscription).await;
            assert_eq!((error.fault, error.ends), (Fault::OffsetOutOfRange, Some((0, 10))));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn subscription_begins_where_it_should() {
    let of = |from, next: &[(i32, i64)], partitions: &[i32]| {
        let (next, partitions) = (next.to_vec(), partitions.to_vec());
        Source { from, next, partitions, ..Default::default() }
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
        let mut subscription = subscribe(&logs.cluster(), source.clone()).await.unwrap();
        assert_eq!(subscribed(&mut subscription).await[0].partitions, want, "{source:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn offset_is_not_checked_if_the_end_is_not_known_soon() {
    let logs = Logs::default();
    logs.silence_ends();
    let began = Instant::now();
    subscribe(&logs.cluster(), Source { from: Start::Offset(11), ..Default::default() }).await.unwrap();
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
    let mut subscription = subscribe(&logs.cluster(), source.clone()).await.unwrap();
    let begins = subscribed(&mut subscription).await.remove(0).partitions;
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
    let mut again = subscribe(&logs.cluster(), source.clone()).await.unwrap();
    while soon(&mut again).await.is_some() {}
    logs.change(|state| state.unled = None);
    logs.elect(Some(5));
    logs.append(1, 3);
    // Nor does it lose what was written while it was away.
    let late = subscribe(&logs.cluster(), source).await.unwrap();
    for mut subscription in [subscription, again, late] {
        loop {
            match soon(&mut subscription).await {
                Some(Item::Subscribed(topics)) if topics[0].partitions.contains(&(1, 3)) => break,
                item => assert!(item.is_some()),
            }
        }
        until_delivered(&mut subscription, &[3, 4, 5, 6, 7]).await;
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
        let opened = subscribe_in(&logs.cluster(), command).await;
        assert_eq!(began.elapsed().as_millis(), waited);
        let mut subscription = opened.unwrap();
        let topics = subscribed(&mut subscription).await;
        assert_eq!(topics.iter().map(|topic| &topic.partitions[..]).collect::<Vec<_>>(), [[(0, begin)]; 2]);
        logs.append(0, 2);
        logs.change(|state| (state.lists_in, state.of_time) = (Duration::ZERO, Some(3)));
        until_delivered(&mut subscription, &[3, 4]).await;
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
        let mut subscription = open(&logs.cluster(), one()).await;
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
    let linger = Duration::from_millis(500);
    let mut subscription = open(&logs.cluster(), SubscribeCommand { linger, ..one() }).await;
    caught_up(&mut subscription).await;
    logs.append(0, 1);
    let _ = timeout(Duration::from_millis(300), subscription.ready(1000)).await;
    logs.append(0, 1);
    assert_eq!(delivered(&mut subscription).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn position_after_records_that_filters_leave_out_is_told_within_a_second() {
    let logs = Logs::default();
    let filters = vec![RecordFilter::default()];
    let mut subscription = open(&logs.cluster(), SubscribeCommand { filters, ..one() }).await;
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
    let mut subscription = open(&cluster, all()).await;
    assert_eq!(lags(), [8]);
    while soon(&mut subscription).await.is_some() {}
    assert_eq!(lags(), [0]);
    logs.append(1, 4);
    assert_eq!(lags(), [4], "its client does not read");
    drop(subscription);
    assert_eq!(lags(), [0; 0]);
}
