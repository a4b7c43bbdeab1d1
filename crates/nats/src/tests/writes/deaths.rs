//! Leaders of a stream that die or stand still while a bridge writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::stream::FuturesOrdered;
use sluicegate_stack::nats::Cluster;

use super::*;

/// A message is acknowledged once two of three servers have it, so the next leader has it, too; and what has no answer is
/// not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deaths_of_leaders_lose_and_repeat_no_message() {
    const DEATHS: usize = 2;
    let mut cluster = Cluster::start().await.unwrap();
    let streams = cluster.streams().await.unwrap();
    cluster.create(&streams, "S", json!({})).await.unwrap();
    let servers = cluster.servers().split(',').map(|server| server.parse().unwrap()).collect();
    let request_timeout = Duration::from_secs(1);
    let config = ClusterConfig { servers, request_timeout, ..testing::config() };
    let (nats, _shared) = writing(&config, Metrics::default().writes("test"));
    let progress = Arc::new(Progress::default());
    let writer = tokio::spawn(write(Arc::clone(&nats), Arc::clone(&progress)));
    for _ in 0..DEATHS {
        progress.more_is_acknowledged().await;
        let leader = leader(&streams).await;
        cluster.nodes[leader].process.kill();
        progress.more_is_acknowledged().await;
        cluster.nodes[leader].up().await.unwrap();
        all_are_current(&streams).await;
    }
    let leader = leader(&streams).await;
    cluster.nodes[leader].process.freeze();
    progress.more_is_acknowledged().await;
    cluster.nodes[leader].process.thaw();
    all_are_current(&streams).await;
    progress.more_is_acknowledged().await;
    progress.is_over.store(true, Ordering::Relaxed);
    let told = within(writer).await.unwrap();
    let stored = streams.read("S").await.unwrap();
    told.check(&stored);
}

/// The progress of a writer.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

impl Progress {
    async fn more_is_acknowledged(&self) {
        const MORE: usize = 200;
        let acknowledged = || self.acknowledged.load(Ordering::Relaxed);
        let before = acknowledged();
        until(|| acknowledged() >= before + MORE).await;
    }
}

/// Reports of a writer that sends nothing again, by the numbers in its messages.
#[derive(Default)]
struct Told {
    /// The sequence of each.
    acknowledged: BTreeMap<u32, i64>,
    refused: BTreeSet<u32>,
    unknown: BTreeSet<u32>,
}

impl Told {
    #[expect(clippy::print_stderr, reason = "figures for readers of the test's output")]
    fn check(&self, stored: &[KafkaMessage]) {
        let number = |data: &str| data.parse::<u32>().unwrap();
        let numbers: Vec<_> = data_of(stored).into_iter().map(number).collect();
        let Self { acknowledged, refused, unknown } = self;
        let (known, lost) = (acknowledged.len(), unknown.iter().filter(|number| !numbers.contains(number)));
        eprintln!(
            "acknowledged {known}, refused {}, unknown {}, of which {} are not stored; stored {}",
            refused.len(),
            unknown.len(),
            lost.count(),
            numbers.len()
        );
        assert!(numbers.is_sorted_by(|a, b| a < b), "no message is there twice, or behind a later one");
        let at: BTreeMap<u32, i64> =
            numbers.iter().copied().zip(stored.iter().map(|message| message.offset)).collect();
        for (number, sequence) in acknowledged {
            assert_eq!(at.get(number), Some(sequence), "{number} was acknowledged");
        }
        for number in refused {
            assert!(!at.contains_key(number), "{number} was refused");
        }
    }
}

/// Writes numbers until it is over, several commands in flight.
async fn write(nats: Arc<Nats>, progress: Arc<Progress>) -> Told {
    const RECORDS: u32 = 10;
    const IN_FLIGHT: usize = 4;
    let (mut told, mut next, due) = (Told::default(), 0, CancellationToken::new());
    let mut open = FuturesOrdered::new();
    loop {
        while open.len() < IN_FLIGHT && !progress.is_over.load(Ordering::Relaxed) {
            let numbers = next..next + RECORDS;
            next += RECORDS;
            match enqueue(&nats, ClientKey::default(), numbered(numbers.clone()), &due).await {
                Ok(enqueued) => open.push_back(async { (numbers, enqueued.reports.await) }),
                Err(_) => {
                    told.refused.extend(numbers);
                    sleep(POLL).await;
                }
            }
        }
        let Some((numbers, reports)) = open.next().await else { return told };
        for (number, report) in numbers.zip(&reports) {
            match report {
                Ok(written) => {
                    told.acknowledged.insert(number, written.offset);
                    progress.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) if is_unknown(report) => _ = told.unknown.insert(number),
                Err(_) => _ = told.refused.insert(number),
            }
        }
        if reports.iter().any(Result::is_err) {
            sleep(POLL).await;
        }
    }
}

/// The place of the stream's leader among the servers.
async fn leader(streams: &Streams) -> usize {
    let leader = async {
        loop {
            let info = streams.call("STREAM.INFO.S", &json!({})).await.unwrap_or_default();
            let name = info["cluster"]["leader"].as_str().and_then(|name| name.strip_prefix('n'));
            if let Some(place) = name.and_then(|name| name.parse().ok()) {
                return place;
            }
            sleep(POLL).await;
        }
    };
    within(leader).await
}

/// Waits until all servers have the whole stream.
async fn all_are_current(streams: &Streams) {
    let current = async {
        loop {
            let info = streams.call("STREAM.INFO.S", &json!({})).await.unwrap_or_default();
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            let is_current = |replica: &Value| replica["current"] == true && replica["offline"] != true;
            if replicas.len() == 2 && replicas.iter().all(is_current) {
                return;
            }
            sleep(POLL).await;
        }
    };
    within(current).await;
}
