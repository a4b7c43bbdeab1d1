//! A leader that sends its readers to a nearer replica (KIP-392), and replicas that fail them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kafka_protocol::messages::RequestKind;
use sluicegate_reader::{Fetch, Reader};

use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{at, messages};

/// A leader with record `l` at each offset up to 99, and the follower that it names, which does `follow`.
async fn start(follow: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> (Broker, Broker, Reader) {
    let follower = Broker::start(move |asked, address| match asked.kind {
        RequestKind::Fetch(_) => follow(asked),
        RequestKind::ListOffsets(_) => panic!("a follower is not asked for offsets"),
        _ => usual(asked, address),
    })
    .await;
    let nearer = follower.address;
    let leader = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[address, nearer], 0)),
        RequestKind::Fetch(request) if asked.version >= 11 => {
            assert_eq!(&request.rack_id[..], "here");
            Step::Answer(scripted::elsewhere(asked, 2))
        }
        RequestKind::Fetch(_) => record(asked, b'l'),
        RequestKind::ListOffsets(_) => Step::Answer(scripted::listed(asked, 0, 100)),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[leader.address]);
    (leader, follower, reader)
}

fn record(asked: &Asked, value: u8) -> Step {
    let RequestKind::Fetch(request) = &asked.kind else { panic!("no fetch") };
    let offset = request.topics[0].partitions[0].fetch_offset;
    Step::Answer(scripted::fetched(asked, 0, 100, &scripted::one_record(offset, value)))
}

async fn read(reader: &Reader, offset: i64) -> String {
    let fetched = reader.fetch(at("t", 0, offset)).await.expect("a record");
    assert_eq!((fetched.count, fetched.next_offset), (1, offset + 1));
    String::from_utf8(messages(&fetched)[0].value.clone().expect("a value").to_vec()).expect("a letter")
}

#[tokio::test]
async fn records_come_from_the_replica_that_the_leader_names_and_offsets_from_the_leader() {
    let (leader, follower, reader) = start(|asked| record(asked, b'f')).await;
    for offset in 0..5 {
        assert_eq!(read(&reader, offset).await, "f");
        assert_eq!(reader.list_offset("t", 0, -1).await.expect("the end"), 100);
    }
    // The leader is asked once where to fetch from.
    assert_eq!((leader.fetched(), follower.fetched()), (vec![0], vec![0, 1, 2, 3, 4]));
}

#[tokio::test]
async fn a_fetch_that_waits_does_so_at_the_nearer_replica() {
    let (leader, follower, reader) = start(|asked| {
        let RequestKind::Fetch(request) = &asked.kind else { panic!("no fetch") };
        assert!(request.max_wait_ms > 1_000, "{}", request.max_wait_ms);
        record(asked, b'f')
    })
    .await;
    for offset in 0..3 {
        let fetch = Fetch { max_wait: Duration::from_secs(30), at_end: true, ..at("t", 0, offset) };
        let fetched = reader.fetch(fetch).await.expect("a record");
        assert_eq!(messages(&fetched)[0].value.as_deref(), Some(&b"f"[..]));
    }
    assert_eq!((leader.fetched().len(), follower.fetched().len()), (1, 3));
}

#[tokio::test]
async fn whatever_a_nearer_replica_refuses_the_leader_is_asked() {
    for error in [1, 3, 6, 9, 29, 56, 74, 75, 78, 100] {
        let (leader, follower, reader) =
            start(move |asked| Step::Answer(scripted::fetched(asked, error, -1, b""))).await;
        let started = Instant::now();
        for offset in 0..5 {
            assert_eq!(read(&reader, offset).await, "l", "error {error}");
        }
        // It was tried once, and no pause was made.
        assert_eq!((leader.fetched().len(), follower.fetched().len()), (6, 1), "error {error}");
        assert!(started.elapsed() < Duration::from_secs(1), "error {error}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_nearer_replica_that_is_behind_is_no_log_end() {
    let (_leader, follower, reader) = start(|asked| Step::Answer(scripted::fetched(asked, 0, 50, b""))).await;
    for offset in [51, 52] {
        assert_eq!(read(&reader, offset).await, "l");
    }
    // Each call begins with it, and gives it a moment to catch up.
    assert_eq!(follower.fetched(), [51, 51, 52, 52]);
}

#[tokio::test]
async fn the_log_end_of_a_nearer_replica_is_one() {
    let (_leader, follower, reader) = start(|asked| Step::Answer(scripted::fetched(asked, 0, 50, b""))).await;
    let end = reader.fetch(at("t", 0, 50)).await.expect("an empty answer");
    assert_eq!((end.count, end.next_offset), (0, 50));
    assert_eq!(follower.fetched(), [50]);
}

#[tokio::test]
async fn a_nearer_replica_that_is_cut_gone_or_silent_is_left_for_the_leader() {
    for step in [|| Step::RawThenClose(vec![0, 0]), || Step::Silence] {
        let (_leader, follower, reader) = start(move |_| step()).await;
        let started = Instant::now();
        for offset in 0..5 {
            assert_eq!(read(&reader, offset).await, "l");
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        assert!(follower.fetched().len() <= 2);
    }
    let (_leader, follower, reader) = start(|asked| record(asked, b'f')).await;
    assert_eq!(read(&reader, 0).await, "f");
    drop(follower);
    for offset in 1..5 {
        assert_eq!(read(&reader, offset).await, "l");
    }
}

#[tokio::test]
async fn a_leader_that_names_an_unknown_replica_is_asked_itself() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Fetch(_) if asked.version >= 11 => Step::Answer(scripted::elsewhere(asked, 77)),
        RequestKind::Fetch(_) => record(asked, b'l'),
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    for offset in 0..3 {
        assert_eq!(read(&reader, offset).await, "l");
    }
    assert_eq!(broker.fetched(), [0, 0, 1, 2]);
}

#[tokio::test]
async fn an_offset_out_of_range_is_believed_of_the_leader() {
    let refuse = Arc::new(AtomicBool::new(true));
    let follower = Broker::start(|asked, _| Step::Answer(scripted::fetched(asked, 1, -1, b""))).await;
    let nearer = follower.address;
    let leader = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[address, nearer], 0)),
        RequestKind::Fetch(_) if asked.version >= 11 && refuse.swap(false, Ordering::SeqCst) => {
            Step::Answer(scripted::elsewhere(asked, 2))
        }
        RequestKind::Fetch(_) => Step::Answer(scripted::fetched(asked, 1, -1, b"")),
        _ => usual(asked, address),
    })
    .await;
    let error = reader(&[leader.address]).fetch(at("t", 0, 5)).await.expect_err("nothing is there");
    assert_eq!(error.to_string(), "OFFSET_OUT_OF_RANGE: offset 5 is not within partition 0 of topic t");
}

#[tokio::test]
async fn no_pair_of_brokers_sends_a_call_back_and_forth() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetches);
    // Metadata that is asked for again and again forgets which replica failed.
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[address, address], 0)),
        RequestKind::Fetch(_) => {
            counted.fetch_add(1, Ordering::SeqCst);
            Step::Answer(scripted::elsewhere(asked, 2))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    reader.fetch(at("t", 0, 0)).await.expect("an answer without records");
    assert!(fetches.load(Ordering::SeqCst) <= 3, "{}", fetches.load(Ordering::SeqCst));
}
