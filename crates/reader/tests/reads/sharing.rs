//! Many callers of one partition: what they read is requested once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use kafka_protocol::messages::RequestKind;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::SeenEnds;
use tokio::time::{Instant, sleep};

use crate::batches::{batch, one_record};
use crate::scripted::{self, Broker, Step, reader, usual};
use crate::support::{self, Fetch, Read as _, at, list_offset};

const CALLERS: usize = 200;

#[tokio::test]
async fn callers_who_read_the_same_share_requests() {
    let broker = Broker::of_log(5, 5).await;
    let reader = reader(&[broker.address]);
    for offset in 0..5 {
        let callers = (0..CALLERS).map(|_| reader.read(at("t", 0, offset)));
        for fetched in join_all(callers).await {
            assert_eq!(fetched.expect("a record").next_offset, offset + 1);
        }
    }
    assert_eq!(broker.fetched(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn callers_at_the_log_end_share_few_requests() {
    let broker = Broker::of_log(0, 0).await;
    let reader = reader(&[broker.address]);
    let wait = Fetch { max_wait: Duration::from_secs(2), ..at("t", 0, 0) };
    let callers = (0..CALLERS).map(|_| reader.read(wait));
    for fetched in join_all(callers).await {
        assert_eq!(fetched.expect("an empty answer").count, 0);
    }
    // Two looks, a waiting fetch, and a probe at most.
    assert!(broker.fetched().len() <= 4, "{} requests", broker.fetched().len());
}

#[tokio::test]
async fn callers_who_poll_with_short_waits_share_few_requests() {
    let broker = Broker::of_log(0, 0).await;
    let reader = reader(&[broker.address]);
    let wait = Fetch { max_wait: Duration::from_millis(100), ..at("t", 0, 0) };
    // Connects, and looks.
    reader.read(wait).await.expect("an empty answer");
    let before = broker.fetched().len();
    let poll = async |number: u64| {
        sleep(Duration::from_millis(number)).await;
        for _ in 0..20 {
            let asked = Instant::now();
            let fetched = reader.read(wait).await.expect("an empty answer");
            assert_eq!((fetched.count, fetched.ends.end), (0, 0));
            assert!(asked.elapsed() >= wait.max_wait, "{:?}", asked.elapsed());
        }
    };
    join_all((0..100).map(poll)).await;
    let requests = broker.fetched().len() - before;
    // All wait together, so that twenty rounds of waits take some twenty requests.
    assert!(requests <= 100, "{requests} requests of 2,000 calls");
}

#[tokio::test]
async fn brokers_hold_requests_no_longer_than_configured() {
    let longest = Arc::new(AtomicI32::new(0));
    let held = Arc::clone(&longest);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            held.fetch_max(request.max_wait_ms, Ordering::Relaxed);
            let wait = Duration::from_millis(request.max_wait_ms.try_into().expect("a wait"));
            Step::Later(wait, scripted::fetched(asked, 0, 0, b""))
        }
        _ => usual(asked, address),
    })
    .await;
    let servers = broker.address.to_string();
    let reader = support::reader(&[("bootstrap.servers", &servers), ("fetch.wait.max.ms", "50")]);
    let wait = Fetch { max_wait: Duration::from_millis(300), ..at("t", 0, 0) };
    assert_eq!(reader.read(wait).await.expect("an empty answer").count, 0);
    assert_eq!(longest.load(Ordering::Relaxed), 50);
}

#[tokio::test]
async fn large_batch_that_ends_a_wait_is_requested_once() {
    const COUNT: i32 = 60_000;
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => {
            Step::Answer(scripted::fetched(asked, 0, COUNT.into(), &many_records(0, COUNT, b'x')))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let from = |offset| Fetch { max_bytes: 64 * 1024, ..at("t", 0, offset) };
    let wait = Fetch { max_wait: Duration::from_secs(10), ..from(0) };
    let mut fetched = reader.read(wait).await.expect("records");
    let mut reads = 1;
    while fetched.next_offset < COUNT.into() {
        fetched = reader.read(from(fetched.next_offset)).await.expect("records");
        reads += 1;
    }
    assert!(reads > 4, "the batch should be larger than what is kept in one part");
    assert_eq!(broker.fetched(), [0, 0], "a look, and a request that waits");
}

#[tokio::test]
async fn answer_that_left_a_partition_out_does_not_prove_its_end() {
    let looks = AtomicUsize::new(0);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Fetch(request) if request.max_wait_ms > 0 => Step::Silence,
        RequestKind::Fetch(_) => match looks.fetch_add(1, Ordering::Relaxed) {
            0 => Step::Answer(scripted::fetched(asked, 0, 0, b"")),
            1 => Step::Answer(scripted::fetched(asked, 0, 1, b"")),
            _ => Step::Answer(scripted::fetched(asked, 0, 1, &one_record(0, b'x'))),
        },
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let wait = Fetch { max_wait: Duration::from_millis(500), ..at("t", 0, 0) };
    assert_eq!(reader.read(wait).await.expect("an empty answer").count, 0);
    assert!(reader.is_watched("t", 0, 0, false));
    assert_eq!(reader.read(wait).await.expect("a record").count, 1);
}

#[tokio::test]
async fn no_answer_is_older_than_its_question() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::ListOffsets(_) => Step::Later(Duration::from_millis(100), scripted::listed(asked, 0, 7)),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    // Connects, so that the calls below are sent at once.
    list_offset(&reader, "t", 0, -1, false).await.expect("an offset");
    let before = broker.listed();
    let first = tokio::spawn({
        let reader = reader.clone();
        async move { list_offset(&reader, "t", 0, -1, false).await }
    });
    while broker.listed() == before {
        tokio::task::yield_now().await;
    }
    for offset in join_all((0..CALLERS).map(|_| list_offset(&reader, "t", 0, -1, false))).await {
        assert_eq!(offset.expect("an offset").offset, 7);
    }
    first.await.expect("no panic").expect("an offset");
    assert_eq!(broker.listed(), before + 2, "one request for all who asked while the first was under way");
}

/// A batch of records without a key, whose values are one byte.
fn many_records(offset: i64, count: i32, value: u8) -> Vec<u8> {
    let mut records = Vec::new();
    for delta in 0..count {
        let mut record = vec![0, 0];
        put_varint(&mut record, delta);
        record.extend([1, 2, value, 0]);
        put_varint(&mut records, i32::try_from(record.len()).expect("a short record"));
        records.extend(record);
    }
    batch(offset, count - 1, 0, count, &records)
}

#[tokio::test]
async fn partition_asked_twice_has_its_answer_each_time() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::ListOffsets(_) => {
            Step::Answer(scripted::listed_throttled(asked, 0, |timestamp| timestamp + 100, 0))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let asked = [("t", 0, -1), ("t", 0, 5), ("t", 0, -1), ("t", 0, 6), ("t", 0, 5)];
    let listed: Vec<_> = reader.list_offsets(ClientKey::UNKNOWN, &asked, false).collect().await;
    let mut listed: Vec<_> =
        listed.into_iter().map(|(number, listed)| (number, listed.expect("an offset").offset)).collect();
    listed.sort_unstable();
    assert_eq!(listed, [(0, 99), (1, 105), (2, 99), (3, 106), (4, 105)]);
    // One for the end, and one for each time: a request cannot ask for two of a partition.
    assert_eq!((broker.listed(), broker.metadata().len()), (3, 1));
}

/// A zigzag-encoded number, as in Kafka's records.
fn put_varint(out: &mut Vec<u8>, number: i32) {
    let mut rest = u32::from_ne_bytes(((number << 1) ^ (number >> 31)).to_ne_bytes());
    while rest >= 0x80 {
        out.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[tokio::test]
async fn waits_take_little_memory() {
    let broker = crate::scripted::Broker::start(crate::scripted::usual).await;
    let reader = crate::scripted::reader(&[broker.address]);
    let wait = reader.wait_for_records("t", 0, 0, false, None, SeenEnds::ALL);
    let bytes = std::mem::size_of_val(&wait);
    assert!(bytes <= 1_150, "{bytes} bytes for each partition of each subscription");
}

#[tokio::test]
async fn caller_beyond_the_log_end_is_woken_beside_one_at_the_end() {
    let broker = Broker::of_log(0, 0).await;
    let reader = reader(&[broker.address]);
    // The leader is known: waits need one.
    reader.read(at("t", 0, 0)).await.expect("an empty answer");
    let at_end = reader.wait_for_records("t", 0, 0, false, None, SeenEnds::ALL);
    let beyond = reader.wait_for_records("t", 0, 5, false, None, SeenEnds::ALL);
    tokio::select! {
        biased;
        woken = beyond => assert_eq!(woken, None),
        _ = at_end => panic!("there is no record"),
        () = sleep(Duration::from_secs(10)) => panic!("the log was cut, and nobody looks"),
    }
}
