//! Callers that wait at the ends of logs: of thousands of one broker, and for news of the ends themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use parking_lot::Mutex;
use sluicegate_reader::Reader;
use sluicegate_shared_log::{Ends, Log, SeenEnds};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::batches::one_record;
use crate::scripted::{Asked, Broker, Key, RequestKind, Step, TOPIC, Topic};
use crate::support::{Calls as _, at, log, until};

const LOGS: i32 = 2_000;

/// The long requests that find a record.
const REQUESTS: usize = 21;

/// The logs of a broker. A record is written to a log of each long request that arrives.
struct Logs {
    ends: Vec<i64>,
    /// The long requests: when they came, and how many logs they list.
    long: Vec<(Instant, usize)>,
}

impl Logs {
    fn answer(&mut self, asked: &Asked) -> Step {
        let partitions = &asked.fetch().topics[0].partitions;
        let count = partitions.len();
        if !asked.wait().is_zero() && count > 1_000 && self.long.len() < REQUESTS {
            let written = &partitions[self.long.len() * 7_919 % count];
            self.ends[index(written.partition)] += 1;
            self.long.push((Instant::now(), count));
        }
        let end = |partition| self.ends[index(partition)];
        let is_empty = partitions.iter().all(|asked| asked.fetch_offset == end(asked.partition));
        let answer = asked.partitions(|asked| {
            let (offset, end) = (asked.fetch_offset, end(asked.partition));
            let records = if offset == end { Bytes::new() } else { one_record(offset, b'x').into() };
            PartitionData::default()
                .with_high_watermark(end)
                .with_last_stable_offset(end)
                .with_records(Some(records))
        });
        if is_empty { answer.after(asked.wait()) } else { answer }
    }
}

async fn broker(logs: Arc<Mutex<Logs>>) -> Broker {
    Broker::start(move |asked| match &asked.kind {
        RequestKind::Fetch(_) => logs.lock().answer(asked),
        RequestKind::Metadata(_) => asked.metadata(&[asked.broker], Topic { partitions: LOGS, ..TOPIC }),
        _ => asked.usual(),
    })
    .await
}

/// Reads a log from its end at 0 on, as a subscription does, and counts what it gets.
async fn follow(reader: Reader, partition: i32, read: Arc<Mutex<Vec<i64>>>) {
    let mut offset = 0;
    loop {
        reader.wait_at(partition, offset).await;
        let fetched =
            reader.read_from(Log { topic: "t", partition }, at(offset), &()).await.expect("an answer");
        let count = i64::try_from(fetched.count).expect("few records");
        assert_eq!(fetched.next_offset, offset + count, "nothing is skipped");
        offset = fetched.next_offset;
        read.lock()[index(partition)] = offset;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowd_of_logs_is_not_listed_for_each_record() {
    let ends = vec![0; index(LOGS)];
    let logs = Arc::new(Mutex::new(Logs { ends: ends.clone(), long: Vec::new() }));
    let read = Arc::new(Mutex::new(ends));
    let broker = broker(Arc::clone(&logs)).await;
    let reader = broker.reader();
    reader.read("t", at(0)).await.expect("an answer");
    let mut callers = JoinSet::new();
    for partition in 0..LOGS {
        callers.spawn(follow(reader.clone(), partition, Arc::clone(&read)));
    }
    let long = || logs.lock().long.clone();
    until(|| long().len() == REQUESTS).await;
    let long = long();
    let (last, others) = long.split_last().expect("requests");
    let listed: usize = others.iter().map(|(_, count)| count).sum();
    let elapsed = last.0.duration_since(long[0].0);
    // 50,000 a second, if no request came late.
    let allowed = elapsed * 75_000 / u32::try_from(listed).expect("few logs");
    assert!(allowed >= Duration::from_secs(1), "{listed} logs were listed within {elapsed:?}");
    // Each record arrives.
    until(|| logs.lock().ends == *read.lock()).await;
    callers.shutdown().await;
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("a partition")
}

#[tokio::test]
async fn callers_at_the_end_are_told_what_they_have_not_seen() {
    // The ends of the log: its start, the place of an open transaction, and its end.
    let told = Arc::new(Mutex::new((0, 8, 8)));
    // Of a log without readable records from its offset 8 on.
    let broker = {
        let (told, pause) = (Arc::clone(&told), Duration::from_millis(50));
        Broker::of(Key::Fetch, move |asked| {
            asked.fetched_of(*told.lock(), b"").after(asked.wait().min(pause))
        })
        .await
    };
    let reader = broker.reader();
    // The leader is known: waits need one.
    reader.read("t", at(8)).await.expect("an empty answer");
    let wait = |offset, start, end| {
        Box::pin(reader.wait_for_records(log("t"), offset, true, None, SeenEnds { start, end }))
    };
    let second = Duration::from_secs(1);
    let (mut of_end, mut of_start) = (wait(8, i64::MAX, 8), wait(8, 0, i64::MAX));
    let mut both = async || {
        tokio::select! {
            ends = &mut of_end => (ends, "end"),
            ends = &mut of_start => (ends, "start"),
        }
    };
    assert!(timeout(second, both()).await.is_err(), "nothing has changed");
    *told.lock() = (3, 8, 8);
    let news = timeout(second, both()).await.expect("news");
    assert_eq!(news, (Some(Ends { start: 3, stable: 8, end: 8 }), "start"));

    let begun = Instant::now();
    *told.lock() = (3, 8, 12);
    let mut of_start = wait(8, 3, i64::MAX);
    let ends = tokio::select! {
        ends = &mut of_end => ends,
        _ = &mut of_start => panic!("it has seen that start"),
        () = sleep(10 * second) => panic!("the transaction stays open"),
    };
    assert_eq!(ends, Some(Ends { start: 3, stable: 8, end: 12 }));
    assert!(begun.elapsed() >= 4 * second, "most transactions end sooner: {:?}", begun.elapsed());
    // A caller that is behind them has records to read.
    let behind = timeout(second, wait(5, 3, 5)).await.expect("news");
    assert_eq!(behind, None);
    assert!(timeout(second, of_start).await.is_err(), "it has seen that start");
}
