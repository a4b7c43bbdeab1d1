//! The list of topics, and their descriptions.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_fair_share::ClientKey;
use sluicegate_shared_log::Log;
use tokio::time::Instant;

use crate::scripted::{Asked, Broker, Key, Step};
use crate::support::{Calls as _, at, log, reader, switch};

#[tokio::test]
async fn concurrent_callers_share_one_request() {
    let broker = Broker::of(Key::Metadata, |asked| match asked.is_list_of_topics() {
        true => asked.all_topics(&[("t", 0, false)]).after(Duration::from_millis(200)),
        false => asked.usual(),
    })
    .await;
    let reader = broker.reader();
    let call = async |number: usize| {
        if number.is_multiple_of(2) {
            assert_eq!(*reader.topics().await.expect("a list"), ["t"]);
        } else {
            let topic = reader.topic(ClientKey::default(), "t").await.expect("a topic");
            assert_eq!(topic.partitions.len(), 1);
        }
    };
    join_all((0..200).map(call)).await;
    // One description and one list each, and another one if some calls came after the first question.
    let requests = broker.count(Key::Metadata);
    assert!((2..=4).contains(&requests), "{requests} requests");
    let (started, before) = (Instant::now(), requests);
    for _ in 0..10 {
        reader.topics().await.expect("a list");
    }
    let paced = started.elapsed().as_millis() / 100 + 1;
    let requests = broker.count(Key::Metadata) - before;
    assert!(requests == 10 && requests as u128 <= paced, "{requests} requests in {:?}", started.elapsed());
}

#[tokio::test]
async fn new_topics_are_found_by_the_next_call() {
    let created = switch();
    let broker = Broker::of(Key::Metadata, move |asked| match created.load(Ordering::SeqCst) {
        false => asked.missing(&[asked.broker]),
        true if asked.is_list_of_topics() => asked.all_topics(&[("new", 0, false)]),
        true => asked.usual(),
    })
    .await;
    let reader = broker.reader();
    assert!(reader.topics().await.expect("a list").is_empty());
    assert_eq!(reader.topic(ClientKey::default(), "new").await.expect_err("no topic").code(), 3);
    assert_eq!(
        reader.check_partition(ClientKey::default(), log("new")).await.expect_err("no topic").code(),
        3
    );
    assert_eq!(reader.read("new", at(0)).await.expect_err("no topic").code(), 3);
    created.store(true, Ordering::SeqCst);
    assert_eq!(*reader.topics().await.expect("a list"), ["new"]);
    reader.read("new", at(0)).await.expect("an empty answer");
    reader.check_partition(ClientKey::default(), log("new")).await.expect("a partition");
    assert_eq!(reader.topic(ClientKey::default(), "new").await.expect("a topic").partitions.len(), 1);
}

#[tokio::test]
async fn slow_list_delays_no_read() {
    let silent = |asked: &Asked| if asked.is_list_of_topics() { Step::Silence } else { asked.usual() };
    let broker = Broker::of(Key::Metadata, silent).await;
    let other = Broker::start(Asked::usual).await;
    let reader = reader(&[broker.address, other.address]);
    let reads = async {
        let started = Instant::now();
        for topic in 0..5 {
            reader.read(&format!("t{topic}"), at(0)).await.expect("an empty answer");
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    };
    let (listed, ()) = tokio::join!(reader.topics(), reads);
    listed.expect("a list of the other broker");
}

#[tokio::test]
async fn missing_internal_and_forbidden_topics_are_errors_or_not_listed() {
    let broker = Broker::of(Key::Metadata, |asked| match &asked.topics()[..] {
        [name] if name == "t" => asked.usual(),
        _ => asked.all_topics(&[("missing", 3, false), ("secret", 29, false)]),
    })
    .await;
    let reader = broker.reader();
    let describe = async |name| reader.topic(ClientKey::default(), name).await.expect_err("no topic");
    let partition =
        reader.read_from(Log { topic: "t", partition: 9 }, at(0), &()).await.expect_err("no partition");
    let first = reader.read_from(Log { topic: "missing", partition: 0 }, at(0), &());
    let missing = "UNKNOWN_TOPIC_OR_PARTITION: topic missing does not exist, create it first";
    for (error, code, want) in [
        (describe("missing").await, 3, missing),
        (first.await.expect_err("no topic"), 3, missing),
        (describe("secret").await, 29, "TOPIC_AUTHORIZATION_FAILED: topic secret"),
        (partition, 3, "UNKNOWN_TOPIC_OR_PARTITION: topic t has no partition 9"),
    ] {
        assert_eq!((error.code(), error.to_string().as_str()), (code, want));
        assert!(!error.retriable() && !error.is_unavailable());
    }
    assert_eq!(describe("no name").await.code(), 17);
    let topics = [("t", 0, false), ("__offsets", 0, true), ("secret", 29, false), ("a", 0, false)];
    let broker = Broker::of(Key::Metadata, move |asked| asked.all_topics(&topics)).await;
    assert_eq!(*broker.reader().topics().await.expect("a list"), ["a", "t"]);
}
