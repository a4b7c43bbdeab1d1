//! A leader that redirects to a preferred replica (KIP-392), and replicas that fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluicegate_reader::Reader;

use crate::scripted::{Asked, Broker, Key, RequestKind, Step, TOPIC};
use crate::support::{Calls as _, at, log, switch, values, waiting};

/// A leader with record `l` at each offset up to 99, and its preferred replica, which does `follow`.
async fn start(follow: impl Fn(&Asked) -> Step + Send + Sync + 'static) -> (Broker, Broker, Reader) {
    start_with(follow, has_rack).await
}

/// The same; the leader redirects the fetches that `redirects` says.
async fn start_with(
    follow: impl Fn(&Asked) -> Step + Send + Sync + 'static,
    redirects: impl Fn(&Asked) -> bool + Send + Sync + 'static,
) -> (Broker, Broker, Reader) {
    let follower = Broker::start(move |asked| match asked.kind {
        RequestKind::Fetch(_) => follow(asked),
        RequestKind::ListOffsets(_) => panic!("a follower is not asked for offsets"),
        _ => asked.usual(),
    })
    .await;
    let replica = follower.address;
    let leader = Broker::start(move |asked| match &asked.kind {
        RequestKind::Metadata(_) => asked.metadata(&[asked.broker, replica], TOPIC),
        RequestKind::Fetch(_) if redirects(asked) => asked.redirect(2),
        RequestKind::Fetch(_) => asked.record(100, b'l'),
        RequestKind::ListOffsets(_) => asked.listed(100),
        _ => asked.usual(),
    })
    .await;
    let reader = leader.reader();
    (leader, follower, reader)
}

fn has_rack(asked: &Asked) -> bool {
    &asked.fetch().rack_id[..] == "here"
}

/// Reads the record at each of these offsets, whose value is expected.
async fn check(reader: &Reader, offsets: impl IntoIterator<Item = i64>, value: &str) {
    for offset in offsets {
        let fetched = reader.read("t", at(offset)).await.expect("a record");
        assert_eq!((values(&fetched).as_str(), fetched.next_offset), (value, offset + 1));
    }
}

#[tokio::test]
async fn records_come_from_the_preferred_replica_and_offsets_from_the_leader() {
    let (leader, follower, reader) = start(|asked| asked.record(100, b'f')).await;
    // Backwards: nothing is read ahead.
    for offset in (0..5).rev() {
        check(&reader, [offset], "f").await;
        assert_eq!(reader.list("t", -1).await.expect("the end"), 100);
    }
    // The leader redirects once.
    assert_eq!((leader.fetched(), follower.fetched()), (vec![4], vec![4, 3, 2, 1, 0]));
}

#[tokio::test]
async fn long_poll_waits_at_the_preferred_replica() {
    let (leader, follower, reader) = start(|asked| asked.record(asked.offset() + 1, b'f')).await;
    for offset in 0..3 {
        reader.wait_at(0, offset).await;
        check(&reader, [offset], "f").await;
    }
    // The leader redirects the first wait, after which the reader looks before it waits again.
    assert_eq!((leader.fetched().len(), follower.fetched().len()), (1, 3));
    assert_eq!(follower.waits().iter().filter(|wait| !wait.is_zero()).count(), 2);
}

#[tokio::test]
async fn replica_that_is_behind_proves_no_end() {
    let looks = AtomicUsize::new(0);
    let (_leader, _follower, reader) = start(move |asked| match asked.wait() {
        Duration::ZERO if looks.fetch_add(1, Ordering::SeqCst) == 0 => asked.fetched(5, b""),
        Duration::ZERO => asked.fetched(3, b""),
        _ => Step::Silence,
    })
    .await;
    let wait = waiting(5, Duration::from_millis(500));
    assert_eq!(reader.read("t", wait).await.expect("an empty answer").count, 0);
    assert!(reader.is_watched(log("t"), 5, false));
    assert_eq!(values(&reader.read("t", wait).await.expect("a record of the leader")), "l");
}

/// One look every ten seconds is for all callers.
#[tokio::test]
async fn replica_that_says_nothing_new_is_left_when_its_leader_does_not_prefer_it_any_more() {
    let is_abandoned = switch();
    let follow = |asked: &Asked| asked.fetched(5, b"").after(asked.wait().min(Duration::from_millis(50)));
    let redirects = |_: &Asked| !is_abandoned.load(Ordering::SeqCst);
    let (leader, _follower, reader) = start_with(follow, redirects).await;
    assert_eq!(reader.read("t", at(5)).await.expect("an empty answer").count, 0);
    let asked = leader.fetched().len();
    let wait = || tokio::time::timeout(LOOKS, reader.wait_at(0, 5));
    let (first, second) = tokio::join!(wait(), wait());
    assert!(first.is_err() && second.is_err(), "the leader prefers it: {first:?} {second:?}");
    assert_eq!(leader.fetched().len(), asked + 1, "one question for all");
    is_abandoned.store(true, Ordering::SeqCst);
    assert_eq!(wait().await, Ok(None));
}

/// More than the time between two looks, and less than three of them.
const LOOKS: Duration = Duration::from_secs(15);

#[tokio::test]
async fn leader_alone_refuses_another_topic_of_the_same_name_too() {
    // Kafka's own selector of replicas names none without a rack; others can.
    for redirects_all in [false, true] {
        let redirects = move |asked: &Asked| has_rack(asked) || redirects_all && asked.version >= 11;
        let (leader, _follower, reader) = start_with(|_| Step::Close(vec![0, 0]), redirects).await;
        check(&reader, 0..3, "l").await;
        let topic = |asked: &Asked| (asked.version, asked.fetch().topics[0].topic_id.as_u128());
        let asked = leader.asked(Key::Fetch, |asked| (!has_rack(asked)).then(|| topic(asked)));
        let by_name = (10, 0);
        let expected =
            if redirects_all { vec![(18, 1), by_name, by_name, by_name] } else { vec![(18, 1); 3] };
        assert_eq!(asked.into_iter().flatten().collect::<Vec<_>>(), expected);
    }
}
