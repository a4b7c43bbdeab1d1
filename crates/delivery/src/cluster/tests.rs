//! Names in messages, and shares of what is read and not delivered.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluicegate_backend::command::{self, RecordFilter, Start, SubscribeCommand};
use sluicegate_rights::{Rights, Rows};
use sluicegate_telemetry::metrics::RouteMetrics;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::visible::Wanted;
use super::*;
use crate::Item;
use crate::filter::Filters;
use crate::grant::Grant;
use crate::testing::logs::Logs;
use crate::testing::script::Script;

#[test]
fn hostile_topic_is_shortened_and_escaped() {
    assert_eq!(escape_for_message("orders"), "orders");
    assert_eq!(escape_for_message("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
    let long = escape_for_message(&"x".repeat(1 << 20));
    assert_eq!(long.chars().count(), MAX_TOPIC_CHARS + 1);
}

const LOG: Log<'_> = Log { topic: "t", partition: 0 };

const ALL: &super::visible::RowsOf<'static> = &|_| Ok(Rows::default());

/// Bytes a second that clients can skip.
const A_SECOND: usize = 1_000;

/// Reads a record in one of the ways that clients have.
type Read = fn(Arc<Cluster>, ClientKey) -> BoxFuture<'static, ()>;

/// The fetch of a record.
fn one(cluster: &Cluster, source: ClientKey, max_bytes: usize) -> Fetch {
    let bounds =
        ReadBounds { max_bytes: Some(max_bytes), max_records: 1, committed: true, ..Default::default() };
    cluster.reads().fetch(source, 0, bounds)
}

fn fetch(cluster: Arc<Cluster>, source: ClientKey) -> BoxFuture<'static, ()> {
    async move {
        let (fetch, metrics) = (one(&cluster, source, 1_000), RouteMetrics::default());
        let wanted = Wanted { filters: &Filters::default(), reads_on: false };
        let fetched = cluster.fetch(LOG, fetch, wanted, ALL, &metrics, &mut ()).await;
        assert_eq!(fetched.unwrap().count, 1);
    }
    .boxed()
}

fn multi_fetch(cluster: Arc<Cluster>, source: ClientKey) -> BoxFuture<'static, ()> {
    async move {
        let (fetch, metrics) = (MultiFetch::of(one(&cluster, source, 1)), RouteMetrics::default());
        let fetched =
            cluster.fetch_each(&[(LOG, 0)], fetch, &Filters::default(), ALL, &metrics, &mut ()).await;
        assert_eq!(fetched[0].as_ref().unwrap().count, 1);
    }
    .boxed()
}

fn subscribe(cluster: Arc<Cluster>, client: ClientKey) -> BoxFuture<'static, ()> {
    let is_delivered = |item| matches!(item, Item::Delivery { messages, .. } if !messages.is_empty());
    follow(cluster, client, Vec::new(), is_delivered).boxed()
}

/// A subscription whose filter leaves everything out.
fn filter(cluster: Arc<Cluster>, client: ClientKey) -> BoxFuture<'static, ()> {
    let filters = vec![RecordFilter { equals: vec!["nothing".into()], ..Default::default() }];
    follow(cluster, client, filters, |item| matches!(item, Item::CaughtUp { .. })).boxed()
}

async fn follow(
    cluster: Arc<Cluster>,
    client: ClientKey,
    filters: Vec<RecordFilter>,
    is_last: impl Fn(Item) -> bool,
) {
    let (from, partitions) = (Start::Offset(0), vec![LOG.partition]);
    let source = command::Source { topic: LOG.topic.to_owned(), partitions, from, ..Default::default() };
    let command = SubscribeCommand { sources: vec![source], filters, ..Default::default() };
    let grant = Grant::new(cluster, client, None, Rights::all());
    let mut subscription = grant.subscribe(command).await.unwrap();
    loop {
        subscription.ready(1).await;
        if subscription.take().is_some_and(&is_last) {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn skips_of_one_client_leave_some_of_each_second_to_others() {
    let [greedy, other] = ["192.0.2.1", "192.0.2.2"].map(|address| ClientKey::parse(address.as_bytes()));
    for (way, read, skipped) in [
        ("fetch", fetch as Read, A_SECOND / 10),
        ("multi_fetch", multi_fetch, A_SECOND / 10),
        ("subscribe", subscribe, A_SECOND / 10),
        // Ten records have 160 bytes.
        ("filter", filter, 0),
    ] {
        let logs = Logs::default();
        logs.append(LOG.partition, 10);
        logs.change(|state| state.skipped = skipped);
        let cluster = logs.cluster_with(System::Kafka, A_SECOND);
        let reads = Arc::new(AtomicUsize::new(0));
        let (attack, counted) = (Arc::clone(&cluster), Arc::clone(&reads));
        let attack = AbortOnDropHandle::new(tokio::spawn(async move {
            // A client that never waits would leave no turn to the test.
            for _ in 0..1_000 {
                read(Arc::clone(&attack), greedy).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }));
        for second in 1..=3 {
            sleep(Duration::from_millis(500)).await;
            // It can have three quarters of each second, and some ways look twice.
            let reads = reads.load(Ordering::Relaxed);
            assert!((3 * second..=8 * second).contains(&reads), "{reads} reads in second {second} by {way}");
            let before = Instant::now();
            read(Arc::clone(&cluster), other).await;
            assert_eq!(before.elapsed(), Duration::ZERO, "second {second} by {way}");
            sleep(Duration::from_millis(500)).await;
        }
        drop(attack);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_end_when_their_backend_is_replaced() {
    let (cluster, _) = Script::cluster(1);
    let log = Log { topic: "60000", partition: 0 };
    let mut wait = std::pin::pin!(cluster.wait_for_records(log, i64::MAX, false, None, SeenEnds::ALL));
    assert!(timeout(Duration::from_secs(3600), wait.as_mut()).await.is_err());
    let parts = Parts::new(Arc::<Script>::default(), 1, cluster.reads(), None);
    cluster.replace(parts, Instant::now()).await;
    timeout(Duration::from_secs(1), wait).await.unwrap();
}
