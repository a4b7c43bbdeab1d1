//! A leader that redirects to a preferred replica (KIP-392), and replicas that fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::messages::{FetchRequest, RequestKind};
use sluicegate_reader::Reader;
use sluicegate_shared_log::SeenEnds;

use crate::batches::one_record;
use crate::scripted::{self, Asked, Broker, Step, reader, usual};
use crate::support::{Fetch, Read as _, at, list_offset, messages};

/// A leader with record `l` at each offset up to 99, and its preferred replica, which does `follow`.
async fn start(follow: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> (Broker, Broker, Reader) {
    start_with(follow, |request, _| &request.rack_id[..] == "here").await
}

/// The same; the leader redirects the fetches that `redirects` says.
async fn start_with(
    follow: impl Fn(&Asked) -> Step + Send + Sync + 'static,
    redirects: impl Fn(&FetchRequest, i16) -> bool + Send + Sync + 'static,
) -> (Broker, Broker, Reader) {
    let follower = Broker::start(move |asked, address| match asked.kind {
        RequestKind::Fetch(_) => follow(asked),
        RequestKind::ListOffsets(_) => panic!("a follower is not asked for offsets"),
        _ => usual(asked, address),
    })
    .await;
    let replica = follower.address;
    let leader = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(_) => Step::Answer(scripted::metadata(asked, &[address, replica], 0)),
        RequestKind::Fetch(request) if redirects(request, asked.version) => {
            Step::Answer(scripted::redirect(asked, 2))
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
    Step::Answer(scripted::fetched(asked, 0, 100, &one_record(offset, value)))
}

async fn read(reader: &Reader, offset: i64) -> String {
    let fetched = reader.read(at("t", 0, offset)).await.expect("a record");
    assert_eq!((fetched.count, fetched.next_offset), (1, offset + 1));
    String::from_utf8(messages(&fetched)[0].value.clone().expect("a value").to_vec()).expect("a letter")
}

#[tokio::test]
async fn records_come_from_the_preferred_replica_and_offsets_from_the_leader() {
    let (leader, follower, reader) = start(|asked| record(asked, b'f')).await;
    // Backwards: nothing is read ahead.
    for offset in (0..5).rev() {
        assert_eq!(read(&reader, offset).await, "f");
        assert_eq!(list_offset(&reader, "t", 0, -1, false).await.expect("the end").offset, 100);
    }
    // The leader redirects once.
    assert_eq!((leader.fetched(), follower.fetched()), (vec![4], vec![4, 3, 2, 1, 0]));
}

#[tokio::test]
async fn long_poll_waits_at_the_preferred_replica() {
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&waits);
    let (leader, follower, reader) = start(move |asked| {
        let RequestKind::Fetch(request) = &asked.kind else { panic!("no fetch") };
        counted.fetch_add(usize::from(request.max_wait_ms > 0), Ordering::SeqCst);
        let offset = request.topics[0].partitions[0].fetch_offset;
        Step::Answer(scripted::fetched(asked, 0, offset + 1, &one_record(offset, b'f')))
    })
    .await;
    for offset in 0..3 {
        reader.wait_for_records("t", 0, offset, false, None, SeenEnds::ALL).await;
        let fetched = reader.read(at("t", 0, offset)).await.expect("a record");
        assert_eq!(messages(&fetched)[0].value.as_deref(), Some(&b"f"[..]));
    }
    // The leader redirects the first wait, after which the reader looks before it waits again.
    assert_eq!((leader.fetched().len(), follower.fetched().len()), (1, 3));
    assert_eq!(waits.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn replica_that_is_behind_proves_no_end() {
    let looks = AtomicUsize::new(0);
    let (_leader, _follower, reader) = start(move |asked| {
        let RequestKind::Fetch(request) = &asked.kind else { panic!("no fetch") };
        if request.max_wait_ms > 0 {
            return Step::Silence;
        }
        let end = if looks.fetch_add(1, Ordering::SeqCst) == 0 { 5 } else { 3 };
        Step::Answer(scripted::fetched(asked, 0, end, b""))
    })
    .await;
    let wait = Fetch { max_wait: Duration::from_millis(500), ..at("t", 0, 5) };
    assert_eq!(reader.read(wait).await.expect("an empty answer").count, 0);
    assert!(reader.is_watched("t", 0, 5, false));
    let fetched = reader.read(wait).await.expect("a record of the leader");
    assert_eq!(messages(&fetched)[0].value.as_deref(), Some(&b"l"[..]));
}

/// One look every ten seconds is for all callers.
#[tokio::test]
async fn replica_that_says_nothing_new_is_left_when_its_leader_does_not_prefer_it_any_more() {
    let is_preferred = Arc::new(AtomicBool::new(true));
    let prefers = Arc::clone(&is_preferred);
    let follow = |asked: &Asked| {
        let RequestKind::Fetch(request) = &asked.kind else { panic!("no fetch") };
        let empty = scripted::fetched(asked, 0, 5, b"");
        match request.max_wait_ms {
            0 => Step::Answer(empty),
            _ => Step::Later(Duration::from_millis(50), empty),
        }
    };
    let redirects = move |_: &FetchRequest, _| prefers.load(Ordering::SeqCst);
    let (leader, _follower, reader) = start_with(follow, redirects).await;
    assert_eq!(reader.read(at("t", 0, 5)).await.expect("an empty answer").count, 0);
    let asked = leader.fetched().len();
    let wait = || tokio::time::timeout(LOOKS, reader.wait_for_records("t", 0, 5, false, None, SeenEnds::ALL));
    let (first, second) = tokio::join!(wait(), wait());
    assert!(
        first.is_err() && second.is_err(),
        "the leader says that it is the right one: {first:?} {second:?}"
    );
    assert_eq!(leader.fetched().len(), asked + 1, "one question for all");
    is_preferred.store(false, Ordering::SeqCst);
    assert_eq!(wait().await, Ok(None));
}

/// More than the time between two looks, and less than three of them.
const LOOKS: Duration = Duration::from_secs(15);

#[tokio::test]
async fn unavailable_replica_is_replaced_by_the_leader() {
    for step in [|| Step::RawThenClose(vec![0, 0]), || Step::Silence] {
        let (_leader, follower, reader) = start(move |_| step()).await;
        let started = Instant::now();
        for offset in 0..5 {
            assert_eq!(read(&reader, offset).await, "l");
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        assert!(follower.fetched().len() <= 2, "{:?}", follower.fetched());
    }
    let (_leader, follower, reader) = start(|asked| record(asked, b'f')).await;
    assert_eq!(read(&reader, 0).await, "f");
    drop(follower);
    for offset in 1..5 {
        assert_eq!(read(&reader, offset).await, "l");
    }
}

#[tokio::test]
async fn leader_alone_refuses_another_topic_of_the_same_name_too() {
    // Kafka's own selector of replicas names none without a rack; others can.
    for redirects_all in [false, true] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let redirects = move |request: &FetchRequest, version: i16| {
            let has_rack = &request.rack_id[..] == "here";
            if !has_rack {
                let id = request.topics[0].topic_id.as_u128();
                seen.lock().expect("no panic").push((version, id));
            }
            has_rack || redirects_all && version >= 11
        };
        let (_leader, _follower, reader) = start_with(|_| Step::RawThenClose(vec![0, 0]), redirects).await;
        for offset in 0..3 {
            assert_eq!(read(&reader, offset).await, "l");
        }
        let by_name = (10, 0);
        let expected =
            if redirects_all { vec![(18, 1), by_name, by_name, by_name] } else { vec![(18, 1); 3] };
        assert_eq!(*asked.lock().expect("no panic"), expected);
    }
}
