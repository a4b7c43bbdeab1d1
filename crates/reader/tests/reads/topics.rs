//! The list of topics, and their descriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::RequestKind;
use sluicegate_fair_share::ClientKey;
use sluicegate_reader::{Partition, Replica};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::scripted::{self, Broker, Step, reader, usual};
use crate::support::{Cluster, Read as _, at, chain};

#[tokio::test]
async fn all_topics_are_listed_in_order_and_none_is_created() {
    let cluster = Cluster::start(3);
    let reader = cluster.reader();
    let names = ["b", "a.2", "a-1", "z"];
    names.iter().for_each(|name| cluster.create(name, 2));
    assert_eq!(*reader.topics().await.expect("a list"), ["a-1", "a.2", "b", "z"]);
    reader.topic(ClientKey::default(), "missing").await.expect_err("no such topic");
    // Another reader knows nothing yet.
    assert_eq!(cluster.reader().topics().await.expect("a list").len(), 4);
}

#[tokio::test]
async fn internal_and_unreadable_topics_are_not_listed() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::Metadata(_) => {
            let topics = [("t", 0, false), ("__offsets", 0, true), ("secret", 29, false), ("a", 0, false)];
            Step::Answer(scripted::all_topics(asked, address, &topics))
        }
        _ => usual(asked, address),
    })
    .await;
    assert_eq!(*reader(&[broker.address]).topics().await.expect("a list"), ["a", "t"]);
}

#[tokio::test]
async fn concurrent_callers_share_one_request() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Metadata(request) if request.topics.is_none() => {
            let names = scripted::all_topics(asked, address, &[("t", 0, false)]);
            Step::Later(Duration::from_millis(200), names)
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let reader = reader.clone();
        calls.spawn(async move {
            if number % 2 == 0 {
                assert_eq!(*reader.topics().await.expect("a list"), ["t"]);
            } else {
                assert_eq!(
                    reader.topic(ClientKey::default(), "t").await.expect("a topic").partitions.len(),
                    1
                );
            }
        });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("no panic");
    }
    // One description and one list each, and another one if some calls came after the first question.
    let requests = broker.metadata().len();
    assert!((2..=4).contains(&requests), "{requests} requests");
    let (started, before) = (Instant::now(), requests);
    for _ in 0..10 {
        reader.topics().await.expect("a list");
    }
    let paced = started.elapsed().as_millis() / 100 + 1;
    let requests = broker.metadata().len() - before;
    assert!(requests == 10 && requests as u128 <= paced, "{requests} requests in {:?}", started.elapsed());
}

#[tokio::test]
async fn new_topics_are_found_by_the_next_call() {
    let created = Arc::new(AtomicBool::new(false));
    let is_created = Arc::clone(&created);
    let broker = Broker::start(move |asked, address| match &asked.kind {
        RequestKind::Metadata(_) if !is_created.load(Ordering::SeqCst) => {
            Step::Answer(scripted::missing(asked, address))
        }
        RequestKind::Metadata(request) if request.topics.is_none() => {
            Step::Answer(scripted::all_topics(asked, address, &[("new", 0, false)]))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    assert!(reader.topics().await.expect("a list").is_empty());
    assert_eq!(reader.topic(ClientKey::default(), "new").await.expect_err("no topic").code(), 3);
    assert_eq!(reader.check_partition(ClientKey::default(), "new", 0).await.expect_err("no topic").code(), 3);
    assert_eq!(reader.read(at("new", 0, 0)).await.expect_err("no topic").code(), 3);
    created.store(true, Ordering::SeqCst);
    assert_eq!(*reader.topics().await.expect("a list"), ["new"]);
    reader.read(at("new", 0, 0)).await.expect("an empty answer");
    reader.check_partition(ClientKey::default(), "new", 0).await.expect("a partition");
    assert_eq!(reader.topic(ClientKey::default(), "new").await.expect("a topic").partitions.len(), 1);
}

#[tokio::test]
async fn slow_list_delays_no_read() {
    let broker = Broker::start(|asked, address| match &asked.kind {
        RequestKind::Metadata(request) if request.topics.is_none() => Step::Silence,
        _ => usual(asked, address),
    })
    .await;
    let other = Broker::start(usual).await;
    let reader = reader(&[broker.address, other.address]);
    let listing = tokio::spawn({
        let reader = reader.clone();
        async move { reader.topics().await }
    });
    let started = Instant::now();
    for topic in 0..5 {
        reader.read(at(&format!("t{topic}"), 0, 0)).await.expect("an empty answer");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    listing.await.expect("no panic").expect("a list of the other broker");
}

#[tokio::test]
async fn topic_is_described() {
    let cluster = Cluster::start(3);
    let reader = cluster.reader();
    cluster.mock.create_topic("t", 2, 3).expect("a topic");
    cluster.mock.partition_leader("t", 1, Some(2)).expect("a leader");
    let topic = reader.topic(ClientKey::default(), "t").await.expect("a topic");
    let [zero, one] = &topic.partitions[..] else { panic!("{topic:?}") };
    assert_eq!((zero.partition, one.partition, one.leader), (0, 1, Some(2)));
    for Partition { leader, replicas, .. } in [zero, one] {
        let mut brokers: Vec<i32> = replicas.iter().map(|replica| replica.broker).collect();
        brokers.sort_unstable();
        assert_eq!(brokers, [1, 2, 3]);
        let leader = Replica { broker: leader.expect("a leader"), in_sync: true };
        assert!(replicas.contains(&leader), "{topic:?}");
    }
}

#[tokio::test]
async fn missing_or_forbidden_topic_is_an_error() {
    let broker = Broker::start(|asked, address| match asked.kind {
        RequestKind::Metadata(_) => {
            let topics = [("missing", 3, false), ("secret", 29, false)];
            Step::Answer(scripted::all_topics(asked, address, &topics))
        }
        _ => usual(asked, address),
    })
    .await;
    let reader = reader(&[broker.address]);
    for (name, code, want) in [
        ("missing", 3, "UNKNOWN_TOPIC_OR_PARTITION: topic missing"),
        ("secret", 29, "TOPIC_AUTHORIZATION_FAILED: topic secret"),
    ] {
        let error = reader.topic(ClientKey::default(), name).await.expect_err("no topic");
        assert_eq!((error.code(), error.to_string().as_str()), (code, want));
        assert!(!error.retriable() && !error.is_unavailable());
    }
    assert_eq!(reader.topic(ClientKey::default(), "no name").await.expect_err("no topic").code(), 17);
}

#[tokio::test]
async fn topics_are_listed_again_after_an_outage() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let broker = Broker::start(move |asked, address| {
        if is_down.load(Ordering::SeqCst) { Step::RawThenClose(Vec::new()) } else { usual(asked, address) }
    })
    .await;
    let reader = reader(&[broker.address]);
    for error in [
        reader.topics().await.expect_err("nobody answers"),
        reader.topic(ClientKey::default(), "t").await.expect_err("nobody answers"),
    ] {
        assert!(error.is_unavailable() && error.retriable(), "{}", chain(&error));
    }
    down.store(false, Ordering::SeqCst);
    let recovered = async {
        while reader.topics().await.is_err() {}
        reader.topic(ClientKey::default(), "t").await
    };
    let topic = tokio::time::timeout(Duration::from_secs(5), recovered).await.expect("in 5 s");
    assert_eq!(topic.expect("a topic").partitions.len(), 1);
}
