//! Reads of partitions whose records are slow to get, such as those in tiered storage, and reads of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluicegate_reader::Reader;
use sluicegate_shared_log::Fetch;
use tokio::task::JoinSet;

use crate::scripted::{Broker, Key};
use crate::support::{Calls as _, at, source, switch};

/// The time for a fetch of topic `cold`: a broker waits up to 500 ms for tiered storage (`remote.fetch.max.wait.ms`).
const COLD: Duration = Duration::from_millis(300);

/// The first number of those who read another topic.
const WARM: u8 = 100;

const READERS: u8 = 20;

/// Offsets between two of them.
const APART: i64 = 1_000_000;

/// A broker whose logs have one record at each offset, which it is slow to read before those of [`WARM`].
async fn broker() -> Broker {
    Broker::of(Key::Fetch, |asked| {
        let record = asked.record(i64::MAX, 0);
        if asked.offset() < i64::from(WARM) * APART { record.after(COLD) } else { record }
    })
    .await
}

/// Reads one record after the other, until `is_over`. Gives the time of each read.
async fn walk(reader: Reader, topic: &'static str, number: u8, is_over: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut offset = i64::from(number) * APART;
    // The pace leaves the processor to other tests.
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while !is_over.load(Ordering::SeqCst) {
        pace.tick().await;
        let started = Instant::now();
        let source = source(number);
        offset = reader.read(topic, Fetch { source, ..at(offset) }).await.expect("a record").next_offset;
        took.push(started.elapsed());
    }
    took
}

/// Reads topic `t` while 40 slow readers go on until they are told that it is over, and give the number of their reads.
async fn beside<F>(slow: impl Fn(Reader, u8, &'static AtomicBool) -> F)
where
    F: Future<Output = usize> + Send + 'static,
{
    let broker = broker().await;
    let reader = broker.patient_reader();
    let is_over = switch();
    let (mut cold, mut warm) = (JoinSet::new(), JoinSet::new());
    for number in 0..40 {
        cold.spawn(slow(reader.clone(), number, is_over));
    }
    for number in WARM..WARM + READERS {
        warm.spawn(walk(reader.clone(), "t", number, is_over));
    }
    tokio::time::sleep(COLD * 12).await;
    is_over.store(true, Ordering::SeqCst);
    let mut took = warm.join_all().await.concat();
    took.sort_unstable();
    // Each can wait behind first fetches of slow partitions, which are not known to be slow then, and for the processor. If
    // slow partitions delayed others, nearly all reads would take as long; on a machine that is busy with others, one in three does.
    let delayed = took.iter().filter(|took| **took > COLD / 2).count();
    assert!(delayed <= took.len() / 2, "{delayed} of {} reads took longer than {:?}", took.len(), COLD / 2);
    let read: usize = cold.join_all().await.into_iter().sum();
    // Eight at a time, from soon after the beginning.
    assert!(read >= 60, "{read} reads of slow partitions");
    assert!(broker.connections() <= 40, "{} connections", broker.connections());
}

#[tokio::test]
async fn partition_that_is_slow_to_read_delays_no_other() {
    beside(|reader, number, is_over| async move { walk(reader, "cold", number, is_over).await.len() }).await;
}

#[tokio::test]
async fn client_that_reads_many_slow_partitions_delays_no_other() {
    beside(|reader, number, is_over| async move {
        let mut read = 0;
        while !is_over.load(Ordering::SeqCst) {
            let topic = format!("cold-{number}-{read}");
            let source = source(1);
            reader.read(&topic, Fetch { source, ..at(0) }).await.expect("a record");
            read += 1;
        }
        read
    })
    .await;
}

/// Clients that come and leave get no more of a broker, which reads on without them.
#[tokio::test]
async fn fetch_keeps_its_place_when_its_client_leaves() {
    let broker = broker().await;
    let reader = broker.patient_reader();
    reader.read("cold", at(0)).await.expect("a record");
    let before = broker.fetched().len();
    let end = tokio::time::Instant::now() + COLD * 4;
    let mut clients = JoinSet::new();
    for number in 1..=20 {
        let reader = reader.clone();
        clients.spawn(async move {
            let source = source(number);
            let mut offset = i64::from(number) * APART;
            while tokio::time::Instant::now() < end {
                let read = reader.read("cold", Fetch { source, ..at(offset) });
                let left = tokio::time::timeout(COLD / 10, read).await;
                assert!(left.is_err(), "a quick fetch");
                offset += 1;
            }
        });
    }
    clients.join_all().await;
    let fetches = broker.fetched().len() - before;
    // Eight at a time, four times one after the other, and those that the last ones left.
    assert!((8..=48).contains(&fetches), "{fetches} fetches");
}

/// The broker is in the same process, which does nothing for a while after each fetch, and answers at once then.
#[tokio::test]
async fn pause_of_the_process_makes_no_log_slow() {
    for pause in [60, 120].map(Duration::from_millis) {
        let broker = Broker::of(Key::Fetch, move |asked| {
            std::thread::sleep(pause);
            asked.record(i64::MAX, 0)
        })
        .await;
        let reader = broker.patient_reader();
        let mut offset = reader.read("t", at(0)).await.expect("a record").next_offset;
        let connections = broker.connections();
        for _ in 0..4 {
            offset = reader.read("t", at(offset)).await.expect("a record").next_offset;
        }
        // A slow log has one of its own.
        assert_eq!(broker.connections(), connections, "after pauses of {pause:?}");
    }
}
