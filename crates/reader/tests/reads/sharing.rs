//! Many callers of one partition: what they read is requested once, and ahead of those that read in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::Reader;
use sluicegate_shared_log::Fetch;
use tokio::time::sleep;

use crate::batches::{batch, records};
use crate::scripted::{Asked, Broker, EPOCH, Key, Step};
use crate::support::{Calls as _, at, log, reader_with, until, waiting};

const CALLERS: usize = 200;

#[tokio::test]
async fn callers_who_read_the_same_share_requests() {
    let broker = Broker::of_log(5, 5).await;
    let reader = broker.reader();
    for offset in 0..5 {
        let callers = (0..CALLERS).map(|_| reader.read("t", at(offset)));
        for fetched in join_all(callers).await {
            assert_eq!(fetched.expect("a record").next_offset, offset + 1);
        }
    }
    assert_eq!(broker.fetched(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn callers_at_the_log_end_share_few_requests() {
    let broker = Broker::of_log(0, 0).await;
    let reader = broker.reader();
    let wait = waiting(0, Duration::from_secs(2));
    let callers = (0..CALLERS).map(|_| reader.read("t", wait));
    for fetched in join_all(callers).await {
        assert_eq!(fetched.expect("an empty answer").count, 0);
    }
    // Two looks, a waiting fetch, and a probe at most.
    assert!(broker.fetched().len() <= 4, "{} requests", broker.fetched().len());
}

#[tokio::test]
async fn brokers_hold_requests_no_longer_than_configured() {
    let broker = Broker::of_log(0, 0).await;
    let reader = reader_with(&[broker.address], &[("fetch.wait.max.ms", "50")]);
    let wait = waiting(0, Duration::from_millis(300));
    assert_eq!(reader.read("t", wait).await.expect("an empty answer").count, 0);
    assert_eq!(broker.waits().into_iter().max(), Some(Duration::from_millis(50)));
}

#[tokio::test]
async fn large_batch_that_ends_a_wait_is_requested_once() {
    const COUNT: i32 = 60_000;
    let broker = Broker::of_waits(|asked| {
        let records = records(&vec![&b"x"[..]; COUNT as usize]);
        asked.fetched(COUNT.into(), &batch(0, COUNT - 1, 0, COUNT, &records))
    })
    .await;
    let reader = broker.reader();
    let from = |offset| Fetch { max_bytes: 64 * 1024, ..at(offset) };
    let wait = Fetch { wait: Duration::from_secs(10), ..from(0) };
    let mut fetched = reader.read("t", wait).await.expect("records");
    let mut reads = 1;
    while fetched.next_offset < COUNT.into() {
        fetched = reader.read("t", from(fetched.next_offset)).await.expect("records");
        reads += 1;
    }
    assert!(reads > 4, "the batch should be larger than what is kept in one part");
    assert_eq!(broker.fetched(), [0, 0], "a look, and a request that waits");
}

#[tokio::test]
async fn answer_that_left_a_partition_out_does_not_prove_its_end() {
    let looks = AtomicUsize::new(0);
    let broker = Broker::of(Key::Fetch, move |asked| match asked.wait() {
        Duration::ZERO => match looks.fetch_add(1, Ordering::Relaxed) {
            0 => asked.usual(),
            1 => asked.fetched(1, b""),
            _ => asked.record(1, b'x'),
        },
        _ => Step::Silence,
    })
    .await;
    let reader = broker.reader();
    let wait = waiting(0, Duration::from_millis(500));
    assert_eq!(reader.read("t", wait).await.expect("an empty answer").count, 0);
    assert!(reader.is_watched(log("t"), 0, false));
    assert_eq!(reader.read("t", wait).await.expect("a record").count, 1);
}

#[tokio::test]
async fn answer_before_a_wait_does_not_prove_its_end() {
    let (looks, polls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let broker = Broker::of(Key::Fetch, move |asked| {
        let is_wait = !asked.wait().is_zero();
        match if is_wait { &polls } else { &looks }.fetch_add(1, Ordering::Relaxed) {
            0 => asked.usual(),
            _ if is_wait => Step::Silence,
            _ => asked.record(1, b'x'),
        }
    })
    .await;
    let reader = broker.reader();
    // The leader is known: waits need one.
    reader.read("t", at(0)).await.expect("an empty answer");
    let late = async {
        // The next long poll follows the answer to the first.
        until(|| broker.waits().len() == 3).await;
        reader.read("t", waiting(0, Duration::from_millis(100))).await.expect("a record")
    };
    let (_, fetched) = tokio::join!(reader.wait_at(0, 0), late);
    assert_eq!(fetched.count, 1, "a probe finds what was written since");
}

#[tokio::test]
async fn partition_asked_twice_has_its_answer_each_time() {
    let broker = Broker::of(Key::ListOffsets, |asked| asked.listed_by(|timestamp| timestamp + 100, 0)).await;
    let reader = broker.reader();
    let asked = [-1, 5, -1, 6, 5].map(|timestamp| (log("t"), timestamp));
    let listed: Vec<_> = reader.list_offsets(ClientKey::UNKNOWN, &asked, false).collect().await;
    let mut listed: Vec<_> =
        listed.into_iter().map(|(number, listed)| (number, listed.expect("an offset").offset)).collect();
    listed.sort_unstable();
    assert_eq!(listed, [(0, 99), (1, 105), (2, 99), (3, 106), (4, 105)]);
    // One for the end, and one for each time: a request cannot ask for two of a partition.
    let epoch = |asked: &Asked| asked.list().topics[0].partitions[0].current_leader_epoch;
    assert_eq!(broker.asked(Key::ListOffsets, epoch), [EPOCH; 3], "of the metadata");
    assert_eq!(broker.count(Key::Metadata), 1);
}

#[tokio::test]
async fn caller_beyond_the_log_end_is_woken_beside_one_at_the_end() {
    let broker = Broker::of_log(0, 0).await;
    let reader = broker.reader();
    // The leader is known: waits need one.
    reader.read("t", at(0)).await.expect("an empty answer");
    let (at_end, beyond) = (reader.wait_at(0, 0), reader.wait_at(0, 5));
    let bytes = std::mem::size_of_val(&at_end);
    assert!(bytes <= 1_150, "{bytes} bytes for each partition of each subscription");
    tokio::select! {
        biased;
        woken = beyond => assert_eq!(woken, None),
        _ = at_end => panic!("there is no record"),
        () = sleep(Duration::from_secs(10)) => panic!("the log was cut, and nobody looks"),
    }
}

#[tokio::test]
async fn records_that_follow_are_read_before_they_are_asked_for() {
    let broker = Broker::of_log(100, 100).await;
    let reader = broker.reader();
    for offset in 7..10 {
        assert_eq!(reader.read("t", at(offset)).await.expect("a record").next_offset, offset + 1);
        let last = if offset == 7 { 7 } else { offset + 1 };
        until(|| broker.fetched() == (7..=last).collect::<Vec<_>>()).await;
    }
    let next = reader.recent(log("t"), at(10)).expect("what was read ahead");
    assert_eq!(next.next_offset, 11);
    until(|| broker.fetched() == [7, 8, 9, 10, 11]).await;
}

/// Reads a log of `end` records, which tells that it ends at `told`, at `offsets`. The offsets of the fetches.
async fn fetched((end, told): (i64, i64), offsets: &[i64]) -> Vec<i64> {
    let broker = Broker::of_log(end, told).await;
    let reader = broker.reader();
    for offset in offsets {
        reader.read("t", at(*offset)).await.expect("an answer");
        settle(&reader).await;
    }
    broker.fetched()
}

#[tokio::test]
async fn nothing_is_read_ahead_of_reads_in_no_order_and_of_the_end() {
    assert_eq!(fetched((100, 100), &[50, 20, 80, 30, 10]).await, [50, 20, 80, 30, 10]);
    assert_eq!(fetched((3, 3), &[0, 1, 2, 3]).await, [0, 1, 2, 3]);
    // The log seems longer than it is.
    assert_eq!(fetched((9, 100), &[7, 8, 8, 8, 8, 8]).await, [7, 8, 9]);
}

/// A read ahead that was begun before is sent before this is answered.
async fn settle(reader: &Reader) {
    reader.list("t", -1).await.expect("an end");
}
